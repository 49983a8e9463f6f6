"""Closed meshes from a small vocabulary of shapes.

Every shape is a loft: a stack of rings joined by quads and closed by caps (or by its first ring). Smooth shapes carry
support rings next to their sharp edges, so that interpolated normals stay flat on flat faces.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise

import numpy as np

from assets.geometry import Part

Points = Sequence[Sequence[float]] | np.ndarray
Face = tuple[int, ...]

_AXES = {"x": 0, "y": 1, "z": 2}


@dataclass(frozen=True, eq=False)
class Mesh:
    """A closed surface: vertices (n, 3) float64, polygons counter-clockwise seen from outside."""

    vertices: np.ndarray
    faces: tuple[Face, ...]
    smooth: bool = False

    def at(self, x: float = 0, y: float = 0, z: float = 0) -> "Mesh":
        """Moved by (x, y, z)."""
        return Mesh(self.vertices + (x, y, z), self.faces, self.smooth)

    def turned(self, axis: str, degrees: float) -> "Mesh":
        """Rotated about an axis through the origin, right-handed."""
        first, second = (_AXES[axis] + 1) % 3, (_AXES[axis] + 2) % 3
        cos, sin = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
        vertices = self.vertices.copy()
        vertices[:, first] = cos * self.vertices[:, first] - sin * self.vertices[:, second]
        vertices[:, second] = sin * self.vertices[:, first] + cos * self.vertices[:, second]
        return Mesh(vertices, self.faces, self.smooth)

    def scaled(self, x: float = 1, y: float = 1, z: float = 1) -> "Mesh":
        """Scaled about the origin; a negative factor mirrors."""
        faces = self.faces if x * y * z > 0 else tuple(face[::-1] for face in self.faces)
        return Mesh(self.vertices * (x, y, z), faces, self.smooth)

    def along(self, axis: str) -> "Mesh":
        """A shape built about z, laid about another axis: z goes to `axis`."""
        shift = (_AXES[axis] + 1) % 3
        return Mesh(np.roll(self.vertices, shift, axis=1), self.faces, self.smooth)


def part(name: str, colour: tuple[float, float, float], *meshes: Mesh) -> Part:
    """One part out of meshes that are all smooth or all flat (ValueError otherwise)."""
    if len({mesh.smooth for mesh in meshes}) != 1:
        raise ValueError(f"part {name!r} mixes smooth and flat meshes")
    faces: list[Face] = []
    offset = 0
    for mesh in meshes:
        faces += [tuple([vertex + offset for vertex in face]) for face in mesh.faces] if offset else mesh.faces
        offset += len(mesh.vertices)
    vertices = np.concatenate([mesh.vertices for mesh in meshes])
    return Part(name, vertices, tuple(faces), colour, meshes[0].smooth)


def both_sides(*meshes: Mesh) -> tuple[Mesh, ...]:
    """The meshes and their mirror images in the plane x = 0."""
    return meshes + tuple(mesh.scaled(x=-1) for mesh in meshes)


def loft(rings: np.ndarray, smooth: bool = False, closed: bool = False) -> Mesh:
    """Join rings (k, m, 3) in order; `closed` joins the last to the first, else both ends get caps.

    An end ring whose points coincide becomes a single vertex. The orientation is made outward.
    """
    first, last = (not closed and np.ptp(rings[end], axis=0).max() < 1e-9 for end in (0, -1))
    points = rings.reshape(-1, 3)
    if first:
        points = points[rings.shape[1] - 1 :]
    if last:
        points = points[: len(points) - rings.shape[1] + 1]
    faces, triangles = _lofted(*rings.shape[:2], closed, first, last, False)
    if _volume(points, triangles) < 0:
        faces, triangles = _lofted(*rings.shape[:2], closed, first, last, True)
    return Mesh(points, faces, smooth)


@lru_cache(maxsize=512)
def _lofted(
    count: int, around: int, closed: bool, first: bool, last: bool, flipped: bool
) -> tuple[tuple[Face, ...], np.ndarray]:
    """Faces of a loft and their triangles (t, 3); `first` and `last`: that end ring is a single vertex."""
    kept = np.ones((count, around), dtype=bool)
    kept[[end for end, pole in ((0, first), (-1, last)) if pole], 1:] = False
    grid = np.cumsum(kept).reshape(count, around) - 1  # all indices of a pole are the same
    lower, upper = (grid, np.roll(grid, -1, axis=0)) if closed else (grid[:-1], grid[1:])
    bands = list(np.stack([lower, np.roll(lower, -1, axis=1), np.roll(upper, -1, axis=1), upper], axis=-1))
    if first:
        bands[0] = bands[0][:, 1:]
    if last:
        bands[-1] = bands[-1][:, :3]
    if not closed and not first:
        bands.append(grid[:1, ::-1])
    if not closed and not last:
        bands.append(grid[-1:])
    if flipped:
        bands = [band[:, ::-1] for band in bands]
    faces = tuple(tuple(face) for band in bands for face in band.tolist())
    return faces, np.array([(face[0], *pair) for face in faces for pair in pairwise(face[1:])])


def _volume(points: np.ndarray, triangles: np.ndarray) -> float:
    """Six times the signed volume."""
    a, b, c = (points[triangles[:, corner]].T for corner in range(3))
    return float((a * (b[[1, 2, 0]] * c[[2, 0, 1]] - b[[2, 0, 1]] * c[[1, 2, 0]])).sum())


def extrude(outline: Points, depth: float, axis: str = "z", bevel: float = 0.0, taper: float = 1.0) -> Mesh:
    """An outline (n, 2) in the other two axes (in x, y, z order) pulled along `axis`, from -depth/2 to depth/2.

    `bevel` chamfers both rims, less inwards where the outline is too fine for it; `taper` scales the outline at
    the far end about its origin.
    """
    flat = np.asarray(outline, dtype=float)
    inward = _inward(flat)
    heights, insets = np.array([-0.5, 0.5]) * depth, np.zeros(2)
    if bevel > 0:
        cut = min(bevel, _deepest(flat, inward))
        heights = np.array([-0.5 * depth, -0.5 * depth + bevel, 0.5 * depth - bevel, 0.5 * depth])
        insets = np.array([cut, 0, 0, cut])
    rings = np.empty((len(heights), len(flat), 3))
    planar = [index for index in range(3) if index != _AXES[axis]]
    scales = 1 + (taper - 1) * (heights / depth + 0.5)
    rings[:, :, planar] = (flat + insets[:, None, None] * inward) * scales[:, None, None]
    rings[:, :, _AXES[axis]] = heights[:, None]
    return loft(rings)


def _deepest(outline: np.ndarray, inward: np.ndarray) -> float:
    """How far inwards all edges can move and keep a tenth of their lengths: further, the outline crosses itself."""
    edges = np.concatenate([outline[1:], outline[:1]]) - outline
    shrinking = (np.concatenate([inward[1:], inward[:1]]) - inward) * -edges
    return float((0.9 * (edges**2).sum(axis=1) / np.maximum(shrinking.sum(axis=1), 1e-9)).min())


def _inward(outline: np.ndarray) -> np.ndarray:
    """Offset (n, 2) that moves every edge of the outline inwards by one."""
    following = np.concatenate([outline[1:], outline[:1]])
    edges = following - outline
    normals = edges[:, ::-1] * (-1, 1) / np.hypot(edges[:, :1], edges[:, 1:])
    if (outline[:, 0] * following[:, 1] - outline[:, 1] * following[:, 0]).sum() < 0:
        normals = -normals
    before = np.concatenate([normals[-1:], normals[:-1]])
    return (normals + before) / np.maximum(1 + (normals * before).sum(axis=1, keepdims=True), 0.35)


def box(x: float, y: float, z: float, bevel: float | None = None, taper: float = 1.0) -> Mesh:
    """A chamfered box about the origin; `taper` scales its top."""
    cut = min(x, y, z) * 0.08 if bevel is None else min(bevel, 0.3 * min(x, y, z))
    return extrude(rounded_rectangle(x, y, cut, corner=1), z, bevel=cut, taper=taper)


def rounded_rectangle(x: float, y: float, radius: float, corner: int = 4) -> np.ndarray:
    """Outline (4 * (corner + 1), 2) of a rectangle about the origin, `corner` segments a corner."""
    steps = np.radians(np.linspace(0, 90, corner + 1))
    arc = np.stack([np.cos(steps), np.sin(steps)], axis=1) * radius
    pieces = []
    for quarter, (sx, sy) in enumerate(((1, 1), (-1, 1), (-1, -1), (1, -1))):
        turned = arc if quarter % 2 == 0 else arc[::-1]
        pieces.append((turned + (x / 2 - radius, y / 2 - radius)) * (sx, sy))
    return np.concatenate(pieces)


def superellipse(x: float, y: float, power: float = 2.0, count: int = 24) -> np.ndarray:
    """Outline (count, 2) with half-axes x and y: an ellipse at power 2, nearly a rectangle at 6."""
    angles = np.arange(count) * 2 * np.pi / count
    cos, sin = np.cos(angles), np.sin(angles)
    exponent = 2 / power
    return np.stack([x * np.sign(cos) * np.abs(cos) ** exponent, y * np.sign(sin) * np.abs(sin) ** exponent], axis=1)


def hull(stations: Points, power: float = 2.0, count: int = 24, steps: int = 16, smooth: bool = True) -> Mesh:
    """A body along y through stations (y, half width, bottom z, top z), front station first, splined between."""
    rings = []
    for y, half, bottom, top in spline(stations, steps):
        section = superellipse(max(half, 1e-3), max((top - bottom) / 2, 1e-3), power, count)
        rings.append(np.stack([section[:, 0], np.full(count, y), section[:, 1] + (top + bottom) / 2], axis=1))
    blunted = [rings[end].mean(axis=0) * 0.25 + rings[end] * 0.75 for end in (0, -1)]
    return loft(np.array([blunted[0], *rings, blunted[1]]), smooth=smooth)


def lathe(profile: Points, segments: int = 20) -> Mesh:
    """A profile of (radius, z) turned about z, smooth, with its sharp corners kept."""
    outline = _supported(np.asarray(profile, dtype=float))
    angles = np.arange(segments) * 2 * np.pi / segments
    circle = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    rings = np.empty((len(outline), segments, 3))
    rings[:, :, :2] = outline[:, None, :1] * circle
    rings[:, :, 2] = outline[:, 1:]
    return loft(rings, smooth=True)


def _supported(profile: np.ndarray) -> np.ndarray:
    """The profile with a point added close to each side of every corner of more than 35 degrees."""
    points = [profile[0]]
    for before, corner, after in zip(profile[:-2], profile[1:-1], profile[2:], strict=True):
        arriving, leaving = corner - before, after - corner
        lengths = np.linalg.norm(arriving), np.linalg.norm(leaving)
        if arriving @ leaving < 0.82 * lengths[0] * lengths[1]:
            near = [min(0.2, 0.01 / length) for length in lengths]
            points += [corner - near[0] * arriving, corner, corner + near[1] * leaving]
        else:
            points.append(corner)
    return np.array([*points, profile[-1]])


def cylinder(radius: float, height: float, top: float | None = None, segments: int = 20) -> Mesh:
    """A cylinder about z and the origin; another radius at the `top` makes a frustum."""
    upper = radius if top is None else top
    half = height / 2
    return lathe([(0, -half), (radius, -half), (upper, half), (0, half)], segments)


def ellipsoid(x: float, y: float, z: float, segments: int = 20) -> Mesh:
    """Half-axes x, y, z about the origin."""
    angles = np.linspace(-np.pi / 2, np.pi / 2, segments // 2 + 1)
    radii = np.cos(angles)
    radii[[0, -1]] = 0
    profile = np.stack([radii, np.sin(angles)], axis=1)
    return lathe(profile, segments).scaled(x, y, z)


def torus(radius: float, thickness: float, segments: int = 24, around: int = 8) -> Mesh:
    """A ring about z: `radius` of its centre line, `thickness` the radius of its cross-section."""
    angles = np.arange(segments) * 2 * np.pi / segments
    section = superellipse(thickness, thickness, count=around)
    rings = np.empty((segments, around, 3))
    rings[:, :, 0] = (radius + section[:, 0]) * np.cos(angles)[:, None]
    rings[:, :, 1] = (radius + section[:, 0]) * np.sin(angles)[:, None]
    rings[:, :, 2] = section[:, 1]
    return loft(rings, smooth=True, closed=True)


def tube(path: Points, radius: float | Sequence[float], around: int = 8, wide: float = 1.0) -> Mesh:
    """A round bar along a path (n, 3) with rounded ends; one radius, or one a point.

    `wide` stretches the cross-section sideways (horizontally, for a path that is not vertical).
    """
    points = np.asarray(path, dtype=float)
    radii = np.broadcast_to(np.asarray(radius, dtype=float), len(points))
    tangents = np.gradient(points, axis=0)
    tangents /= np.linalg.norm(tangents, axis=1, keepdims=True)
    points = np.concatenate(
        [points[:1] - 0.5 * radii[0] * tangents[:1], points, points[-1:] + 0.5 * radii[-1] * tangents[-1:]]
    )
    tangents = np.concatenate([tangents[:1], tangents, tangents[-1:]])
    radii = np.concatenate([radii[:1] * 0.7, radii, radii[-1:] * 0.7])
    section = superellipse(1, 1, count=around)
    side = _across(tangents[0])
    rings = []
    for point, tangent, size in zip(points, tangents, radii, strict=True):
        side = side - tangent * (side @ tangent)  # parallel transport: the section never twists about the path
        side /= np.linalg.norm(side)
        rings.append(point + size * (section[:, :1] * wide * side + section[:, 1:] * np.cross(tangent, side)))
    return loft(np.array(rings), smooth=True)


def _across(tangent: np.ndarray) -> np.ndarray:
    """A horizontal direction across a path, or x where the path starts vertically."""
    side = np.array([tangent[1], -tangent[0], 0.0])
    return side if np.linalg.norm(side) > 1e-6 else np.array([1.0, 0.0, 0.0])


def spline(points: Points, count: int) -> np.ndarray:
    """`count` points (count, d) on the Catmull-Rom curve through `points`, ends included."""
    knots = np.asarray(points, dtype=float)
    padded = np.concatenate([2 * knots[:1] - knots[1:2], knots, 2 * knots[-1:] - knots[-2:-1]])
    position = np.linspace(0, len(knots) - 1, count)
    return _catmull_rom(padded, position, np.minimum(position.astype(int), len(knots) - 2))


def closed_spline(points: Points, count: int) -> np.ndarray:
    """`count` points (count, d) on the closed Catmull-Rom curve through `points`."""
    knots = np.asarray(points, dtype=float)
    around = np.concatenate([knots[-1:], knots, knots[:2]])
    position = np.arange(count) * len(knots) / count
    return _catmull_rom(around, position, position.astype(int))


def _catmull_rom(padded: np.ndarray, position: np.ndarray, index: np.ndarray) -> np.ndarray:
    t = (position - index)[:, None]
    a, b, c, d = (padded[index + shift] for shift in range(4))
    return 0.5 * (2 * b + (c - a) * t + (2 * a - 5 * b + 4 * c - d) * t**2 + (3 * b - a - 3 * c + d) * t**3)


def wheels(radius: float, width: float, *centres: Sequence[float]) -> tuple[tuple[Mesh, ...], tuple[Mesh, ...]]:
    """Tyres and hubs of wheels that turn about x, one of each at every centre (x, y, z)."""
    half, rim = width / 2, 0.62 * radius
    tread = [(0, -half), (0.85 * radius, -half), (radius, -0.55 * half), (radius, 0.55 * half), (0.85 * radius, half)]
    tyre = lathe([*tread, (0, half)], 16).along("x")
    hub = lathe([(0, -1.12 * half), (0.8 * rim, -1.12 * half), (rim, -0.9 * half), (rim, 0.9 * half)]
                + [(0.8 * rim, 1.12 * half), (0, 1.12 * half)], 12).along("x")  # fmt: skip
    return tuple(tyre.at(*centre) for centre in centres), tuple(hub.at(*centre) for centre in centres)
