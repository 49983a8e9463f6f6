"""The strings of USD files that may be paths of other files, found without USD's own library.

What is in a text file (.usda) between @ and @ is a path. In a binary "crate" file (.usdc) every string of the file,
paths among them, stands in one table of tokens. A package (.usdz) is a zip of such files, a .usd one of the first two.
Layout of the crate after pxr/usd/usd/crateFile.h and pxr/base/tf/fastCompression.h (OpenUSD).
"""

from __future__ import annotations

import io
import re
import struct

from assets import archive
from assets.errors import BadObject

SUFFIXES = frozenset({".usd", ".usda", ".usdc", ".usdz"})

_ASSET = re.compile(rb"@@@(.{1,4096}?)@@@|@([^@\n]{1,4096})@", re.DOTALL)
_MAX_TOKENS = 64 << 20  # bytes, unpacked
_CRATE, _ZIP = b"PXR-USDC", b"PK\x03\x04"


def strings(data: bytes) -> list[str]:
    """Every string of a USD file, in any of its forms, that could be a path; packed files' included.

    Raises BadObject for a binary file that is damaged, as one cannot say then what it would make a reader open.
    """
    if data.startswith(_CRATE):
        try:
            found = _tokens(data).split(b"\0")
        except (struct.error, ValueError, IndexError, OverflowError) as error:
            raise BadObject(f"a damaged binary USD file ({error})") from None
    elif data.startswith(_ZIP):
        return _packed_strings(data)
    else:
        found = [long or short for long, short in _ASSET.findall(data)]
    return [string.decode("utf-8", "replace") for string in found if string]


def _packed_strings(data: bytes) -> list[str]:
    """Strings of the layers in a package, without those that name another file of the package."""
    found: list[str] = []
    with archive.open_zip(io.BytesIO(data)) as package:
        members = archive.safe_members(package)
        for name, member in members.items():
            if name.lower().endswith((".usd", ".usda", ".usdc")):
                found += strings(archive.read_member(package, member))
    return [string for string in found if string.removeprefix("./") not in members]


def _tokens(data: bytes) -> bytes:
    """The table of tokens of a crate file: strings, each followed by a zero byte."""
    version = tuple(data[8:11])
    (table,) = struct.unpack_from("<q", data, 16)
    (count,) = struct.unpack_from("<Q", data, table)
    for number in range(min(count, 64)):
        name, start, _ = struct.unpack_from("<16sqq", data, table + 8 + 32 * number)
        if name.rstrip(b"\0") == b"TOKENS":
            break
    else:
        raise ValueError("no tokens")
    if version < (0, 4, 0):
        _, size = struct.unpack_from("<QQ", data, start)
        return data[start + 16 : start + 16 + size]
    _, size, packed = struct.unpack_from("<QQQ", data, start)
    if size > _MAX_TOKENS or packed > len(data):
        raise ValueError(f"{size} bytes of tokens")
    return _unpacked(data[start + 24 : start + 24 + packed])


def _unpacked(data: bytes) -> bytes:
    """USD's framing of LZ4 blocks: a byte says how many, 0 for a single one without its size."""
    chunks = data[0]
    if chunks == 0:
        return _lz4(data[1:])
    out, at = [], 1
    for _ in range(chunks):
        (size,) = struct.unpack_from("<i", data, at)
        out.append(_lz4(data[at + 4 : at + 4 + size]))
        at += 4 + size
    return b"".join(out)


def _lz4(data: bytes) -> bytes:
    """One LZ4 block (lz4_Block_format.md): runs of literals, each followed by a match in what is already out."""
    out, at = bytearray(), 0

    def length(nibble: int) -> int:
        nonlocal at
        total = nibble
        while nibble == 15:
            total += data[at]
            at += 1
            if data[at - 1] != 255:
                break
        return total

    while at < len(data):
        token = data[at]
        at += 1
        literals = length(token >> 4)
        out += data[at : at + literals]
        at += literals
        if at >= len(data):
            break
        offset = data[at] | data[at + 1] << 8
        at += 2
        match = length(token & 15) + 4
        if not 0 < offset <= len(out) or len(out) + match > _MAX_TOKENS:
            raise ValueError("a match outside the data")
        for _ in range(-(-match // offset)):  # a match may overlap itself
            piece = out[len(out) - offset : len(out) - offset + min(match, offset)]
            out += piece
            match -= len(piece)
    return bytes(out)
