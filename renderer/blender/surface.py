"""One object's polygons as flat arrays: what can be checked, cleaned and normalised before Blender gets a mesh."""

from dataclasses import dataclass, replace

import numpy as np

from assets.errors import BadObject
from assets.geometry import Part

MAX_FACES = 2_000_000

#: Points closer than this share of the object's radius count as one when duplicate faces are looked for.
WELD = 1e-5

#: Cosine of the largest believable angle between a shading normal and its face: 60 degrees (a smooth cube has 55).
MOST_BENT = 0.5


@dataclass(frozen=True, eq=False)
class Surface:
    """Polygons with attributes at their corners. n points, m corners, f faces; a face's corners are consecutive."""

    points: np.ndarray  # (n, 3) float64
    corners: np.ndarray  # (m,) int64: index of the point at each corner
    sizes: np.ndarray  # (f,) int64: corners per face, >= 3
    material: np.ndarray  # (f,) int64: index into the object's materials
    smooth: np.ndarray  # (f,) bool
    uv: np.ndarray  # (m, 2) float32
    colour: np.ndarray  # (m, 4) float32, linear vertex colours; white where the model has none
    normals: np.ndarray | None  # (m, 3) float32 shading normals, or None: from the smooth flags

    @property
    def starts(self) -> np.ndarray:
        """First corner of every face, (f,) int64."""
        return np.cumsum(self.sizes) - self.sizes


def from_parts(parts: list[Part]) -> Surface:
    """The surface of procedural parts; part k has material k."""
    pieces = []
    for number, part in enumerate(parts):
        sizes = np.array([len(face) for face in part.faces], np.int64)
        corners = np.array([vertex for face in part.faces for vertex in face], np.int64)
        pieces.append(
            Surface(
                points=np.asarray(part.vertices, np.float64).reshape(-1, 3),
                corners=corners,
                sizes=sizes,
                material=np.full(len(sizes), number, np.int64),
                smooth=np.full(len(sizes), part.smooth),
                uv=np.zeros((len(corners), 2), np.float32),
                colour=np.ones((len(corners), 4), np.float32),
                normals=None,
            )
        )
    return concatenate(pieces)


def concatenate(pieces: list[Surface]) -> Surface:
    """All pieces as one surface; their material indices are kept."""
    if not pieces:
        raise BadObject("no mesh in it")
    offsets = np.cumsum([0] + [len(piece.points) for piece in pieces[:-1]])
    joined = {
        field: np.concatenate([getattr(piece, field) for piece in pieces])
        for field in ("points", "sizes", "material", "smooth", "uv", "colour")
    }
    corners = np.concatenate([piece.corners + offset for piece, offset in zip(pieces, offsets, strict=True)])
    normals = None
    if any(piece.normals is not None for piece in pieces):
        normals = np.concatenate(
            [_face_normals_at_corners(piece) if piece.normals is None else piece.normals for piece in pieces]
        )
    return Surface(corners=corners, normals=normals, **joined)


def clean(surface: Surface) -> Surface:
    """The surface without unused points, degenerate faces and faces that lie on an earlier one.

    Coincident faces (common in ShapeNet and SketchUp models, where every face is there twice) shadow each other and
    render as speckle.

    Raises BadObject for what cannot be shown: no faces or too many, points that are not finite, no size or an absurd.
    """
    if not len(surface.sizes):
        raise BadObject("no faces in it")
    check_face_count(len(surface.sizes))
    used = np.unique(surface.corners)
    if not np.isfinite(surface.points[used]).all():
        raise BadObject("vertices that are not finite numbers")
    _, radius = _sphere(surface.points[used])
    if not 1e-12 < radius < 1e12:
        raise BadObject(f"a size of {2 * radius:g} units")
    welded = _weld(surface.points, WELD * radius)[surface.corners]
    keep = _proper(surface, welded)
    keep[keep] = _first_of_each(_keys(surface, welded)[keep])
    if not keep.any():
        raise BadObject("every face in it is degenerate")
    return take_faces(surface, keep)


def check_face_count(count: int) -> None:
    """Raise BadObject for more faces than a picture of them is worth."""
    if count > MAX_FACES:
        raise BadObject(f"{count:,} faces, more than {MAX_FACES:,}")


def normalise(surface: Surface, radius: float) -> Surface:
    """The surface with its bounding sphere (around the centre of its bounding box) of `radius` around the origin."""
    centre, size = _sphere(surface.points)
    return replace(surface, points=(surface.points - centre) * (radius / size))


def turned(surface: Surface, rotation: np.ndarray) -> Surface:
    """The surface turned by a rotation matrix (3, 3) about the origin."""
    normals = None if surface.normals is None else (surface.normals @ rotation.T).astype(np.float32)
    return replace(surface, points=surface.points @ rotation.T, normals=normals)


def take_faces(surface: Surface, keep: np.ndarray) -> Surface:
    """The faces chosen by the boolean array `keep` (f,), and only the points that they use."""
    at = np.repeat(keep, surface.sizes)
    used, corners = np.unique(surface.corners[at], return_inverse=True)
    return Surface(
        points=surface.points[used],
        corners=corners.reshape(-1),
        sizes=surface.sizes[keep],
        material=surface.material[keep],
        smooth=surface.smooth[keep],
        uv=surface.uv[at],
        colour=surface.colour[at],
        normals=None if surface.normals is None else surface.normals[at],
    )


def face_normals(surface: Surface) -> np.ndarray:
    """Unit normal of every face by Newell's method, (f, 3); zero where a face has no area."""
    here = surface.points[surface.corners]
    there = surface.points[surface.corners[_next_corner(surface)]]
    centre = here[np.repeat(surface.starts, surface.sizes)]
    normals = np.add.reduceat(np.cross(here - centre, there - centre), surface.starts, axis=0)
    length = np.linalg.norm(normals, axis=1, keepdims=True)
    return np.divide(normals, length, out=np.zeros_like(normals), where=length > 0)


def believable_normals(surface: Surface) -> np.ndarray | None:
    """Shading normals (m, 3) on their face's side, or None.

    One that points behind its face would shade black, so it is turned; one that is far off the face's own normal, as in
    files with mixed-up axes, gives way to that.
    """
    if surface.normals is None:
        return None
    flat = _face_normals_at_corners(surface)
    length = np.linalg.norm(surface.normals, axis=1, keepdims=True)
    unit = np.divide(surface.normals, length, out=np.zeros_like(flat), where=length > 0)
    agreement = np.einsum("ij,ij->i", unit, flat)[:, None]
    return np.where(np.abs(agreement) >= MOST_BENT, np.sign(agreement) * unit, flat)


def _face_normals_at_corners(surface: Surface) -> np.ndarray:
    return np.repeat(face_normals(surface), surface.sizes, axis=0).astype(np.float32)


def _next_corner(surface: Surface) -> np.ndarray:
    following = np.arange(1, len(surface.corners) + 1)
    following[surface.starts + surface.sizes - 1] = surface.starts
    return following


def _sphere(points: np.ndarray) -> tuple[np.ndarray, float]:
    centre = (points.min(axis=0) + points.max(axis=0)) / 2
    return centre, float(np.linalg.norm(points - centre, axis=1).max())


def _weld(points: np.ndarray, distance: float) -> np.ndarray:
    """A number per point, equal for points that round to the same cell of size `distance`, (n,) int64."""
    with np.errstate(invalid="ignore"):
        cells = np.round((points - np.nan_to_num(points).min(axis=0)) / distance)
    # At most about 2e5 cells a side, so three of them fit into one word of 63 bits.
    word = cells.astype(np.int64) @ np.array([1 << 42, 1 << 21, 1], np.int64)
    return np.unique(word, return_inverse=True)[1].reshape(-1)


def _proper(surface: Surface, welded: np.ndarray) -> np.ndarray:
    """Whether each face has an area, (f,) bool."""
    return (face_normals(surface) != 0).any(axis=1) & (_distinct(surface, welded) >= 3)


def _distinct(surface: Surface, welded: np.ndarray) -> np.ndarray:
    """How many different points each face has, (f,)."""
    face = np.repeat(np.arange(len(surface.sizes)), surface.sizes)
    pairs = np.unique(face * (int(welded.max()) + 1) + welded)
    return np.bincount(pairs // (int(welded.max()) + 1), minlength=len(surface.sizes))


def _keys(surface: Surface, welded: np.ndarray) -> np.ndarray:
    """A word per face that depends on the set of its points, in whatever order they come, (f,) uint64."""
    mixed = _mix(welded.astype(np.uint64))
    return np.add.reduceat(mixed, surface.starts) + surface.sizes.astype(np.uint64)


def _mix(words: np.ndarray) -> np.ndarray:
    """The finaliser of splitmix64 (Steele et al. 2014): equal in, equal out; sums of its words do not collide."""
    words = (words + np.uint64(1)) * np.uint64(0x9E3779B97F4A7C15)
    words = (words ^ (words >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    words = (words ^ (words >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return words ^ (words >> np.uint64(31))


def _first_of_each(keys: np.ndarray) -> np.ndarray:
    keep = np.zeros(len(keys), bool)
    keep[np.unique(keys, return_index=True)[1]] = True
    return keep
