"""Passes in rendered pixels, against rays cast through every pixel's centre at a box and the floor."""

import io
import math

import numpy as np
import pytest
from PIL import Image

from renderer.latents import rotation_matrix
from renderer.passes import ENDINGS, read_depth
from tests.renderer.blender.helpers import RESOLUTION, REST, Worker, marked_cube, white_box

EYE = 2.5 * np.array([0, -math.sqrt(0.5), math.sqrt(0.5)])
RIGHT, UP, FORWARD = np.array([1, 0, 0]), np.array([0, 1, 1]) / math.sqrt(2), -EYE / 2.5
RADIUS, FLOOR_Z = 0.82, -0.84
SIZE = (1, 0.6, 0.4)  # half sides in the file's axes (y up); in the renderer's: x, z, y

# Rays through the pixels' centres (H, W, 3), of length one along the camera's axis: their lengths are depths.
STEPS = ((np.arange(RESOLUTION) + 0.5) / RESOLUTION * 2 - 1) * math.tan(0.691111 / 2)
RAYS = FORWARD + STEPS[None, :, None] * RIGHT - STEPS[:, None, None] * UP
FLOOR = (FLOOR_Z - EYE[2]) / RAYS[..., 2]  # its depth


@pytest.fixture(scope="module")
def worker(blender, tmp_path_factory):
    with Worker(blender, tmp_path_factory.mktemp(blender), passes=list(ENDINGS)) as started:
        yield started


def expected(latents: dict[str, float]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Mask (H, W), depth (H, W) and normals (H, W, 3) of the box over the floor."""
    rotation = rotation_matrix(latents)
    half = np.array([SIZE[0], SIZE[2], SIZE[1]]) * RADIUS / np.linalg.norm(SIZE)
    eye, turned = EYE @ rotation, RAYS @ rotation  # in the box's own axes
    sides = np.sort(np.stack([(-half - eye) / turned, (half - eye) / turned]), axis=0)
    near, far = sides[0].max(axis=-1), sides[1].min(axis=-1)
    hit = near <= far
    axis = sides[0].argmax(axis=-1)
    normals = -np.sign(np.take_along_axis(turned, axis[..., None], axis=-1)) * rotation.T[axis]
    depth = np.where(hit, near, FLOOR)
    return hit, depth, np.where(hit[..., None], normals, [0, 0, 1])


def passes(worker: Worker, index: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """What the files hold: mask (H, W) uint8, depth (H, W), normals (H, W, 3)."""
    files = {name: (worker.spool / f"{index:09d}.{ending}").read_bytes() for name, ending in ENDINGS.items()}
    mask, normal = (Image.open(io.BytesIO(files[name])) for name in ("mask", "normal"))
    assert (mask.mode, normal.mode) == ("L", "RGB")
    return np.asarray(mask), read_depth(files["depth"]), np.asarray(normal) / 255 * 2 - 1


@pytest.mark.parametrize(
    "turn", [{}, {"yaw": 0.6}, {"yaw": -0.9, "pitch": 0.5, "roll": 0.3}, {"pitch": -1.2, "roll": 1.4}]
)
def test_every_pixel_is_what_a_ray_through_its_centre_meets(worker, tmp_path, turn):
    worker.render(white_box(tmp_path / "box.obj", SIZE), **turn)
    mask, depth, normal = passes(worker)
    hit, distance, facing = expected({**REST, **turn})
    assert set(np.unique(mask)) == {0, 255}
    assert ((mask == 255) != hit).sum() <= 2  # where an edge runs through a pixel's very centre
    right = (np.abs(normal - facing).max(axis=-1) < 2 / 255) & ((mask == 255) == hit)
    assert (~right).sum() <= 4
    assert np.abs(depth - distance)[right].max() < 1e-3


def test_passes_leave_the_image_as_it_is(worker, blender, tmp_path):
    things = [white_box(tmp_path / "box.obj", SIZE), marked_cube(tmp_path / "cube.obj")]
    samples = {number: {**REST, "yaw": number / 5, "spot_theta": 0.2} for number in range(3)}
    with Worker(blender, tmp_path / "plain") as plain:
        for thing in things:
            images = []
            for one in (plain, worker):
                assert one.visit(thing, samples)[-1]["event"] == "visit_done"
                images.append([(one.spool / f"{number:09d}.png").read_bytes() for number in samples])
            assert images[0] == images[1]
    assert not list(plain.spool.glob("*.mask.png"))


@pytest.mark.parametrize(("opacity", "seen"), [(0.3, False), (0.8, True)])
def test_passes_see_through_what_is_more_than_half_transparent(worker, tmp_path, opacity, seen):
    box = white_box(tmp_path / "box.obj", SIZE)
    material = tmp_path / "box.mtl"
    material.write_text(material.read_text() + f"\nd {opacity}\n")
    worker.render(box)
    mask, depth, normal = passes(worker)
    hit, distance, facing = expected(REST)
    if not seen:
        hit, distance, facing = np.zeros_like(hit), FLOOR, np.broadcast_to([0, 0, 1], facing.shape)
    wrong = ((mask == 255) != hit) | (np.abs(normal - facing).max(axis=-1) > 2 / 255)
    assert wrong.sum() <= 4
    assert np.abs(depth - distance)[~wrong].max() < 1e-3
