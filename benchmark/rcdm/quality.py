"""How far samples are from real images."""

from __future__ import annotations

import warnings

import torch
from torch import Tensor, nn

_SUBSETS = 50
_SMALLEST = 8


def kernel_distance(real: Tensor, drawn: Tensor, seed: int = 0) -> float:
    """Kernel inception distance (Binkowski et al., 2018; torchmetrics) between features float32 (N, d) and (M, d): 0
    for the same distribution, whatever N and M, as its estimate is unbiased. The features are the caller's, not
    Inception's. NaN for fewer than 16 of either."""
    from torchmetrics.image.kid import KernelInceptionDistance

    size = min(len(real), len(drawn)) // 2
    if size < _SMALLEST:
        return float("nan")
    with warnings.catch_warnings(), torch.random.fork_rng(devices=[]):
        warnings.simplefilter("ignore", UserWarning)  # that it keeps all features
        torch.manual_seed(seed)
        metric = KernelInceptionDistance(nn.Identity(), subsets=_SUBSETS, subset_size=size)
        metric.update(real, real=True)
        metric.update(drawn, real=False)
        return float(metric.compute()[0])
