"""Barlow Twins (Zbontar et al., 2021): two views' features correlate one to one and not at all crosswise."""

import torch.nn.functional as F
from torch import Tensor

from benchmark import distributed
from benchmark.objectives.objective import Objective, full_precision


class BarlowTwins(Objective):
    """The cross-correlation of two views against the identity."""

    views = 2

    def __init__(self, redundancy: float) -> None:
        """redundancy: lambda, the weight of the correlations that should be 0."""
        super().__init__()
        self.redundancy = redundancy

    def forward(self, outputs: Tensor, target: None = None, teacher: None = None) -> Tensor:
        """outputs (2, B, d) -> scalar"""
        return barlow_twins(outputs, self.redundancy)


def barlow_twins(outputs: Tensor, redundancy: float) -> Tensor:
    """sum_i (1 - C_ii)^2 + redundancy sum_{i != j} C_ij^2 (equations 1 and 2 of the paper), C the d x d correlation of
    the views' features over the batch.

    outputs: (2, B, d), B >= 2 over all ranks. Features are standardised as by BatchNorm (eps 1e-5, biased variance), so
    that a constant one correlates with nothing instead of dividing by 0. The same as lightly.loss.BarlowTwinsLoss.

    Memory: a few matrices of d x d float32 (16 MiB each at 2048), and on N ranks everybody's outputs, 2 x BN x d.
    """
    with full_precision(outputs):
        first, second = (_standardised(view) for view in distributed.gather(outputs.float(), dim=1))
        correlation = first.T @ second / len(first)
        on_diagonal = correlation.diagonal()
        off_diagonal = correlation - on_diagonal.diag()
        return (on_diagonal - 1).square().sum() + redundancy * off_diagonal.square().sum()


def _standardised(x: Tensor) -> Tensor:
    """(B, d) -> mean 0 and variance 1 over the batch"""
    return F.batch_norm(x, None, None, training=True)
