"""Supervised classification of the objects' categories."""

from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor, nn

from benchmark import distributed
from benchmark.data.table import ImageTable
from benchmark.errors import UserError
from benchmark.objectives.objective import Classifying, full_precision, numbered


class Supervised(Classifying):
    """Cross entropy of a linear readout of the last layer, over the categories of the training images."""

    name = "supervised"
    views = 1

    def __init__(self, dim: int, categories: Sequence[str]) -> None:
        """dim: width of the network's output; categories: of the training images, in any order, as often as they occur.
        UserError (wrong usage) when there is only one."""
        super().__init__(categories)
        if len(self.classes) < 2:
            raise UserError(
                f"--objective supervised: all training images are of one category ({', '.join(self.classes)}), "
                "so there is nothing to tell apart; render objects of several categories or choose another objective",
                exit_code=2,
            )
        self.readout = nn.Linear(dim, len(self.classes))

    def target(self, table: ImageTable) -> Tensor:
        """int64 (N,), positions in ``classes``"""
        return numbered(table.categories)

    def forward(self, outputs: Tensor, target: Tensor, teacher: None = None) -> Tensor:
        """outputs (1, B, dim), target int64 (B,) -> scalar, the mean over images."""
        with full_precision(outputs):
            return distributed.mean(F.cross_entropy(self.readout(outputs[0].float()), target))
