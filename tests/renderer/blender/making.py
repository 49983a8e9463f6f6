"""Run inside a Blender by the tests (`make` in helpers.py): writes the model files that only Blender can write.

PYTHON making.py -- FOLDER WHAT    or    blender -b -P making.py -- FOLDER WHAT
"""

import os
import sys
from pathlib import Path

import bpy

folder, what = sys.argv[sys.argv.index("--") + 1 :]
folder = Path(folder)

#: Display colours of a cube's faces by outward normal; the front is -y, as Blender has it.
COLOURS = {(0, -1, 0): (0, 1, 0), (0, 0, 1): (0, 0, 1), (1, 0, 0): (1, 0, 0)}


def cube() -> bpy.types.Object:
    """A cube, a little deeper than wide, whose front is green, top blue and right red; all other sides are white."""
    bpy.ops.wm.read_factory_settings(use_empty=True)
    bpy.ops.mesh.primitive_cube_add(size=2)
    made = bpy.context.object
    mesh = made.data
    for colour in [(1, 1, 1), *COLOURS.values()]:
        material = bpy.data.materials.new("paint")
        material.use_nodes = True
        shader = next(node for node in material.node_tree.nodes if node.type == "BSDF_PRINCIPLED")
        shader.inputs["Base Color"].default_value = (*colour, 1)
        material.diffuse_color = (*colour, 1)
        mesh.materials.append(material)
    layer = mesh.color_attributes.new("Col", "BYTE_COLOR", "CORNER")
    for face in mesh.polygons:
        normal = tuple(round(n) for n in face.normal)
        face.material_index = [*COLOURS].index(normal) + 1 if normal in COLOURS else 0
        for corner in face.loop_indices:
            layer.data[corner].color = (*COLOURS.get(normal, (1, 1, 1)), 1)
    return made


def export_all() -> None:
    """The cube in every format that this Blender writes."""
    made = cube()
    wm = dir(bpy.ops.wm)
    bpy.ops.export_scene.fbx(filepath=str(folder / "cube.fbx"))
    stl, ply = (folder / "cube.stl", folder / "cube.ply")
    if bpy.app.version >= (4, 1):
        bpy.ops.wm.stl_export(filepath=str(stl))
        bpy.ops.wm.ply_export(filepath=str(ply), export_colors="SRGB", export_normals=False)
    else:
        bpy.ops.export_mesh.stl(filepath=str(stl))
        bpy.ops.export_mesh.ply(filepath=str(ply), use_normals=False)
    if "usd_export" in wm and getattr(bpy.app.build_options, "usd", False):
        for suffix in ("usd", "usda", "usdc", "usdz"):
            bpy.ops.wm.usd_export(filepath=str(folder / f"cube.{suffix}"))
    save("cube.blend")
    save("packed.blend", compress=True)
    made.name = "done"


def save(name: str, **options: bool) -> None:
    bpy.ops.wm.save_as_mainfile(filepath=str(folder / name), **options)


def trap() -> None:
    """A .blend that would write to FOLDER/caught if any of its scripts, drivers or handlers ran."""
    made = cube()
    caught = str(folder / "caught")
    write = f"open({caught!r}, 'a').write"
    text = bpy.data.texts.new("register.py")
    text.write(
        f"import bpy\n{write}('text')\n"
        f"def handler(*_): {write}('handler')\n"
        "for name in ('load_post', 'depsgraph_update_post', 'frame_change_post', 'render_pre'):\n"
        "    getattr(bpy.app.handlers, name).append(handler)\n"
        "bpy.app.driver_namespace['spring'] = handler\n"
    )
    text.use_module = True
    for owner, path in (
        (made, "location"),
        (made.data.materials[0].node_tree, 'nodes["Principled BSDF"].inputs[0].default_value'),
    ):
        driver = owner.driver_add(path, 0).driver
        driver.type = "SCRIPTED"
        driver.expression = f"__import__('os').system('echo driver >> {caught}') * 0 + 3"
    made.shape_key_add(name="Basis")
    key = made.shape_key_add(name="key")
    driver = key.driver_add("value").driver
    driver.expression = f"{write}('key') * 0 + 1"
    save("trap.blend")


def linked() -> None:
    """A .blend whose object comes from another .blend."""
    cube()
    save("library.blend")
    bpy.ops.wm.read_factory_settings(use_empty=True)
    with bpy.data.libraries.load(str(folder / "library.blend"), link=True) as (there, here):
        here.objects = list(there.objects)
    for item in here.objects:
        bpy.context.scene.collection.objects.link(item)
    for name, compress in (("linked.blend", False), ("linked_packed.blend", True)):
        save(name, compress=compress)


def foreign() -> None:
    """A .blend with a texture outside its folder, as the colour and as what moves its surface."""
    made = cube()
    image = bpy.data.images.load(str(folder.parent / "outside.png"))
    for material in made.data.materials:
        node = material.node_tree.nodes.new("ShaderNodeTexImage")
        node.image = image
        shader = next(node for node in material.node_tree.nodes if node.type == "BSDF_PRINCIPLED")
        material.node_tree.links.new(node.outputs["Color"], shader.inputs["Base Color"])
    texture = bpy.data.textures.new("t", "IMAGE")
    texture.image = image
    made.modifiers.new("push", "DISPLACE").texture = texture
    made.modifiers.new("many", "ARRAY").count = 2
    save("foreign.blend", relative_remap=False)


def endless() -> None:
    """A .blend of a few kilobytes that asks for billions of faces."""
    made = cube()
    for number in range(4):
        modifier = made.modifiers.new(f"array{number}", "ARRAY")
        modifier.count = 1000
    save("endless.blend")


{"all": export_all, "trap": trap, "linked": linked, "foreign": foreign, "endless": endless}[what]()
sys.stdout.flush()
os._exit(0)  # the bpy wheel may wait for ever for Python when it frees a driver at its end
