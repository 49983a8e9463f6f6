"""Files that are whole or not there at all, and locks that end with their holder."""

import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from assets.errors import UserError


@contextmanager
def flocked(path: Path, *, shared: bool = False, wait: bool = False) -> Iterator[None]:
    """Hold the lock file `path`, which is made if need be. The kernel lets go of it when its holder dies.

    Raises BlockingIOError if another process holds it (unless both share it) and `wait` is not set.
    """
    with path.open("a+") as file:  # over NFS a shared lock needs a file open for reading, an exclusive one for writing
        fcntl.flock(file, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | (0 if wait else fcntl.LOCK_NB))
        yield


@contextmanager
def replacement(path: Path) -> Iterator[BinaryIO]:
    """A file that takes the place of `path` when the context ends, so that a kill or a power cut leaves the old or the
    new one, whole; after an exception `path` is what it was."""
    aside = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with aside.open("wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        aside.replace(path)
    except BaseException:
        with suppress(OSError):
            aside.unlink()
        raise
    sync_folder(path.parent)


def write_atomically(path: Path, data: bytes) -> None:
    """Put `data` under `path`, as `replacement` does."""
    with replacement(path) as file:
        file.write(data)


def sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def write_json(path: Path, value: object) -> None:
    write_atomically(path, (json.dumps(value, indent=1, ensure_ascii=False) + "\n").encode())


def read_json(path: Path, default: object) -> dict:
    """The JSON object in `path`, `default` if there is no such file. Raises UserError if it is damaged."""
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return default
    except (ValueError, OSError) as error:
        raise UserError(f"{path}: cannot be read ({error}); restore it, or render into another --out") from None
    if not isinstance(value, dict):
        raise UserError(f"{path}: does not hold a JSON object; restore it, or render into another --out")
    return value
