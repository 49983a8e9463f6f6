"""What differs between Blender 3.4 and 5.0, and nothing else: all knowledge of versions is here.

A function each, named after what it does. Where a version can be told by what it has, it is asked for that (builds
differ too, not only versions); where it cannot, `bpy.app.version` decides.
"""

import bpy
import numpy as np


def shader_tree(owner: bpy.types.Material | bpy.types.World) -> bpy.types.NodeTree:
    """The node tree of a material or a world. Before 5.0 it has none until `use_nodes` is set, which 5.0 deprecates."""
    if bpy.app.version < (5, 0):
        owner.use_nodes = True
    return owner.node_tree


def has_nodes(material: bpy.types.Material) -> bool:
    """Whether its nodes say how a material looks, and not its plain colour alone. 5.0 gives nodes to those without."""
    return material.node_tree is not None and (bpy.app.version >= (5, 0) or material.use_nodes)


def has_denoiser() -> bool:
    """Whether this Blender was built with OpenImageDenoise (Debian's 3.4 is not)."""
    import _cycles

    return bool(_cycles.with_openimagedenoise)


def set_denoising_quality(cycles: bpy.types.PropertyGroup, quality: str) -> None:
    """Set HIGH, BALANCED or FAST: a setting since 4.2; before that the quality is always high."""
    if hasattr(cycles, "denoising_quality"):
        cycles.denoising_quality = quality


def set_light_tree(cycles: bpy.types.PropertyGroup, used: bool) -> None:
    """The light tree exists since 3.5."""
    if hasattr(cycles, "use_light_tree"):
        cycles.use_light_tree = used


def set_face_sizes(mesh: bpy.types.Mesh, sizes: np.ndarray) -> None:
    """Corners of every face, (f,). Before 4.1 they are stored; since, the faces' first corners tell them."""
    if bpy.app.version < (4, 1):
        mesh.polygons.foreach_set("loop_total", sizes.astype(np.int32))


def set_corner_normals(mesh: bpy.types.Mesh, normals: np.ndarray) -> None:
    """Shading normals at corners, (m, 3). Before 4.1 they show only on a mesh with automatic smoothing."""
    if bpy.app.version < (4, 1):
        mesh.use_auto_smooth = True
    mesh.normals_split_custom_set(normals)


def corner_normals(mesh: bpy.types.Mesh) -> np.ndarray:
    """Shading normals at corners, (m, 3) float32. Before 4.1 they are computed on demand and stored with the loops."""
    normals = np.empty(3 * len(mesh.loops), np.float32)
    if bpy.app.version < (4, 1):
        mesh.calc_normals_split()
        mesh.loops.foreach_get("normal", normals)
    else:
        mesh.corner_normals.foreach_get("vector", normals)
    return normals.reshape(-1, 3)


def can_import_collada() -> bool:
    """Collada was removed in 5.0, and builds before that may leave it out."""
    return bool(getattr(bpy.app.build_options, "collada", False))


def import_gltf(path: str) -> None:
    """Run the glTF importer. That of 3.4 says `np.bool`, a name that numpy 1.24 took away (and 2.0 gave back)."""
    if not hasattr(np, "bool"):
        np.bool = bool
    bpy.ops.import_scene.gltf(filepath=path)


def import_fbx(path: str) -> None:
    """Run the FBX importer: since 4.5 one that also reads text files and those of old versions, else the add-on's."""
    if "fbx_import" in dir(bpy.ops.wm):
        bpy.ops.wm.fbx_import(filepath=path, use_anim=False)
    else:
        bpy.ops.import_scene.fbx(filepath=path, use_anim=False, use_image_search=False)


def import_ply(path: str) -> None:
    """Run the PLY importer: since 3.6 Blender's own (an add-on's before)."""
    if "ply_import" in dir(bpy.ops.wm):
        bpy.ops.wm.ply_import(filepath=path)
    else:
        bpy.ops.import_mesh.ply(filepath=path)


def import_stl(path: str) -> None:
    """Run the STL importer: Blender's own since 4.1 (in 3.4 it was there, unfinished), an add-on's before."""
    if bpy.app.version >= (4, 1):
        bpy.ops.wm.stl_import(filepath=path)
    else:
        bpy.ops.import_mesh.stl(filepath=path)


def can_import_usd() -> bool:
    """Builds may leave it out (Debian's does)."""
    return bool(getattr(bpy.app.build_options, "usd", False))


def set_exr_output(render: bpy.types.RenderSettings) -> None:
    """Let a scene write all its passes as 32-bit floats into one uncompressed OpenEXR file of a single part."""
    image = render.image_settings
    if hasattr(image, "media_type"):  # since 5.0 the kinds of files stand in groups
        image.media_type = "MULTI_LAYER_IMAGE"
    image.file_format = "OPEN_EXR_MULTILAYER"
    image.color_depth, image.exr_codec = "32", "NONE"
    if hasattr(image, "use_exr_interleave"):  # without it, 5.0 makes every pass a part
        image.use_exr_interleave = True


def object_index_channel() -> str:
    """Name of the channel of object indices in an OpenEXR file, after the view layer's."""
    return "IndexOB.X" if bpy.app.version < (5, 0) else "Object Index.X"


def set_denoising_on_gpu(cycles: bpy.types.PropertyGroup, used: bool) -> None:
    """OpenImageDenoise runs on the GPU where it can since 4.1; before that, on the CPU."""
    if hasattr(cycles, "denoising_use_gpu"):
        cycles.denoising_use_gpu = used


def eevee() -> str:
    """EEVEE's name as an engine: rewritten in 4.2, it had another beside the old one's place until 5.0."""
    known = {item.identifier for item in bpy.types.RenderSettings.bl_rna.properties["engine"].enum_items}
    return "BLENDER_EEVEE_NEXT" if "BLENDER_EEVEE_NEXT" in known else "BLENDER_EEVEE"


def let_eevee_see_through(material: bpy.types.Material) -> None:
    """Let EEVEE draw a material's transparency. Before 4.2 it and its shadow are opaque unless told otherwise."""
    if bpy.app.version < (4, 2):
        material.blend_method = material.shadow_method = "HASHED"


def throw_no_shadows(light: bpy.types.Light) -> None:
    """Let Cycles light with it through everything: a setting of the light itself since 4.2, of Cycles' part before."""
    if hasattr(light.cycles, "cast_shadow"):
        light.cycles.cast_shadow = False
    light.use_shadow = False
