"""Objects in a folder of the user's own: model files of any format in MODELS, and .zip files that hold such models.

Any tree will do: 3D Warehouse downloads (.glb, or Collada as .zip with model.dae and a texture folder),
Objaverse's .glb files, ShapeNetCore v2 (SYNSET/ID/models/model_normalized.obj). An object's category is the
first folder below the root ("unknown" at the top, and for Objaverse, whose folders are mere numbers); for ShapeNet the
synset, by its name where a taxonomy.json tells it. The user's objects are taken as they are: the rule about flat and
symmetric shapes (symmetry.py) is not applied to them.

Models are y up with the front towards +z, except that the front of ShapeNetCore v2 is -z (its README): it is
turned. Collada, FBX, USD and .blend files say their axes themselves; STL and PLY have none and are taken as z up
(docs/objects.md).
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from assets import archive, usd
from assets.catalog import ObjectRef
from assets.digests import Digests
from assets.errors import BadObject, UserError
from assets.geometry import IDENTITY, ModelFile, Rows3
from assets.names import printable, short_hash, slug

MODELS = frozenset({".obj", ".glb", ".gltf", ".dae", ".fbx", ".ply", ".stl", ".blend", *usd.SUFFIXES})
_AS_GLB = "cannot be read here: convert it to .glb"
_OTHER_FORMATS = (
    ".3d .3dm .3ds .3mf .abc .ac .amf .ase .b3d .bvh .c4d .cob .dwg .dxf .hmp .ifc .iges .igs .iqm .irr .irrmesh .jt "
    ".lwo .lws .lxo .m3d .ma .max .mb .md2 .md3 .md5mesh .mdc .mdl .ms3d .nff .off .ogex .q3o .q3s .sib .smd .step "
    ".stp .ter .vrm .wrl .x .x3d .xgl .zgl"
)
UNREADABLE = {
    ".skp": "Blender cannot read SketchUp files: download it as .glb or as Collada (.zip with .dae) instead",
    **dict.fromkeys(_OTHER_FORMATS.split(), _AS_GLB),
    **dict.fromkeys((".rar", ".7z", ".tar", ".gz", ".tgz", ".zst"), "cannot be unpacked here: unpack it, or use .zip"),
    ".zae": "zipped Collada: rename it to .zip",
}
_WHAT_WORKS = (
    "give a folder with .obj, .glb, .gltf, .dae, .fbx, .ply, .stl, .usd or .blend files, or .zip files of such, "
    "or 'procedural', or 'sweethome3d'"
)
_OBJAVERSE = re.compile(r"(?:^|/)\d{3}-\d{3}/[0-9a-f]{32}\.glb$")
_SHAPENET_V2 = re.compile(r"/(\d{8})/([^/]+)/models/model_normalized\.obj$")
_TURNED: Rows3 = ((-1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, -1.0))
_IN_ZIP = re.compile(r"(.*\.zip)!(.*)", re.IGNORECASE | re.DOTALL)
_NAMELESS = {"model", "models", "model_normalized", "scene", "source", "untitled", "object", "mesh"}


def directory_objects(root: Path) -> tuple[list[ObjectRef], list[tuple[str, str]]]:
    """Every model below `root`, and (path below root, reason) for what looks like one but cannot be used.

    Raises UserError (exit code 2) when there is no such folder, or no usable model in it.
    """
    if not root.is_dir():
        what = "is a file, not a folder" if root.exists() else "is no folder and no built-in source of objects"
        raise UserError(f"{root} {what}: {_WHAT_WORKS}", exit_code=2)
    objects: list[ObjectRef] = []
    left_out: list[tuple[str, str]] = []
    synsets = _synset_names(root)
    digests = Digests(root)
    for relative in _files(root, left_out):
        suffix = PurePosixPath(relative).suffix.lower()
        try:
            if suffix in MODELS or suffix == ".zip":
                _check_regular(root / relative)
            if suffix in MODELS:
                objects.append(_ref(root, relative, digests.of(relative), synsets))
            elif suffix == ".zip":
                for model in _models_in_zip(root / relative):
                    digest = hashlib.sha256(f"{digests.of(relative)}!{model}".encode()).hexdigest()
                    objects.append(_ref(root, f"{relative}!{model}", digest, synsets))
            elif suffix in UNREADABLE:
                raise BadObject(UNREADABLE[suffix])
        except (BadObject, OSError) as error:
            left_out.append((printable(relative), printable(str(error))))
    digests.save()
    if not objects:
        example = f" ({left_out[0][0]}: {left_out[0][1]})" if left_out else ""
        raise UserError(f"{root} holds no model that can be used{example}: {_WHAT_WORKS}", exit_code=2)
    return objects, left_out


def holds_models(root: Path) -> bool:
    """Whether there is anything meant as a model below `root`, usable or not: then it is not passed over."""
    suffixes = {*MODELS, ".zip", *UNREADABLE}
    return root.is_dir() and any(PurePosixPath(file).suffix.lower() in suffixes for file in _files(root, []))


def load_directory(ref: ObjectRef, scratch: Path) -> ModelFile:
    """The model file where it lies; a zip is unpacked whole into a new folder of `scratch`.

    Raises BadObject when it is gone or its archive cannot be trusted.
    """
    rotation = _TURNED if _SHAPENET_V2.search(ref.path) else IDENTITY
    in_zip = _IN_ZIP.fullmatch(ref.path)
    if in_zip is None:
        model = Path(ref.path)
    else:
        folder = Path(tempfile.mkdtemp(prefix="zip-", dir=scratch))
        archive.unzip(Path(in_zip[1]), folder)
        model = folder / in_zip[2]
    if not model.is_file():
        raise BadObject(f"{printable(ref.path)} is gone")
    return ModelFile(model, rotation)


def _files(root: Path, left_out: list[tuple[str, str]]) -> Iterator[str]:
    """POSIX paths below root of all files in a fixed order; hidden ones skipped, a folder visited once."""

    def leave_out(folder: str, error: OSError) -> None:
        left_out.append((printable(os.path.relpath(folder, root)), f"cannot be read: {error.strerror}"))

    seen: set[tuple[int, int]] = set()
    waiting = [str(root)]  # not os.walk, which recurses: a tree a thousand folders deep would end it
    while waiting:
        folder = waiting.pop()
        try:
            status = os.stat(folder)
            if (status.st_dev, status.st_ino) in seen:  # a link back into the tree
                continue
            seen.add((status.st_dev, status.st_ino))
            with os.scandir(folder) as scan:
                entries = sorted(scan, key=lambda entry: entry.name)
        except OSError as error:
            leave_out(folder, error)
            continue
        folders = []
        for entry in entries:
            if _is_hidden(entry.name):
                continue
            if _is_folder(entry):
                folders.append(entry.path)
            else:
                yield Path(os.path.relpath(entry.path, root)).as_posix()
        waiting += reversed(folders)


def _is_folder(entry: os.DirEntry) -> bool:
    """Whether it is a folder, or a link to one. A link to itself is none."""
    try:
        return entry.is_dir()
    except OSError:
        return False


def _check_regular(path: Path) -> None:
    """BadObject for what is no plain file: a pipe or a device would never end, a link may lead nowhere."""
    kind = os.stat(path).st_mode
    if not stat.S_ISREG(kind):
        raise BadObject("not a regular file (a pipe, socket or device)")


def _is_hidden(name: str) -> bool:
    return name.startswith(".") or name == "__MACOSX"


def _models_in_zip(path: Path) -> list[str]:
    """Models in a zip by their path inside; BadObject when there is none or the zip cannot be trusted."""
    with archive.open_zip(path) as opened:
        members = [PurePosixPath(name) for name in sorted(archive.safe_members(opened))]
    shown = [member for member in members if not any(map(_is_hidden, member.parts))]
    models = [str(member) for member in shown if member.suffix.lower() in MODELS]
    if not models:
        advice = [UNREADABLE[suffix] for suffix in (member.suffix.lower() for member in shown) if suffix in UNREADABLE]
        if not advice and any(member.suffix.lower() == ".zip" for member in shown):
            raise BadObject("only archives in the archive: unpack the outer one")
        raise BadObject(advice[0] if advice else "no model in the archive")
    return models


def _ref(root: Path, address: str, digest: str, synsets: dict[str, str]) -> ObjectRef:
    """`address` is the path below the root, for a zip followed by "!" and the path inside."""
    path = f"{root.absolute().as_posix()}/{address}"
    folders = PurePosixPath(address.partition("!")[0]).parts[:-1]
    shapenet = _SHAPENET_V2.search(path)
    folder = shapenet[1] if shapenet else folders[0] if folders and not _OBJAVERSE.search(path) else "unknown"
    category = printable(synsets.get(folder, folder))
    name = shapenet[2] if shapenet else _telling_name(address)
    # The slugs are for reading. The hash of the path makes ids unique, also where an alphabet leaves no slug.
    stem = "-".join(filter(None, [slug(name), short_hash(address)]))
    return ObjectRef(
        id=f"{slug(category) or short_hash(category)}/{stem}",
        source="directory",
        category=category,
        family=category if shapenet else "",  # ShapeNetCore aligns the models of a category
        path=path,
        name=name,
        digest=digest,
    )


def _telling_name(address: str) -> str:
    """The file's stem, or the nearest folder's or archive's above it when the stem says nothing ("model")."""
    stems = [printable(PurePosixPath(part).stem) for part in re.split(r"[/!]", address)]
    return next((stem for stem in reversed(stems) if stem.lower() not in _NAMELESS), stems[-1])


def _synset_names(root: Path) -> dict[str, str]:
    """ShapeNet's synset -> first name, from a taxonomy.json in or just above `root`; {} without one."""
    names: dict[str, str] = {}
    for file in (root.absolute().parent / "taxonomy.json", root / "taxonomy.json"):
        try:
            entries = json.loads(file.read_text(encoding="utf-8"))
            names.update((str(entry["synsetId"]), str(entry["name"]).split(",")[0].strip()) for entry in entries)
        except (OSError, ValueError, TypeError, KeyError, RecursionError):
            continue
    return names
