"""What the regressors predict: the latents of Table 2, as in the paper and in forms that fit their geometry.

The paper regresses raw values, with the rotation as a quaternion. A raw angle or hue jumps at the end of its
range (hue 0.99 and 0.01 look alike), so that even a perfect reader of (cos, sin) keeps an error of about 0.39
of the variance on it: each circular latent is therefore regressed in both forms.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from benchmark.data.table import LATENT_NAMES, ImageTable


@dataclass(frozen=True)
class Target:
    """One thing to predict.

    name: as in the result files; label: as in figures and sentences; what: plain words, with units.
    components: number of columns. read: table -> float64 (N, components).
    """

    name: str
    label: str
    what: str
    components: int
    read: Callable[[ImageTable], Tensor]


def _raw(latent: str, label: str, what: str) -> Target:
    column = LATENT_NAMES.index(latent)
    return Target(latent, label, what, 1, lambda table: table.latents[:, column : column + 1])


def _circle(latent: str, label: str, what: str, turn: float) -> Target:
    """The latent as a point on the unit circle; `turn` is the length of its range."""
    column = LATENT_NAMES.index(latent)

    def read(table: ImageTable) -> Tensor:
        angle = table.latents[:, column] * (2 * math.pi / turn)
        return torch.stack([angle.cos(), angle.sin()], dim=1)

    return Target(f"{latent}_cos_sin", f"{label} (cos, sin)", f"{what}, as a point on the circle", 2, read)


TARGETS: tuple[Target, ...] = (
    Target(
        "rotation",
        "rotation",
        "object rotation, unit quaternion [w, x, y, z]",
        4,
        lambda table: table.quaternion,
    ),
    _raw("yaw", "yaw", "object yaw in radians"),
    _raw("pitch", "pitch", "object pitch in radians"),
    _raw("roll", "roll", "object roll in radians"),
    _raw("floor_hue", "floor hue (raw)", "hue of the floor in [0, 1]"),
    _circle("floor_hue", "floor hue", "hue of the floor", turn=1.0),
    _raw("spot_hue", "spot hue (raw)", "hue of the spot in [0, 1]"),
    _circle("spot_hue", "spot hue", "hue of the spot", turn=1.0),
    _raw("spot_theta", "spot theta", "angle of the spot from the vertical, radians"),
    _raw("spot_phi", "spot phi (raw)", "angle of the spot around the vertical, radians"),
    _circle("spot_phi", "spot phi", "angle of the spot around the vertical", turn=2 * math.pi),
)

TARGETS_BY_NAME: dict[str, Target] = {target.name: target for target in TARGETS}

# The factors of Figure 2, the circular ones in the form that a linear reader can get right.
FACTORS = ("rotation", "floor_hue_cos_sin", "spot_hue_cos_sin", "spot_theta", "spot_phi_cos_sin")
# The mean error over FACTORS stands in results as a target of this name.
OVERALL = "overall"
OVERALL_WHAT = f"mean error over {', '.join(TARGETS_BY_NAME[name].label for name in FACTORS)}"


def label_of(target: str) -> str:
    """As in tables and sentences."""
    return OVERALL if target == OVERALL else TARGETS_BY_NAME[target].label


def target_slices() -> dict[str, slice]:
    """Columns of each target in the matrix that `target_columns` returns."""
    slices, start = {}, 0
    for target in TARGETS:
        slices[target.name] = slice(start, start + target.components)
        start += target.components
    return slices


def target_columns(table: ImageTable) -> Tensor:
    """All targets side by side: float64 (N, sum of components)."""
    return torch.cat([target.read(table) for target in TARGETS], dim=1)


def rotation_error_degrees(predicted: Tensor, truth: Tensor) -> Tensor:
    """Angle of the rotation between two quaternions, in degrees [0, 180].

    predicted: (N, 4), any length (it is normalised); truth: (N, 4), unit. Returns (N,). q and -q are the same
    rotation. A zero prediction, which names no rotation, counts as 180.
    """
    unit = predicted / predicted.norm(dim=1, keepdim=True).clamp_min(torch.finfo(predicted.dtype).tiny)
    same_side = torch.where((unit * truth).sum(dim=1, keepdim=True) < 0, -unit, unit)
    # Exact to rounding near 0, where the arc cosine of the dot product loses half the digits.
    half = torch.atan2((same_side - truth).norm(dim=1), (same_side + truth).norm(dim=1))
    return torch.rad2deg(4 * half)
