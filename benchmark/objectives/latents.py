"""Supervised: read everything that is known of a render at once, its latents and its category."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmark import distributed
from benchmark.data.table import ImageTable
from benchmark.objectives.objective import Classifying, full_precision, numbered
from benchmark.probes.targets import FACTORS, TARGETS_BY_NAME


class Latents(Classifying):
    """Mean squared error of a linear readout of FACTORS (benchmark.probes.targets), each of their columns over its
    variance, plus cross entropy of one of the categories, where there are several.

    The network that results measures images whose latents nobody knows: what a diffusion model draws (gr3d figure 7).
    """

    name = "latents"
    views = 1

    def __init__(self, dim: int, targets: Tensor, categories: Sequence[str]) -> None:
        """dim: width of the network's output; targets: float64 (N, t), `factor_columns` of the training images;
        categories: theirs."""
        super().__init__(categories)
        self.readout = nn.Linear(dim, targets.shape[1] + len(self.classes))
        self.register_buffer("mean", targets.mean(dim=0).float())
        deviation = targets.std(dim=0).float()
        self.register_buffer("scale", torch.where(deviation > 0, deviation, torch.ones_like(deviation)))

    def target(self, table: ImageTable) -> Tensor:
        """float32 (N, t + 1): the columns, and the place of the category in ``classes``."""
        return torch.cat([factor_columns(table).float(), numbered(table.categories).float()[:, None]], dim=1)

    def forward(self, outputs: Tensor, target: Tensor, teacher: None = None) -> Tensor:
        """outputs (1, B, dim), target (B, t + 1) -> scalar, the mean over images."""
        with full_precision(outputs):
            columns, scores = self.readout(outputs[0].float()).split([len(self.mean), len(self.classes)], dim=1)
            loss = F.mse_loss(columns, (target[:, :-1] - self.mean) / self.scale)
            return distributed.mean(loss + F.cross_entropy(scores, target[:, -1].long()))

    def read(self, outputs: Tensor) -> tuple[Tensor, Tensor]:
        """outputs (B, dim) -> float32 (B, t), the columns in their own units, and int64 (B,), places in ``classes``."""
        columns, scores = self.readout(outputs.float()).split([len(self.mean), len(self.classes)], dim=1)
        return columns * self.scale + self.mean, scores.argmax(dim=1)


def factor_columns(table: ImageTable) -> Tensor:
    """FACTORS side by side: float64 (N, t). UserError for a table without latents."""
    return torch.cat([TARGETS_BY_NAME[factor].read(table) for factor in FACTORS], dim=1)


def factor_slices() -> dict[str, slice]:
    """Columns of each factor in what `factor_columns` returns."""
    slices, start = {}, 0
    for factor in FACTORS:
        slices[factor] = slice(start, start + TARGETS_BY_NAME[factor].components)
        start = slices[factor].stop
    return slices
