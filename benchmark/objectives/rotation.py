"""Supervised: regress the object's rotation (section 3.2 of the paper)."""

import torch.nn.functional as F
from torch import Tensor, nn

from benchmark import distributed
from benchmark.data.table import ImageTable
from benchmark.objectives.objective import Objective, full_precision


class Rotation(Objective):
    """Mean squared error between a linear readout of the last layer and the unit quaternion [w, x, y, z], w >= 0.

    The readout's four numbers are compared as they are, neither normalised nor made sign-invariant: it is the
    regression whose error Figure 2 reports. w >= 0 holds for every rotation in the latents' ranges, so q and -q never
    both occur.
    """

    views = 1

    def __init__(self, dim: int) -> None:
        """dim: width of the network's output."""
        super().__init__()
        self.readout = nn.Linear(dim, 4)

    def target(self, table: ImageTable) -> Tensor:
        """float32 (N, 4)"""
        return table.quaternion.float()

    def forward(self, outputs: Tensor, target: Tensor, teacher: None = None) -> Tensor:
        """outputs (1, B, dim), target (B, 4) -> scalar, the mean over images and components."""
        with full_precision(outputs):
            return distributed.mean(F.mse_loss(self.readout(outputs[0].float()), target))
