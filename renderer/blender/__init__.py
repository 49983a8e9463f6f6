"""Inside Blender: the scene, the engine, the importers and the worker process; the only package that imports bpy."""
