"""Digests of model files together with the files that they name: materials, textures, buffers, layers."""

from __future__ import annotations

import hashlib
import os
import re
import struct
import urllib.parse
from collections.abc import Callable
from pathlib import Path, PurePosixPath

from assets import cache, obj, usd
from assets.errors import BadObject
from assets.names import short_hash

_MAX_TEXT = 256 << 20  # bytes of a model file that are searched for the files it names
_MAX_FILES = 2000  # that one model names, directly or through others
_URI = re.compile(rb'"uri"\s*:\s*"([^"]{1,1024})"')  # glTF
_INIT_FROM = re.compile(rb"<init_from>\s*(?:<ref>)?\s*([^<]{1,1024}?)\s*<")  # Collada 1.4 and 1.5
_URL = re.compile(rb"""\burl\s*=\s*["']([^"'#]{1,1024})""")  # Collada: a part of another document
_FBX_TEXT = re.compile(rb'\b(?:RelativeFilename|FileName|Filename):\s*"([^"\n]{1,1024})"')
_FBX_BINARY = re.compile(rb"(?:RelativeFilename|FileName|Filename)S(.{4})", re.DOTALL)
_PLY_TEXTURE = re.compile(rb"^comment +TextureFile +(.*\S)", re.MULTILINE | re.IGNORECASE)

#: Files whose own names count too: what they name, the model shows.
_NAMING = frozenset({".mtl", *usd.SUFFIXES})


class Digests:
    """sha256 of the models below one folder, kept in the cache folder.

    A model is read again only when the size or the time of change differs for it or for a file that it names.
    """

    def __init__(self, root: Path):
        self._root = root.resolve()
        self._cache_name = f"directory-{short_hash(str(self._root))}"
        self._known = cache.read(self._cache_name)
        self._now: dict[str, dict] = {}

    def of(self, relative: str) -> str:
        """Digest (hex) of the file at this path below the folder. OSError when it cannot be read."""
        if relative not in self._now:
            known = self._known.get(relative)
            self._now[relative] = known if self._stands(known) else self._new(relative)
        return self._now[relative]["digest"]

    def save(self) -> None:
        """Keep what was asked for since the start; the rest is forgotten."""
        if self._now != self._known:
            cache.write(self._cache_name, self._now)

    def _stands(self, entry: object) -> bool:
        """Whether an entry of the cache is well-formed and its files are as they were."""
        try:
            stamps = entry["stamps"]  # type: ignore[index]
            valid = re.fullmatch(r"[0-9a-f]{64}", entry["digest"]) and len(stamps) > 0  # type: ignore[index]
            return bool(valid) and all(self._stamp(file) == stamp for file, stamp in stamps.items())
        except (AttributeError, TypeError, KeyError, ValueError):
            return False

    def _new(self, relative: str) -> dict:
        companions = self._companions(relative)
        stamps = {file: self._stamp(file) for file in (relative, *companions)}
        digest = hashlib.sha256()
        for file in stamps:
            if companions.get(file) and not stamps[file]:
                continue
            # The model's own name does not count: a renamed copy is the same object.
            name = "" if file == relative else os.path.relpath(file, os.path.dirname(relative))
            digest.update(f"\0{name}\0".encode("utf-8", "surrogateescape"))
            if stamps[file]:
                with open(self._root / file, "rb") as opened:
                    digest.update(hashlib.file_digest(opened, "sha256").digest())
        return {"digest": digest.hexdigest(), "stamps": stamps}

    def _stamp(self, relative: str) -> list[int]:
        """[size, time of change in ns]; [] when there is no regular file (a device would never end)."""
        path = self._root / relative
        if not os.path.isfile(path):  # unlike Path.is_file, False for a name that is too long
            return []
        status = path.stat()
        return [status.st_size, status.st_mtime_ns]

    def _companions(self, relative: str) -> dict[str, bool]:
        """Paths below the root of the files that a model names, also missing ones, each once.

        The value is True for one of the same name beside the model, where the renderer looks for what is not where it
        is said to be: missing, it counts for nothing. Names that lead out of the root are passed over: they do not
        travel with the folder.
        """
        found: dict[str, bool] = {}
        waiting = [relative]
        while waiting and len(found) < _MAX_FILES:
            naming = waiting.pop(0)
            for name in named_files(self._root / naming):
                for candidate in dict.fromkeys((name, name.rpartition("/")[2])):
                    path = os.path.normpath(os.path.join(os.path.dirname(naming), candidate))
                    if path in found or path == relative or _leads_out(path):
                        continue
                    found[path] = candidate != name
                    if PurePosixPath(path).suffix.lower() in _NAMING and self._stamp(path):
                        waiting.append(path)
        return found


def named_files(model: Path) -> list[str]:
    """File names in a model, material or USD layer file, as it means them (mostly relative to its folder).

    Materials, textures, buffers and layers, by patterns, not parsers: a malformed file names nothing, and no entity can
    explode. .stl files name none. Those that a .blend names are not looked for: its textures should be packed.
    """
    find = _NAMES_IN.get(model.suffix.lower())
    if find is None:
        return []
    with open(model, "rb") as opened:
        names = find(opened.read(_MAX_TEXT))
    return [name for name in names if not name.startswith("data:") and "\0" not in name]


def gltf_json(data: bytes) -> bytes:
    """The JSON of a .gltf file, or of a .glb (12 bytes of header, then a chunk of JSON); ValueError if broken."""
    if data[:4] != b"glTF":
        return data
    try:
        length, kind = struct.unpack_from("<I4s", data, 12)
    except struct.error:
        raise ValueError("truncated") from None
    if kind != b"JSON" or 20 + length > len(data):
        raise ValueError("truncated")
    return data[20 : 20 + length]


def _in_gltf(data: bytes) -> list[str]:
    try:
        return [unquoted(name) for name in _URI.findall(gltf_json(data))]
    except ValueError:
        return []


def _in_collada(data: bytes) -> list[str]:
    return [unquoted(name) for name in _INIT_FROM.findall(data) + _URL.findall(data)]


def _in_mtl(data: bytes) -> list[str]:
    return [name for *_, name in obj.texture_maps(obj.decode(data))]


def _in_fbx(data: bytes) -> list[str]:
    if data.startswith(b"Kaydara"):
        found = []
        for match in _FBX_BINARY.finditer(data):
            (length,) = struct.unpack("<I", match[1])
            found.append(data[match.end() : match.end() + min(length, 1024)])
    else:
        found = _FBX_TEXT.findall(data)
    return [obj.decode(name).replace("\\", "/") for name in found if name]


def _in_ply(data: bytes) -> list[str]:
    return [obj.decode(name) for name in _PLY_TEXTURE.findall(data[: data.find(b"end_header")])]


def _in_usd(data: bytes) -> list[str]:
    """Of all strings in it those that end like a file's name: most are names of properties."""
    try:
        return [name for name in usd.strings(data) if re.search(r"\.\w{1,5}$", name)]
    except BadObject:
        return []


_NAMES_IN: dict[str, Callable[[bytes], list[str]]] = {
    ".obj": obj.material_libraries,
    ".mtl": _in_mtl,
    ".gltf": _in_gltf,
    ".glb": _in_gltf,
    ".dae": _in_collada,
    ".fbx": _in_fbx,
    ".ply": _in_ply,
    **dict.fromkeys(usd.SUFFIXES, _in_usd),
}


def unquoted(name: bytes) -> str:
    """A URI as a path."""
    return urllib.parse.unquote(obj.decode(name)).replace("\\", "/").removeprefix("file://")


def _leads_out(path: str) -> bool:
    return os.path.isabs(path) or path.split(os.sep)[0] == ".."
