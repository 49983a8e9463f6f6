"""From a model file to one surface and its diffuse materials, with Blender's importers kept on a short leash."""

import re
from collections.abc import Callable
from pathlib import Path

import bpy
import numpy as np

from assets import digests
from assets.errors import BadObject
from assets.geometry import IDENTITY, ModelFile, Part
from renderer.blender import blendfile, compat, materials, surface
from renderer.blender.coincident import part_coincident
from renderer.blender.surface import Surface
from renderer.blender.vetting import model_folder, vet

Y_UP = np.array([[1, 0, 0], [0, 0, -1], [0, 1, 0]], float)  # the importers' (x, y, z) -> (x, -z, y)
X_UP = np.array([[0, -1, 0], [1, 0, 0], [0, 0, 1]], float)  # Collada's X_UP: up is x, right is -y
Z_UP = np.eye(3)

#: Texture coordinates further out are taken as 0: Cycles loses count of its pixels there, and the surface shines in all
#: colours (Debian's vase1 has 3e9).
MOST_TILES = 10_000

#: Modifiers that make a mesh from what its own file holds. All others (simulations, caches, textures and meshes read
#: from other files) are taken off a model from a .blend file.
_OWN = (
    "ARMATURE ARRAY BEVEL BOOLEAN BUILD CAST CORRECTIVE_SMOOTH CURVE DECIMATE EDGE_SPLIT LAPLACIANSMOOTH LATTICE MASK "
    "MESH_DEFORM MIRROR NODES REMESH SCREW SHRINKWRAP SIMPLE_DEFORM SKIN SMOOTH SOLIDIFY SUBSURF TRIANGULATE "
    "WEIGHTED_NORMAL WELD WIREFRAME"
)
OWN_MODIFIERS = frozenset(_OWN.split())


def make_subject(loaded: list[Part] | ModelFile) -> tuple[Surface, list[bpy.types.Material], list[str]]:
    """An object's cleaned surface (radius about 1), its materials (indexed by its faces) and notes on what was changed.

    Raises BadObject, with the reason, for what cannot be shown.
    """
    if isinstance(loaded, ModelFile):
        whole, used, notes = import_model(loaded)
    else:
        whole, used, notes = surface.from_parts(loaded), [materials.plain(p.name, p.colour) for p in loaded], []
    return part_coincident(surface.normalise(surface.clean(whole), 1.0)), used, notes


def import_model(model: ModelFile) -> tuple[Surface, list[bpy.types.Material], list[str]]:
    """The surface, materials and notes of a model file, as Blender imports it, in world coordinates.

    Meshes are taken as evaluated; cameras, lights, empties, bones and animations are left behind.
    """
    suffix = model.path.suffix.lower()
    if suffix == ".skp":
        raise BadObject("SketchUp's .skp cannot be read; download it as .glb or Collada (.dae)")
    if suffix not in IMPORTERS:
        raise BadObject(f"{suffix or 'a file without suffix'} is not one of {', '.join(IMPORTERS)}")
    if not model.path.exists():
        raise BadObject(f"no file {model.path.name}")
    before = set(bpy.data.objects)
    try:
        vet(model.path)
        notes = IMPORTERS[suffix](model.path) or []
        materials.forget_foreign_images(model_folder(model.path))
        whole, used = _collect(before)
    except BadObject:
        raise
    except Exception as error:  # the importers raise anything, from KeyError to struct.error
        raise BadObject(f"Blender's {suffix} importer failed: {_last_line(error)}") from error
    bpy.data.batch_remove(set(bpy.data.objects) - before)
    whole, painted, more = _painted(_turned(whole, model), used, model.path)
    return whole, painted, notes + more


def _import_obj(path: Path) -> None:
    # Without validation, faces with fewer than three vertices crash Blender.
    bpy.ops.wm.obj_import(filepath=str(path), validate_meshes=True)


def _import_gltf(path: Path) -> None:
    compat.import_gltf(str(path))


def _import_collada(path: Path) -> None:
    if not compat.can_import_collada():
        raise BadObject(f"Blender {bpy.app.version_string} cannot read Collada; use Blender 4.5 or older, or a .glb")
    bpy.ops.wm.collada_import(filepath=str(path))


def _import_usd(path: Path) -> None:
    if not compat.can_import_usd():
        raise BadObject(f"Blender {bpy.app.version_string} as built here cannot read USD; use another build, or a .glb")
    bpy.ops.wm.usd_import(
        filepath=str(path), import_cameras=False, import_lights=False, import_volumes=False, set_frame_range=False
    )


def _import_blend(path: Path) -> list[str]:
    """Append the meshes of a .blend file that show in its renders; notes on modifiers that were taken off.

    Appending runs no text block and no handler; drivers go before anything evaluates them.
    """
    blendfile.check_blend(path)
    with bpy.data.libraries.load(str(path), link=False) as (there, here):
        here.objects = list(there.objects)
    _drop_animation()
    shown = [item for item in here.objects if item is not None and item.type == "MESH" and not item.hide_render]
    notes = [note for item in shown for note in _drop_modifiers(item)]
    for item in shown:
        bpy.context.scene.collection.objects.link(item)
    return notes


def _drop_animation() -> None:
    """Free the animation, drivers included, of everything in Blender (the stage has none)."""
    for name, collection in bpy.types.BlendData.bl_rna.properties.items():
        if collection.type != "COLLECTION":
            continue
        for item in getattr(bpy.data, name):
            for animated in (item, getattr(item, "node_tree", None)):
                if getattr(animated, "animation_data", None) is not None:
                    animated.animation_data_clear()


def _drop_modifiers(item: bpy.types.Object) -> list[str]:
    """Take off the modifiers that could read other files, simulate, or show only while editing; a note for each."""
    notes = []
    for modifier in list(item.modifiers):
        own = modifier.type in OWN_MODIFIERS and not (modifier.type == "NODES" and _reads_files(modifier.node_group))
        if not own:
            notes.append(f"modifier taken off: {modifier.name} ({modifier.type.lower()}) of {item.name}")
            item.modifiers.remove(modifier)
    return notes


def _reads_files(tree: bpy.types.NodeTree | None, seen: frozenset[str] = frozenset()) -> bool:
    """Whether geometry nodes, or a group in them, import a file or read an image."""
    if tree is None or tree.name in seen:
        return False
    return any(
        node.bl_idname.startswith(("GeometryNodeImport", "GeometryNodeImageTexture"))
        or _reads_files(getattr(node, "node_tree", None), seen | {tree.name})
        for node in tree.nodes
    )


IMPORTERS: dict[str, Callable[[Path], list[str] | None]] = {
    ".obj": _import_obj,
    ".glb": _import_gltf,
    ".gltf": _import_gltf,
    ".dae": _import_collada,
    ".fbx": lambda path: compat.import_fbx(str(path)),
    ".ply": lambda path: compat.import_ply(str(path)),
    ".stl": lambda path: compat.import_stl(str(path)),
    **dict.fromkeys((".usd", ".usda", ".usdc", ".usdz"), _import_usd),
    ".blend": _import_blend,
}


def _collect(before: set[bpy.types.Object]) -> tuple[Surface, list[bpy.types.Material | bool]]:
    """Every imported mesh as one surface, and what paints it in the order of its indices.

    That is a material or, for faces without one, whether their mesh has vertex colours (True or False).
    """
    depsgraph = bpy.context.evaluated_depsgraph_get()
    used: list[bpy.types.Material | bool] = []
    pieces: list[Surface] = []
    faces = 0
    for instance in depsgraph.object_instances:
        evaluated = instance.object
        if evaluated.type != "MESH" or evaluated.original in before or not len(evaluated.data.polygons):
            continue
        faces += len(evaluated.data.polygons)
        surface.check_face_count(faces)  # instances of instances can be more than any memory holds
        unpainted = len(evaluated.data.color_attributes) > 0
        slots = [slot.material.original if slot.material else unpainted for slot in evaluated.material_slots]
        slots = slots or [unpainted]
        used.extend(material for material in slots if material not in used)
        pieces.append(_read(evaluated.data, np.array(instance.matrix_world), [used.index(m) for m in slots]))
    return surface.concatenate(pieces), used


def _read(mesh: bpy.types.Mesh, world: np.ndarray, slots: list[int]) -> Surface:
    corners = _array(mesh.loops, "vertex_index", len(mesh.loops), np.int32)
    sizes = _array(mesh.polygons, "loop_total", len(mesh.polygons), np.int32).astype(np.int64)
    starts = _array(mesh.polygons, "loop_start", len(mesh.polygons), np.int32)
    order = np.argsort(starts, kind="stable")
    slot = _array(mesh.polygons, "material_index", len(mesh.polygons), np.int32)
    smooth = _array(mesh.polygons, "use_smooth", len(mesh.polygons), np.bool_)
    points = _array(mesh.vertices, "co", 3 * len(mesh.vertices), np.float32).reshape(-1, 3)
    return Surface(
        points=points.astype(np.float64) @ world[:3, :3].T + world[:3, 3],
        corners=corners.astype(np.int64),
        sizes=sizes[order],
        material=np.array(slots)[np.clip(slot, 0, len(slots) - 1)][order],
        smooth=smooth[order],
        uv=_uv(mesh),
        colour=_colour(mesh, corners),
        normals=_normals(mesh, world) if smooth.any() else None,
    )


def _array(collection: bpy.types.bpy_prop_collection, field: str, size: int, dtype: type) -> np.ndarray:
    values = np.empty(size, dtype)
    collection.foreach_get(field, values)
    return values


def _uv(mesh: bpy.types.Mesh) -> np.ndarray:
    layer = next((layer for layer in mesh.uv_layers if layer.active_render), None)
    if layer is None:
        return np.zeros((len(mesh.loops), 2), np.float32)
    uv = np.nan_to_num(_array(layer.data, "uv", 2 * len(mesh.loops), np.float32).reshape(-1, 2))
    return np.where(np.abs(uv) < MOST_TILES, uv, 0)


def _colour(mesh: bpy.types.Mesh, corners: np.ndarray) -> np.ndarray:
    layer = next(iter(mesh.color_attributes), None)
    if layer is None:
        return np.ones((len(corners), 4), np.float32)
    values = _array(layer.data, "color", 4 * len(layer.data), np.float32).reshape(-1, 4)
    return np.clip(np.nan_to_num(values if layer.domain == "CORNER" else values[corners]), 0, 1)


def _normals(mesh: bpy.types.Mesh, world: np.ndarray) -> np.ndarray:
    # Normals turn with the cofactors of the matrix: its inverse transposed up to scale, and defined for flat ones too.
    linear = world[:3, :3]
    cofactors = np.cross(linear[[1, 2, 0]], linear[[2, 0, 1]])
    return (compat.corner_normals(mesh) @ cofactors.T).astype(np.float32)


def _turned(whole: Surface, model: ModelFile) -> Surface:
    """The surface turned by the model's rotation, which is given in the axes of the file."""
    if model.rotation == IDENTITY:
        return whole
    axes = _file_axes(model.path)
    return surface.turned(whole, axes @ np.array(model.rotation) @ axes.T)


def _file_axes(path: Path) -> np.ndarray:
    """The rotation that the importer applies to the file's coordinates."""
    if path.suffix.lower() != ".dae":
        return Y_UP
    with path.open("rb") as file:
        up = re.search(rb"<up_axis>\s*([XYZ])_UP", file.read(65536))
    return {b"X": X_UP, b"Y": Y_UP, b"Z": Z_UP}[up.group(1) if up else b"Y"]


def _painted(
    whole: Surface, used: list[bpy.types.Material | bool], path: Path
) -> tuple[Surface, list[bpy.types.Material], list[str]]:
    """Diffuse materials, and the surface without the faces that nobody could see."""
    visible, notes, painted = [], [], []
    for material in used:
        if isinstance(material, bool):
            material = _unnamed_material(material, path)
        seen, replaced = materials.flatten(material, model_folder(path))
        painted.append(material)
        visible.append(seen)
        notes.extend(replaced)
    keep = np.array(visible)[whole.material]
    if not keep.any():
        raise BadObject("every face in it is fully transparent")
    return surface.take_faces(whole, keep), painted, notes


def _unnamed_material(has_colours: bool, path: Path) -> bpy.types.Material:
    """For faces without a material: the texture that a PLY file names, else the mesh's vertex colours, else grey."""
    textures = digests.named_files(path) if path.suffix.lower() == ".ply" else []
    if textures:
        return materials.textured(path.parent / textures[0])
    return materials.vertex_coloured() if has_colours else materials.plain("neutral")


def _last_line(error: Exception) -> str:
    """What went wrong, without the traceback and the place in Blender's own scripts that its operators add."""
    lines = [line.strip() for line in str(error).splitlines()]
    lines = [line for line in lines if line and not line.startswith("Location:")]
    return lines[-1].removeprefix("Error: ") if lines else type(error).__name__
