"""What is read of a model file before Blender may: files that lie about their size, or name what they must not open.

Nothing here needs Blender. A texture outside the model's folder is no reason to refuse a model (materials.py turns it
grey), but geometry and materials outside are: without them it would be another object.
"""

import json
import os
import re
import stat
import struct
from collections.abc import Callable
from pathlib import Path, PurePosixPath

from assets import digests, usd
from assets.errors import BadObject
from renderer.blender.finite import check_finite

#: Elements that a file may claim without bytes of its own for each (glTF's zeros); a multiple of surface.MAX_FACES.
MOST_ELEMENTS = 20_000_000

#: Bytes of one model file. Blender holds several times that in memory.
MOST_BYTES = 2 << 30

#: Files that a USD file may be made of.
MOST_LAYERS = 1000

#: glTF extensions that change how geometry is stored; Blender reads the first only in some builds, the second never.
COMPRESSIONS = {"KHR_draco_mesh_compression": "Draco", "EXT_meshopt_compression": "meshopt"}

_PLY_ELEMENT = re.compile(rb"^element\s+\w+\s+(\d{1,30})\s*((?:property[^\n]*\n|comment[^\n]*\n)*)", re.MULTILINE)
_GEOMETRY = {".mtl", ".bin", ".dae", ".gltf", ".glb"}  # what a model is made of, beside its textures


def vet(path: Path) -> None:
    """Raise BadObject, with the reason, for a model file that Blender should not be given.

    That is one that is no plain file or too large, that claims more than it can hold, is compressed in a way that
    cannot be read, is made of files outside `model_folder`, or names a pipe or a device.
    """
    status = path.stat()
    if not stat.S_ISREG(status.st_mode):
        raise BadObject("not a regular file")
    if status.st_size > MOST_BYTES:
        raise BadObject(f"a file of {status.st_size >> 20} MiB, more than {MOST_BYTES >> 20}")
    suffix = path.suffix.lower()
    if suffix in _CHECKS:
        _CHECKS[suffix](path)
    check_finite(path)
    if suffix not in usd.SUFFIXES:  # whose strings are checked layer by layer
        _check_companions(path)


def model_folder(path: Path) -> Path:
    """The folder that a model's companions must be in or below.

    It is the model's own, or, in ShapeNetCore's layout (ID/models/model.obj, ID/images/), the one that holds both.
    """
    inside = path.parent.name == "models" and (path.parent.parent / "images").is_dir()
    return path.parent.parent if inside else path.parent


def is_within(path: Path, folder: Path) -> bool:
    """Whether the path, with all links followed, lies in or below the folder. False for paths that make no sense."""
    try:
        return path.resolve().is_relative_to(folder.resolve())
    except (OSError, RuntimeError, ValueError):  # too long, a loop of links, a zero byte
        return False


def _check_companions(path: Path) -> None:
    """Check the files that a model names, those that its material files name, and what importers try in their place."""
    for name in digests.named_files(path):
        for tried in dict.fromkeys((name, name.rpartition("/")[2])):
            _check_named(path, tried)
        if path.suffix.lower() == ".obj" and os.path.isfile(path.parent / name):
            _check_companions(path.parent / name)


def _check_named(path: Path, name: str) -> None:
    """Refuse a companion that is a pipe or a device, or geometry and materials that lie outside."""
    named = path.parent / name
    try:
        kind = named.stat().st_mode
    except (OSError, ValueError):
        return  # not there: the importer says what it makes of that
    if not (stat.S_ISREG(kind) or stat.S_ISDIR(kind)):
        raise BadObject(f"it names {name}, a pipe, socket or device")
    if PurePosixPath(name).suffix.lower() in _GEOMETRY and not is_within(named, model_folder(path)):
        raise BadObject(f"it names a file outside the model's folder: {name}")


def _check_gltf(path: Path) -> None:
    """Refuse other versions, compressed geometry, buffers outside the model's folder and sizes that are made up."""
    content = _gltf_content(path)
    asset = content.get("asset")
    if isinstance(asset, dict) and str(asset.get("version", "")).startswith("1"):
        raise BadObject("glTF 1.0; only glTF 2.0 can be read")
    required = content.get("extensionsRequired", [])
    for extension, name in COMPRESSIONS.items():
        if extension in required:
            raise BadObject(f"{name}-compressed glTF; export it without compression")
    for buffer in _records(content, "buffers"):
        uri = str(buffer.get("uri", "data:"))
        target = path.parent / digests.unquoted(uri.encode())
        if not uri.startswith("data:") and not is_within(target, model_folder(path)):
            raise BadObject(f"it names a file outside the model's folder: {uri}")
    views = _records(content, "bufferViews")
    for accessor in _records(content, "accessors"):
        view = accessor.get("bufferView")
        inside = isinstance(view, int) and 0 <= view < len(views)
        most = views[view].get("byteLength", 0) if inside else MOST_ELEMENTS
        if not 0 <= accessor.get("count", 0) <= most:
            raise BadObject(f"it claims {accessor.get('count')} elements, more than it can hold")


def _gltf_content(path: Path) -> dict:
    try:
        content = json.loads(digests.gltf_json(path.read_bytes()))
        if not isinstance(content, dict):
            raise ValueError("not an object")
    except (ValueError, RecursionError) as error:
        raise BadObject(f"not a glTF file ({error})") from error
    return content


def _records(content: dict, name: str) -> list[dict]:
    listed = content.get(name, [])
    return [record for record in listed if isinstance(record, dict)] if isinstance(listed, list) else []


def _check_collada(path: Path) -> None:
    data = path.read_bytes()
    if data[:2] in (b"\xff\xfe", b"\xfe\xff") or b"\0" in data[:64]:
        raise BadObject("Collada that is not UTF-8")
    if b"<!ENTITY" in data:
        raise BadObject("XML entities, which can expand without end and read other files")


def _check_ply(path: Path) -> None:
    """Refuse a header that claims more elements than the rest of the file can hold."""
    with path.open("rb") as file:
        head = file.read(65536)
    header, end, _ = head.partition(b"end_header")
    if not head.startswith(b"ply") or not end:
        raise BadObject("not a PLY file (no header)")
    claimed = 0
    for count, properties in _PLY_ELEMENT.findall(header):
        claimed += int(count) * max(properties.count(b"property"), 1)  # a value takes a byte at least
    if claimed > path.stat().st_size:
        raise BadObject(f"its header claims {claimed} values, more than it can hold")


def _check_stl(path: Path) -> None:
    """Refuse a binary file (80 bytes, a count, 50 bytes a triangle) that is shorter than its count says."""
    with path.open("rb") as file:
        head = file.read(84)
    if head.lstrip().lower().startswith(b"solid") or len(head) < 84:
        return  # text, which claims nothing
    (count,) = struct.unpack_from("<I", head, 80)
    if 84 + 50 * count > path.stat().st_size:
        raise BadObject(f"its header claims {count} triangles, more than it can hold")


def _check_usd(path: Path) -> None:
    """Refuse layers outside the model's folder, of the file itself and of all layers that it is made of."""
    seen, waiting = {path.resolve()}, [path]
    while waiting:
        layer = waiting.pop()
        for name in usd.strings(layer.read_bytes()):
            is_layer = PurePosixPath(name).suffix.lower() in usd.SUFFIXES
            if name.startswith("file:") and is_layer:
                raise BadObject(f"it names a file by a URI: {name}")
            # Every string of a binary file comes by here: what no file is named like, is no path.
            target = layer.parent / name
            if not _exists(target):
                continue
            _check_named(layer, name)
            if not is_layer or target.resolve() in seen:
                continue
            if not is_within(target, model_folder(path)):
                raise BadObject(f"it names a file outside the model's folder: {name}")
            seen.add(target.resolve())
            waiting.append(target)
            if len(seen) > MOST_LAYERS:
                raise BadObject(f"it is made of more than {MOST_LAYERS} files")


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except (OSError, ValueError):
        return False


_CHECKS: dict[str, Callable[[Path], None]] = {
    ".glb": _check_gltf,
    ".gltf": _check_gltf,
    ".dae": _check_collada,
    ".ply": _check_ply,
    ".stl": _check_stl,
    **dict.fromkeys(usd.SUFFIXES, _check_usd),
}
