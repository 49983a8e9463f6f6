"""How far samples are from real images."""

from __future__ import annotations

import warnings

import torch
from torch import Tensor, nn

from benchmark.models import Network
from benchmark.rcdm.trainer import as_seen

_AT_ONCE = 256
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


@torch.inference_mode()
def trunk_features(network: Network, images: Tensor, *, drawn_at: int, side: int) -> Tensor:
    """What the network's trunk makes of uint8 images (N, 3, H, W), float32 (N, d) on the CPU.

    drawn_at: what a diffusion model makes, to which all are scaled, so that none has finer detail than samples have;
    side: what the network was trained on, to which they are scaled back. The network is in eval mode.
    """
    device = next(network.parameters()).device
    found = []
    for part in images.split(_AT_ONCE):
        x = (as_seen(part.to(device), drawn_at) + 1) / 2
        if side != drawn_at:
            x = nn.functional.interpolate(x, size=(side, side), mode="bilinear", antialias=True, align_corners=False)
        found.append(network.forward_with_features(x)[1]["trunk"].cpu())
    return torch.cat(found)
