"""Latents: ranges, independence of everything but (seed, index), and the rotation they stand for."""

import itertools
import math

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from renderer.latents import (
    LATENTS,
    draws,
    permutation,
    quaternion,
    rotation_matrix,
    sample_latents,
    spot_position,
    uniform,
)


def test_draws_are_fixed_for_ever():
    """These words decide every dataset; if they change, so do all datasets."""
    assert draws(0, 0, 0, 2).tolist() == [213000021201967259, 4455796210202625458]
    assert draws(7, 2, 12345, 1).tolist() == [17989812813515445703]


def test_uniform_covers_the_unit_interval():
    extremes = uniform(np.array([0, 2**64 - 1], dtype=np.uint64))
    assert extremes[0] == 0.0 and extremes[1] == 1 - 2.0**-53


def test_latents_are_uniform_within_table_2():
    samples = [sample_latents(3, i) for i in range(4000)]
    for name, (low, high) in LATENTS.items():
        values = np.array([s[name] for s in samples])
        assert values.min() >= low and values.max() < high
        quartiles = np.quantile((values - low) / (high - low), [0.25, 0.5, 0.75])
        np.testing.assert_allclose(quartiles, [0.25, 0.5, 0.75], atol=0.03)
    table = np.array([list(s.values()) for s in samples])
    correlation = np.corrcoef(table.T) - np.eye(len(LATENTS))
    assert np.abs(correlation).max() < 0.06


def test_samples_depend_on_seed_and_index_alone():
    assert sample_latents(1, 10**12) == sample_latents(1, 10**12)
    assert sample_latents(1, 5) != sample_latents(2, 5) != sample_latents(2, 6)


@pytest.mark.parametrize("size", [1, 20, 1000])
def test_permutation_is_one(size):
    assert sorted(permutation(1, 1, 9, size)) == list(range(size))


def test_rotation_and_quaternion_agree_with_scipy():
    for i in range(200):
        latents = sample_latents(11, i)
        angles = [latents[name] for name in ("yaw", "pitch", "roll")]
        oracle = Rotation.from_euler("ZYX", angles)  # intrinsic z, y', x'' is Rz Ry Rx
        np.testing.assert_allclose(rotation_matrix(latents), oracle.as_matrix(), atol=1e-12)
        w, x, y, z = quaternion(latents)
        np.testing.assert_allclose(Rotation.from_quat([x, y, z, w]).as_matrix(), oracle.as_matrix(), atol=1e-12)


def test_quaternion_has_unit_norm_and_w_at_least_zero_everywhere():
    """w >= 0 in the ranges of Table 2: on a grid that holds the extreme corners, and on random samples."""
    grid = np.linspace(-math.pi / 2, math.pi / 2, 13)
    points = [dict(zip(("yaw", "pitch", "roll"), p, strict=True)) for p in itertools.product(grid, repeat=3)]
    for latents in points + [sample_latents(5, i) for i in range(2000)]:
        q = quaternion(latents)
        assert q[0] >= -1e-15
        assert math.isclose(sum(v * v for v in q), 1, rel_tol=1e-12)


def test_spot_phi_counts_from_x_towards_y_and_theta_from_z():
    np.testing.assert_allclose(spot_position({"spot_theta": 0, "spot_phi": 1}, 4), [0, 0, 4], atol=1e-12)
    side = spot_position({"spot_theta": math.pi / 4, "spot_phi": math.pi / 2}, 2)
    np.testing.assert_allclose(side, [0, math.sqrt(2), math.sqrt(2)], atol=1e-12)
