"""The rule on shapes whose symmetry is known."""

import numpy as np
import pytest

from assets import symmetry


def box(width, depth, height, at=(0.0, 0.0, 0.0)):
    """Vertices and triangles of a box with one corner at `at`."""
    corners = np.array([[x, y, z] for x in (0, 1) for y in (0, 1) for z in (0, 1)], dtype=float)
    quads = [(0, 1, 3, 2), (4, 6, 7, 5), (0, 4, 5, 1), (2, 3, 7, 6), (0, 2, 6, 4), (1, 5, 7, 3)]
    triangles = [t for a, b, c, d in quads for t in ((a, b, c), (a, c, d))]
    return corners * (width, depth, height) + at, np.array(triangles)


def joined(*meshes):
    """One mesh of several."""
    vertices, triangles, count = [], [], 0
    for v, t in meshes:
        vertices.append(v)
        triangles.append(t + count)
        count += len(v)
    return np.concatenate(vertices), np.concatenate(triangles)


def prism(sides, height=1.0, radius=1.0):
    """A closed prism over a regular polygon."""
    angle = 2 * np.pi * np.arange(sides) / sides
    ring = radius * np.stack([np.cos(angle), np.sin(angle)], axis=1)
    vertices = np.concatenate([np.c_[ring, np.zeros(sides)], np.c_[ring, np.full(sides, height)]])
    i = np.arange(sides)
    j = (i + 1) % sides
    walls = np.concatenate([np.stack([i, j, j + sides], 1), np.stack([i, j + sides, i + sides], 1)])
    fan = np.stack([np.zeros(sides - 2, int), np.arange(1, sides - 1), np.arange(2, sides)], 1)
    return vertices, np.concatenate([walls, fan[:, ::-1], fan + sides])


def chair():
    seat = box(1, 1, 0.1, (0, 0, 0.5))
    legs = [box(0.1, 0.1, 0.5, (x, y, 0)) for x in (0, 0.9) for y in (0, 0.9)]
    return joined(seat, *legs, box(1, 0.1, 0.7, (0, 0.9, 0.6)))


def mug(lid):
    vertices, triangles = prism(48, 1.2, 0.5)
    body = vertices, triangles if lid else triangles[: -(48 - 2)]
    return joined(body, box(0.35, 0.12, 0.7, (0.48, -0.06, 0.25)))


def bent(sides):
    """A pyramid over a regular polygon: only turns about its one axis map it onto itself."""
    vertices, triangles = prism(sides, 1.0)
    vertices[sides:, :2] *= 0.4
    return vertices, triangles


def anyhow(mesh, seed):
    """The same shape, turned and moved at random."""
    random = np.random.default_rng(seed)
    turn = np.linalg.qr(random.normal(size=(3, 3)))[0]
    return mesh[0] @ turn.T * 37 + random.normal(size=3) * 100, mesh[1]


SYMMETRIC = {
    "box": box(1, 0.7, 0.5),
    "cube": box(1, 1, 1),
    "table": joined(
        box(1.6, 0.8, 0.1, (0, 0, 0.7)),
        *(box(0.1, 0.1, 0.7, (x, y, 0)) for x in (0, 1.5) for y in (0, 0.7)),
    ),
    "bottle": joined(prism(40, 1.0, 0.5), (prism(40, 0.6, 0.2)[0] + (0, 0, 1.0), prism(40)[1])),
    "closed mug": mug(lid=True),
    **{f"frustum over {sides} sides": bent(sides) for sides in (3, 4, 5, 6)},
}
ASYMMETRIC = {"chair": chair(), "mug": mug(lid=False)}


@pytest.mark.parametrize("name", SYMMETRIC)
def test_leaves_out_what_a_turn_maps_onto_itself(name):
    shape = symmetry.measure(*SYMMETRIC[name])
    assert shape.asymmetry < symmetry.MIN_ASYMMETRY / 2
    assert "rotationally symmetric" in shape.objection()


@pytest.mark.parametrize("name", ASYMMETRIC)
def test_keeps_what_no_turn_maps_onto_itself(name):
    shape = symmetry.measure(*ASYMMETRIC[name])
    assert shape.asymmetry > 1.5 * symmetry.MIN_ASYMMETRY
    assert shape.objection() == ""


@pytest.mark.parametrize("name", sorted({**SYMMETRIC, **ASYMMETRIC}.keys() - {"cube"}))
def test_verdict_does_not_depend_on_pose_place_or_size(name):
    """The principal axes find a symmetry about any axis, not only about the axes of the coordinates.

    Except a cube's, which are undetermined: it is recognised upright only.
    """
    mesh = {**SYMMETRIC, **ASYMMETRIC}[name]
    for seed in range(3):
        asymmetry = symmetry.measure(*anyhow(mesh, seed)).asymmetry
        assert (asymmetry < symmetry.MIN_ASYMMETRY) == (name in SYMMETRIC)


def test_near_flat():
    slab = joined(box(1, 0.8, 0.1), box(0.2, 0.2, 0.015, (0.7, 0.1, 0.1)))
    shape = symmetry.measure(*slab)
    assert shape.flatness == pytest.approx(0.115)
    assert "near-flat" in shape.objection()
    assert symmetry.measure(*box(1, 1, 0.0)).flatness == 0


@pytest.mark.parametrize("triangles", [np.zeros((0, 3), int), np.zeros((1, 3), int)])
def test_a_mesh_without_extent_is_near_flat(triangles):
    assert symmetry.measure(np.ones((3, 3)), triangles).objection()


def test_vertices_that_no_face_uses_do_not_count():
    vertices, triangles = chair()
    with_stray = np.concatenate([vertices, [[1000.0, 0, 0]]])
    assert symmetry.measure(with_stray, triangles) == symmetry.measure(vertices, triangles)


def test_measure_does_not_depend_on_how_finely_the_surface_is_cut():
    vertices, triangles = mug(lid=False)
    a, b, c = (vertices[triangles[:, corner]] for corner in range(3))
    n = len(triangles)
    finer = np.concatenate([a, b, c, (a + b) / 2, (b + c) / 2, (c + a) / 2])
    i = np.arange(n)
    ia, ib, ic, iab, ibc, ica = (i + k * n for k in range(6))
    quartered = np.concatenate(
        [np.stack(t, axis=1) for t in ((ia, iab, ica), (iab, ib, ibc), (ica, ibc, ic), (iab, ibc, ica))]
    )
    coarse, fine = symmetry.measure(vertices, triangles), symmetry.measure(finer, quartered)
    assert fine.asymmetry == pytest.approx(coarse.asymmetry, rel=0.1)


def test_samples_are_spread_by_area_and_stay_on_the_surface():
    large, small = box(2, 2, 2), box(1, 1, 1, (5, 5, 5))
    samples = symmetry.surface_samples(*joined(large, small), 3000, 0.0)
    on_small = (samples > 4).all(axis=1)
    assert on_small.mean() == pytest.approx(0.2, abs=0.01)  # area 6 of 30
    inside = samples[~on_small]
    assert np.isclose(inside * (2 - inside), 0, atol=1e-9).any(axis=1).all()


def test_rotation_about_an_axis():
    quarter = symmetry.rotation_about(np.array([0, 0, 1.0]), np.pi / 2)
    np.testing.assert_allclose(quarter @ [1, 0, 0], [0, 1, 0], atol=1e-12)
