"""Zip files from outside: looked into and unpacked without trusting a word they say."""

from __future__ import annotations

import errno
import shutil
import stat
import zipfile
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import BinaryIO

from assets.errors import BadObject

MAX_FILES = 10_000
MAX_BYTES = 2 << 30  # unpacked, all files together
MAX_RATIO = 250  # unpacked / packed of all files together; judged only above RATIO_FREE_BYTES
RATIO_FREE_BYTES = 64 << 20  # small files of one colour pack a thousand to one, harmlessly

_CORRUPT = (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError, ValueError, OSError)
_MACHINE = (errno.ENOSPC, errno.EDQUOT, errno.EIO)  # no fault of the archive's


def safe_members(archive: zipfile.ZipFile) -> dict[str, zipfile.ZipInfo]:
    """The files of an archive by the path (POSIX, relative) that they may be unpacked to.

    Raises BadObject for a path that is absolute or climbs out, a link or other special file, an encrypted
    file, and for more files or bytes than the limits above.
    """
    entries = archive.infolist()
    if len(entries) > MAX_FILES:
        raise BadObject(f"the archive holds {len(entries)} files, more than {MAX_FILES}")
    unpacked = sum(entry.file_size for entry in entries)
    if unpacked > MAX_BYTES:
        raise BadObject(f"the archive would unpack to {unpacked >> 20} MiB, more than {MAX_BYTES >> 20}")
    packed = sum(entry.compress_size for entry in entries)
    if unpacked > RATIO_FREE_BYTES and unpacked > MAX_RATIO * packed:
        raise BadObject(f"a zip bomb? It would unpack to {unpacked // max(packed, 1)} times its size")
    return {safe_path(entry.filename): _checked(entry) for entry in entries if not entry.is_dir()}


def safe_path(name: str) -> str:
    """`name` as a relative POSIX path without '..'; BadObject when it is none."""
    path = PurePosixPath(name.replace("\\", "/"))
    if path.is_absolute() or ".." in path.parts or not path.parts or ":" in path.parts[0] or "\0" in name:
        raise BadObject(f"the archive holds the unsafe path {name!r}")
    return str(path)


def unzip(source: Path, target: Path) -> None:
    """Unpack every file of the zip `source` below the folder `target`, or raise as `write_members`."""
    with open_zip(source) as archive:
        write_members(archive, safe_members(archive).items(), target)


def open_zip(source: Path | BinaryIO) -> zipfile.ZipFile:
    """The opened archive; BadObject when it is none."""
    with _blaming("not a readable zip file"):
        return zipfile.ZipFile(source)


def write_members(archive: zipfile.ZipFile, members: Iterable[tuple[str, zipfile.ZipInfo]], target: Path) -> None:
    """Write members, given with their safe paths, below `target`; BadObject, or OSError for a full or failing disk."""
    for path, entry in members:
        file = target / path
        with _blaming(f"{path} in the archive"):
            file.parent.mkdir(parents=True, exist_ok=True)
            # zipfile stops at the size that was declared and checked, and then compares the checksum.
            with archive.open(entry) as packed, open(file, "xb") as unpacked:
                shutil.copyfileobj(packed, unpacked)


def read_member(archive: zipfile.ZipFile, entry: zipfile.ZipInfo) -> bytes:
    """The content of one member; BadObject when it is corrupt."""
    with _blaming(f"{entry.filename} in the archive"):
        return archive.read(entry)


@contextmanager
def _blaming(what: str) -> Iterator[None]:
    """Errors as BadObject about `what`; a full or failing disk, which makes no object bad, as the OSError it is."""
    try:
        yield
    except _CORRUPT as error:
        if isinstance(error, OSError) and error.errno in _MACHINE:
            raise
        raise BadObject(f"{what}: {error}") from None


def _checked(entry: zipfile.ZipInfo) -> zipfile.ZipInfo:
    kind = stat.S_IFMT(entry.external_attr >> 16)
    if kind not in (0, stat.S_IFREG):
        raise BadObject(f"the archive holds {entry.filename!r}, which is a link or a special file")
    if entry.flag_bits & 1:
        raise BadObject(f"the archive is encrypted ({entry.filename!r})")
    return entry
