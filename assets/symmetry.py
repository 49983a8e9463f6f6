"""The rule that says whether an object's rotation can be read from its shape.

Left out are shapes that are near-flat (from the side there is nothing to see) and shapes that some rotation
maps onto themselves (two different labels would show the same picture). Colours and textures play no part.

An axis of rotational symmetry of a surface goes through its centroid and is a principal axis of its inertia,
so the axes tried are the three principal ones through the centroid, and the three of the bounding box through
its centre (principal axes are undetermined for a cube). Turns by 1/2, 1/3, 1/4 and 1/5 are tried: a symmetry
of order 6 implies the first two, and a body of revolution has them all.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

MIN_FLATNESS = 0.12  # smallest / largest side of the bounding box
MIN_ASYMMETRY = 0.025  # share of the bounding radius: 0.7 pixels where the object fills a 64-pixel picture

_ORDERS = (2, 3, 4, 5)
_COARSE = (192, 1024)  # samples asked, samples searched
_FINE = (512, 8192)
_CLEARLY_ASYMMETRIC = 2 * MIN_ASYMMETRY  # as coarse samples see it
_BLOCK = 16  # points asked at once: the distances to all searched samples stay in the processor's cache


@dataclass(frozen=True)
class Shape:
    """What the rule looks at."""

    flatness: float  # smallest / largest side of the bounding box, in [0, 1]
    asymmetry: float  # least chamfer distance (root mean square) to itself when turned, in bounding radii

    def objection(self) -> str:
        """Why the rotation cannot be read from this shape; "" when it can."""
        if self.flatness < MIN_FLATNESS:
            return f"near-flat: smallest side / largest side {self.flatness:.3f} < {MIN_FLATNESS}"
        if self.asymmetry < MIN_ASYMMETRY:
            return f"rotationally symmetric: some turn moves it by {self.asymmetry:.4f} < {MIN_ASYMMETRY} radii"
        return ""


def measure(vertices: np.ndarray, triangles: np.ndarray) -> Shape:
    """The Shape of a triangle mesh; vertices (n, 3), triangles (m, 3) of vertex indices.

    A near-flat one is not turned: its asymmetry is given as 0.
    """
    points = vertices[np.unique(triangles)] if len(triangles) else np.zeros((1, 3))
    low, high = points.min(axis=0), points.max(axis=0)
    sides = high - low
    flatness = float(sides.min() / sides.max()) if sides.max() > 0 else 0.0
    if flatness < MIN_FLATNESS:
        return Shape(round(flatness, 4), 0.0)
    unit = (vertices - (low + high) / 2) / (np.linalg.norm(sides) / 2)  # bounding radius 1
    return Shape(round(flatness, 4), round(_asymmetry(unit, triangles), 5))


def surface_samples(vertices: np.ndarray, triangles: np.ndarray, n: int, offset: float) -> np.ndarray:
    """n points (n, 3) spread evenly over the area; other offsets in [0, 1) give other points. No randomness.

    Systematic in the cumulated area, an additive recurrence (the R2 sequence) inside the triangles.
    """
    a, b, c = (vertices[triangles[:, corner]] for corner in range(3))
    cumulated = np.cumsum(np.linalg.norm(np.cross(b - a, c - a), axis=1))
    if not len(cumulated) or cumulated[-1] == 0:
        return np.zeros((n, 3))
    rank = np.arange(n)
    chosen = np.searchsorted(cumulated, (rank + (offset + 0.5) % 1) / n * cumulated[-1], side="right")
    chosen = np.minimum(chosen, len(triangles) - 1)
    u = np.sqrt((rank * 0.7548776662466927 + offset) % 1)[:, None]
    v = ((rank * 0.5698402909980532 + offset) % 1)[:, None]
    return a[chosen] * (1 - u) + b[chosen] * (u * (1 - v)) + c[chosen] * (u * v)


def _asymmetry(unit: np.ndarray, triangles: np.ndarray) -> float:
    """Least distance over all axes and orders, exact only where it matters: around MIN_ASYMMETRY.

    Coarse samples first; only turns that they cannot clear are tried with fine ones, most symmetric first.
    """
    coarse = _Surface(unit, triangles, *_COARSE)
    moved = np.array([coarse.moved_by(*turn) for turn in coarse.turns])
    least = moved[moved >= _CLEARLY_ASYMMETRIC].min(initial=np.inf)
    doubtful = [i for i in np.argsort(moved, kind="stable") if moved[i] < _CLEARLY_ASYMMETRIC]
    if doubtful:
        fine = _Surface(unit, triangles, *_FINE)
        for i in doubtful:
            least = min(least, fine.moved_by(*fine.turns[i]))
            if least < MIN_ASYMMETRY:
                break
    return float(least)


class _Surface:
    """Two independent sets of samples of one surface, and the turns to try on it."""

    def __init__(self, vertices: np.ndarray, triangles: np.ndarray, n_asked: int, n_searched: int):
        self.asked = surface_samples(vertices, triangles, n_asked, 0.37).astype(np.float32)
        searched = surface_samples(vertices, triangles, n_searched, 0.0).astype(np.float32)
        # |p - q|^2 / 2 = |p|^2 / 2 + (p, 1) . (-q, |q|^2 / 2): one matrix product for all pairs.
        self.searched = np.column_stack([-searched, (searched**2).sum(axis=1) / 2]).T.copy()
        self.noise = self._squared_distance(self.asked)
        centroid = searched.mean(axis=0)
        principal = np.linalg.eigh(np.cov((searched - centroid).T))[1].T
        frames = ((np.eye(3), np.zeros(3)), (principal, centroid))
        self.turns = [
            (rotation_about(axis, 2 * np.pi / order), centre)
            for axes, centre in frames
            for axis in axes
            for order in _ORDERS
        ]

    def moved_by(self, turn: np.ndarray, centre: np.ndarray) -> float:
        """Root mean square distance from the turned surface to the surface, there and back.

        What finite sampling alone makes of it (the distance between the two sets unturned) is taken off in
        quadrature: it lies within the surface, at right angles to where the turn moves it.
        """
        there = self._squared_distance((self.asked - centre) @ turn.T + centre)
        back = self._squared_distance((self.asked - centre) @ turn + centre)
        return float(np.sqrt(max((there + back) / 2 - self.noise, 0.0)))

    def _squared_distance(self, points: np.ndarray) -> float:
        """Mean square of the distance from each point (n, 3) to the nearest searched sample."""
        rows = np.column_stack([points, np.ones(len(points))]).astype(np.float32)
        blocks = (rows[i : i + _BLOCK] @ self.searched for i in range(0, len(rows), _BLOCK))
        nearest = np.concatenate([block.min(axis=1) for block in blocks])
        return float(np.maximum(2 * nearest + (rows[:, :3] ** 2).sum(axis=1), 0).mean())


def rotation_about(axis: np.ndarray, angle: float) -> np.ndarray:
    """3x3 matrix that turns column vectors by `angle` (radians) about the unit vector `axis` (Rodrigues)."""
    x, y, z = axis
    cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    return np.eye(3) + np.sin(angle) * cross + (1 - np.cos(angle)) * (cross @ cross)
