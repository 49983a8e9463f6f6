"""How much of the bare network's speed gr3d's training keeps.

    taskset -c 0 python tests/performance/train_speed.py --json speed.json

In one process, with as many threads as the process has cores, takes turns between (a) the network, loss and optimizer
on one fixed batch of floats in memory and (b) gr3d's training step on a table of uint8 images, with its augmentations,
log and progress line. Prints the views per second of both and their ratio, which must be at least 0.85. Checkpoints
are timed apart: one is written every two minutes.
"""

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from io import StringIO
from pathlib import Path

import torch

from benchmark.data.table import LATENT_NAMES, ImageTable
from benchmark.models import build_network
from benchmark.objectives import OBJECTIVES
from benchmark.recipes import RECIPES
from benchmark.training.config import RunConfig, TrainConfig
from benchmark.training.device import resolve_device, resolve_precision, use_own_cores
from benchmark.training.log import Progress, TrainingLog
from benchmark.training.optimizers import make_optimizer
from benchmark.training.run import save_checkpoint
from benchmark.training.trainer import Trainer

NEEDED = 0.85


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--objective", default="simclr", choices=list(OBJECTIVES))
    parser.add_argument("--batch", type=int, default=256, help="images a step")
    parser.add_argument("--side", type=int, default=64, help="pixels")
    parser.add_argument("--rounds", type=int, default=4, help="turns of one bare and one full step each")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--json", type=Path, help="also write the numbers here")
    options = parser.parse_args()

    device = resolve_device(options.device)
    threads = use_own_cores()
    run = replace(RECIPES["small"][options.objective], batch=options.batch, precision=resolve_precision("auto", device))
    table = random_table(4 * options.batch, options.side)
    target = OBJECTIVES[run.objective](run, 1, table).target(table)
    bare = bare_step(run, table, None if target is None else target[: run.batch].to(device), device)
    with tempfile.TemporaryDirectory() as folder:
        trainer = Trainer(run, table, device)
        with closing(TrainingLog(Path(folder), 0, lag=1)) as log:
            full = full_step(trainer, log)
            bare_seconds, full_seconds = take_turns(bare, full, options.rounds, device)
        started = time.perf_counter()
        save_checkpoint(Path(folder), trainer.checkpoint(0, 0.0))
        checkpoint_seconds = time.perf_counter() - started

    views = len(run.views) * run.batch
    numbers = {
        "objective": run.objective,
        "arch": run.arch,
        "side": options.side,
        "batch": run.batch,
        "precision": run.precision,
        "device": device.type,
        "threads": threads,
        "torch": torch.__version__,
        "bare_views_per_s": round(views / bare_seconds, 1),
        "full_views_per_s": round(views / full_seconds, 1),
        "ratio": round(bare_seconds / full_seconds, 3),
        "checkpoint_seconds": round(checkpoint_seconds, 2),
        "checkpoint_share": round(checkpoint_seconds / TrainConfig.checkpoint_seconds, 4),
    }
    print(json.dumps(numbers, indent=2))
    if options.json:
        options.json.write_text(json.dumps(numbers, indent=2) + "\n")
    return 0 if numbers["ratio"] >= NEEDED else 1


def random_table(count: int, side: int) -> ImageTable:
    generator = torch.Generator().manual_seed(0)
    quaternion = torch.randn(count, 4, generator=generator, dtype=torch.float64)
    return ImageTable(
        images=torch.randint(0, 256, (count, 3, side, side), generator=generator, dtype=torch.uint8),
        index=torch.arange(count),
        latents=torch.rand(count, len(LATENT_NAMES), generator=generator, dtype=torch.float64),
        quaternion=quaternion / quaternion.norm(dim=1, keepdim=True),
        object_ids=["object"] * count,
        categories=["category"] * count,
    )


def bare_step(
    run: RunConfig, table: ImageTable, target: torch.Tensor | None, device: torch.device
) -> Callable[[], None]:
    network = build_network(run.arch, run.stem, run.head, run.seed).to(device, memory_format=torch.channels_last)
    objective = OBJECTIVES[run.objective](run, network.dim, table).to(device)
    optimizer = make_optimizer([network, objective], run)
    batch = torch.rand(len(run.views) * run.batch, *table.images.shape[1:], device=device)
    batch = batch.contiguous(memory_format=torch.channels_last)

    def step() -> None:
        with torch.autocast(device.type, torch.bfloat16, enabled=run.precision == "bf16"):
            outputs = network(batch)
        objective(outputs.float().unflatten(0, (len(run.views), -1)), target).backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)

    return step


def full_step(trainer: Trainer, log: TrainingLog) -> Callable[[], None]:
    progress = Progress("speed", 0, trainer.steps, trainer.run.batch, StringIO())
    done = 0

    def step() -> None:
        nonlocal done
        result = trainer.step(done)
        done += 1
        log.add(done, 1, result.lr, trainer.run.batch, result.loss, result.gradient)
        progress.step(done, "1/1", log.last_loss)

    return step


def take_turns(
    bare: Callable[[], None], full: Callable[[], None], rounds: int, device: torch.device
) -> tuple[float, float]:
    """Seconds per step of both: the medians over the rounds, after one unmeasured step each."""
    seconds: tuple[list[float], list[float]] = ([], [])
    for turn in range(rounds + 1):
        for step, taken in zip((bare, full), seconds, strict=True):
            started = time.perf_counter()
            step()
            if device.type == "cuda":
                torch.cuda.synchronize()
            if turn > 0:
                taken.append(time.perf_counter() - started)
    return sorted(seconds[0])[rounds // 2], sorted(seconds[1])[rounds // 2]


if __name__ == "__main__":
    sys.exit(main())
