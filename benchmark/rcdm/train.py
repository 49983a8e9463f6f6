"""Trains a diffusion model to show what a layer keeps: reads the layer once, has a sitting at it, reports."""

from __future__ import annotations

import json
import sys
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from benchmark import distributed
from benchmark.data.table import ImageTable, load_table, read_dataset_info
from benchmark.errors import UserError
from benchmark.models import Network
from benchmark.probes.features import read_layers, weights_hash
from benchmark.probes.regress import unfinished
from benchmark.probes.subjects import trained
from benchmark.rcdm import config as settings
from benchmark.rcdm.config import DiffusionConfig, DiffusionTraining
from benchmark.rcdm.trainer import DiffusionTrainer
from benchmark.training import run as run_directory
from benchmark.training.device import numerics, resolve_device, resolve_precision, use_own_cores
from benchmark.training.log import mean_loss
from benchmark.training.memory import keep_freed_memory
from benchmark.training.sitting import check_same, device_name, explained, fit, holds_run, say_where

COMMAND = "gr3d rcdm train"

_FORMAT = "gr3d-rcdm-1"
_READ = 256  # images at a time


def train(config: DiffusionTraining, resume: bool = False) -> dict:
    """Train into ``config.out``; return report.json's content. Resuming, ranks, signals and errors: as
    benchmark.training.train."""
    device = resolve_device(config.device)
    with (
        explained(config.out, device, config.run.batch),
        distributed.started(device),
        numerics(device, config.deterministic),
        ExitStack() as held,
    ):
        network, run, identity, finished, resumed = _claim(config, device, resume, held)
        if finished:
            if distributed.is_main():
                print(f"{config.out}: already finished, not trained again")
            return run_directory.read_report(config.out)
        return _train(config, run, identity, network, device, resumed)


def _claim(
    config: DiffusionTraining, device: torch.device, resume: bool, held: ExitStack
) -> tuple[Network, DiffusionConfig, dict, bool, bool]:
    """As benchmark.training.loop: the network looked into, the run with its precision, what else makes it this run,
    whether it is finished, whether it has a checkpoint."""
    found = None
    with distributed.together():
        subject = trained(config.network)
        network = subject.open()
        run = replace(config.run, precision=resolve_precision(config.run.precision, device))
        run = replace(run, layers=settings.chosen_layers(run.layers, network.layers))
        settings.check(run, distributed.world_size())
        if distributed.is_main():
            unfinished(config.network.name, subject)
            now = {"network": {"weights": weights_hash(network), "trained": subject.config}}
            now["data"] = {"split": config.split, "spec": read_dataset_info(config.data)["spec"]}
            held.enter_context(run_directory.locked(config.out))
            if holds_run(config.out):
                stored = read_config(config.out)
                if config.run.precision == "auto":
                    run = replace(run, precision=stored["run"].precision)
                check_same(config.out, _identity(stored), _identity({"run": run, **now}), resume)
            has_checkpoint = (config.out / run_directory.CHECKPOINT).is_file()
            found = (run, now, run_directory.is_finished(config.out), has_checkpoint)
    return network, *distributed.from_main(found)


def _identity(known: dict) -> dict:
    spec = {f"dataset {name}": value for name, value in known["data"]["spec"].items()}
    weights, split = known["network"]["weights"], known["data"]["split"]
    return {**vars(known["run"]), "split": split, "network's weights": weights, **spec}


def _train(
    config: DiffusionTraining,
    run: DiffusionConfig,
    identity: dict,
    network: Network,
    device: torch.device,
    resumed: bool,
) -> dict:
    threads = use_own_cores()
    if device.type == "cpu":
        keep_freed_memory()
    with distributed.together():
        table = _table(config, run, device)
        checkpoint = run_directory.load_checkpoint(config.out, COMMAND) if resumed else None
        features = read_features(network, table.images, run.layers, config.network.name, device)
    images = table.images.to(device) if table.place == "device" else table.images
    trainer = DiffusionTrainer(run, images, features, device)
    with distributed.together():
        if checkpoint is not None:
            trainer.restore(checkpoint, config.out)
        if distributed.is_main():
            say_where(config.out, trainer, checkpoint)
            if not (config.out / run_directory.CONFIG).exists():
                known = {"format": _FORMAT, "rcdm": settings.to_dict(run), **identity}
                run_directory.write_json(config.out / run_directory.CONFIG, known)
    seconds = fit(trainer, config.out, config.checkpoint_seconds, checkpoint)
    report = None
    with distributed.together():
        if distributed.is_main():
            report = {
                "objective": run.objective,
                "layers": list(run.layers),
                "images": len(table),
                "steps": trainer.steps,
                "loss_last_epoch": mean_loss(config.out, trainer.steps_per_epoch),
                "parameters": sum(p.numel() for p in trainer.denoiser.parameters()),
                "seconds": round(seconds, 1),
                "images_per_s": round(trainer.steps * run.batch / seconds, 2),
                "device": device_name(device),
                "ranks": distributed.world_size(),
                "threads": threads,
                "torch": torch.__version__,
            }
            run_directory.write_json(config.out / run_directory.REPORT, report)
    return distributed.from_main(report)


def _table(config: DiffusionTraining, run: DiffusionConfig, device: torch.device) -> ImageTable:
    table = load_table(config.data, config.split, place=config.table, device=device)
    if distributed.is_main():
        print(table.kept, file=sys.stderr)
    if len(table) < run.batch:
        raise UserError(
            f"--batch {run.batch}: split '{config.split}' of {config.data} has {len(table)} images; choose a smaller "
            "batch",
            exit_code=2,
        )
    check_images(table, run.side, config.data)
    return table


def check_images(table: ImageTable, side: int, data: Path | str) -> None:
    """UserError (wrong usage) for images smaller than what the model makes, or not square."""
    height, width = table.images.shape[2:]
    if height != width or height < side:
        raise UserError(
            f"--side {side}: the images of {data} are {height} x {width}; take square ones of at least that side "
            "(gr3d pack DATASET --side ...)",
            exit_code=2,
        )


def read_features(
    network: Network, images: Tensor, layers: tuple[str, ...], name: str, device: torch.device
) -> dict[str, Tensor]:
    """What every layer makes of uint8 images (N, 3, H, W), each in the middle, unaugmented: float32 (N, d) on the CPU.
    The network is left as it is. Memory: all of that. UserError for features that are not finite."""
    read: dict[str, Tensor] = {}
    for rows, found in read_layers(network, images, f"{name}, features", 1, device, _READ):
        for layer in layers:
            if layer not in read:
                read[layer] = torch.empty(len(images), found[layer].shape[1])
            read[layer][rows] = found[layer].cpu()
    return read


def read_config(out: Path) -> dict:
    """config.json as {"run": DiffusionConfig, "network": {"weights": sha256, ...}, "data": {"split", "spec"}}.
    UserError for a folder that gr3d rcdm train did not make."""
    path = out / run_directory.CONFIG
    if not path.is_file():
        raise UserError(f"{out}: not made by {COMMAND} (it has no {run_directory.CONFIG})")
    try:
        stored = json.loads(path.read_text())
        if stored["format"] != _FORMAT:
            raise ValueError(f"format {stored['format']!r}, expected {_FORMAT!r}")
        run = settings.from_dict(stored["rcdm"])
        settings.check(run, 1)
        known = {"weights": str(stored["network"]["weights"]), "trained": dict(stored["network"]["trained"])}
        data = {"split": str(stored["data"]["split"]), "spec": dict(stored["data"]["spec"])}
        return {"run": run, "network": known, "data": data}
    except UserError as error:
        raise UserError(f"{path}: {error}") from error
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise UserError(f"{path}: damaged, or not written by this version of {COMMAND} ({error})") from error
