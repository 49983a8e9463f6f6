"""The built-in families: what every instance must be, measured on its meshes."""

import re
import subprocess
import sys
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest

from assets.catalog import ObjectRef
from assets.errors import BadObject, UserError
from assets.geometry import Part
from assets.procedural import FAMILIES, generate, load_procedural, procedural_objects
from assets.procedural.draws import BRIGHTEST, DARKEST, Draws
from assets.procedural.shapes import box, cylinder, ellipsoid, extrude, part, torus, tube
from assets.symmetry import measure

ROOT = Path(__file__).resolve().parents[2]
INSTANCES = range(6)

per_family = pytest.mark.parametrize("family", sorted(FAMILIES))


def triangles(part: Part) -> np.ndarray:
    return np.array([(face[0], *face[i : i + 2]) for face in part.faces for i in range(1, len(face) - 1)])


def whole(parts: list[Part]) -> tuple[np.ndarray, np.ndarray]:
    offsets = np.cumsum([0] + [len(part.vertices) for part in parts])
    faces = [triangles(part) + offset for part, offset in zip(parts, offsets, strict=False)]
    return np.concatenate([part.vertices for part in parts]), np.concatenate(faces)


def shells(part: Part) -> list[np.ndarray]:
    """The triangles of each connected piece."""
    label = np.arange(len(part.vertices))
    corners = triangles(part)
    while True:
        least = label[corners].min(axis=1)
        before = label.copy()
        np.minimum.at(label, corners, least[:, None].repeat(3, axis=1))
        if (label == before).all():
            return [corners[label[corners[:, 0]] == name] for name in np.unique(label)]


def volume(vertices: np.ndarray, corners: np.ndarray) -> float:
    a, b, c = (vertices[corners[:, i]].astype(float) for i in range(3))
    return float((a * np.cross(b, c)).sum() / 6)


def test_there_are_enough_families():
    assert len(FAMILIES) >= 16


@per_family
def test_meshes_are_closed_and_face_outwards(family):
    for made in (made for number in INSTANCES for made in generate(family, number)):
        edges = [edge for face in made.faces for edge in zip(face, face[1:] + face[:1], strict=True)]
        assert len(set(edges)) == len(edges), made.name
        assert {edge[::-1] for edge in edges} == set(edges), made.name
        assert set(range(len(made.vertices))) == {start for start, _ in edges}, made.name
        assert all(volume(made.vertices, shell) > 0 for shell in shells(made)), made.name


@per_family
def test_instances_have_unit_size_modest_meshes_and_plain_types(family):
    for number in INSTANCES:
        parts = generate(family, number)
        vertices, corners = whole(parts)
        low, high = vertices.min(axis=0), vertices.max(axis=0)
        assert np.isfinite(vertices).all()
        assert vertices.dtype == np.float32
        assert (high - low).max() == pytest.approx(1, abs=1e-4)
        assert low + high == pytest.approx(np.zeros(3), abs=1e-4)
        assert 300 <= len(corners) <= 6000
        assert all(isinstance(index, int) for part in parts for index in part.faces[0])
        assert len({part.name for part in parts}) == len(parts)


@per_family
def test_instances_have_three_clearly_different_colours(family):
    for number in INSTANCES:
        colours = {part.colour for part in generate(family, number)}
        assert all(DARKEST <= channel <= BRIGHTEST for colour in colours for channel in colour)
        apart = {pair for pair in combinations(colours, 2) if np.linalg.norm(np.subtract(*pair)) > 0.25}
        assert any({(a, b), (b, c), (a, c)} <= apart for a, b, c in combinations(colours, 3)), number


@per_family
def test_rotation_can_be_read_from_the_shape_alone(family):
    for number in INSTANCES:
        assert measure(*whole(generate(family, number))).objection() == "", number


@per_family
def test_instances_differ_in_shape_and_colour(family):
    instances = [generate(family, number) for number in INSTANCES]
    clouds = [whole(parts)[0] for parts in instances]
    sides = [np.ptp(cloud, axis=0) for cloud in clouds]
    assert all(np.abs(a - b).max() > 1e-3 for a, b in combinations(sides, 2))
    assert len({tuple(part.colour for part in parts) for parts in instances}) == len(instances)


def test_objects_are_the_same_in_a_fresh_process():
    command = "from assets.procedural import procedural_objects as f; print([o.digest for o in f(None, 1)])"
    fresh = subprocess.run([sys.executable, "-c", command], cwd=ROOT, capture_output=True, text=True, check=True)
    assert fresh.stdout.strip() == str([ref.digest for ref in procedural_objects(None, 1)])


def test_draws_are_pinned():
    """Across machines, Python and numpy versions: these numbers decide what "chair-00000" is."""
    draws = Draws("chair", 0)
    assert [draws.uniform(0, 1) for _ in range(3)] == [0.6906345280797147, 0.8893252977509337, 0.4095083710999238]
    assert Draws("chair", 1).uniform(0, 1) != Draws("chair", 0).uniform(0, 1)


def test_references_name_and_credit_every_object():
    refs = procedural_objects(None, 4)
    assert len(refs) == 4 * len(FAMILIES)
    assert len({ref.id for ref in refs}) == len({ref.digest for ref in refs}) == len(refs)
    for ref in refs:
        assert ref.source == "procedural"
        assert ref.category == ref.family in FAMILIES
        assert re.fullmatch(rf"{ref.family}-\d{{5}}", ref.id)
        assert re.fullmatch(r"[0-9a-f]{64}", ref.digest)
        assert ref.licence == "CC0-1.0 (generated)"


def test_families_are_selected_in_the_order_given_and_once():
    assert [ref.id for ref in procedural_objects(["car", "chair", "car"], 1)] == ["car-00000", "chair-00000"]


def test_more_instances_keep_the_first_ones():
    assert procedural_objects(["mug"], 5)[:2] == procedural_objects(["mug"], 2)


def test_a_reference_loads_as_its_instance():
    (ref,) = procedural_objects(["hammer"], 4)[3:]
    for loaded, made in zip(load_procedural(ref), generate("hammer", 3), strict=True):
        assert loaded.vertices.tobytes() == made.vertices.tobytes()
        assert (loaded.name, loaded.faces, loaded.colour) == (made.name, made.faces, made.colour)


def test_unknown_family_names_the_known_ones():
    with pytest.raises(UserError, match=r"'chiar'.*chair") as error:
        procedural_objects(["chair", "chiar"])
    assert error.value.exit_code == 2


@pytest.mark.parametrize("bad", ["chiar-00001", "chair", "chair-", "chair-1x", ""])
def test_a_reference_that_no_generator_makes_is_a_bad_object(bad):
    with pytest.raises(BadObject, match="no procedural object"):
        load_procedural(ObjectRef(id=bad, source="procedural", category="chair"))


def test_volumes_of_simple_shapes():
    square = [(-1, -1), (1, -1), (1, 1), (-1, 1)]
    expected = {
        8.0: extrude(square, 2),
        7.5: box(2, 2, 2, 0.1),
        np.pi * 2: cylinder(1, 2, segments=200),
        np.pi * 4 / 3 * 0.75: ellipsoid(1, 1.5, 0.5, 100),
        2 * np.pi**2 * 0.04: torus(1, 0.2, 100, 40),
        np.pi * 0.01: tube([(0, 0, 0), (0, 0.5, 0), (0, 1, 0)], 0.1, around=40),
    }
    for size, mesh in expected.items():
        made = part("", (0, 0, 0), mesh)
        assert volume(made.vertices, triangles(made)) == pytest.approx(size, rel=0.09)


def test_a_part_is_smooth_or_flat():
    with pytest.raises(ValueError, match="mixes"):
        part("both", (0, 0, 0), box(1, 1, 1), cylinder(1, 1))
