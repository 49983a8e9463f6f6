"""The 820 household objects of Debian's sweethome3d-furniture, read straight from its .sh3f libraries.

A library is a zip with PluginFurnitureCatalog.properties (name, category, creator, model, modelRotation of
each piece), OBJ models, MTL materials and textures. In Sweet Home 3D a piece's model is y up with its front
towards +z (the +y of the plan); `modelRotation`, nine numbers row by row, is applied to the model's column
vectors first to bring it there.

Left out, with the reason in `Catalog.left_out`: pieces whose rotation cannot be read from their shape (see
symmetry.py), and pieces with a material file or a colour texture missing from the library.
"""

from __future__ import annotations

import functools
import hashlib
import logging
import posixpath
import re
import tempfile
import zipfile
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from assets import archive, cache, obj, symmetry
from assets.catalog import ObjectRef
from assets.errors import BadObject, UserError
from assets.geometry import IDENTITY, ModelFile, Rows3
from assets.names import slug

FURNITURE = Path("/usr/share/sweethome3d/furniture")
_PROPERTIES = "PluginFurnitureCatalog.properties"
_MEASURE_VERSION = 1  # raise when what _measure() returns for the same library changes
_COLOUR_MAPS = {"map_kd", "map_ka", "map_d", "map_ke"}  # without these the object would not look as meant

# Family by the last known word of the name, read before "with", "on", "," and "-": "Chair with cushion",
# "Piano bench". Words with the family "" stop the search: a "Table tennis bat" is not a table.
_WORDS = {
    "chair": "chair armchair seat wheelchair",
    "stool": "stool ottoman puff",
    "bench": "bench",
    "sofa": "sofa couch",
    "table": "table desk",
    "bed": "bed crib futon",
    "lamp": "lamp light lights lamppost spotlight lantern",
    "door": "door",
    "window": "window",
    "cabinet": "cabinet wardrobe bookcase shelves cupboard dresser vanity",
    "plant": "plant tree ficus bamboo cactus tulips yucca orchids lily pine palm cypress poplar acacia beech maple",
    "toilet": "toilet toilets urinal bidet",
    "basin": "washbasin sink lavatory",
    "": "bat ball fan cover hanger",
}
_FAMILY_OF_WORD = {word: family for family, words in _WORDS.items() for word in words.split()}
_STANDING = {"female", "male", "boy", "girl"}

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Piece:
    """One piece of a library, as its properties state it."""

    ref: ObjectRef  # digest still empty
    model: str  # path inside the library
    rotation: Rows3


@dataclass(frozen=True)
class _Library:
    """An opened .sh3f file."""

    file: Path
    archive: zipfile.ZipFile
    members: dict[str, zipfile.ZipInfo]
    pieces: tuple[_Piece, ...]  # in the order of its properties


@dataclass(frozen=True)
class _Measure:
    """What reading a piece's files tells about it."""

    digest: str = ""
    flatness: float = 0.0
    asymmetry: float = 0.0
    problem: str = ""  # why it cannot be used, whatever its shape

    def objection(self) -> str:
        return self.problem or symmetry.Shape(self.flatness, self.asymmetry).objection()


@dataclass
class _Files:
    """A piece's own files as they are to be unpacked, and what they name that is not there."""

    content: dict[str, bytes] = field(default_factory=dict)
    missing: list[str] = field(default_factory=list)


def sweethome3d_objects(
    families: Sequence[str] | None = None, folder: Path = FURNITURE
) -> tuple[list[ObjectRef], list[tuple[str, str]]]:
    """Usable pieces of these families (None: all pieces), and (id, reason) for the others of these families.

    The first call on a machine reads every model (about half a minute) and keeps the result in the cache
    folder. Raises UserError (exit code 2) when the package is not installed or there is no such family.
    """
    files = sorted(folder.glob("*.sh3f")) if folder.is_dir() else []
    if not files:
        raise UserError(
            f"no Sweet Home 3D library (.sh3f) in {folder}: run 'apt-get install sweethome3d-furniture', "
            "or use the source 'procedural'",
            exit_code=2,
        )
    kept: list[ObjectRef] = []
    left_out: list[tuple[str, str]] = []
    offered: Counter[str] = Counter()
    for library in map(_library, files):
        measures = _measures(library)
        for piece in library.pieces:
            offered[piece.ref.family] += 1
            if families is not None and piece.ref.family not in families:
                continue
            measure = measures[piece.ref.id]
            if reason := measure.objection():
                left_out.append((piece.ref.id, reason))
            else:
                kept.append(ObjectRef(**{**asdict(piece.ref), "digest": measure.digest}))
    if unknown := [name for name in families or () if not name or name not in offered]:
        known = ", ".join(sorted(filter(None, offered)))
        raise UserError(f"sweethome3d has no family {', '.join(map(repr, unknown))}; it has {known}", exit_code=2)
    return kept, left_out


def load_sweethome3d(ref: ObjectRef, scratch: Path) -> ModelFile:
    """Unpack a piece into a new folder of `scratch`; material statements that name missing files are dropped.

    Raises BadObject when the library no longer holds the piece, or not as it was when the catalog was made.
    """
    file = Path(ref.path.rpartition("!")[0])
    try:
        library = _library(file)
        piece = next(piece for piece in library.pieces if piece.ref.id == ref.id)
    except (StopIteration, UserError):
        raise BadObject(f"{file} does not hold {ref.id}") from None
    files = _files(library, piece.model)
    if _digest(files, piece) != ref.digest:
        raise BadObject(f"{file} has changed since the catalog was made")
    folder = Path(tempfile.mkdtemp(prefix="sweethome3d-", dir=scratch))
    for path, content in files.content.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(content)
    return ModelFile(folder / piece.model, piece.rotation)


def _library(file: Path) -> _Library:
    """The library in `file`, opened once per process for as long as it stays the same.

    Raises UserError when it cannot be read or is no such library.
    """
    try:
        return _open_library(file, file.stat().st_mtime_ns)
    except (BadObject, KeyError, OSError) as error:
        raise UserError(f"{file} is not a Sweet Home 3D furniture library ({error}): reinstall it", 2) from None


@functools.lru_cache(maxsize=16)
def _open_library(file: Path, modified: int) -> _Library:
    opened = archive.open_zip(file)
    members = archive.safe_members(opened)
    text = archive.read_member(opened, members[_PROPERTIES]).decode("latin-1")
    return _Library(file, opened, members, _pieces(file, text))


def _pieces(file: Path, text: str) -> tuple[_Piece, ...]:
    """Every piece that a library's properties describe. Keys are "name" for the library, "name#7" for a piece."""
    header: dict[str, str] = {}
    rows: dict[int, dict[str, str]] = {}
    for key, index, value in re.findall(r"^(\w+)(?:#(\d+))?[ \t]*=[ \t]*(.*?)\s*$", text, re.MULTILINE):
        row = rows.setdefault(int(index), {}) if index else header
        row[key] = re.sub(r"\\u([0-9A-Fa-f]{4})", lambda match: chr(int(match[1], 16)), value)
    licence = _licence(header.get("license", ""))
    return tuple(_piece(file, licence, row) for _, row in sorted(rows.items()) if "model" in row)


def _piece(file: Path, licence: str, row: dict[str, str]) -> _Piece:
    model = archive.safe_path(row["model"].lstrip("/"))
    # "scopia/bed1/bed1.obj" -> "scopia/bed1": most models stand alone in a folder of their name.
    parts = [slug(part) or "x" for part in posixpath.splitext(model)[0].split("/")]
    if len(parts) > 1 and parts[-1] == parts[-2]:
        del parts[-1]
    name, category = row.get("name", ""), row.get("category", "unknown")
    ref = ObjectRef(
        id="/".join(["sweethome3d", *parts]),
        source="sweethome3d",
        category=category,
        family=family_of(name, category),
        path=f"{file}!{model}",
        name=name,
        licence=licence,
        author=row.get("creator", ""),
    )
    return _Piece(ref, model, _rotation(row.get("modelRotation", "")))


def family_of(name: str, category: str) -> str:
    """The family of a piece, from its English name and its category; "" when it is in none.

    A vehicle is a piece of the category Vehicles, a person a standing one of Characters; all others go by
    their name.
    """
    words = re.findall(r"[a-z]+", re.split(r"\bwith\b|\bon\b|,| - ", name.lower())[0])
    if category == "Vehicles":
        return "vehicle"
    if category == "Characters":
        return "person" if words and words[-1] in _STANDING and len(words) == 1 else ""
    known = [word for word in words if word in _FAMILY_OF_WORD]
    return _FAMILY_OF_WORD[known[-1]] if known else ""


def _licence(text: str) -> str:
    """SPDX name of the licence that a library's properties state, else its own words."""
    if "Public domain" in text:
        return "CC0-1.0"
    if "Attribution 3.0" in text:
        return "CC-BY-3.0-US" if "United States" in text else "CC-BY-3.0"
    return text


def _rotation(text: str) -> Rows3:
    numbers = [float(number) for number in text.split()]
    if len(numbers) != 9:
        return IDENTITY
    return tuple(tuple(numbers[row : row + 3]) for row in (0, 3, 6))  # type: ignore[return-value]


def _measures(library: _Library) -> dict[str, _Measure]:
    """The measure of every piece by id, from the cache or anew.

    The cache's key covers names, sizes and CRCs of all files in the library, which its directory states: no need
    to read 120 MB to find out that nothing changed.
    """
    listing = (f"{path} {info.file_size} {info.CRC}\n" for path, info in sorted(library.members.items()))
    key = hashlib.sha256(f"{_MEASURE_VERSION}\n{''.join(listing)}".encode()).hexdigest()
    name = f"sweethome3d-{slug(library.file.stem)}"
    known = cache.read(name)
    if known.get("key") == key and (measures := _from_json(known.get("pieces"), library.pieces)):
        return measures
    log.info("measuring %d objects of %s (once)", len(library.pieces), library.file.name)
    measures = {piece.ref.id: _measure(library, piece) for piece in library.pieces}
    cache.write(name, {"key": key, "pieces": {id: asdict(measure) for id, measure in measures.items()}})
    return measures


def _from_json(data: object, pieces: Sequence[_Piece]) -> dict[str, _Measure] | None:
    """Measures read from the cache; None unless there is a well-formed one for every piece."""
    try:
        measures = {id: _Measure(**values) for id, values in data.items()}  # type: ignore[attr-defined]
        for measure in measures.values():
            measure.objection()
    except (AttributeError, TypeError, ValueError):
        return None
    return measures if measures.keys() == {piece.ref.id for piece in pieces} else None


def _measure(library: _Library, piece: _Piece) -> _Measure:
    try:
        files = _files(library, piece.model)
        shape = symmetry.measure(*obj.read_mesh(files.content[piece.model]))
    except BadObject as error:
        return _Measure(problem=str(error))
    problem = f"missing from the library: {', '.join(files.missing)}" if files.missing else ""
    return _Measure(_digest(files, piece), shape.flatness, shape.asymmetry, problem)


def _files(library: _Library, model: str) -> _Files:
    """A model, its material files and textures. Reflection and bump maps do not count as missing."""
    files = _Files()
    if model not in library.members:
        raise BadObject(f"missing from the library: {model}")
    files.content[model] = _read(library, model)
    used = obj.used_materials(files.content[model])
    for name in obj.material_libraries(files.content[model]):
        materials = _beside(model, name)
        if materials not in library.members:
            files.missing.append(name)
            continue
        lines = obj.decode(_read(library, materials)).splitlines()
        for number, material, statement, texture in obj.texture_maps("\n".join(lines)):
            image = _beside(materials, texture)
            if image in library.members:
                files.content[image] = _read(library, image)
                continue
            lines[number] = ""
            if statement in _COLOUR_MAPS and material in used and texture not in files.missing:
                files.missing.append(texture)
        files.content[materials] = "\n".join([*lines, ""]).encode()
    return files


def _read(library: _Library, path: str) -> bytes:
    return archive.read_member(library.archive, library.members[path])


def _beside(file: str, name: str) -> str:
    """The path inside the library that `file` means by `name`."""
    return posixpath.normpath(posixpath.join(posixpath.dirname(file), name))


def _digest(files: _Files, piece: _Piece) -> str:
    """sha256 over the path and content of every file, and the rotation."""
    digest = hashlib.sha256(repr(piece.rotation).encode())
    for path, content in sorted(files.content.items()):
        digest.update(f"\0{path}\0{len(content)}\0".encode())
        digest.update(content)
    return digest.hexdigest()
