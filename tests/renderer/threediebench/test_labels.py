"""The meaning of the published numbers."""

import colorsys

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from renderer.latents import quaternion, rotation_matrix
from renderer.threediebench.labels import CATEGORIES, category, corrected


@pytest.mark.parametrize("hue", [0.0, 0.1, 0.25, 1 / 3, 0.5, 2 / 3, 0.7, 0.95])
def test_corrected_hue_is_that_of_the_colour_with_red_and_blue_swapped(hue):
    swapped = colorsys.hsv_to_rgb(hue, 0.6, 0.6)[::-1]
    shown = colorsys.rgb_to_hsv(*swapped)[0]
    latents = corrected([0, 0, 0, hue, 0, 0, hue])
    for name in ("floor_hue", "spot_hue"):
        assert abs((latents[name] - shown + 0.5) % 1 - 0.5) < 1e-12 and 0 <= latents[name] < 1


def test_rotation_is_the_one_that_the_authors_code_makes_of_the_angles():
    for angles in np.random.default_rng(0).uniform(-np.pi / 2, np.pi / 2, (50, 3)):
        theirs = Rotation.from_euler("xyz", angles)  # src/dataset.py
        latents = corrected([*angles, 0, 0, 0, 0])
        assert np.allclose(rotation_matrix(latents), theirs.as_matrix())
        x, y, z, w = theirs.as_quat()
        assert np.allclose(np.multiply(np.sign(w), [w, x, y, z]), quaternion(latents))


def test_categories():
    assert len(CATEGORIES) == 55
    assert category("03001627/1a") == "chair" and category("02747177/x") == "trash bin" and category("mine/x") == "mine"
