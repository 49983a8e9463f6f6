"""The network, its objective and its optimizer, and what one step does with them."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from benchmark.data import views
from benchmark.data.table import ImageTable
from benchmark.errors import UserError
from benchmark.models import Network, build_network
from benchmark.objectives import OBJECTIVES, Objective
from benchmark.training.config import RunConfig
from benchmark.training.run import CHECKPOINT, Checkpoint, load_weights
from benchmark.training.schedule import epoch_order, learning_rate, view_rng


@dataclass
class StepResult:
    """loss: scalar on the device, before the update."""

    lr: float
    loss: Tensor


class Trainer:
    """A network, its objective and its optimizer on a device; ``step(i)`` carries out step i of ``steps``."""

    def __init__(self, run: RunConfig, table: ImageTable, device: torch.device) -> None:
        self.run, self.device = run, device
        self.images = table.images.to(device)
        self.network: Network = build_network(run.arch, run.stem, run.head, run.seed)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(run.seed)
            self.objective: Objective = OBJECTIVES[run.objective](run, self.network.dim, table)
        self.network.to(device, memory_format=torch.channels_last).train()
        self.objective.to(device).train()
        target = self.objective.target(table)
        self.target = None if target is None else target.to(device)
        self.optimizer = make_optimizer([self.network, self.objective], run)
        self.steps_per_epoch = len(table) // run.batch  # what is left of an epoch is in another one's order
        self.steps = run.epochs * self.steps_per_epoch
        self._order: tuple[int, np.ndarray] = (-1, np.empty(0))
        torch.manual_seed(run.seed)

    def step(self, step: int) -> StepResult:
        rows = self._rows(step)
        lr = learning_rate(step, self.steps, self.run.lr, self.run.warmup)
        for group in self.optimizer.param_groups:
            group["lr"] = lr
        loss = self.loss(self._views(step, rows), None if self.target is None else self.target[rows])
        loss.backward()
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        return StepResult(lr, loss.detach())

    def loss(self, batch: Tensor, target: Tensor | None) -> Tensor:
        """batch: (views * B, 3, H, W), view by view. One forward pass, so BatchNorm sees all views together."""
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.run.precision == "bf16"):
            outputs = self.network(batch)
        return self.objective(outputs.float().unflatten(0, (self.objective.views, -1)), target)

    def _rows(self, step: int) -> Tensor:
        """int64 (B,) on the device: the images of a step."""
        epoch, position = divmod(step, self.steps_per_epoch)
        if self._order[0] != epoch:
            self._order = (epoch, epoch_order(self.run.seed, epoch, len(self.images)))
        start = position * self.run.batch
        return torch.from_numpy(self._order[1][start : start + self.run.batch]).to(self.device, non_blocking=True)

    def _views(self, step: int, rows: Tensor) -> Tensor:
        images = self.images.index_select(0, rows)
        rng = view_rng(self.run.seed, step)
        return torch.cat(
            [views.apply(images, views.draw(spec, len(images), *images.shape[2:], rng)) for spec in self.run.views]
        )

    def checkpoint(self, step: int, seconds: float) -> Checkpoint:
        return Checkpoint(
            step=step,
            images=len(self.images),
            seconds=seconds,
            network=self.network.state_dict(),
            objective=self.objective.state_dict(),
            optimizer=self.optimizer.state_dict() if step < self.steps else None,
            rng=torch.get_rng_state(),
        )

    def restore(self, checkpoint: Checkpoint, out: Path) -> None:
        if checkpoint.images != len(self.images):
            raise UserError(
                f"{out}: began with {checkpoint.images} training images, the dataset now has {len(self.images)}; "
                "choose another --out"
            )
        load_weights(self.network, checkpoint.network, out)
        load_weights(self.objective, checkpoint.objective, out)
        if checkpoint.step < self.steps:
            try:
                self.optimizer.load_state_dict(checkpoint.optimizer)
            except (TypeError, KeyError, ValueError) as error:
                raise UserError(f"{out / CHECKPOINT}: damaged optimizer state ({error})") from error
        torch.set_rng_state(checkpoint.rng)


def make_optimizer(modules: list[nn.Module], run: RunConfig) -> torch.optim.Optimizer:
    """AdamW; biases and BatchNorm's scales and shifts (all one-dimensional) are not decayed."""
    parameters = [parameter for module in modules for parameter in module.parameters()]
    groups = [
        {"params": [p for p in parameters if p.dim() > 1], "weight_decay": run.weight_decay},
        {"params": [p for p in parameters if p.dim() <= 1], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=run.lr, fused=True)
