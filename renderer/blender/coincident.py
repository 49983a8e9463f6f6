"""Parting faces that lie in one plane and overlap, which would shadow each other and render as speckle.

Typical are decals laid on a panel, and shells modelled twice with different triangles. (Faces with the same corners are
dropped before; see surface.clean.) Curved duplicates with different corners are rare and left alone.
"""

from dataclasses import replace

import numpy as np

from renderer.blender.surface import Surface, face_normals

#: Faces count as being in one plane when their normals and distances round to the same cells.
NORMAL_CELLS = 512
PLANE_CELL = 1e-4  # the object's radius is 1

#: How far a face is moved along its normal, per face that it lies on.
HAIR = 1e-3
MOST_LAYERS = 4

#: Triangles are shrunk by this share before they are compared, so that neighbours do not count as overlapping.
SHRINK = 0.02

#: An object with more candidate pairs than this (finely tessellated flat areas) is left as it is: seconds of work.
MOST_PAIRS = 8_000_000


def part_coincident(surface: Surface) -> Surface:
    """The surface (radius 1, at the origin) with every face that overlaps an earlier one in its plane lifted off it."""
    layers = _layers(surface)
    lifted = np.flatnonzero(layers)
    if not len(lifted):
        return surface
    # A lifted face gets points of its own: its neighbours stay where they are.
    at = np.flatnonzero(np.repeat(layers > 0, surface.sizes))
    shift = face_normals(surface) * (layers * HAIR)[:, None]
    moved = surface.points[surface.corners[at]] + np.repeat(shift, surface.sizes, axis=0)[at]
    corners = surface.corners.copy()
    corners[at] = len(surface.points) + np.arange(len(at))
    return replace(surface, points=np.concatenate([surface.points, moved]), corners=corners)


def _layers(surface: Surface) -> np.ndarray:
    """For every face, on top of how many others it has to lie, (f,) int64."""
    layers = np.zeros(len(surface.sizes), np.int64)
    for lower, upper in _overlapping_faces(surface):  # sorted, so that lower's own layer is final
        layers[upper] = max(layers[upper], min(layers[lower] + 1, MOST_LAYERS))
    return layers


def _overlapping_faces(surface: Surface) -> np.ndarray:
    """Pairs of faces (lower, upper), lower < upper, that overlap in one plane, sorted by upper, (p, 2) int64."""
    triangles, face = _fan(surface)
    flat, plane = _flattened(surface.points[triangles])
    first, second = _candidates(flat, plane)
    different = face[first] != face[second]
    first, second = first[different], second[different]
    overlap = _triangles_overlap(_shrunk(flat[first]), _shrunk(flat[second]))
    pairs = np.sort(np.stack([face[first[overlap]], face[second[overlap]]], axis=1), axis=1)
    pairs = np.unique(pairs, axis=0)
    return pairs[np.argsort(pairs[:, 1], kind="stable")]


def _fan(surface: Surface) -> tuple[np.ndarray, np.ndarray]:
    """The faces as triangles around their first corners: point indices (t, 3), and each one's face (t,)."""
    face = np.repeat(np.arange(len(surface.sizes)), surface.sizes - 2)
    first = np.repeat(surface.starts, surface.sizes - 2)
    step = np.arange(len(face)) - np.repeat(np.cumsum(surface.sizes - 2) - (surface.sizes - 2), surface.sizes - 2)
    return surface.corners[np.stack([first, first + step + 1, first + step + 2], axis=1)], face


def _flattened(corners: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Triangles (t, 3, 3) seen along the axis that their plane is steepest to (t, 3, 2), and planes' numbers (t,)."""
    normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    length = np.linalg.norm(normals, axis=1, keepdims=True)
    normals = np.divide(normals, length, out=np.zeros_like(normals), where=length > 0)
    rows = np.arange(len(normals))
    steepest = np.abs(np.round(normals * NORMAL_CELLS)).argmax(axis=1)
    normals *= np.sign(normals[rows, steepest])[:, None]  # both sides of a plane are one plane
    distance = np.einsum("ij,ij->i", normals, corners.mean(axis=1))
    cells = np.round(np.column_stack([normals * NORMAL_CELLS, distance / PLANE_CELL])).astype(np.int64)
    plane = np.unique(cells @ np.array([1 << 42, 1 << 31, 1 << 20, 1], np.int64), return_inverse=True)[1].reshape(-1)
    across = np.array([[1, 2], [2, 0], [0, 1]])[steepest]
    return np.take_along_axis(corners, across[:, None, :], axis=2), plane


def _candidates(flat: np.ndarray, plane: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Pairs of triangles of one plane whose bounding boxes overlap, each pair once: two arrays of triangle numbers."""
    low, high = flat.min(axis=1), flat.max(axis=1)
    # Planes stand side by side on one line (coordinates lie within [-1, 1]), which is then swept from left to right.
    left, right = low[:, 0] + 4.0 * plane, high[:, 0] + 4.0 * plane
    order = np.argsort(left, kind="stable")
    reach = np.searchsorted(left[order], right[order], side="left") - np.arange(len(order)) - 1
    reach = np.maximum(reach, 0)  # a sliver without width would reach not even itself
    if reach.sum() > MOST_PAIRS:
        return np.empty(0, np.int64), np.empty(0, np.int64)
    start = np.repeat(np.arange(len(order)), reach)
    offset = np.arange(len(start)) - np.repeat(np.cumsum(reach) - reach, reach) + 1
    first, second = order[start], order[start + offset]
    meet = (low[first, 1] < high[second, 1]) & (low[second, 1] < high[first, 1])
    return first[meet], second[meet]


def _shrunk(triangles: np.ndarray) -> np.ndarray:
    return triangles + SHRINK * (triangles.mean(axis=1, keepdims=True) - triangles)


def _triangles_overlap(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Whether triangles (p, 3, 2) overlap: no edge's normal separates them (separating axis theorem), (p,) bool."""
    apart = np.zeros(len(one), bool)
    for triangle in (one, other):
        for k in range(3):
            edge = triangle[:, (k + 1) % 3] - triangle[:, k]
            normal = np.stack([-edge[:, 1], edge[:, 0]], axis=1)[:, None, :]
            mine, yours = (one * normal).sum(axis=2), (other * normal).sum(axis=2)
            apart |= (mine.max(axis=1) < yours.min(axis=1)) | (yours.max(axis=1) < mine.min(axis=1))
    return ~apart
