"""Every material becomes diffuse (and, where the model says so, see-through): colours and textures stay, the rest goes.

The scene has no glossy, transmission or emission light paths, so a metal would be black and a lamp would hide the spot.
"""

import os
from pathlib import Path

import bpy
import numpy as np

from renderer.blender import compat
from renderer.blender.vetting import is_within

#: Display grey of surfaces without a material and of textures that cannot be read (never Blender's magenta).
NEUTRAL = 0.6

#: Share of the light that a surface of display colour 1 reflects: white paint, which the lights can then be set for.
WHITEST = 0.75

#: Linear display value below which no plain colour goes: on a blacker black, light and shape cannot be seen.
DARKEST = 0.02

#: Images with more pixels are not shown: they would take gigabytes (this one takes one).
MOST_PIXELS = 16384**2

#: The property under which an image that was cut off its file keeps its path, for the note about it.
WAS_AT = "gr3d_was_at"

#: Materials that are this transparent all over leave nothing to see.
INVISIBLE = 0.01

#: The names under which the renderer's meshes carry their texture coordinates and their vertex colours.
UV_LAYER, COLOUR_LAYER = "uv", "colour"

Tree = bpy.types.NodeTree
Socket = bpy.types.NodeSocket


def to_linear(display: np.ndarray) -> np.ndarray:
    """sRGB display values in [0, 1] to linear light (IEC 61966-2-1), elementwise."""
    display = np.asarray(display, np.float64)
    return np.where(display <= 0.04045, display / 12.92, ((display + 0.055) / 1.055) ** 2.4)


def plain(name: str, display: tuple[float, float, float] = (NEUTRAL,) * 3) -> bpy.types.Material:
    """A new diffuse material of one display colour."""
    material = bpy.data.materials.new(name)
    _rebuild(material, to_linear(display), 1.0)
    return material


def vertex_coloured() -> bpy.types.Material:
    """A new material that shows the mesh's vertex colours; to be flattened."""
    material, tree, shader = _principled("vertex colours")
    colours = tree.nodes.new("ShaderNodeVertexColor")
    tree.links.new(colours.outputs["Color"], shader.inputs["Base Color"])
    return material


def textured(image: Path) -> bpy.types.Material:
    """A new material that shows an image file, there or not, by the mesh's texture coordinates; to be flattened."""
    material, tree, shader = _principled(image.stem)
    texture = tree.nodes.new("ShaderNodeTexImage")
    texture.image = bpy.data.images.new(image.name, 1, 1)
    texture.image.source, texture.image.filepath = "FILE", str(image)
    tree.links.new(texture.outputs["Color"], shader.inputs["Base Color"])
    return material


def _principled(name: str) -> tuple[bpy.types.Material, Tree, bpy.types.Node]:
    material = bpy.data.materials.new(name)
    tree = compat.shader_tree(material)
    tree.nodes.clear()
    return material, tree, tree.nodes.new("ShaderNodeBsdfPrincipled")


def forget_foreign_images(folder: Path) -> None:
    """Cut every image off its file that must not or cannot be read, before anything evaluates or renders it.

    One that is not there is looked for beside the model: files keep the paths of the machine that they were made on.
    """
    for image in bpy.data.images:
        if image.source == "VIEWER":  # not the model's: what an earlier render left
            continue
        _find(image, folder)
        if not _readable(image, folder):
            image[WAS_AT] = image.filepath or image.name
            image.source = "FILE"
            image.filepath_raw = ""


def flatten(material: bpy.types.Material, folder: Path) -> tuple[bool, list[str]]:
    """Make an imported material diffuse, in place.

    Textures are read from `folder`, from below it, or from inside the model's file; any other becomes grey.

    Returns:
        visible: False when the whole material is fully transparent.
        notes: a line per texture that was replaced.
    """
    colour: Socket | np.ndarray = np.array(material.diffuse_color[:3])
    alpha: Socket | float = 1.0
    has_nodes = compat.has_nodes(material)
    tree = compat.shader_tree(material)
    bad = [node for node in tree.nodes if node.type == "TEX_IMAGE" and not _usable(node.image, folder)]
    notes = [_make_grey(tree, node) for node in bad]
    _rename_layers(tree)
    shader = _shader(tree)
    if shader is not None and has_nodes:
        colour = _source(shader.inputs.get("Base Color") or shader.inputs["Color"])
        alpha = _source(shader.inputs["Alpha"]) if "Alpha" in shader.inputs else 1.0
    _rebuild(material, colour, alpha)
    return isinstance(alpha, Socket) or alpha >= INVISIBLE, notes


def _shader(tree: Tree) -> bpy.types.Node | None:
    """The node whose colour is the material's: a Principled one, else any with a colour (glTF's unlit materials)."""
    nodes = [node for node in tree.nodes if any(output.type == "SHADER" for output in node.outputs)]
    principled = [node for node in nodes if node.type == "BSDF_PRINCIPLED"]
    coloured = [node for node in nodes if "Color" in node.inputs and node.type != "BSDF_TRANSPARENT"]
    return next(iter(principled + coloured), None)


def _source(socket: Socket) -> Socket | np.ndarray | float:
    """What feeds an input: the output linked to it, else its own value."""
    if socket.is_linked:
        return socket.links[0].from_socket
    value = socket.default_value
    return float(value) if socket.type == "VALUE" else np.array(value[:3])


def _rebuild(material: bpy.types.Material, colour: Socket | np.ndarray, alpha: Socket | float) -> None:
    """Let the material's output be a diffuse shader of that colour (linear), see-through where alpha is below 1."""
    tree = compat.shader_tree(material)
    for node in [node for node in tree.nodes if node.type == "OUTPUT_MATERIAL"]:
        tree.nodes.remove(node)
    output = tree.nodes.new("ShaderNodeOutputMaterial")
    surface = tree.nodes.new("ShaderNodeBsdfDiffuse")
    if isinstance(colour, Socket):
        tree.links.new(_scaled(tree, _bounded(tree, colour), WHITEST), surface.inputs["Color"])
    else:
        surface.inputs["Color"].default_value = (*WHITEST * np.clip(np.nan_to_num(colour), DARKEST, 1), 1)
    shaded = surface.outputs["BSDF"]
    if isinstance(alpha, Socket) or alpha < 1:
        compat.let_eevee_see_through(material)
        shaded = _see_through(tree, shaded, alpha)
    tree.links.new(shaded, output.inputs["Surface"])


def _bounded(tree: Tree, colour: Socket) -> Socket:
    """The colour within [0, 1]: a surface that gives back more light than it gets would outshine the picture."""
    node = colour.node
    if node.type == "VERTEX_COLOR" or (node.type == "TEX_IMAGE" and not node.image.is_float):
        return colour  # within it already
    for operation, bound in (("MAXIMUM", 0), ("MINIMUM", 1)):
        limit = tree.nodes.new("ShaderNodeVectorMath")
        limit.operation = operation
        limit.inputs[1].default_value = (bound,) * 3
        tree.links.new(colour, limit.inputs[0])
        colour = limit.outputs["Vector"]
    return colour


def _scaled(tree: Tree, colour: Socket, factor: float) -> Socket:
    scale = tree.nodes.new("ShaderNodeVectorMath")
    scale.operation = "SCALE"
    scale.inputs["Scale"].default_value = factor
    tree.links.new(colour, scale.inputs[0])
    return scale.outputs["Vector"]


def _see_through(tree: Tree, shaded: Socket, alpha: Socket | float) -> Socket:
    mix = tree.nodes.new("ShaderNodeMixShader")
    if isinstance(alpha, Socket):
        tree.links.new(alpha, mix.inputs["Fac"])
    else:
        mix.inputs["Fac"].default_value = alpha
    clear = tree.nodes.new("ShaderNodeBsdfTransparent")
    tree.links.new(clear.outputs["BSDF"], mix.inputs[1])
    tree.links.new(shaded, mix.inputs[2])
    return mix.outputs["Shader"]


def cut_out(material: bpy.types.Material) -> bpy.types.Material | None:
    """A copy of a material of this module that is see-through where that is at most half opaque, and nowhere half.

    None for a material that is opaque all over.
    """
    if not any(node.type == "MIX_SHADER" for node in compat.shader_tree(material).nodes):
        return None
    copy = material.copy()
    tree = compat.shader_tree(copy)
    opaque = next(node for node in tree.nodes if node.type == "MIX_SHADER").inputs["Fac"]
    step = tree.nodes.new("ShaderNodeMath")
    step.operation = "GREATER_THAN"
    step.inputs[0].default_value, step.inputs[1].default_value = opaque.default_value, 0.5
    if opaque.is_linked:
        tree.links.new(opaque.links[0].from_socket, step.inputs[0])
    tree.links.new(step.outputs["Value"], opaque)
    return copy


def _usable(image: bpy.types.Image | None, folder: Path) -> bool:
    """Whether the image can be read, is not too large, and lies inside the model's file or folder."""
    if image is None or not _readable(image, folder):
        return False
    width, height = image.size  # asking for the size makes Blender read the file
    return 0 < width * height <= MOST_PIXELS


def _find(image: bpy.types.Image, folder: Path) -> None:
    """Point an image without its file to the one of that name in the folder, if there is one."""
    if image.source != "FILE" or image.packed_file is not None or not image.filepath or _readable(image, folder):
        return
    name = image.filepath.replace("\\", "/").rpartition("/")[2]
    for found in (Path(bpy.path.abspath(image.filepath.replace("\\", "/"))), folder / name):
        if name and os.path.isfile(found) and is_within(found, folder):
            image.filepath = str(found)
            return


def _readable(image: bpy.types.Image, folder: Path) -> bool:
    """Whether the image is made or packed in the model's file, or is a plain file in or below the folder."""
    if image.source == "GENERATED" or image.packed_file is not None:
        return True
    if image.source not in ("FILE", "TILED") or not image.filepath:
        return False  # films, and frames of them
    path = Path(bpy.path.abspath(image.filepath, library=image.library).replace("<UDIM>", "1001"))
    return os.path.isfile(path) and is_within(path, folder)


def _make_grey(tree: Tree, node: bpy.types.Node) -> str:
    """Put neutral, opaque grey in the place of a texture node; returns the note about it."""
    where = "(none)"
    if node.image is not None:
        where = node.image.get(WAS_AT) or node.image.filepath or node.image.name
    grey = tree.nodes.new("ShaderNodeRGB")
    grey.outputs["Color"].default_value = (*to_linear((NEUTRAL,) * 3), 1)
    opaque = tree.nodes.new("ShaderNodeValue")
    opaque.outputs["Value"].default_value = 1
    for name, stand_in in (("Color", grey.outputs["Color"]), ("Alpha", opaque.outputs["Value"])):
        for target in [link.to_socket for link in node.outputs[name].links]:
            tree.links.new(stand_in, target)
    tree.nodes.remove(node)
    return f"texture replaced by grey: {where}"


def _rename_layers(tree: Tree) -> None:
    """Point the nodes that name a layer of the imported mesh to the layers of the mesh that is rendered."""
    for node in tree.nodes:
        if node.type == "UVMAP":
            node.uv_map = UV_LAYER
        elif node.type == "VERTEX_COLOR":
            node.layer_name = COLOUR_LAYER
