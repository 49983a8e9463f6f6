"""Digests of model files together with the files that they name: materials, textures, buffers."""

from __future__ import annotations

import hashlib
import os
import re
import urllib.parse
from pathlib import Path

from assets import cache, obj
from assets.names import short_hash

_MAX_TEXT = 256 << 20  # bytes of a model file that are searched for the files it names
_URI = re.compile(rb'"uri"\s*:\s*"([^"]{1,1024})"')  # glTF
_INIT_FROM = re.compile(rb"<init_from>\s*(?:<ref>)?\s*([^<]{1,1024}?)\s*<")  # Collada 1.4 and 1.5


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
        files = [relative, *self._companions(relative)]
        stamps = {file: self._stamp(file) for file in files}
        digest = hashlib.sha256()
        for file in files:
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
        if not path.is_file():
            return []
        status = path.stat()
        return [status.st_size, status.st_mtime_ns]

    def _companions(self, relative: str) -> list[str]:
        """Paths below the root of the files that a model names, also missing ones, each once.

        Names that lead out of the root are passed over: they do not travel with the folder.
        """
        folder = os.path.dirname(relative)
        named = named_files(self._root / relative)
        for library in [name for name in named if name.lower().endswith(".mtl")]:
            path = os.path.normpath(os.path.join(folder, library))
            if not _leads_out(path) and self._stamp(path):
                with open(self._root / path, "rb") as opened:
                    maps = obj.texture_maps(obj.decode(opened.read(_MAX_TEXT)))
                named += [os.path.join(os.path.dirname(library), texture) for *_, texture in maps]
        paths = [os.path.normpath(os.path.join(folder, name)) for name in named]
        return list(dict.fromkeys(path for path in paths if not _leads_out(path)))


def named_files(model: Path) -> list[str]:
    """File names in the text of an OBJ, glTF or Collada file, relative to its folder; [] for other formats.

    By patterns, not parsers: a malformed file names nothing, and no entity can explode.
    """
    suffix = model.suffix.lower()
    if suffix not in (".obj", ".gltf", ".dae"):
        return []  # .glb and .zip carry all they need
    with open(model, "rb") as opened:
        text = opened.read(_MAX_TEXT)
    if suffix == ".obj":
        names = obj.material_libraries(text)
    else:
        found = (_URI if suffix == ".gltf" else _INIT_FROM).findall(text)
        names = [urllib.parse.unquote(obj.decode(name)).replace("\\", "/") for name in found]
    return [name.removeprefix("file://") for name in names if not name.startswith("data:") and "\0" not in name]


def _leads_out(path: str) -> bool:
    return os.path.isabs(path) or path.split(os.sep)[0] == ".."
