"""A diffusion model, its optimizer and its average, and what one step does with them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from benchmark import distributed
from benchmark.errors import UserError, first_line
from benchmark.rcdm.config import DiffusionConfig
from benchmark.rcdm.model import Denoiser, Diffusion
from benchmark.training.optimizers import load_optimizer, make_optimizer
from benchmark.training.run import CHECKPOINT, Checkpoint, check_resumed, load_weights
from benchmark.training.schedule import EpochOrder, learning_rate, shares, torch_seed
from benchmark.training.trainable import StepResult

_EMA_POWER = 3 / 4  # of its warm-up; diffusers' advice for trainings of less than a million steps


class DiffusionTrainer:
    """All that is learnt, on one device; ``step(i)`` carries out step i of ``steps``.

    Which images a step has follows from the seed and the step alone; noise, times and conditions also from how many
    ranks share it.
    """

    probes = None

    def __init__(self, run: DiffusionConfig, images: Tensor, features: Mapping[str, Tensor], device: torch.device):
        """images: uint8 (N, 3, H, W), H and W at least ``run.side``; features: float32 (N, d) of each layer of
        ``run.layers``, of the same images. Both may lie elsewhere than on ``device``."""
        self.run, self.device, self.images = run, device, images
        self.features = [features[layer] for layer in run.layers]
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(run.seed)
            self.denoiser = Denoiser(run, {layer: features[layer].shape[1] for layer in run.layers})
        for reader, x in zip(self.denoiser.readers, self.features, strict=True):
            reader.standardise_by(x)
        # On CPUs group normalisation is slow on channels that lie last.
        layout = torch.channels_last if device.type == "cuda" else torch.contiguous_format
        self.denoiser.to(device, memory_format=layout).train()
        self.optimizer = make_optimizer([self.denoiser], run)
        self.average = average(self.denoiser, run.ema)
        self.steps_per_epoch = len(images) // run.batch
        self.steps = run.epochs * self.steps_per_epoch
        self._order = EpochOrder(run.seed, len(images), run.batch)
        self._share = shares(run.batch, 1, distributed.rank(), distributed.world_size())[0]
        self._model: nn.Module = Diffusion(self.denoiser)
        if distributed.world_size() > 1:
            self._model = DistributedDataParallel(self._model, gradient_as_bucket_view=True)

    def step(self, step: int) -> StepResult:
        """Forward, backward, update. Waits for nothing on the device."""
        torch.manual_seed(torch_seed(self.run.seed, step, distributed.rank()))
        lr = learning_rate(step, self.steps, self.run.lr, self.run.warmup)
        for group in self.optimizer.param_groups:
            group["lr"] = lr
        rows = torch.from_numpy(self._order.rows(step)[self._share])
        features = [self._taken(x, rows) for x in self.features]
        autocast = torch.autocast(self.device.type, torch.bfloat16, enabled=self.run.precision == "bf16")
        loss = self._model(as_seen(self._taken(self.images, rows), self.run.side), features, autocast)
        loss.backward()
        gradient = nn.utils.clip_grad_norm_(self.denoiser.parameters(), 1.0)  # as diffusers' training examples
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        self.average.step(self.denoiser.parameters())
        return StepResult(lr, loss.detach(), gradient)

    def _taken(self, values: Tensor, rows: Tensor) -> Tensor:
        there = rows.to(values.device, non_blocking=True)
        return values.index_select(0, there).to(self.device, non_blocking=True)

    def is_finite(self) -> bool:
        """Whether all that is learnt is finite. Waits for the device."""
        learnt = [*self.denoiser.parameters(), *self.average.shadow_params]
        return bool(torch.stack([tensor.isfinite().all() for tensor in learnt]).all())

    def checkpoint(self, step: int, seconds: float) -> Checkpoint:
        return Checkpoint(
            step=step,
            images=len(self.images),
            seconds=seconds,
            ranks=distributed.world_size(),
            network=self.denoiser.state_dict(),
            objective={},
            teacher=self.average.state_dict(),
            optimizer=self.optimizer.state_dict() if step < self.steps else None,
        )

    def restore(self, checkpoint: Checkpoint, out: Path) -> None:
        """UserError when the checkpoint is of another model, or of another number of images."""
        check_resumed(checkpoint, len(self.images), self.steps, out)
        load_weights(self.denoiser, checkpoint.network, out)
        load_average(self.average, checkpoint.teacher, out)
        if checkpoint.step < self.steps:
            load_optimizer(self.optimizer, checkpoint.optimizer, out / CHECKPOINT)


def as_seen(images: Tensor, side: int) -> Tensor:
    """uint8 (B, 3, H, W) -> float32 (B, 3, side, side) in [-1, 1], as the diffusion model has images."""
    x = images.float() / 127.5 - 1
    if x.shape[2:] == (side, side):
        return x
    return F.interpolate(x, size=(side, side), mode="bilinear", antialias=True, align_corners=False).clamp(-1, 1)


def average(denoiser: Denoiser, momentum: float):
    """diffusers' moving average of the model's weights."""
    from diffusers.training_utils import EMAModel

    return EMAModel(denoiser.parameters(), decay=momentum, use_ema_warmup=True, power=_EMA_POWER, foreach=True)


def load_average(ema, state: dict | None, out: Path) -> None:
    """UserError for one of other weights. How fast it moves is the run's to say, not the file's."""
    try:
        if not isinstance(state, dict):
            raise ValueError("none are there")
        shadow, step = state["shadow_params"], state["optimization_step"]
        if type(step) is not int or not 0 <= step < 2**53:
            raise ValueError("without its step")
        for own, stored in zip(ema.shadow_params, shadow, strict=True):
            if (stored.shape, stored.dtype) != (own.shape, own.dtype):
                raise ValueError("of another model")
            own.copy_(stored)
    except (TypeError, KeyError, ValueError, AttributeError, RuntimeError) as error:
        raise UserError(f"{out / CHECKPOINT}: its averaged weights do not fit ({first_line(error)})") from error
    ema.optimization_step = step
