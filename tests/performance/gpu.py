"""How near to a GPU's limits gr3d trains SimCLR, and how much of that its data pipeline leaves.

    python tests/performance/gpu.py --json results/performance/gpu.json

For ResNet-18 and ResNet-50 at 128 and 224 pixels and ViT-S/16 at 224, each eager and compiled: images a second (an
image is a pair of views) of the network alone, which is the whole training step on one batch of views that stays the
same, and of the full step, which makes its views from a uint8 table on the device. Beside them the share of the time
that the step's matrix products would take at the rate of one large product measured here (bfloat16, 2 * 8192^3
operations), and of an eager step's time that its reading and writing of tensors would take at the rate of a measured
copy; and the most memory allocated. Last, where this stands against what is wanted of an H200. Exit code 1 if the
device is an H200 and something is missing.

Takes less than ten minutes on an H200; what did not fit into --minutes is said. Without a CUDA device it says so and
exits with 0: there is nothing to measure.
"""

import argparse
import gc
import json
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import FlopCounterMode
from train_speed import random_table

from benchmark.recipes import RECIPES
from benchmark.training.config import RunConfig
from benchmark.training.trainer import Trainer

FULL = 0.9  # of the network alone


@dataclass(frozen=True)
class Case:
    """A network at an image size. batch: images a step, halved until it fits into memory; wanted: images a second."""

    arch: str
    side: int
    batch: int
    wanted: int | None = None

    @property
    def run(self) -> RunConfig:
        recipe = RECIPES["paper"]["simclr"]
        return replace(recipe, arch=self.arch, batch=self.batch, epochs=10**6, precision="bf16")


# In the order of what is wanted, should the time not last.
CASES = (
    Case("resnet50", 224, 256, wanted=3_000),
    Case("vit-s16", 224, 512, wanted=2_300),
    Case("resnet18", 128, 1024, wanted=25_000),
    Case("resnet50", 128, 512),
    Case("resnet18", 224, 512),
)


@dataclass(frozen=True)
class Ceilings:
    """operations: a second, of a large matrix product; bytes: a second, read and written by a large copy."""

    operations: float
    bytes: float


@dataclass(frozen=True)
class Measured:
    """alone, full: images a second. matmul, copy: shares of the network's time at the ceilings; copy is None when
    compiled, since nobody counted what the fused operations still move. memory: GiB, None on a CPU."""

    arch: str
    side: int
    batch: int
    compiled: bool
    alone: float
    full: float
    ratio: float
    matmul: float
    copy: float | None
    memory: float | None


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=9.0, help="begin nothing after that long [9]")
    parser.add_argument("--json", type=Path, help="also write the numbers here")
    options = parser.parse_args()
    if not torch.cuda.is_available():
        print("no CUDA device: nothing to measure")
        return 0
    device, until = torch.device("cuda"), time.monotonic() + 60 * options.minutes
    ceilings = measure_ceilings(device, side=8192, megabytes=4096)
    print(f"{torch.cuda.get_device_name()}, torch {torch.__version__}")
    print(f"matrix product {ceilings.operations / 1e12:.0f} TFLOP/s, copy {ceilings.bytes / 1e12:.2f} TB/s\n")
    print(HEADER)
    measured, missing = [], []
    for case in CASES:
        if time.monotonic() > until:
            missing.append(case)
            continue
        for one in measure(case, device, ceilings, rounds=4, steps=8):
            measured.append(one)
            print(line(one), flush=True)
    for case in missing:
        print(f"{case.arch} at {case.side}: not measured, {options.minutes:g} minutes were over")
    found = targets(measured)
    print("\n" + "\n".join(f"{'reached' if ok else 'missed '}  {what}" for what, ok in found.items()))
    if options.json:
        numbers = {
            "device": torch.cuda.get_device_name(),
            "torch": torch.__version__,
            "ceilings": asdict(ceilings),
            "measured": [asdict(one) for one in measured],
            "not_measured": [asdict(case) for case in missing],
            "targets": found,
        }
        options.json.write_text(json.dumps(numbers, indent=2) + "\n")
    return 1 if "H200" in torch.cuda.get_device_name() and (missing or not all(found.values())) else 0


def measure(
    case: Case,
    device: torch.device,
    ceilings: Ceilings,
    rounds: int,
    steps: int,
    modes: tuple[bool, ...] = (False, True),
) -> list[Measured]:
    """In ``rounds`` turns of ``steps`` steps each. modes: whether compiled, eager first."""
    while True:
        try:
            return list(_measure(case, device, ceilings, rounds, steps, modes))
        except torch.OutOfMemoryError:
            if case.batch <= 32:
                raise
        case = replace(case, batch=case.batch // 2)


def _measure(
    case: Case, device: torch.device, ceilings: Ceilings, rounds: int, steps: int, modes: tuple[bool, ...]
) -> Iterator[Measured]:
    work = None
    for compile in modes:
        if device.type == "cuda":
            gc.collect()
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats()
        trainer = Fixable(case.run, random_table(4 * case.batch, case.side), device, compile=compile)
        alone, full = take_turns(trainer, rounds, steps)
        memory = torch.cuda.max_memory_allocated() / 2**30 if device.type == "cuda" else None
        work = work or count_work(trainer)  # compiled, the same is computed otherwise
        yield Measured(
            arch=case.arch,
            side=case.side,
            batch=case.batch,
            compiled=compile,
            alone=case.batch / alone,
            full=case.batch / full,
            ratio=alone / full,
            matmul=work.operations / ceilings.operations / alone,
            copy=None if compile else work.bytes / ceilings.bytes / alone,
            memory=memory,
        )
        del trainer


class Fixable(Trainer):
    """A trainer that can be kept on one batch of views: what remains is the network, its loss and its optimizer."""

    fixed: tuple[Tensor, Tensor] | None = None

    def _parts(self, step: int) -> Iterator[tuple[Tensor, Tensor]]:
        if self.fixed is None:
            yield from super()._parts(step)
        else:
            yield self.fixed


def take_turns(trainer: Fixable, rounds: int, steps: int) -> tuple[float, float]:
    """Seconds a step alone and in full: medians over the rounds, after one that is not counted."""
    batch = next(trainer._parts(0))
    taken: dict[bool, list[float]] = {True: [], False: []}
    for turn in range(rounds + 1):
        for alone in taken:
            trainer.fixed = batch if alone else None
            seconds = timed(lambda: trainer.step(0), steps, trainer.device)
            if turn > 0:
                taken[alone].append(seconds)
    return statistics.median(taken[True]), statistics.median(taken[False])


def timed(work: Callable[[], object], times: int, device: torch.device) -> float:
    """Seconds that ``work`` takes, the mean of ``times``."""
    wait(device)
    started = time.perf_counter()
    for _ in range(times):
        work()
    wait(device)
    return (time.perf_counter() - started) / times


def wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize()


def measure_ceilings(device: torch.device, side: int, megabytes: int) -> Ceilings:
    """side: of the square bfloat16 matrices; megabytes: of the tensor that is copied."""
    matrix = torch.randn(side, side, device=device, dtype=torch.bfloat16)
    source = torch.zeros(megabytes * 2**20, dtype=torch.uint8, device=device)
    target = torch.empty_like(source)
    seconds = []
    for work in (lambda: matrix @ matrix, lambda: target.copy_(source)):
        timed(work, 3, device)
        seconds.append(min(timed(work, 10, device) for _ in range(3)))
    return Ceilings(2 * side**3 / seconds[0], 2 * len(source) / seconds[1])


@dataclass(frozen=True)
class Work:
    """Of one step, run eagerly: operations of its matrix products and convolutions; bytes of the tensors that its
    operations read and write."""

    operations: float
    bytes: float


def count_work(trainer: Fixable) -> Work:
    """Of the step on a fixed batch."""
    trainer.fixed = next(trainer._parts(0))
    with FlopCounterMode(display=False) as products, Traffic() as traffic:
        trainer.step(0)
    return Work(products.get_total_flops(), traffic.bytes)


class Traffic(TorchDispatchMode):
    """Adds up the tensors that operations are given and give back, but for views, which move nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.bytes = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        given = (args, kwargs or {})
        result = func(*args, **(kwargs or {}))
        if not func.is_view and "empty" not in func.name():
            for tensor in tree_leaves((given, result)):
                if isinstance(tensor, Tensor):
                    # An expanded tensor is smaller than it looks.
                    self.bytes += min(tensor.numel() * tensor.element_size(), tensor.untyped_storage().nbytes())
        return result


HEADER = f"{'':>16} {'batch':>6} {'':>8} {'alone':>8} {'full':>8} {'ratio':>6} {'matmul':>7} {'copy':>6} {'memory':>9}"


def line(one: Measured) -> str:
    copy = "" if one.copy is None else f"{one.copy:.0%}"
    memory = "" if one.memory is None else f"{one.memory:.1f} GiB"
    return (
        f"{one.arch + ' at ' + str(one.side):>16} {one.batch:>6} {'compiled' if one.compiled else 'eager':>8} "
        f"{one.alone:>8.0f} {one.full:>8.0f} {one.ratio:>6.3f} {one.matmul:>7.0%} {copy:>6} {memory:>9}"
    )


def targets(measured: list[Measured]) -> dict[str, bool]:
    """What is wanted, in words with the numbers found -> whether it was reached."""
    found = {}
    for case in CASES:
        mine = [one for one in measured if (one.arch, one.side) == (case.arch, case.side)]
        for one in mine:
            how = "compiled" if one.compiled else "eager"
            found[f"{case.arch} at {case.side}, {how}: full / alone {one.ratio:.3f} (wanted {FULL})"] = (
                one.ratio >= FULL
            )
        if mine and case.wanted:
            best = max(one.full for one in mine)
            what = f"{case.arch} at {case.side}: {best:.0f} images/s in full (wanted {case.wanted})"
            found[what] = best >= case.wanted
    return found


if __name__ == "__main__":
    sys.exit(main())
