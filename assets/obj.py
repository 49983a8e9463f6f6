"""A reader of Wavefront OBJ and MTL text, as far as needed to measure a shape and find its companions."""

from __future__ import annotations

import re

import numpy as np

from assets.errors import BadObject

# A map statement's options come before its file name: "-bm 0.03 -o 0.2 0.2 0.2 -clamp on sheet.jpg".
_MAP_OPTIONS = re.compile(r"^(?:-[a-z_]+(?:\s+(?:on|off|[rgbmlz]|-?[\d.]+(?:e-?\d+)?))*\s+)+", re.IGNORECASE)
_MAP_STATEMENT = re.compile(r"^\s*(map_\w+|bump|disp|decal|refl|norm)\s+(.*\S)", re.IGNORECASE)


def read_mesh(data: bytes) -> tuple[np.ndarray, np.ndarray]:
    """Vertices (n, 3) float64 and triangles (m, 3) int64 of an OBJ file; polygons become fans of triangles.

    Raises BadObject when there is no face, or a number or index makes no sense.
    """
    lines = data.replace(b"\\\n", b" ").replace(b"\\\r\n", b" ").split(b"\n")
    vertices = _vertices([line[2:] for line in lines if line[:2] in (b"v ", b"v\t")])
    faces = b"\n".join([line[2:] for line in lines if line[:2] in (b"f ", b"f\t")])
    triangles = _triangles(re.sub(rb"/\S*", b"", faces), len(vertices))
    return vertices, triangles


def material_libraries(data: bytes) -> list[str]:
    """File names of the `mtllib` statements of an OBJ file, in order, each once.

    A name may hold spaces, so one statement is read as one name, as Sweet Home 3D and most exporters mean it.
    """
    names = re.findall(rb"^[ \t]*mtllib[ \t]+(.*\S)", data, re.MULTILINE)
    return list(dict.fromkeys(decode(name) for name in names))


def used_materials(data: bytes) -> set[str]:
    """Names of the materials that an OBJ file assigns to faces."""
    return {decode(name) for name in re.findall(rb"^[ \t]*usemtl[ \t]+(.*\S)", data, re.MULTILINE)}


def texture_maps(mtl: str) -> list[tuple[int, str, str, str]]:
    """(line from 0, material, statement in lower case, file name) of every texture map in an MTL text."""
    maps = []
    material = ""
    for number, line in enumerate(mtl.splitlines()):
        words = line.split(None, 1)
        if len(words) == 2 and words[0] == "newmtl":
            material = words[1].strip()
        elif match := _MAP_STATEMENT.match(line):
            maps.append((number, material, match[1].lower(), _MAP_OPTIONS.sub("", match[2]).replace("\\", "/")))
    return maps


def decode(text: bytes) -> str:
    """UTF-8 where it is, Latin-1 otherwise: OBJ and MTL files do not say."""
    try:
        return text.decode("utf-8")
    except UnicodeDecodeError:
        return text.decode("latin-1")


def _vertices(rows: list[bytes]) -> np.ndarray:
    try:
        # One flat parse is 10 times faster than row by row, and right unless rows carry colours or w.
        flat = np.array(b" ".join(rows).split(), dtype=np.float64)
        if flat.size != 3 * len(rows):
            flat = np.array([row.split()[:3] for row in rows], dtype=np.float64)
        vertices = flat.reshape(len(rows), 3)
    except ValueError:
        raise BadObject("a vertex is not three numbers") from None
    if not np.isfinite(vertices).all():
        raise BadObject("a vertex is not finite")
    return vertices


def _triangles(faces: bytes, n_vertices: int) -> np.ndarray:
    corners = np.array([len(line.split()) for line in faces.split(b"\n")], dtype=np.int64)
    try:
        index = np.array(faces.split(), dtype=np.int64)
    except (ValueError, OverflowError):
        raise BadObject("a face index is not a whole number") from None
    if index.size == 0:
        raise BadObject("no faces")
    if index.max() > n_vertices or index.min() < 1:
        # Indices from the end are legal but need the file's order; no file measured here has them.
        raise BadObject("a face index is outside the vertices")
    first = np.concatenate([[0], np.cumsum(corners)[:-1]])
    fans = np.maximum(corners - 2, 0)
    start = np.repeat(first, fans)
    step = np.arange(fans.sum()) - np.repeat(np.cumsum(fans) - fans, fans)
    return index[np.stack([start, start + step + 1, start + step + 2], axis=1)] - 1
