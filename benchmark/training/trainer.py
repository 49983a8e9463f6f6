"""The network, its objective, its optimizer and (for BYOL) its teacher, and what one step does with them."""

from collections.abc import Callable, Iterator
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from benchmark import distributed
from benchmark.data import views
from benchmark.data.table import ImageTable
from benchmark.errors import UserError
from benchmark.models import Network, build_network
from benchmark.objectives import OBJECTIVES, Objective
from benchmark.probes.online import OnlineProbes
from benchmark.training.compilation import compiled
from benchmark.training.config import RunConfig
from benchmark.training.optimizers import load_optimizer, make_optimizer
from benchmark.training.positives import partners
from benchmark.training.run import CHECKPOINT, Checkpoint, check_resumed, load_weights
from benchmark.training.schedule import (
    EpochOrder,
    ema_momentum,
    learning_rate,
    positive_rng,
    shares,
    torch_seed,
    view_rng,
)
from benchmark.training.teacher import follow, make_teacher
from benchmark.training.trainable import StepResult


class Trainer:
    """All that is learnt, on one device; ``step(i)`` carries out step i of ``steps``.

    On several ranks each has a Trainer and runs its share of every batch; torch's DistributedDataParallel keeps them
    the same. Which images a step has, what their second views show and how they are augmented follows from the seed and
    the step alone, whatever the number of ranks.

    neighbours: int64 (N, k), from which the second views are taken if ``run.positives`` says so.
    """

    def __init__(
        self,
        run: RunConfig,
        table: ImageTable,
        device: torch.device,
        *,
        neighbours: np.ndarray | None = None,
        compile: bool = False,
        deterministic: bool = False,
        online_probes: bool = False,
    ) -> None:
        self.run, self.device = run, device
        self.images = table.images.to(device) if table.place == "device" else table.images
        self.network: Network = build_network(run.arch, run.stem, run.head, run.seed)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(run.seed)
            self.objective: Objective = OBJECTIVES[run.objective](run, self.network.dim, table)
        if device.type == "cuda" and distributed.world_size() > 1:  # it refuses CPU tensors
            self.network = nn.SyncBatchNorm.convert_sync_batchnorm(self.network)
            self.objective = nn.SyncBatchNorm.convert_sync_batchnorm(self.objective)
        self.network.to(device, memory_format=torch.channels_last).train()
        self.objective.to(device).train()
        self.teacher = make_teacher(self.network) if self.objective.needs_teacher else None
        target = self.objective.target(table)
        self.target = None if target is None else target.to(device)
        self.partners = partners(run.positives, table, neighbours)
        self.optimizer = make_optimizer([self.network, self.objective], run)
        self.steps_per_epoch = len(table) // run.batch
        self.steps = run.epochs * self.steps_per_epoch
        self.shares = shares(run.batch, run.accumulate, distributed.rank(), distributed.world_size())
        self._order = EpochOrder(run.seed, len(table), run.batch)
        share = self.shares[0].stop - self.shares[0].start
        self._batch = torch.empty((len(run.views) * share, *self.images.shape[1:]), device=device)
        self._batch = self._batch.contiguous(memory_format=torch.channels_last)
        self.probes: OnlineProbes | None = None
        if online_probes and distributed.is_main():
            seen = run.batch // distributed.world_size()
            self.probes = OnlineProbes(table, self.steps_per_epoch, seen, device)

        run_network, run_watched, self._run_teacher = self.network, self.network.forward_with_features, self.teacher
        if compile:
            batch = next(self._parts(0))[0]
            run_network = compiled(self.network, batch, self._autocast())
            if self.probes is not None:
                run_watched = compiled(self.network, batch, self._autocast(), run_watched)
            self._run_teacher = self.teacher and compiled(self.teacher, batch, self._autocast())
        self._model: nn.Module = _Model(self.network, self.objective, run_network, run_watched, self._autocast)
        if distributed.world_size() > 1:
            # With find_unused_parameters the gradients are summed in the same pieces from the first step on; without,
            # they are cut anew after it, and with three ranks or more a resumed run differs in the last bits.
            self._model = DistributedDataParallel(
                self._model, find_unused_parameters=deterministic, gradient_as_bucket_view=True
            )

    def step(self, step: int) -> StepResult:
        """Forward, backward, update. Waits for nothing on the device."""
        torch.manual_seed(torch_seed(self.run.seed, step, distributed.rank()))
        lr = learning_rate(step, self.steps, self.run.lr, self.run.warmup, self.run.schedule)
        for group in self.optimizer.param_groups:
            group["lr"] = lr
        loss = self._gradients(step)
        gradient = nn.utils.get_total_norm([p.grad for p in self._model.parameters() if p.grad is not None])
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        if self.teacher is not None:
            follow(self.teacher, self.network, ema_momentum(step, self.steps, self.run.ema))
        return StepResult(lr, loss, gradient)

    def _gradients(self, step: int) -> Tensor:
        """Leave the gradient of the mean over the step's parts in the parameters; return that mean."""
        total = torch.zeros((), device=self.device)
        watched = self.probes is not None and self.probes.wants(step)
        for part, (batch, rows) in enumerate(self._parts(step), start=1):
            # The ranks' gradients are summed with the last part's.
            last = part == self.run.accumulate or distributed.world_size() == 1
            with nullcontext() if last else self._model.no_sync():
                target = None if self.target is None else self.target[rows]
                loss, features = self._model(batch, target, self._taught(batch), watched)
                loss = loss / self.run.accumulate
                loss.backward()
            if watched:
                self.probes.observe(step, features, rows)
            total += loss.detach()
        return total

    def _parts(self, step: int) -> Iterator[tuple[Tensor, Tensor]]:
        """This rank's share of each of a step's parts: (views * B, 3, H, W), view by view, and int64 (B,), the rows of
        the first view's images. Each part is put where the one before it was.

        The augmentations and the second views' images of the whole batch are drawn and cut, so that they do not depend
        on who runs what.
        """
        rows, rng = self._order.rows(step), view_rng(self.run.seed, step)
        drawn = [views.draw(spec, self.run.batch, *self.images.shape[2:], rng) for spec in self.run.views]
        others = self.partners and self.partners(rows, positive_rng(self.run.seed, step))
        for share in self.shares:
            first = self._shown(rows[share])
            second = first if others is None else self._shown(others[share])
            shown = (first, second)[: len(drawn)]
            for images, parameters, out in zip(shown, drawn, self._batch.chunk(len(drawn)), strict=True):
                views.apply(images, parameters[share], out=out)
            yield self._batch, torch.from_numpy(rows[share]).to(self.device, non_blocking=True)

    def _shown(self, rows: np.ndarray) -> Tensor:
        """uint8 (B, 3, H, W) on the training device, of int64 (B,)."""
        there = torch.from_numpy(rows).to(self.images.device, non_blocking=True)
        return self.images.index_select(0, there).to(self.device, non_blocking=True)

    @torch.no_grad()
    def _taught(self, batch: Tensor) -> Tensor | None:
        """What the teacher, if there is one, makes of the same views: float32 (views, B, d)."""
        if self.teacher is None:
            return None
        with self._autocast():
            return self._run_teacher(batch).float().unflatten(0, (self.objective.views, -1))

    def _autocast(self) -> torch.autocast:
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.run.precision == "bf16")

    def is_finite(self) -> bool:
        """Whether all that is learnt, averages and BatchNorm's statistics included, is finite. Waits for the device."""
        modules = [module for module in (self.network, self.objective, self.teacher) if module is not None]
        learnt = [tensor for module in modules for tensor in (*module.parameters(), *module.buffers())]
        return bool(torch.stack([tensor.isfinite().all() for tensor in learnt]).all())

    def checkpoint(self, step: int, seconds: float) -> Checkpoint:
        return Checkpoint(
            step=step,
            images=len(self.images),
            seconds=seconds,
            ranks=distributed.world_size(),
            network=self.network.state_dict(),
            objective=self.objective.state_dict(),
            teacher=None if self.teacher is None else self.teacher.state_dict(),
            optimizer=self.optimizer.state_dict() if step < self.steps else None,
            online=None if self.probes is None else self.probes.state_dict(),
        )

    def restore(self, checkpoint: Checkpoint, out: Path) -> None:
        """Take over all that ``checkpoint`` holds. UserError when it is not of this run; ``out``: its run directory."""
        check_resumed(checkpoint, len(self.images), self.steps, out)
        load_weights(self.network, checkpoint.network, out)
        load_weights(self.objective, checkpoint.objective, out)
        if self.teacher is not None:
            load_weights(self.teacher, checkpoint.teacher, out)
        if checkpoint.step < self.steps:
            load_optimizer(self.optimizer, checkpoint.optimizer, out / CHECKPOINT)
        if self.probes is not None and checkpoint.online is not None:
            try:
                self.probes.load_state_dict(checkpoint.online)
            except ValueError as error:
                raise UserError(f"{out / CHECKPOINT}: {error}; add --no-online-probes to go on without them") from error


class _Model(nn.Module):
    """Network and objective as the one module whose gradients DistributedDataParallel averages."""

    def __init__(
        self,
        network: Network,
        objective: Objective,
        run_network: Callable,
        run_watched: Callable,
        autocast: Callable,
    ) -> None:
        """run_network, run_watched: ``network`` and its ``forward_with_features``, as they are or compiled. autocast:
        makes the context that they run in."""
        super().__init__()
        self.network, self.objective = network, objective
        self.run_network, self.run_watched, self.autocast = run_network, run_watched, autocast

    def forward(
        self, batch: Tensor, target: Tensor | None, taught: Tensor | None, watched: bool
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """The loss and, if ``watched``, every layer's features, detached.

        batch: (views * B, 3, H, W), view by view. One pass for all of them, so BatchNorm sees all views together.
        """
        with self.autocast():
            outputs, features = self.run_watched(batch) if watched else (self.run_network(batch), {})
        outputs = outputs.float().unflatten(0, (self.objective.views, -1))
        return self.objective(outputs, target, taught), features
