"""Cleaning, parting and normalising polygons (no Blender needed)."""

from dataclasses import replace

import numpy as np
import pytest

from assets.errors import BadObject
from assets.geometry import Part
from renderer.blender import surface as surfaces
from renderer.blender.coincident import HAIR, part_coincident

SQUARE = [(0, 0, 0), (1, 0, 0), (1, 1, 0), (0, 1, 0)]


def of(points: list, faces: list) -> surfaces.Surface:
    return surfaces.from_parts([Part("part", np.array(points, np.float32), tuple(map(tuple, faces)), (1, 1, 1))])


def test_faces_with_the_same_corners_are_one_face():
    doubled = of(SQUARE + SQUARE, [(0, 1, 2, 3), (6, 5, 4, 7), (0, 1, 2)])
    assert list(surfaces.clean(doubled).sizes) == [4, 3]


def test_degenerate_faces_and_unused_points_go():
    kept = surfaces.clean(of([*SQUARE, (0.5, 0, 0), (9, 9, 9)], [(0, 1, 2, 3), (0, 4, 1), (0, 0, 1)]))
    assert list(kept.sizes) == [4]
    assert len(kept.points) == 4


@pytest.mark.parametrize(
    ("points", "faces", "reason"),
    [
        (SQUARE, [], "no faces"),
        ([*SQUARE[:3], (np.nan, 1, 0)], [(0, 1, 2, 3)], "not finite"),
        ([*SQUARE[:3], (np.inf, 1, 0)], [(0, 1, 2, 3)], "not finite"),
        ([(1, 2, 3)] * 3, [(0, 1, 2)], "size of 0"),
        ([(0, 0, 0), (1, 0, 0), (2, 0, 0)], [(0, 1, 2)], "degenerate"),
        ([(0, 0, 0), (1e20, 0, 0), (0, 1e20, 0)], [(0, 1, 2)], "size of"),
    ],
)
def test_what_cannot_be_shown_is_refused_with_the_reason(points, faces, reason):
    with pytest.raises(BadObject, match=reason):
        surfaces.clean(of(points, faces))


def test_too_many_faces_are_refused(monkeypatch):
    monkeypatch.setattr(surfaces, "MAX_FACES", 1)
    with pytest.raises(BadObject, match="2 faces, more than 1"):
        surfaces.clean(of(SQUARE, [(0, 1, 2), (0, 2, 3)]))


def test_normalised_around_the_middle_of_the_bounding_box():
    whole = surfaces.normalise(of([(10, 10, 10), (14, 10, 10), (10, 12, 10)], [(0, 1, 2)]), 0.82)
    assert np.allclose((whole.points.min(axis=0) + whole.points.max(axis=0)) / 2, 0)
    assert np.isclose(np.linalg.norm(whole.points, axis=1).max(), 0.82)


def test_normals_are_turned_to_their_face_or_replaced():
    square = of(SQUARE, [(0, 1, 2, 3)])
    given = np.array([(0, 0, 1), (0, 0, -1), (1, 0, 0.1), (0, 0, 0)], np.float32)
    believed = surfaces.believable_normals(replace(square, normals=given))
    assert np.allclose(believed, (0, 0, 1))
    assert surfaces.believable_normals(square) is None


def overlapping() -> surfaces.Surface:
    """A square around the origin, the same square cut along the other diagonal, and a neighbour beside it."""
    points = [(-0.5, -0.5, 0), (0.5, -0.5, 0), (0.5, 0.5, 0), (-0.5, 0.5, 0), (0.9, -0.5, 0), (0.9, 0.4, 0)]
    return of(points, [(0, 1, 2), (0, 2, 3), (0, 1, 3), (1, 2, 3), (1, 4, 5, 2)])


def test_overlapping_faces_are_parted_by_a_hair_and_neighbours_are_not():
    parted = part_coincident(overlapping())
    height = np.split(parted.points[parted.corners][:, 2], parted.starts[1:])
    assert [round(h.mean() / HAIR) for h in height] == [0, 0, 1, 1, 0]


def test_other_planes_are_left_alone():
    points = [(x, y, z) for z in (0, 0.01) for x, y in ((0, 0), (1, 0), (1, 1), (0, 1))]
    stacked = of(points, [(0, 1, 2, 3), (4, 5, 6, 7)])
    assert part_coincident(stacked) is stacked
