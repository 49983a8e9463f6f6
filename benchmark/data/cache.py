"""Decoded tables on disk, mapped into memory: what does not fit into RAM, or is shared by several processes.

An entry is a folder CACHE/KEY with images.npy (uint8 (N, 3, H, W)), labels.npz and manifest.json, which holds the
sha256 of every piece of both. KEY stands for what the images come from, shard by shard. An entry appears whole, by a
rename, and is checked whenever it is opened; whatever is wrong with it, it is made again. Deleting the folder frees
its space and loses nothing.
"""

import fcntl
import hashlib
import json
import os
import shutil
import sys
import tempfile
import warnings
import zipfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from benchmark.data.place import in_words
from benchmark.errors import UserError

_FORMAT = "gr3d-table-1"
_IMAGES, _LABELS, _MANIFEST = "images.npy", "labels.npz", "manifest.json"
_PIECE = 1 << 26  # bytes under one digest: large enough that threads hash side by side

Allocate = Callable[[tuple[int, int, int, int]], np.ndarray]
Labels = dict[str, np.ndarray | list[str]]  # N each


def cache_folder() -> Path:
    """$XDG_CACHE_HOME/gr3d/tables, by default ~/.cache/gr3d/tables."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "gr3d" / "tables"


def mapped(identity: list, decode: Callable[[Allocate], Labels], name: str) -> tuple[Tensor, Labels, Path]:
    """(uint8 (N, 3, H, W) mapped read-only, labels, the entry's folder), decoded first where there is no sound entry.

    identity: JSON values that decide the content. decode: calls its argument once for the array to fill, then
    returns the labels. name: of the table, for messages. Of several processes one decodes, the others wait for it.
    UserError when there is no room or no right to write, and what `decode` raises.
    """
    key = hashlib.sha256(json.dumps([_FORMAT, identity]).encode()).hexdigest()
    entry = cache_folder() / key[:32]
    try:
        entry.parent.mkdir(parents=True, exist_ok=True)
        with _locked(entry, name):
            if not _is_sound(entry, key):
                _make(entry, key, decode)
            return *_open(entry), entry
    except OSError as error:
        raise UserError(
            f"{entry.parent}: the decoded images of {name} cannot be kept there ({error.strerror or error}); "
            "make room, set XDG_CACHE_HOME to another folder, or give --table ram"
        ) from error


@contextmanager
def _locked(entry: Path, name: str) -> Iterator[None]:
    """Hold the entry for this process. Without effect on file systems that know no locks: then the last rename wins."""
    with entry.with_name(f"{entry.name}.lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print(f"{name}: waits for another process that decodes it", file=sys.stderr)
            fcntl.flock(file, fcntl.LOCK_EX)
        except OSError:
            pass
        yield


def _is_sound(entry: Path, key: str) -> bool:
    """Whether the entry is there and every byte of it is as it was written. Says so if it is there and is not."""
    if not entry.exists():
        return False
    try:
        manifest = json.loads((entry / _MANIFEST).read_text())
        if manifest["key"] != key:
            raise ValueError("made of other images")
        for file in (_IMAGES, _LABELS):
            if _digests(entry / file) != manifest["sha256"][file]:
                raise ValueError(f"{file} is not as it was written")
        images, labels = _open(entry)
        if images.dim() != 4 or images.dtype != torch.uint8:
            raise ValueError(f"{_IMAGES} holds no images")
        if any(len(value) != len(images) for value in labels.values()):
            raise ValueError(f"{_LABELS} are of other images")
    except (OSError, ValueError, KeyError, TypeError, AttributeError, zipfile.BadZipFile) as error:
        print(f"{entry}: damaged ({error}); made again", file=sys.stderr)
        return False
    return True


def _make(entry: Path, key: str, decode: Callable[[Allocate], Labels]) -> None:
    for left in entry.parent.glob(f".{entry.name}.*"):  # by a process that was killed
        shutil.rmtree(left, ignore_errors=True)
    aside = Path(tempfile.mkdtemp(prefix=f".{entry.name}.", dir=entry.parent))
    try:
        labels = decode(lambda shape: _allocate(aside / _IMAGES, shape))
        np.savez(aside / _LABELS, **{name: _as_array(value) for name, value in labels.items()})
        digests = {file: _digests(aside / file) for file in (_IMAGES, _LABELS)}
        (aside / _MANIFEST).write_text(json.dumps({"key": key, "sha256": digests}))
        for path in aside.iterdir():
            with path.open("rb+") as file:
                os.fsync(file.fileno())
        shutil.rmtree(entry, ignore_errors=True)
        aside.rename(entry)
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def _allocate(path: Path, shape: tuple[int, int, int, int]) -> np.ndarray:
    """A mapped array whose blocks on disk are there: a write into a mapping that finds none would kill the process."""
    needed = int(np.prod(shape))
    if (free := shutil.disk_usage(path.parent).free) < needed:
        raise OSError(f"{in_words(needed)} needed, {in_words(free)} free")
    array = np.lib.format.open_memmap(path, mode="w+", dtype=np.uint8, shape=shape)
    if hasattr(os, "posix_fallocate"):
        with path.open("rb+") as file:
            os.posix_fallocate(file.fileno(), 0, path.stat().st_size)
    return array


def _digests(path: Path) -> list[str]:
    """sha256 of every _PIECE bytes, read side by side."""

    def digest(start: int) -> str:
        with path.open("rb") as file:
            file.seek(start)
            return hashlib.sha256(file.read(_PIECE)).hexdigest()

    with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
        return list(pool.map(digest, range(0, path.stat().st_size, _PIECE)))


def _as_array(value: np.ndarray | list[str]) -> np.ndarray:
    """Text as bytes of JSON: an array of strings would give every one the room of the longest."""
    return value if isinstance(value, np.ndarray) else np.frombuffer(json.dumps(value).encode(), np.uint8)


def _open(entry: Path) -> tuple[Tensor, Labels]:
    with np.load(entry / _LABELS, allow_pickle=False) as file:
        labels = {
            name: json.loads(value.tobytes()) if value.dtype == np.uint8 else value for name, value in file.items()
        }
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*not writable")  # nobody writes into a table
        return torch.from_numpy(np.load(entry / _IMAGES, mmap_mode="r", allow_pickle=False)), labels
