import math

import pytest
import torch

from benchmark.data.table import load_table
from benchmark.probes.targets import TARGETS, rotation_error_degrees, target_columns, target_slices


def about(axis: tuple[float, float, float], degrees: float) -> torch.Tensor:
    half = math.radians(degrees) / 2
    return torch.tensor([[math.cos(half), *(math.sin(half) * a for a in axis)]], dtype=torch.float64)


@pytest.mark.parametrize("degrees", [0, 1e-6, 1, 45, 90, 179.999, 180])
def test_rotation_error_is_the_angle_between(degrees):
    error = rotation_error_degrees(about((0, 0, 1), degrees), about((0, 0, 1), 0))
    assert error.item() == pytest.approx(degrees, rel=1e-9, abs=1e-12)


def test_rotation_error_ignores_length_and_sign():
    truth, predicted = about((1, 0, 0), 20), about((1, 0, 0), 50)
    for scale in (1, -1, 0.01, -300):
        assert rotation_error_degrees(scale * predicted, truth).item() == pytest.approx(30)
    assert rotation_error_degrees(about((0, 0, 1), 350), about((0, 0, 1), 10)).item() == pytest.approx(20)


def test_no_direction_at_all_is_the_worst_error():
    assert rotation_error_degrees(torch.zeros(1, 4, dtype=torch.float64), about((1, 0, 0), 20)).item() == 180


def test_columns(dataset):
    table = load_table(dataset, "val")
    columns, slices = target_columns(table), target_slices()
    assert columns.dtype == torch.float64
    assert columns.shape == (60, sum(target.components for target in TARGETS))
    assert torch.equal(columns[:, slices["rotation"]], table.quaternion)
    for column, name in enumerate(("yaw", "pitch", "roll", "floor_hue", "spot_theta", "spot_phi", "spot_hue")):
        assert torch.equal(columns[:, slices[name]], table.latents[:, column : column + 1])
    for name, turn in (("floor_hue", 1.0), ("spot_hue", 1.0), ("spot_phi", 2 * math.pi)):
        cos, sin = columns[:, slices[f"{name}_cos_sin"]].unbind(1)
        raw = columns[:, slices[name]][:, 0]
        back = torch.atan2(sin, cos).remainder(2 * math.pi) / (2 * math.pi) * turn
        torch.testing.assert_close(back, raw)
