"""From a model file to one surface and its diffuse materials, with Blender's importers kept on a short leash."""

import json
import re
import struct
from collections.abc import Callable
from pathlib import Path
from urllib.parse import unquote

import bpy
import numpy as np

from assets.errors import BadObject
from assets.geometry import IDENTITY, ModelFile, Part
from renderer.blender import compat, materials, surface
from renderer.blender.coincident import part_coincident
from renderer.blender.surface import Surface

Y_UP = np.array([[1, 0, 0], [0, 0, -1], [0, 1, 0]], float)  # the importers' (x, y, z) -> (x, -z, y)
X_UP = np.array([[0, -1, 0], [1, 0, 0], [0, 0, 1]], float)  # Collada's X_UP: up is x, right is -y
Z_UP = np.eye(3)

#: glTF extensions that change how geometry is stored; Blender reads the first only in some builds, the second never.
COMPRESSIONS = {"KHR_draco_mesh_compression": "Draco", "EXT_meshopt_compression": "meshopt"}


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
    if not model.path.is_file():
        raise BadObject(f"no file {model.path.name}")
    before = set(bpy.data.objects)
    try:
        IMPORTERS[suffix](model.path)
    except BadObject:
        raise
    except Exception as error:  # the importers raise anything, from KeyError to struct.error
        raise BadObject(f"Blender's {suffix} importer failed: {_last_line(error)}") from error
    whole, used = _collect(before)
    bpy.data.batch_remove(set(bpy.data.objects) - before)
    whole = _turned(whole, model)
    return _painted(whole, used, texture_folder(model.path))


def texture_folder(path: Path) -> Path:
    """The folder that a model's textures must be in or below.

    It is the model's own, or, in ShapeNetCore's layout (ID/models/model.obj, ID/images/), the one that holds both.
    """
    inside = path.parent.name == "models" and (path.parent.parent / "images").is_dir()
    return path.parent.parent if inside else path.parent


def _import_obj(path: Path) -> None:
    data = path.read_bytes().lower()
    # Blender reads these as 0 and says nothing.
    if (b"nan" in data or b"inf" in data) and re.search(rb"^v[ \t][^\n]*(?:nan|inf)", data, re.MULTILINE):
        raise BadObject("vertices that are not finite numbers")
    # Without validation, faces with fewer than three vertices crash Blender.
    bpy.ops.wm.obj_import(filepath=str(path), validate_meshes=True)


def _import_gltf(path: Path) -> None:
    _check_gltf(path)
    compat.import_gltf(str(path))


def _import_collada(path: Path) -> None:
    if not compat.can_import_collada():
        raise BadObject(f"Blender {bpy.app.version_string} cannot read Collada; use Blender 4.5 or older, or a .glb")
    bpy.ops.wm.collada_import(filepath=str(path))


IMPORTERS: dict[str, Callable[[Path], None]] = {
    ".obj": _import_obj,
    ".glb": _import_gltf,
    ".gltf": _import_gltf,
    ".dae": _import_collada,
}


def _check_gltf(path: Path) -> None:
    """Refuse compressed geometry, and buffers outside the model's folder."""
    content = _gltf_json(path)
    asset = content.get("asset")
    if isinstance(asset, dict) and str(asset.get("version", "")).startswith("1"):
        raise BadObject("glTF 1.0; only glTF 2.0 can be read")
    required = content.get("extensionsRequired", [])
    for extension, name in COMPRESSIONS.items():
        if extension in required:
            raise BadObject(f"{name}-compressed glTF; export it without compression")
    folder = texture_folder(path).resolve()
    for buffer in content.get("buffers", []):
        uri = buffer.get("uri", "data:")
        if not uri.startswith("data:") and not (path.parent / unquote(uri)).resolve().is_relative_to(folder):
            raise BadObject(f"a buffer outside the model's folder: {uri}")


def _gltf_json(path: Path) -> dict:
    data = path.read_bytes()
    try:
        if data[:4] == b"glTF":  # binary container: 12 bytes of header, then the JSON chunk
            length, kind = struct.unpack_from("<I4s", data, 12)
            if kind != b"JSON" or 20 + length > len(data):
                raise ValueError("truncated")
            data = data[20 : 20 + length]
        content = json.loads(data)
        if not isinstance(content, dict):
            raise ValueError("not an object")
    except (ValueError, struct.error) as error:
        raise BadObject(f"not a glTF file ({error})") from error
    return content


def _collect(before: set[bpy.types.Object]) -> tuple[Surface, list[bpy.types.Material | None]]:
    """Every imported mesh as one surface, and the materials in the order of its indices (None: no material)."""
    depsgraph = bpy.context.evaluated_depsgraph_get()
    used: list[bpy.types.Material | None] = []
    pieces = []
    for instance in depsgraph.object_instances:
        evaluated = instance.object
        if evaluated.type != "MESH" or evaluated.original in before or not len(evaluated.data.polygons):
            continue
        slots = [slot.material.original if slot.material else None for slot in evaluated.material_slots] or [None]
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
    return np.nan_to_num(_array(layer.data, "uv", 2 * len(mesh.loops), np.float32).reshape(-1, 2))


def _colour(mesh: bpy.types.Mesh, corners: np.ndarray) -> np.ndarray:
    layer = next(iter(mesh.color_attributes), None)
    if layer is None:
        return np.ones((len(corners), 4), np.float32)
    values = _array(layer.data, "color", 4 * len(layer.data), np.float32).reshape(-1, 4)
    return np.nan_to_num(values if layer.domain == "CORNER" else values[corners])


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
    whole: Surface, used: list[bpy.types.Material | None], folder: Path
) -> tuple[Surface, list[bpy.types.Material], list[str]]:
    """Diffuse materials, and the surface without the faces that nobody could see."""
    visible, notes, painted = [], [], []
    for material in used:
        seen, replaced = (True, []) if material is None else materials.flatten(material, folder)
        painted.append(materials.plain("neutral") if material is None else material)
        visible.append(seen)
        notes.extend(replaced)
    keep = np.array(visible)[whole.material]
    if not keep.any():
        raise BadObject("every face in it is fully transparent")
    return surface.take_faces(whole, keep), painted, notes


def _last_line(error: Exception) -> str:
    """What went wrong, without the traceback and the place in Blender's own scripts that its operators add."""
    lines = [line.strip() for line in str(error).splitlines()]
    lines = [line for line in lines if line and not line.startswith("Location:")]
    return lines[-1].removeprefix("Error: ") if lines else type(error).__name__
