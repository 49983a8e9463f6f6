"""How much of the bare network's speed training keeps, beside lightly, and how fast views are drawn.

    python tests/performance/train_speed.py --json speed.json

In one run, for images of 64 x 64 and of 128 x 128 pixels, with the same network, loss, optimizer, precision, batch,
augmentations and number of threads, four ways take turns:

    network   one fixed batch of floats in memory
    gr3d      the trainer's step on a table of uint8 images: order, views, log and progress line
    plain     as network, in a process of its own that does not keep freed memory (benchmark/training/memory.py), as
              network and gr3d do on a CPU
    lightly   in a process of its own, as its users run it: lightly's SimCLRTransform on images decoded in memory (PIL),
              through torch's DataLoader with as many workers as there are cores, and lightly's NTXentLoss

Only one of them runs at a time: lightly's workers are stopped outside its turns, their queues as they are, so that a
turn begins as the one before it ended. Then gr3d's views and lightly's transform take turns with one thread each.
Reported are medians over the rounds; a ratio is the median of the rounds' ratios, so that a machine that changes its
speed changes both sides. On two cores without other load this takes about six minutes with the defaults.
"""

import argparse
import json
import os
import signal
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import replace
from io import StringIO
from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np
import torch
from lightly.loss import NTXentLoss
from lightly.transforms import SimCLRTransform
from PIL import Image
from torch.utils.data import DataLoader, Dataset, RandomSampler

from benchmark.data import views
from benchmark.data.table import LATENT_NAMES, ImageTable
from benchmark.data.views import ViewSpec
from benchmark.models import build_network
from benchmark.objectives import OBJECTIVES
from benchmark.recipes import RECIPES
from benchmark.training.config import RunConfig, TrainConfig
from benchmark.training.device import resolve_device, resolve_precision, use_own_cores
from benchmark.training.log import Progress, TrainingLog
from benchmark.training.memory import keep_freed_memory
from benchmark.training.optimizers import make_optimizer
from benchmark.training.run import save_checkpoint
from benchmark.training.trainer import Trainer

# What lightly's SimCLRTransform draws by default.
VIEW = ViewSpec(
    crop_scale=(0.08, 1.0),
    flip=0.5,
    jitter=(0.8, 0.8, 0.8, 0.2),
    jitter_p=0.8,
    grey_p=0.2,
    blur_p=0.5,
    blur_sigma=(0.1, 2.0),
)
GOALS = {"gr3d / network": 0.95, "gr3d / lightly": 1.3, "augmentation": 5.0}

Step = Callable[[], None]
Turn = Callable[[int], None]  # that many steps
spawn = torch.multiprocessing.get_context("spawn")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--side", type=int, action="append", help="pixels; may be repeated [64 and 128]")
    parser.add_argument("--arch", default="resnet18")
    parser.add_argument("--batch", type=int, default=128, help="images a step, each in two views")
    parser.add_argument("--rounds", type=int, default=5, help="turns of each")
    parser.add_argument("--steps", type=int, default=2, help="steps a turn")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--json", type=Path, help="also write the numbers here")
    options = parser.parse_args()

    device = resolve_device(options.device)
    threads = use_own_cores()
    if device.type == "cpu":
        keep_freed_memory()  # as training does
    run = replace(
        RECIPES["small"]["simclr"],
        arch=options.arch,
        batch=options.batch,
        views=(VIEW, VIEW),
        precision=resolve_precision("auto", device),
    )
    setting = {"arch": run.arch, "head": run.head, "batch": run.batch, "precision": run.precision}
    setting |= {"device": device.type, "threads": threads, "torch": torch.__version__}
    print(", ".join(f"{name} {value}" for name, value in setting.items()))
    sides = []
    for side in options.side or (64, 128):
        numbers = {"side": side, **compare(run, side, device, threads, options.rounds, options.steps)}
        numbers |= compare_augmentation(side, options.rounds, threads)
        print_side(numbers)
        sides.append(numbers)
    if options.json:
        options.json.write_text(json.dumps({**setting, "goals": GOALS, "sides": sides}, indent=2) + "\n")
    return 0


def print_side(numbers: dict) -> None:
    def against(name: str) -> str:
        return f"{numbers[name]:.2f} (goal {GOALS[name]:g})"

    print(f"{numbers['side']} x {numbers['side']} pixels, views per second:")
    print(f"  network alone      {numbers['network']:9.1f}")
    print(f"  gr3d, full         {numbers['gr3d']:9.1f}   of the network alone: {against('gr3d / network')}")
    print(f"  network, plain     {numbers['plain']:9.1f}   without keeping freed memory")
    print(f"  lightly, full      {numbers['lightly']:9.1f}   gr3d's rate over lightly's: {against('gr3d / lightly')}")
    print(f"  gr3d's views       {numbers['gr3d_views_per_core']:9.1f}   a core")
    print(
        f"  lightly's views    {numbers['lightly_views_per_core']:9.1f}   a core; "
        f"gr3d's rate over it: {against('augmentation')}"
    )
    print(f"  a checkpoint, every two minutes: {numbers['checkpoint_seconds']:.2f} s", flush=True)


def compare(run: RunConfig, side: int, device: torch.device, threads: int, rounds: int, steps: int) -> dict:
    """Views per second of the four ways, and ratios."""
    table = random_table(4 * run.batch, side)
    trainer = Trainer(run, table, device)
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        log = stack.enter_context(closing(TrainingLog(folder, 0, lag=1)))
        ways = {
            "network": repeated(network_step(run, side, device), device),
            "gr3d": repeated(gr3d_step(trainer, log), device),
            **{way: stack.enter_context(elsewhere(way, run, side, device, threads)) for way in ("plain", "lightly")},
        }
        seconds = take_turns(ways, rounds, steps)
        started = time.perf_counter()
        save_checkpoint(folder, trainer.checkpoint(0, 0.0))
        checkpoint_seconds = time.perf_counter() - started
    count = steps * len(run.views) * run.batch
    return {
        **{name: round(count / statistics.median(taken), 1) for name, taken in seconds.items()},
        "gr3d / network": ratio(seconds["network"], seconds["gr3d"]),
        "gr3d / lightly": ratio(seconds["lightly"], seconds["gr3d"]),
        "checkpoint_seconds": round(checkpoint_seconds, 2),
        "checkpoint_share": round(checkpoint_seconds / TrainConfig.checkpoint_seconds, 4),
    }


def ratio(theirs: list[float], ours: list[float]) -> float:
    """How many times faster we were: the median over the rounds."""
    return round(statistics.median(one / other for one, other in zip(theirs, ours, strict=True)), 3)


def take_turns(ways: dict[str, Turn], rounds: int, steps: int) -> dict[str, list[float]]:
    """Seconds that each way needs for its steps, one entry a round, after an unmeasured round. Every other round goes
    backwards, so that none always follows the same one."""
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for turn in range(rounds + 1):
        for name in list(ways) if turn % 2 else reversed(list(ways)):
            started = time.perf_counter()
            ways[name](steps)
            if turn > 0:
                seconds[name].append(time.perf_counter() - started)
    return seconds


def repeated(step: Step, device: torch.device) -> Turn:
    def turn(steps: int) -> None:
        for _ in range(steps):
            step()
        if device.type == "cuda":
            torch.cuda.synchronize()

    return turn


@contextmanager
def elsewhere(way: str, run: RunConfig, side: int, device: torch.device, threads: int) -> Iterator[Turn]:
    """A way in a process of its own, which waits between its turns."""
    pipe, theirs = spawn.Pipe()
    process = spawn.Process(target=serve, args=(theirs, way, run, side, device, threads))
    process.start()

    def turn(steps: int) -> None:
        pipe.send(steps)
        pipe.recv()

    try:
        pipe.recv()  # it is ready
        yield turn
    finally:
        pipe.send(None)
        process.join()


def serve(pipe: Connection, way: str, run: RunConfig, side: int, device: torch.device, threads: int) -> None:
    """What runs in the process that ``elsewhere`` starts: answers each number of steps when they are done."""
    torch.set_num_threads(threads)
    with ExitStack() as stack:
        workers: list[int] = []
        if way == "lightly":
            table = random_table(4 * run.batch, side)
            step, workers = stack.enter_context(lightly_step(run, table, threads, device))
        else:
            step = network_step(run, side, device)
        turn = repeated(step, device)
        _signal(workers, signal.SIGSTOP)
        pipe.send("ready")
        while steps := pipe.recv():
            _signal(workers, signal.SIGCONT)
            turn(steps)
            _signal(workers, signal.SIGSTOP)
            pipe.send("done")


def _signal(processes: list[int], what: signal.Signals) -> None:
    for process in processes:
        with suppress(ProcessLookupError):
            os.kill(process, what)


def network_step(run: RunConfig, side: int, device: torch.device) -> Step:
    batch = torch.rand(len(run.views) * run.batch, 3, side, side, device=device)
    batch = batch.contiguous(memory_format=torch.channels_last)
    objective = OBJECTIVES[run.objective](run, 0, random_table(1, side))
    return update(run, device, lambda: batch, lambda outputs: objective(outputs, None))


def update(
    run: RunConfig,
    device: torch.device,
    batches: Callable[[], torch.Tensor],
    loss: Callable[[torch.Tensor], torch.Tensor],
) -> Step:
    """A plain training step of a network of its own on what `batches` gives."""
    network = build_network(run.arch, run.stem, run.head, run.seed).to(device, memory_format=torch.channels_last)
    optimizer = make_optimizer([network], run)

    def step() -> None:
        batch = batches()
        with torch.autocast(device.type, torch.bfloat16, enabled=run.precision == "bf16"):
            outputs = network(batch)
        loss(outputs.float().unflatten(0, (2, -1))).backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)

    return step


def gr3d_step(trainer: Trainer, log: TrainingLog) -> Step:
    progress = Progress("speed", 0, trainer.steps, trainer.run.batch, StringIO())
    done = 0

    def step() -> None:
        nonlocal done
        result = trainer.step(done)
        done += 1
        log.add(done, 1, result.lr, trainer.run.batch, result.loss, result.gradient)
        progress.step(done, "1/1", log.last_loss)

    return step


@contextmanager
def lightly_step(
    run: RunConfig, table: ImageTable, threads: int, device: torch.device
) -> Iterator[tuple[Step, list[int]]]:
    """Its step, and the process numbers of its workers, running."""
    images = PilImages(table, SimCLRTransform(input_size=table.images.shape[-1], normalize=None))
    sampler = RandomSampler(images, replacement=True, num_samples=1_000_000)
    loader = DataLoader(images, run.batch, sampler=sampler, num_workers=threads, pin_memory=device.type == "cuda")
    batches = iter(loader)
    workers = [worker.pid for worker in batches._workers]

    def batch() -> torch.Tensor:
        both = torch.cat(next(batches)).to(device, non_blocking=True)
        return both.contiguous(memory_format=torch.channels_last)

    loss = NTXentLoss(temperature=run.temperature)
    try:
        yield update(run, device, batch, lambda outputs: loss(outputs[0], outputs[1])), workers
    finally:
        _signal(workers, signal.SIGCONT)  # so that they can end


class PilImages(Dataset):
    """A table's images as PIL's, transformed."""

    def __init__(self, table: ImageTable, transform: Callable[[Image.Image], list[torch.Tensor]]) -> None:
        self.images = pil_images(table)
        self.transform = transform

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, row: int) -> list[torch.Tensor]:
        return self.transform(self.images[row])


def compare_augmentation(side: int, rounds: int, threads: int) -> dict:
    """Views per second of one thread, from images in memory to float tensors."""
    table = random_table(256, side)
    pictures, transform = pil_images(table), SimCLRTransform(input_size=side, normalize=None)
    out = torch.empty(table.images.shape, memory_format=torch.channels_last)
    rng = np.random.default_rng(0)

    def ours() -> None:
        for _ in range(2):
            views.apply(table.images, views.draw(VIEW, len(table), side, side, rng), out=out)

    def theirs() -> None:
        for picture in pictures:
            transform(picture)

    torch.set_num_threads(1)
    try:
        cpu = torch.device("cpu")
        seconds = take_turns({"ours": repeated(ours, cpu), "theirs": repeated(theirs, cpu)}, rounds, 1)
    finally:
        torch.set_num_threads(threads)
    return {
        "gr3d_views_per_core": round(2 * len(table) / statistics.median(seconds["ours"]), 1),
        "lightly_views_per_core": round(2 * len(table) / statistics.median(seconds["theirs"]), 1),
        "augmentation": ratio(seconds["theirs"], seconds["ours"]),
    }


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


def pil_images(table: ImageTable) -> list[Image.Image]:
    return [Image.fromarray(image.permute(1, 2, 0).contiguous().numpy()) for image in table.images]


if __name__ == "__main__":
    sys.exit(main())
