"""What decoding photographs of ImageNet's size costs: once, into a mapped table, or in every epoch, beside training.

    python tests/performance/decode_speed.py --json decode.json

JPEGs of about 500 x 375 pixels (by default --images of them, made from the photographs of ImageNet that the package
foolbox ships, each shifted by a random offset) are

    decoded once   as training does it: into a memory map of squares of --side pixels, on all cores; then opened again,
                   every byte checked; then gathered by random rows, as a step does
    decoded again  by torch's DataLoader with as many workers as there are cores, the same function on the same files

and the same training step (SimCLR, two views an image) takes turns on a fixed batch in memory (the network and its
views alone), on the table, and on the loader. Reported are the medians over the rounds, the ratios of the rounds, the
size of the table on disk, and after how many epochs decoding once is the faster way. Two cores need about five minutes.
"""

import argparse
import importlib.util
import json
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, Dataset
from train_speed import ratio

from benchmark.data import load_table
from benchmark.data.datasets import open_dataset
from benchmark.data.decode import Record, pixels
from benchmark.data.table import ImageTable
from benchmark.recipes import RECIPES
from benchmark.training.config import RunConfig
from benchmark.training.device import resolve_device, resolve_precision, use_own_cores
from benchmark.training.memory import keep_freed_memory
from benchmark.training.trainer import Trainer


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", help="DATASET to decode [photographs that are made for it]")
    parser.add_argument("--side", type=int, default=128, help="pixels")
    parser.add_argument("--images", type=int, default=1024, help="photographs to make")
    parser.add_argument("--arch", default="resnet18")
    parser.add_argument("--batch", type=int, default=64, help="images a step, each in two views")
    parser.add_argument("--rounds", type=int, default=5, help="turns of each")
    parser.add_argument("--steps", type=int, default=6, help="steps a turn; more than the loader holds ready")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--json", type=Path, help="also write the numbers here")
    options = parser.parse_args()

    device, threads = resolve_device(options.device), use_own_cores()
    if device.type == "cpu":
        keep_freed_memory()  # as training does
    precision = resolve_precision("auto", device)
    run = replace(RECIPES["small"]["simclr"], arch=options.arch, batch=options.batch, precision=precision)
    with tempfile.TemporaryDirectory() as scratch:
        os.environ["XDG_CACHE_HOME"] = scratch
        data = options.data or str(photographs(Path(scratch) / "photos", options.images))
        table, numbers = decoded_once(data, options.side, options.batch)
        records = open_dataset(data).source("train").records()
        numbers |= beside_training(run, table, list(records), device, threads, options.rounds, options.steps)
    numbers |= pays_from(numbers)
    setting = {"arch": run.arch, "side": options.side, "batch": run.batch, "precision": run.precision}
    setting |= {"device": device.type, "threads": threads, "torch": torch.__version__}
    print(", ".join(f"{name} {value}" for name, value in setting.items()))
    print("\n".join(f"  {name:34} {value}" for name, value in numbers.items()))
    if options.json:
        options.json.write_text(json.dumps({**setting, **numbers}, indent=2) + "\n")
    return 0


def photographs(folder: Path, count: int) -> Path:
    """folder/train/0/*.jpg, as large and as hard to decode as ImageNet's."""
    spec = importlib.util.find_spec("foolbox")
    if spec is None:
        raise SystemExit("decode_speed.py: give --data DATASET, or pip install foolbox for its photographs")
    sources = []
    for path in sorted((Path(spec.origin).parent / "data").glob("imagenet_*.jpg")):
        with Image.open(path) as image:
            sources.append(np.asarray(image.convert("RGB")))
    rng = np.random.default_rng(0)
    (folder / "train" / "0").mkdir(parents=True)
    for number in range(count):
        source = sources[number % len(sources)]
        shifted = np.roll(source, rng.integers(0, source.shape[:2]), axis=(0, 1))
        Image.fromarray(shifted).save(folder / "train" / "0" / f"{number:06d}.jpg", quality=90)
    return folder


def decoded_once(data: str, side: int, batch: int) -> tuple[ImageTable, dict]:
    """The mapped table, and what it took to make, to open again and to gather from it."""
    seconds = []
    for _ in range(2):
        started = time.perf_counter()
        table = load_table(data, "train", place="mmap", side=side)
        seconds.append(time.perf_counter() - started)
    rng, gathered = np.random.default_rng(0), 20
    started = time.perf_counter()
    for _ in range(gathered):
        table.images.index_select(0, torch.from_numpy(rng.integers(0, len(table), batch)))
    gathering = time.perf_counter() - started
    return table, {
        "images": len(table),
        "decoded once, images/s": round(len(table) / seconds[0], 1),
        "opened again, images/s": round(len(table) / seconds[1], 1),
        "gathered, images/s": round(gathered * batch / gathering, 1),
        "table, MB": round(table.images.nbytes / 1e6, 1),
        "table for 1.28 million images, GB": round(table.images.nbytes / len(table) * 1.28e6 / 1e9, 1),
    }


class Decoding(Dataset):
    """Photographs that are decoded whenever they are asked for."""

    def __init__(self, records: list[Record], side: int) -> None:
        self.records, self.side = records, side

    def __len__(self) -> int:
        return len(self.records)

    def __getitem__(self, row: int) -> Tensor:
        return torch.from_numpy(pixels(self.records[row], self.side).transpose(2, 0, 1).copy())


class Fed(Trainer):
    """A trainer whose images come from elsewhere, a batch at a time."""

    feed: Callable[[], Tensor]

    def _shown(self, rows: np.ndarray) -> Tensor:
        return self.feed().to(self.device, non_blocking=True)


def beside_training(
    run: RunConfig,
    table: ImageTable,
    records: list[Record],
    device: torch.device,
    threads: int,
    rounds: int,
    steps: int,
) -> dict:
    """Images per second of the three ways, and of the loader alone."""
    mapped, fed = Trainer(run, table, device), Fed(run, table, device)
    fixed = table.images[: run.batch].clone()
    seconds: dict[str, list[float]] = {"network": [], "table": [], "loader": [], "loader alone": []}
    for turn in range(rounds + 1):
        taken = {"table": timed(mapped, steps, device)}
        fed.feed = lambda: fixed
        taken["network"] = timed(fed, steps, device)
        batches = endless(records, table.images.shape[-1], run.batch, threads, device)
        fed.feed = lambda batches=batches: next(batches)
        taken["loader"] = timed(fed, steps, device)
        started = time.perf_counter()
        for _ in range(steps):
            next(batches)
        taken["loader alone"] = time.perf_counter() - started
        batches.close()
        if turn:
            for name, value in taken.items():
                seconds[name].append(value)
    count = steps * run.batch
    rates = {f"{name}, images/s": round(count / statistics.median(values), 1) for name, values in seconds.items()}
    return rates | {
        "table / network": ratio(seconds["network"], seconds["table"]),
        "loader / network": ratio(seconds["network"], seconds["loader"]),
        "table / loader": ratio(seconds["loader"], seconds["table"]),
    }


def timed(trainer: Trainer, steps: int, device: torch.device) -> float:
    """Seconds of that many steps, after one that does not count."""
    for step in range(steps + 1):
        if step == 1:
            started = time.perf_counter()
        trainer.step(step % trainer.steps_per_epoch)
        if device.type == "cuda":
            torch.cuda.synchronize()
    return time.perf_counter() - started


def endless(records: list[Record], side: int, batch: int, workers: int, device: torch.device) -> Iterator[Tensor]:
    """Batches of decoded images, epoch after epoch; closing it ends the workers."""
    loader = DataLoader(
        Decoding(records, side),
        batch,
        shuffle=True,
        drop_last=True,
        num_workers=workers,
        pin_memory=device.type == "cuda",
        persistent_workers=True,
    )
    while True:
        yield from loader


def pays_from(numbers: dict) -> dict:
    """Epochs from which on decoding once is the faster way, over all."""
    saved = 1 / numbers["loader, images/s"] - 1 / numbers["table, images/s"]
    epochs = 1 / numbers["decoded once, images/s"] / saved if saved > 0 else float("inf")
    return {"decoding once pays after, epochs": round(epochs, 2)}


if __name__ == "__main__":
    raise SystemExit(main())
