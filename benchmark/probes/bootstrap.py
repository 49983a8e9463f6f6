"""Confidence intervals by bootstrap over objects.

The images of one object are alike, so they are no independent draws: what is drawn again, with replacement, are the
judging split's objects, each with all its images. A draw needs only sums per object, which one pass over the split
gathers: the error of every draw is then exact and costs a product of small matrices. All layers, targets and networks
see the same draws, so that the difference of two layers is a paired one.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from benchmark.probes.targets import FACTORS, target_slices

DRAWS = 2000
SEED = 0
LEVEL = 0.95

TAILS = ((1 - LEVEL) / 2, (1 + LEVEL) / 2)
_AT_ONCE = 2**22  # weights (draws x objects) in memory together
# A draw of very few images may hold practically one latent: its variance is then no unit, and the split's serves.
_LEAST_VARIANCE = 1e-6


@dataclass(frozen=True)
class ObjectSums:
    """What a split of M objects says of its targets, summed over the images of each object.

    object_of: int64 (N,), which object an image shows. images: float64 (M,). targets, squares: float64 (M, t), of the
    targets less their mean over the split.
    """

    object_of: Tensor
    images: Tensor
    targets: Tensor
    squares: Tensor

    @property
    def variance(self) -> Tensor:
        """Of each target over the whole split, (t,), divided by the number of images."""
        return self.squares.sum(dim=0) / self.images.sum()


def object_sums(object_ids: Sequence[str], targets: Tensor) -> ObjectSums:
    """object_ids: N names. targets: float64 (N, t)."""
    _, object_of = np.unique(np.asarray(object_ids), return_inverse=True)
    index = torch.from_numpy(object_of.reshape(-1))
    centred = targets - targets.mean(dim=0)
    return ObjectSums(
        index,
        per_object(index, torch.ones(len(targets), 1, dtype=torch.float64))[:, 0],
        per_object(index, centred),
        per_object(index, centred.square()),
    )


def per_object(object_of: Tensor, values: Tensor) -> Tensor:
    """Sums of the rows of `values` (n, t) over each object, (1 + the highest of object_of, t)."""
    return torch.zeros(int(object_of.max()) + 1, values.shape[1], dtype=values.dtype).index_add_(0, object_of, values)


@dataclass(frozen=True)
class Intervals:
    """LEVEL percentile intervals of L layers and T targets (those of `target_slices`, and last their OVERALL mean).

    low, high: of the error over the variance, (L, T). gap: (T, L, L), the lower end for error[a] - error[b]; its upper
    end is -gap[b, a].
    """

    low: Tensor
    high: Tensor
    gap: Tensor


def intervals(sums: ObjectSums, errors: Sequence[Tensor]) -> Intervals | None:
    """errors: per layer the squared errors summed over each object, float64 (M, t). None for a single object."""
    if len(sums.images) < 2:
        return None
    drawn = torch.cat([_nmse(weights, sums, errors) for weights in draws(len(sums.images))], dim=1)  # (L, B, T)
    low, high = (quantile(drawn.movedim(1, -1), tail) for tail in TAILS)
    gap = torch.stack([quantile((e[:, None] - e[None]), TAILS[0]) for e in drawn.movedim(2, 0)])
    return Intervals(low, high, gap)


def draws(objects: int) -> Iterator[Tensor]:
    """How often each object is drawn, float64 (draws, objects), a part of the DRAWS at a time."""
    rng = np.random.Generator(np.random.PCG64(SEED))
    most = max(1, _AT_ONCE // objects)
    for start in range(0, DRAWS, most):
        size = min(most, DRAWS - start)
        yield torch.from_numpy(rng.multinomial(objects, np.full(objects, 1 / objects), size=size)).double()


def _nmse(weights: Tensor, sums: ObjectSums, errors: Sequence[Tensor]) -> Tensor:
    """Error over variance of every draw, both of the draw's own images: (L, draws, T)."""
    images = (weights @ sums.images)[:, None]
    variance = (weights @ sums.squares) / images - ((weights @ sums.targets) / images).square()
    variance = torch.where(variance > _LEAST_VARIANCE * sums.variance, variance, sums.variance)
    return torch.stack([by_target((weights @ error) / images / variance) for error in errors])


def by_target(nmse: Tensor) -> Tensor:
    """Mean of the columns of each target, and of the FACTORS as a last column: (..., t) -> (..., T)."""
    means = {target: nmse[..., columns].mean(dim=-1) for target, columns in target_slices().items()}
    overall = torch.stack([means[factor] for factor in FACTORS]).mean(dim=0)
    return torch.stack([*means.values(), overall], dim=-1)


def quantile(values: Tensor, share: float) -> Tensor:
    """Over the last dimension, interpolated. torch.quantile refuses more than 16 million values."""
    return torch.from_numpy(np.quantile(values.numpy(), share, axis=-1))
