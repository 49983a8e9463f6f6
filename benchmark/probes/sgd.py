"""Linear classifiers trained by SGD, for sets whose features cannot be stored: a grid of learning rates at every layer,
all of it in the same passes over the images.

It is not the optimum: no penalty, a fixed number of passes, the rate chosen on the inner split. docs/probes.md says how
far from the exact regression it ends. Features are centred and divided by their own deviations (of SAMPLE images) and
by the square root of their number, so that one grid suits layers of every width.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from benchmark.probes.logistic import Readout, Scaling, ranks

RATES = (0.1, 0.3, 1.0, 3.0, 10.0, 30.0)
MOMENTUM = 0.9
SAMPLE = 4096
EPOCHS = 10


@dataclass
class LayerGrid:
    """One layer's classifiers, one per rate. mean, scale: float32 (d,); values, speed: float32 (d + 1, rates * K),
    weights and below them intercepts, and their momentum; right, loss: float64 (rates,), summed over inner images."""

    mean: Tensor
    scale: Tensor
    values: Tensor
    speed: Tensor
    right: Tensor
    loss: Tensor


class Grid:
    """Classifiers of K classes, trained by `learn` on batches of features in random order, then judged by `judge`."""

    def __init__(self, sample: Mapping[str, Tensor], classes: int, steps: int) -> None:
        """sample: {layer: features (n, d)} of images that stand for all. steps: how often `learn` will be called."""
        self.classes, self.steps, self.done, self.judged = classes, steps, 0, 0
        self.layers = {}
        for layer, x in sample.items():
            deviation, width = x.double().std(dim=0, correction=0), x.shape[1]
            varies = deviation > 1e-6 * x.double().mean(dim=0).abs().clamp_min(1e-30)
            scale = torch.where(varies, width**-0.5 / deviation, 0).float()
            values, sums = x.new_zeros(width + 1, len(RATES) * classes), x.new_zeros(len(RATES), dtype=torch.float64)
            mean = x.double().mean(dim=0).float()
            self.layers[layer] = LayerGrid(mean, scale, values, values.clone(), sums, sums.clone())

    @torch.no_grad()
    def learn(self, features: Mapping[str, Tensor], labels: Tensor) -> None:
        """One step on features (b, d) of every layer and their labels (b,); the rates fall to 0 along a cosine."""
        fall = 0.5 * (1 + torch.cos(torch.tensor(torch.pi * self.done / self.steps)))
        rates = (fall * torch.tensor(RATES)).repeat_interleave(self.classes).to(labels.device)
        for layer, x in features.items():
            own = self.layers[layer]
            x = self._scaled(own, x)
            missed = (x @ own.values).view(len(x), -1, self.classes).softmax(dim=2)
            missed[torch.arange(len(x), device=x.device), :, labels] -= 1
            own.speed.mul_(MOMENTUM).addmm_(x.T, missed.flatten(1), alpha=1 / len(x))
            own.values.sub_(own.speed * rates)
        self.done += 1

    @torch.no_grad()
    def judge(self, features: Mapping[str, Tensor], labels: Tensor) -> None:
        """Count what images of the inner split tell of the rates."""
        self.judged += len(labels)
        for layer, x in features.items():
            own = self.layers[layer]
            logits = (self._scaled(own, x) @ own.values).view(len(x), -1, self.classes)
            for k in range(len(RATES)):
                own.right[k] += (ranks(logits[:, k], labels) == 0).sum()
                own.loss[k] -= logits[:, k].log_softmax(dim=1).gather(1, labels[:, None]).double().sum()

    def readouts(self) -> dict[str, Readout]:
        """Of every layer the classifier whose rate was right most often, of equal ones the one with the least loss."""
        return {layer: self._best(own) for layer, own in self.layers.items()}

    def _best(self, own: LayerGrid) -> Readout:
        top1, loss = (own.right / self.judged).tolist(), (own.loss / self.judged).nan_to_num(nan=1e300).tolist()
        best = max(range(len(RATES)), key=lambda k: (top1[k], -loss[k]))
        columns = slice(best * self.classes, (best + 1) * self.classes)
        values = own.values[:, columns].double().cpu()
        scale, mean = own.scale.double().cpu(), own.mean.double().cpu()
        grid = [{"rate": r, "top1": t, "loss": x} for r, t, x in zip(RATES, top1, loss, strict=True)]
        how = {"rate": RATES[best], "inner_loss": loss[best], "steps": self.done, "path": grid}
        return Readout(Scaling(mean, 1.0, scale > 0), values[:-1] * scale[:, None], values[-1], None, how)

    @staticmethod
    def _scaled(own: LayerGrid, x: Tensor) -> Tensor:
        """(b, d + 1): scaled features, and ones for the intercepts."""
        return torch.cat([(x - own.mean) * own.scale, x.new_ones(len(x), 1)], dim=1)


def sample_of(batches: Iterable[tuple[slice, Mapping[str, Tensor]]]) -> dict[str, Tensor]:
    """All features of a few batches, {layer: (n, d)}."""
    parts = [features for _, features in batches]
    return {layer: torch.cat([features[layer] for features in parts]) for layer in parts[0]}
