"""Reads the published files. They come from outside: nothing in them is run, nothing they claim is believed."""

import io
import math
import os
import re
import stat
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from assets.errors import UserError
from renderer.latents import LATENTS
from renderer.threediebench.labels import PUBLISHED

LISTS = {"train": "train_images.npy", "val": "val_images.npy"}

MOST_IMAGE_BYTES, MOST_LATENT_BYTES, MOST_LIST_BYTES = 16 << 20, 4096, 256 << 20
_NAME = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9_.-]*")
_VIEW = re.compile(r"(?:image_(0|[1-9]\d{0,3})\.jpg|latent_(0|[1-9]\d{0,3})\.npy)")
_TOLERANCE = 1e-6  # float32 copies of the latents may lie this far outside their ranges


class BadFileError(ValueError):
    """A file that cannot be used; the message says why."""


@dataclass(frozen=True)
class Item:
    """One object: its id "SYNSET/OBJECT", and how many views it should have (one more than its last one's number)."""

    id: str
    views: int


def find_items(root: Path) -> tuple[list[Item], dict[str, str]]:
    """The objects below `root`, sorted by id, and what is wrong with object folders: name -> reason.

    Raises UserError (exit code 2) if there is no object at all.
    """
    items, problems = [], {}
    for synset in _folders(root):
        for folder in _folders(synset):
            name = f"{synset.name}/{folder.name}"
            if not (_NAME.fullmatch(synset.name) and _NAME.fullmatch(folder.name)):
                problems[ascii(name)] = "left out: object folders have names of letters, digits, '_', '-' and '.'"
                continue
            try:
                views = _view_count(folder)
            except OSError as error:
                problems[name] = f"left out: cannot be listed ({error.strerror})"
                continue
            if views:
                items.append(Item(name, views))
            else:
                problems[name] = "left out: holds no image_{i}.jpg and no latent_{i}.npy"
    if not items:
        raise UserError(f"{root}: holds no SYNSET/OBJECT/image_0.jpg; name the folder of the synsets", exit_code=2)
    usual = Counter(item.views for item in items).most_common(1)[0][0]
    problems |= {i.id: f"has {i.views} views, most objects have {usual}" for i in items if i.views < usual}
    return items, problems


def _folders(parent: Path) -> list[Path]:
    try:
        with os.scandir(parent) as entries:
            return sorted(Path(entry.path) for entry in entries if entry.is_dir() and not entry.name.startswith("."))
    except OSError as error:
        raise UserError(f"{parent}: cannot be listed ({error.strerror})", exit_code=2) from None


def _view_count(folder: Path) -> int:
    with os.scandir(folder) as entries:
        matches = [match for entry in entries if (match := _VIEW.fullmatch(entry.name))]
    return max((int(match[1] or match[2]) + 1 for match in matches), default=0)


def read_image(path: Path, decode: Callable[[bytes], tuple[int, int]]) -> tuple[bytes, tuple[int, int]]:
    """The bytes of a JPEG as they are, and its (width, height). Raises BadFileError if `decode` does."""
    data = _bytes(path, MOST_IMAGE_BYTES)
    try:
        return data, decode(data)
    except Exception as error:  # decoders raise all sorts of things on damaged files
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise BadFileError(f"{path.name} does not decode ({reason})") from None


def read_latents(path: Path) -> list[float]:
    """The 7 published numbers. Raises BadFileError unless they are there, finite and in their ranges."""
    vector = read_npy(path, MOST_LATENT_BYTES)
    if vector.shape != (len(PUBLISHED),) or vector.dtype.kind != "f":
        raise BadFileError(f"{path.name} holds {vector.dtype} of shape {vector.shape}, not 7 floats")
    values = [float(value) for value in vector]
    for name, value in zip(PUBLISHED, values, strict=True):
        low, high = LATENTS[name]
        if not math.isfinite(value):
            raise BadFileError(f"{path.name}: {name} is {value}")
        if not low - _TOLERANCE <= value <= high + _TOLERANCE:
            raise BadFileError(f"{path.name}: {name} is {value:g}, not within {low:g} and {high:g}")
    return values


def read_lists(folder: Path) -> dict[str, set[str]]:
    """The official split of the objects: "train" and "val" -> ids.

    Raises UserError (exit code 2) if a list is missing or makes no sense.
    """
    lists = {}
    for split, name in LISTS.items():
        try:
            lists[split] = _ids(read_npy(folder / name, MOST_LIST_BYTES))
        except BadFileError as error:
            raise UserError(f"--lists {folder}: {error}", exit_code=2) from None
    if both := lists["train"] & lists["val"]:
        raise UserError(f"--lists {folder}: {min(both)} stands in both lists", exit_code=2)
    return lists


def _ids(entries: np.ndarray) -> set[str]:
    if entries.dtype.kind not in "US" or entries.ndim != 1:
        raise BadFileError(f"a list holds {entries.dtype} of shape {entries.shape}, not one text for each object")
    texts = (entry.decode("ascii", "replace") if isinstance(entry, bytes) else str(entry) for entry in entries)
    ids = {text.strip("/") for text in texts}
    if strange := next((name for name in sorted(ids) if name.count("/") != 1), None):
        raise BadFileError(f"a list names {strange!r}, which is not SYNSET/OBJECT")
    return ids


def read_npy(path: Path, most: int) -> np.ndarray:
    """An array from a .npy file of at most `most` bytes.

    Raises BadFileError for a file that is missing, too large, not .npy, of Python objects, or of another length than
    its header says.
    """
    data = io.BytesIO(_bytes(path, most))
    try:
        version = np.lib.format.read_magic(data)
        read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, fortran, dtype = read(data)
        rest = data.read()
        if dtype.hasobject or math.prod(shape) * dtype.itemsize != len(rest) or not dtype.itemsize:
            raise ValueError("its header and its length disagree")
        return np.frombuffer(rest, dtype).reshape(shape, order="F" if fortran else "C")
    except Exception as error:  # numpy parses the header as Python text: any fault of it is a fault of the file
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise BadFileError(f"{path.name} is not a usable .npy file ({reason})") from None


def _bytes(path: Path, most: int) -> bytes:
    """A regular file's content. A pipe or a device under its name is not waited for."""
    try:
        with open(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as file:
            info = os.fstat(file.fileno())
            if not stat.S_ISREG(info.st_mode):
                raise BadFileError(f"{path.name} is not a regular file")
            if info.st_size > most:
                raise BadFileError(f"{path.name} has {info.st_size} bytes, more than any such file should ({most})")
            return file.read()
    except FileNotFoundError:
        raise BadFileError(f"{path.name} is missing") from None
    except OSError as error:
        raise BadFileError(f"{path.name} cannot be read ({error.strerror})") from None
