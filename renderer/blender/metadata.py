"""Image files without the comments that Blender writes into them.

Cycles adds its render times to every file, whatever the stamp options say; with them no two files would be equal.
"""

import struct

from assets.errors import UserError


def strip(data: bytes, image_format: str) -> bytes:
    """The image file `data` with everything left out that is not needed to decode its pixels."""
    return STRIPPERS[image_format](data)


def _strip_jpeg(data: bytes) -> bytes:
    """Without comments and application segments (ISO/IEC 10918-1, annex B) except JFIF's, which is constant."""
    kept, position = [data[:2]], 2
    while data[position] == 0xFF and data[position + 1] != 0xDA:  # up to the start of the scan
        marker, length = struct.unpack_from(">xBH", data, position)
        segment = data[position : position + 2 + length]
        if marker == 0xE0 or not (0xE1 <= marker <= 0xEF or marker == 0xFE):
            kept.append(segment)
        position += 2 + length
    return b"".join([*kept, data[position:]])


def _strip_png(data: bytes) -> bytes:
    """With the critical chunks only (ISO/IEC 15948): those whose names begin with a capital letter."""
    kept, position = [data[:8]], 8
    while position < len(data):
        length, name = struct.unpack_from(">I4s", data, position)
        chunk = data[position : position + 12 + length]
        if name[:1].isupper():
            kept.append(chunk)
        position += 12 + length
    return b"".join(kept)


def _strip_webp(data: bytes) -> bytes:
    """The file as it is: Blender writes one chunk of pixels and nothing else; anything more is an error."""
    if data[12:16] not in (b"VP8 ", b"VP8L"):
        raise UserError(f"this Blender writes WebP files with {data[12:16]!r} in them; use --format jpg or png")
    return data


STRIPPERS = {"jpg": _strip_jpeg, "png": _strip_png, "webp": _strip_webp}
