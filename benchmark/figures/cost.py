"""What a study would take: steps, images, hours estimated from a short measurement of each of its networks here."""

from __future__ import annotations

import time
from collections.abc import Mapping

import torch

from benchmark.data.datasets import open_dataset
from benchmark.figures.jobs import available_cores, trainings_at_once
from benchmark.figures.scales import IMAGENET, IMAGENET_CLASSES, IMAGENET_IMAGES
from benchmark.figures.study import Made, Packed, Rendered, Study
from benchmark.models import build_network
from benchmark.recipes import RECIPES, SMALL_SIDE, batch_for
from benchmark.training.config import RunConfig
from benchmark.training.device import resolve_device

_TRAIN_SHARE = 0.6  # of renders, by the default splits
_VIEWS = {"supervised": 1.0, "rotation": 1.0, "byol": 2 + 2 / 3}  # of an image a step; a teacher's cost a third
_ROUNDS = 2
_PIXELS = 64 * 64 * 64  # of the views that a core is measured on, between 4 and 64 of them
_ON_GPU = 128  # views
_STATED = {"resnet50": 2500.0}  # views/s at 224 x 224 on an A100 in mixed precision, about what NVIDIA publishes


def cost_lines(study: Study, device: str = "auto") -> list[str]:
    """Lines for --dry-run. Nothing is written; of the data, only counts are read."""
    lines, rates = [study.note, ""], {}
    hours = 0.0
    for name, dataset in study.datasets.items():
        count = images_of(dataset)
        lines.append(f"data {name}: {words_of(dataset)}, {'?' if count is None else f'{count:,}'} images to train on")
    where = resolve_device(device)
    for name, training in study.trainings.items():
        dataset = study.datasets[training.data]
        images = images_of(dataset) or 0
        run, side = run_of(training.options), side_of(dataset)
        batch = batch_for(images, run.batch)
        steps = run.epochs * max(1, images // batch)
        views = steps * batch * _VIEWS.get(run.objective, 2.0)
        key = (run.arch, run.stem, run.head, side)
        if key not in rates:
            rates[key] = views_per_second(run, side, where)
        each = views / rates[key] / 3600
        hours += study.seeds * each
        lines.append(
            f"train {name}: {study.seeds} x ({run.arch}, {run.epochs} epochs, batch {batch}: {steps:,} steps, "
            f"{steps * batch:,} images), {study.seeds * each:.2f} hours"
        )
    ways, unit = _ways(where)
    lines += ["", f"training in all: {hours / ways:.2f} hours on {unit}, at the rate measured here just now"]
    one = "GPU" if where.type == "cuda" else "core"
    for (arch, _, _, side), rate in rates.items():
        lines.append(f"  {arch}, {side} x {side}: {rate:.1f} views/s on one {one}, the optimizer's step not counted")
    if where.type == "cpu" and (stated := _stated_hours(rates, hours)):
        lines.append(f"  on 8 GPUs at a stated {next(iter(_STATED.values())):,.0f} views/s each: {stated:.0f} hours")
    probings = study.seeds * sum(len(probing.trainings) for probing in study.probings.values())
    return [*lines, f"beside it: packing, and {probings} networks to probe"]


def _stated_hours(rates: Mapping[tuple, float], hours: float) -> float | None:
    """Hours on 8 GPUs of which nothing was measured here; None where no rate is stated for the only network."""
    (arch, _, _, side), rate = next(iter(rates.items())) if len(rates) == 1 else (("", "", "", 0), 0.0)
    return hours * rate / _STATED[arch] / 8 if arch in _STATED and side == 224 else None


def _ways(device: torch.device) -> tuple[int, str]:
    """How many trainings' worth of work goes on at once, and on what."""
    if device.type == "cuda":
        count = torch.cuda.device_count()
        return count, f"{count} GPU{'s' if count > 1 else ''}"
    count = trainings_at_once("cpu")
    return count, f"{count} core{'s' if count > 1 else ''} ({len(available_cores())} here)"


def run_of(options: Mapping[str, object]) -> RunConfig:
    """The run that `gr3d train` makes of them, as far as cost goes."""
    from dataclasses import fields, replace

    base = RECIPES[options.get("recipe", "small")][options["objective"]]
    names = {field.name for field in fields(RunConfig)} - {"views"}
    return replace(base, **{name: value for name, value in options.items() if name in names})


def images_of(dataset: Packed | Rendered | Made) -> int | None:
    """Images of split `train` that there will be; None where only writing them tells."""
    if isinstance(dataset, Rendered):
        return round(_TRAIN_SHARE * dataset.n)
    if isinstance(dataset, Made):
        return None
    options, known = dataset.options, dataset.data == IMAGENET
    count = IMAGENET_IMAGES if known else open_dataset(dataset.data).count("train")
    if count is None:
        return None
    if options.get("classes") or options.get("per_class"):
        total = IMAGENET_CLASSES if known else len(open_dataset(dataset.data).classes)
        count = count * (options.get("classes") or total) // total
        if options.get("per_class"):
            count = min(count, options["per_class"] * (options.get("classes") or total))
    count = round(count * (options.get("share") or 1))
    return min(count, options.get("limit") or count)


def side_of(dataset: Packed | Rendered | Made) -> int:
    if isinstance(dataset, Rendered):
        return dataset.resolution
    return dataset.options.get("side") or SMALL_SIDE


def words_of(dataset: Packed | Rendered | Made) -> str:
    if isinstance(dataset, Rendered):
        return f"{dataset.n:,} renders of {dataset.objects}, {dataset.resolution} x {dataset.resolution}"
    source = dataset.data if isinstance(dataset, Packed) else "made here"
    return ", ".join([source, *(f"{name} {value}" for name, value in dataset.options.items() if value is not None)])


def views_per_second(run: RunConfig, side: int, device: torch.device) -> float:
    """Forward and backward through trunk and head on one core or GPU, the best of a few rounds after a first one."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        network = build_network(run.arch, run.stem, run.head, 0).to(device, memory_format=torch.channels_last).train()
        count = _ON_GPU if device.type == "cuda" else max(4, min(64, _PIXELS // side**2))
        images = torch.rand(count, 3, side, side, device=device).to(memory_format=torch.channels_last)
        return count / min([_seconds(network, images, device) for _ in range(1 + _ROUNDS)][1:])
    finally:
        torch.set_num_threads(threads)


def _seconds(network: torch.nn.Module, images: torch.Tensor, device: torch.device) -> float:
    started = time.perf_counter()
    with torch.autocast(device.type, dtype=torch.bfloat16, enabled=device.type == "cuda"):
        loss = network(images).float().square().mean()
    loss.backward()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter() - started
