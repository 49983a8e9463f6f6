"""Image files: without metadata (Cycles writes its render times into JPEG and PNG), and PNGs made of arrays."""

import struct
import zlib

import numpy as np

_PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_PNG_METADATA = {b"tEXt", b"zTXt", b"iTXt", b"tIME", b"eXIf"}


def without_metadata(data: bytes, image_format: str) -> bytes:
    """The same picture, bit for bit, without comments, times and application data.

    Args:
        data: a whole image file as Blender writes it.
        image_format: "jpg", "png" or "webp" (Blender writes no metadata into WebP: returned as it is).

    Raises ValueError for a file that is not of that format.
    """
    if image_format == "jpg":
        return _jpeg(data)
    return _png(data) if image_format == "png" else data


def _jpeg(data: bytes) -> bytes:
    if not data.startswith(b"\xff\xd8"):
        raise ValueError("not a JPEG file")
    kept, position = [data[:2]], 2
    while position + 4 <= len(data):
        marker, length = struct.unpack_from(">HH", data, position)
        end = position + 2 + length
        if marker == 0xFFDA:  # start of scan: the rest is the picture
            return b"".join([*kept, data[position:]])
        # Comments, and application data other than APP0 (JFIF).
        if marker != 0xFFFE and not 0xFFE1 <= marker <= 0xFFEF:
            kept.append(data[position:end])
        position = end
    raise ValueError("a JPEG file without a picture")


def _png(data: bytes) -> bytes:
    if not data.startswith(_PNG_SIGNATURE):
        raise ValueError("not a PNG file")
    kept, position = [_PNG_SIGNATURE], len(_PNG_SIGNATURE)
    while position + 12 <= len(data):
        length, kind = struct.unpack_from(">I4s", data, position)
        end = position + 12 + length
        if kind not in _PNG_METADATA:
            kept.append(data[position:end])
        position = end
    return b"".join(kept)


def png(pixels: np.ndarray) -> bytes:
    """A PNG file of 8-bit pixels: (H, W) uint8 grey or (H, W, 3) uint8 RGB, row 0 on top."""
    height, width = pixels.shape[:2]
    colour_type = {2: 0, 3: 2}[pixels.ndim]
    rows = pixels.reshape(height, -1)
    # Each row as what it adds to the row above (filter type 2): smooth pictures become mostly zeros.
    filtered = np.diff(rows, axis=0, prepend=np.zeros_like(rows[:1]))
    lines = np.concatenate([np.full((height, 1), 2, np.uint8), filtered], axis=1)
    chunks = (
        (b"IHDR", struct.pack(">2I5B", width, height, 8, colour_type, 0, 0, 0)),
        (b"IDAT", zlib.compress(lines.tobytes(), 6)),
        (b"IEND", b""),
    )
    packed = (struct.pack(">I", len(d)) + kind + d + struct.pack(">I", zlib.crc32(kind + d)) for kind, d in chunks)
    return b"".join([_PNG_SIGNATURE, *packed])
