"""What online probes add to training: share of an epoch's time.

    python tests/performance/online_speed.py --json speed.json

In one process, with as many threads as the process has cores, takes turns between training steps of SimCLR of three
kinds: one that the probes do not see, one of the window that is fitted on, and two of the window that is judged, at the
first of which the regressors are solved. What they add is timed where it happens (steps differ by more than that from
one to the next): averaging the layers' maps, observing, the record. The medians, times how often each occurs in an
epoch of --images, give the share, which must be at most 3 %.
"""

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import torch
from train_speed import random_table

from benchmark.models import network
from benchmark.recipes import RECIPES
from benchmark.training.device import resolve_device, resolve_precision, use_own_cores
from benchmark.training.trainer import Trainer

MOST = 0.03


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--arch", default="resnet18")
    parser.add_argument("--batch", type=int, default=256, help="images a step")
    parser.add_argument("--side", type=int, default=64, help="pixels")
    parser.add_argument("--images", type=int, default=13_500, help="of an epoch [the small figure 2's]")
    parser.add_argument("--rounds", type=int, default=5, help="turns of four steps, after one that does not count")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--json", type=Path, help="also write the numbers here")
    options = parser.parse_args()
    device, threads = resolve_device(options.device), use_own_cores()
    recipe = RECIPES["small"]["simclr"]
    run = replace(recipe, arch=options.arch, batch=options.batch, precision=resolve_precision("auto", device))
    table = random_table(options.images, options.side)
    trainer = Trainer(run, table, device, online_probes=True)
    seconds = measure(trainer, options.rounds)
    epoch = trainer.probes.schedule
    plain = epoch.steps * seconds["unseen step"]
    added = {
        "averaging": (epoch.fit + epoch.judge) * seconds["averaging"],
        "fitting": epoch.fit * seconds["fitting"],
        "judging": epoch.judge * seconds["judging"],
        "solving": seconds["solving and judging"] - seconds["judging"] + seconds["record"],
    }
    numbers = {
        "arch": run.arch,
        "side": options.side,
        "batch": run.batch,
        "images": options.images,
        "device": device.type,
        "threads": threads,
        "torch": torch.__version__,
        "seconds": {name: round(value, 4) for name, value in seconds.items()},
        "seconds_an_epoch": round(plain, 2),
        "added_seconds_an_epoch": {name: round(value, 3) for name, value in added.items()},
        "share": round(sum(added.values()) / plain, 4),
    }
    print(json.dumps(numbers, indent=2))
    if options.json:
        options.json.write_text(json.dumps(numbers, indent=2) + "\n")
    return 0 if numbers["share"] <= MOST else 1


def measure(trainer: Trainer, rounds: int) -> dict[str, float]:
    """Median seconds of a step that is not observed, and of each thing that the probes do, after an uncounted round."""
    probes, device = trainer.probes, trainer.device
    first_judged = probes.schedule.steps - probes.schedule.judge
    first_fitted = first_judged - probes.schedule.fit
    probes.observe, network.pooled = Timed(probes.observe, device), Timed(network.pooled, device)
    kinds = {"unseen step": 0, "fitting": first_fitted, "solving and judging": first_judged, "judging": first_judged}
    taken: dict[str, list[float]] = {name: [] for name in (*kinds, "averaging", "record")}
    for turn in range(rounds + 1):
        found = {}
        for name, step in kinds.items():
            probes.observe.seconds = network.pooled.seconds = 0.0
            whole = Timed(trainer.step, device)
            whole(step)
            found[name] = probes.observe.seconds or whole.seconds
            found["averaging"] = network.pooled.seconds
        record = Timed(probes.record, device)
        record(turn + 1)
        found["record"] = record.seconds
        for name, seconds in found.items():
            taken[name] += [seconds] * (turn > 0)
    return {name: statistics.median(values) for name, values in taken.items()}


class Timed:
    """A function that adds up the seconds its calls take."""

    def __init__(self, function: Callable, device: torch.device) -> None:
        self.function, self.device, self.seconds = function, device, 0.0

    def __call__(self, *arguments: object) -> object:
        self._wait()
        started = time.perf_counter()
        result = self.function(*arguments)
        self._wait()
        self.seconds += time.perf_counter() - started
        return result

    def _wait(self) -> None:
        if self.device.type == "cuda":
            torch.cuda.synchronize()


if __name__ == "__main__":
    sys.exit(main())
