"""What a .blend file holds, read from the headers of its blocks before Blender opens it.

The format: a file header with the sizes of a pointer and of numbers, then blocks, each a header (code, length) and so
many bytes (doc/blender_file_format in Blender's sources; the larger headers are those of 5.0 and later).
"""

import gzip
import io
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from assets.errors import BadObject

#: Bytes, unpacked, of all blocks together.
MOST_BYTES = 2 << 30

_GZIP, _ZSTD = b"\x1f\x8b", b"\x28\xb5\x2f\xfd"
_LIBRARY = b"LI\0\0"


def check_blend(path: Path) -> None:
    """Raise BadObject for a file that is no .blend, is damaged or too large, or takes data from other .blend files.

    Blender would open those as soon as something of them is used.
    """
    with _unpacked(path) as file:
        try:
            linked = _LIBRARY in _block_codes(file)
        except BadObject:
            raise
        except Exception as error:  # every way of packing has errors of its own
            raise BadObject(f"a damaged .blend file ({error})") from None
    if linked:
        raise BadObject("it takes data from another .blend file (in Blender: Object > Relations > Make Local > All)")


def _unpacked(path: Path) -> BinaryIO:
    with path.open("rb") as file:
        head = file.read(4)
    if head[:2] == _GZIP:
        return gzip.open(path)
    if head == _ZSTD:
        try:
            import zstandard  # comes with Blender since 3.0, but not with Debian's
        except ImportError:
            raise BadObject(
                "a compressed .blend file, which this Blender's Python cannot look into: save it uncompressed"
            ) from None
        return io.BufferedReader(zstandard.ZstdDecompressor().stream_reader(path.open("rb"), closefd=True))
    return path.open("rb")


def _block_codes(file: BinaryIO) -> Iterator[bytes]:
    """The four bytes that say what each block is, up to the end block. struct.error where the file breaks off."""
    layout = _block_layout(file)
    total = 0
    while True:
        code, length = _code_and_length(layout, file.read(layout.size))
        if code == b"ENDB":
            return
        yield code
        total += length
        if length < 0 or total > MOST_BYTES:
            raise BadObject(f"a .blend file that would unpack to more than {MOST_BYTES >> 20} MiB")
        _skip(file, length)


def _skip(file: BinaryIO, length: int) -> None:
    while length:
        read = len(file.read(min(length, 1 << 20)))
        if not read:
            raise EOFError("it breaks off")
        length -= read


def _block_layout(file: BinaryIO) -> struct.Struct:
    """Layout of block headers: code, int length, pointer, int, int; since 5.0 code, int, pointer, long length, long."""
    head = file.read(12)
    if head[:7] != b"BLENDER":
        raise BadObject("not a .blend file")
    if head[7:9].isdigit():  # the size of this header: "BLENDER17-01v0500"
        file.read(int(head[7:9]) - len(head))
        return struct.Struct("<4siQqq")
    order = {b"v": "<", b"V": ">"}.get(head[8:9])
    pointer = {b"_": "I", b"-": "Q"}.get(head[7:8])
    if order is None or pointer is None:
        raise BadObject("not a .blend file")
    return struct.Struct(f"{order}4si{pointer}ii")


def _code_and_length(layout: struct.Struct, header: bytes) -> tuple[bytes, int]:
    fields = layout.unpack(header)
    return fields[0], fields[3] if layout.format == "<4siQqq" else fields[1]
