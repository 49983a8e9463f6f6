"""Coordinates in model files that are no finite numbers: Blender's importers read most of them as 0 and say nothing."""

import re
import struct
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from assets.errors import BadObject

_NAN = rb"[^\n]*\b(?:nan|inf)"
_TEXT = {
    ".obj": re.compile(rb"^v[ \t]" + _NAN, re.MULTILINE),
    ".stl": re.compile(rb"^\s*vertex[ \t]" + _NAN, re.MULTILINE),
    ".dae": re.compile(rb"<float_array[^>]*>[^<]*\b(?:nan|[+-]?inf)\b"),
    ".fbx": re.compile(rb"\bvertices:[^}]*[,\s](?:[+-]?nan|[+-]?inf)\b"),
}
#: Of a binary FBX file: a node of vertices, the type of its numbers, and how many, packed how, in how many bytes.
_FBX_VERTICES = re.compile(rb"Vertices([df])(.{12})", re.DOTALL)

#: PLY's names of types, old and new, in numpy's.
_PLY_TYPES = {
    name: code
    for names, code in (
        ("char int8", "i1"),
        ("uchar uint8", "u1"),
        ("short int16", "i2"),
        ("ushort uint16", "u2"),
        ("int int32", "i4"),
        ("uint uint32", "u4"),
        ("float float32", "f4"),
        ("double float64", "f8"),
    )
    for name in names.split()
}


def check_finite(path: Path) -> None:
    """Raise BadObject for a model whose vertices, as its file states them, are not all finite numbers.

    For the formats whose importers would hide it; surface.clean finds the others' after the import.
    """
    suffix = path.suffix.lower()
    if suffix not in _BINARY and suffix not in _TEXT:
        return
    data = path.read_bytes()
    finite = suffix not in _BINARY or all(np.isfinite(block).all() for block in _BINARY[suffix](data))
    if not finite or (suffix in _TEXT and _says_nan(_TEXT[suffix], data)):
        raise BadObject("vertices that are not finite numbers")


def _says_nan(pattern: re.Pattern[bytes], data: bytes) -> bool:
    data = data.lower()
    return (b"nan" in data or b"inf" in data) and pattern.search(data) is not None  # most files need one look only


def _stl_numbers(data: bytes) -> Iterator[np.ndarray]:
    """Of a binary STL file: 80 bytes, a count, and per triangle 12 floats and 2 bytes."""
    if len(data) < 84:
        return
    (count,) = struct.unpack_from("<I", data, 80)
    if 84 + 50 * count == len(data):  # as for Blender: else it is text
        triangles = np.frombuffer(data, np.dtype([("normal", "<3f4"), ("points", "<9f4"), ("rest", "<u2")]), count, 84)
        yield triangles["points"]


def _ply_numbers(data: bytes) -> Iterator[np.ndarray]:
    """Of a PLY file whose vertices come first and hold no lists, as practically all do."""
    header, _, body = data.partition(b"end_header")
    body = body[2:] if body.startswith(b"\r\n") else body[1:]
    vertices = re.search(rb"^element\s+(\w+)\s+(\d+)\s*\n((?:\s*(?:property|comment)[^\n]*\n)*)", header, re.MULTILINE)
    if vertices is None or vertices[1] != b"vertex":
        return
    properties = re.findall(rb"^\s*property\s+(\w+)\s+(\w+)\s*$", vertices[3], re.MULTILINE)
    names = [name.decode() for _, name in properties]
    if (
        not {"x", "y", "z"} <= set(names)
        or vertices[3].count(b"property") != len(names)
        or len(set(names)) < len(names)
    ):
        return
    count = int(vertices[2])
    if b"format ascii" in header:
        rows = [line.split() for line in body.split(b"\n", count)[:count]]
        columns = [names.index(name) for name in "xyz"]
        yield np.array([[float(row[c]) for c in columns] for row in rows if len(row) >= len(names)])
        return
    order = ">" if b"big_endian" in header else "<"
    kind = np.dtype(
        [(name, order + _PLY_TYPES[code.decode()]) for (code, _), name in zip(properties, names, strict=True)]
    )
    table = np.frombuffer(body, kind, count)
    yield from (table[name] for name in "xyz")


def _fbx_numbers(data: bytes) -> Iterator[np.ndarray]:
    """Of a binary FBX file; arrays are plain or packed with zlib."""
    if not data.startswith(b"Kaydara"):
        return
    for match in _FBX_VERTICES.finditer(data):
        kind = np.dtype("<f8" if match[1] == b"d" else "<f4")
        count, packed, length = struct.unpack("<III", match[2])
        size = count * kind.itemsize
        raw = data[match.end() : match.end() + (length if packed else size)]
        if packed:
            raw = zlib.decompressobj().decompress(raw, size)
        yield np.frombuffer(raw, kind, len(raw) // kind.itemsize)


_BINARY: dict[str, Callable[[bytes], Iterator[np.ndarray]]] = {
    ".stl": _stl_numbers,
    ".ply": _ply_numbers,
    ".fbx": _fbx_numbers,
}
