"""Reads the OpenEXR files that the passes scene writes: scan lines, one part, not compressed, 32-bit floats.

Only NumPy is there inside Blender, and Blender hands a render's passes to Python in no other way.
Layout: https://openexr.com/en/latest/OpenEXRFileLayout.html
"""

import struct

import numpy as np

_MAGIC = b"\x76\x2f\x31\x01"
_OTHER_KINDS = 0x200 | 0x800 | 0x1000  # version flags: tiles, deep data, several parts
_NO_COMPRESSION, _FLOAT = 0, 2


def read(data: bytes) -> dict[str, np.ndarray]:
    """Channel name ("ViewLayer.Depth.Z") -> values (height, width) float32, row 0 on top.

    Args:
        data: the whole file.

    Raises ValueError for what is no such file, or not all of it.
    """
    try:
        return _read(data)
    except (struct.error, IndexError, KeyError) as error:
        raise ValueError(f"not a whole OpenEXR file ({error})") from None


def _read(data: bytes) -> dict[str, np.ndarray]:
    if not data.startswith(_MAGIC) or struct.unpack_from("<I", data, 4)[0] & _OTHER_KINDS:
        raise ValueError("not an OpenEXR file of scan lines in one part")
    header, position = _header(data, 8)
    channels = _channels(header["channels"])
    if header["compression"][0] != _NO_COMPRESSION:
        raise ValueError("a compressed OpenEXR file")
    left, top, right, bottom = struct.unpack("<4i", header["dataWindow"])
    width, height = right - left + 1, bottom - top + 1
    # After a table of offsets comes a block for every line: its number, its size, then channel after channel.
    line = np.dtype([("row", "<i4"), ("size", "<i4"), ("values", "<f4", (len(channels), width))])
    lines = np.frombuffer(data, line, height, position + 8 * height)
    values = np.empty((len(channels), height, width), np.float32)
    values[:, lines["row"] - top] = lines["values"].transpose(1, 0, 2)
    return dict(zip(channels, values, strict=True))


def _header(data: bytes, position: int) -> tuple[dict[str, bytes], int]:
    """The attributes, name -> content, and where the header ends."""
    attributes = {}
    while data[position]:
        name, position = _text(data, position)
        _, position = _text(data, position)  # its type, which the name implies
        (size,) = struct.unpack_from("<I", data, position)
        attributes[name] = data[position + 4 : position + 4 + size]
        position += 4 + size
    return attributes, position + 1


def _channels(listed: bytes) -> list[str]:
    names, position = [], 0
    while listed[position]:
        name, position = _text(listed, position)
        kind, _, across, down = struct.unpack_from("<4i", listed, position)
        if (kind, across, down) != (_FLOAT, 1, 1):
            raise ValueError(f"channel {name} does not hold a 32-bit float for every pixel")
        names.append(name)
        position += 16
    return names


def _text(data: bytes, position: int) -> tuple[str, int]:
    end = data.find(b"\0", position)
    if end < 0:
        raise ValueError("not a whole OpenEXR file")
    return data[position:end].decode(errors="replace"), end + 1
