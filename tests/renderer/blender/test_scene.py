"""The latents, measured in rendered pixels."""

import math

import numpy as np
import pytest

from renderer.latents import LATENTS, rotation_matrix, sample_latents
from tests.renderer.blender.helpers import (
    CUBE_FACES,
    FACE_HUES,
    RESOLUTION,
    REST,
    hue,
    hue_distance,
    marked_cube,
    project,
    white_box,
)

FLOOR_Z = -0.84


@pytest.mark.parametrize("floor_hue", [0.0, 0.13, 0.37, 0.5, 0.71, 0.94])
def test_floor_outside_the_spot_has_the_hue_of_its_label(worker, tmp_path, floor_hue):
    # The spot opposite in hue, and far from the top corners.
    image = worker.render(white_box(tmp_path / "box.obj"), floor_hue=floor_hue, spot_hue=(floor_hue + 0.5) % 1)
    for corner in (image[:5, :5], image[:5, -5:]):
        assert hue_distance(hue(corner.mean(axis=(0, 1))), floor_hue) < 0.02


@pytest.mark.parametrize("spot_hue", [0.0, 0.08, 0.25, 0.42, 0.58, 0.75, 0.92])
def test_a_white_surface_in_the_spot_has_its_hue(worker, tmp_path, spot_hue):
    image = worker.render(white_box(tmp_path / "box.obj"), spot_hue=spot_hue, floor_hue=(spot_hue + 0.5) % 1)
    row, column = (round(c) for c in project(np.array([0, 0, 0.82 / math.sqrt(3)])))
    top = image[row - 3 : row + 4, column - 3 : column + 4].mean(axis=(0, 1))
    assert hue_distance(hue(top), spot_hue) < 0.02
    assert top.max() - top.min() > 0.2, "the spot's hue is too pale to read"


@pytest.mark.parametrize("spot_phi", np.arange(5) * math.pi / 4)
def test_the_shadow_falls_away_from_the_spot(worker, tmp_path, spot_phi):
    pole = white_box(tmp_path / "pole.obj", (0.12, 1, 0.12))
    # On the floor, half a unit from the pole, on the side away from the spot; in front of the pole, so that it is seen.
    away = -0.45 * np.array([math.cos(spot_phi), math.sin(spot_phi)])
    row, column = (round(c) for c in project(np.array([*away, FLOOR_Z])))
    dark, lit = (
        worker.render(pole, spot_theta=math.pi / 8, spot_phi=phi, floor_hue=0.6, spot_hue=0.6)[row, column].max()
        for phi in (spot_phi, spot_phi + math.pi)
    )
    assert dark < 0.85 * lit


def test_the_spot_stands_where_its_angles_say(worker, tmp_path):
    box = white_box(tmp_path / "box.obj")
    row, column = (round(c) for c in project(np.array([0.35, -0.35, 0]) * 0.82))  # the side towards +x, -y
    redness = {}
    for phi in (0.0, math.pi):
        red, _, blue = worker.render(box, spot_theta=math.pi / 4, spot_phi=phi, yaw=math.pi / 4, spot_hue=0)[
            row, column
        ]
        redness[phi] = red - blue
    assert redness[0.0] > 0.15, "at spot_phi = 0 the light comes from +x, the right of the picture"
    assert redness[math.pi] < 0.1


@pytest.mark.parametrize("index", range(6))
def test_the_cubes_faces_are_where_the_rotation_takes_them(worker, tmp_path, index):
    latents = {**sample_latents(1, index), "spot_theta": 0.0}
    if index == 0:
        latents = REST
    image = worker.render(marked_cube(tmp_path / "cube.obj"), **latents)
    turn, half = rotation_matrix(latents), 0.82 / math.sqrt(3)
    eye = 2.5 * np.array([0, -math.sqrt(0.5), math.sqrt(0.5)])
    checked = 0
    for normal in CUBE_FACES:
        centre = turn @ np.array(normal) * half
        to_eye = (eye - centre) / np.linalg.norm(eye - centre)
        if to_eye @ (turn @ np.array(normal)) < 0.3:
            continue
        row, column = (round(c) for c in project(centre))
        colour = image[row - 1 : row + 2, column - 1 : column + 2].mean(axis=(0, 1))
        nearest = min(FACE_HUES, key=lambda n: hue_distance(FACE_HUES[n], hue(colour)))
        assert nearest == normal
        checked += 1
    assert checked >= 1


def test_the_object_stays_in_the_frame_and_hardly_a_pixel_clips(worker, tmp_path):
    stick = white_box(tmp_path / "stick.obj", (1, 0.06, 0.06))
    for index in range(6):
        latents = {**sample_latents(3, index), "spot_theta": 0.0, "spot_hue": 0.0, "floor_hue": 0.5}
        image = worker.render(stick, **latents)
        # White at its very nearest to the spot: the denoiser may overshoot in single pixels.
        assert (image >= 254 / 255).any(axis=2).mean() < 0.002
        for end in (-1, 1):
            tip = rotation_matrix(latents) @ np.array([0.81 * end, 0, 0])
            assert all(0 < c < RESOLUTION - 1 for c in project(tip))
            row, column = (round(c) for c in project(0.95 * tip))
            red, _, blue = image[row, column]
            assert red > 0.7 * blue, "at the stick's end the image shows the cyan floor"


def test_every_latent_changes_the_picture(worker, tmp_path):
    cube = marked_cube(tmp_path / "cube.obj")
    middle = {name: low + 0.4 * (high - low) for name, (low, high) in LATENTS.items()}
    before = worker.render(cube, **middle)
    for name, (low, high) in LATENTS.items():
        after = worker.render(cube, **{**middle, name: low + 0.6 * (high - low)})
        assert np.abs(after - before).max() > 0.1, name
