"""Supervised classification of the objects' categories."""

from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor, nn

from benchmark import distributed
from benchmark.data.table import ImageTable
from benchmark.errors import UserError
from benchmark.objectives.objective import Objective, full_precision, numbered


class Supervised(Objective):
    """Cross entropy of a linear readout of the last layer, over the categories of the training images.

    ``classes``: their names, in the order of the readout's outputs. They are part of the state, so that a checkpoint
    says what its readout means and a run is not resumed with others.
    """

    views = 1

    def __init__(self, dim: int, categories: Sequence[str]) -> None:
        """dim: width of the network's output; categories: of the training images, in any order, as often as they occur.
        UserError (wrong usage) when there is only one."""
        super().__init__()
        self.classes = tuple(sorted(set(categories)))
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

    def get_extra_state(self) -> dict:
        return {"classes": list(self.classes)}

    def set_extra_state(self, state: dict) -> None:
        """UserError unless it is of the same classes."""
        names = state.get("classes") if isinstance(state, dict) else None
        if names != list(self.classes):
            known = ", ".join(map(str, names)) if isinstance(names, list) else "unknown: its checkpoint is damaged"
            raise UserError(
                f"--objective supervised: the dataset's categories are {', '.join(self.classes)}, those the run was "
                f"trained on {known}; choose another --out"
            )
