"""What a sitting needs of what it trains."""

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import torch
from torch import Tensor

from benchmark.probes.online import OnlineProbes
from benchmark.training.run import Checkpoint


@dataclass
class StepResult:
    """loss, gradient (its length over all parameters): scalars on the device, before the update, the same on every
    rank."""

    lr: float
    loss: Tensor
    gradient: Tensor


class Settings(Protocol):
    """batch: images a step, over all ranks. objective: by which the progress line calls it."""

    objective: str
    epochs: int
    batch: int
    seed: int


class Trainable(Protocol):
    """All that is learnt, on one device; ``step(i)`` carries out step i of ``steps``, which follows from the seed and i
    alone."""

    run: Settings
    device: torch.device
    steps: int
    steps_per_epoch: int
    probes: OnlineProbes | None

    def step(self, step: int) -> StepResult: ...

    def is_finite(self) -> bool:
        """Whether all that is learnt is finite."""

    def checkpoint(self, step: int, seconds: float) -> Checkpoint: ...

    def restore(self, checkpoint: Checkpoint, out: Path) -> None:
        """UserError when it does not fit."""
