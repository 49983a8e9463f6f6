"""Trains one network: sets up what a run needs, has a sitting at it, reports."""

import sys
from contextlib import ExitStack
from dataclasses import replace

import numpy as np
import torch

from benchmark import distributed
from benchmark.data.neighbours import identity, load_neighbours
from benchmark.data.table import ImageTable, count_images, load_table, read_dataset_info
from benchmark.errors import UserError
from benchmark.models import check_side
from benchmark.objectives import OBJECTIVES
from benchmark.training import run as run_directory
from benchmark.training.compilation import wants_compile
from benchmark.training.config import RunConfig, TrainConfig, check, check_shares
from benchmark.training.device import numerics, resolve_device, resolve_precision, use_own_cores
from benchmark.training.log import mean_loss
from benchmark.training.memory import keep_freed_memory
from benchmark.training.positives import NEIGHBOURS, partners
from benchmark.training.sitting import check_same, device_name, explained, fit, holds_run, say_where
from benchmark.training.trainer import Trainer


def train(config: TrainConfig, resume: bool = False) -> dict:
    """Train on split "train" of ``config.data`` into the run directory ``config.out``; return report.json's content.

    With ``resume``, goes on from the checkpoint in ``config.out`` if there is one, as if never stopped: bit for bit on
    a CPU with the same number of threads, on CUDA with ``config.deterministic``. A finished run is reported, not
    trained again. Prints progress to stderr. Under torchrun this is one rank of the run.

    UserError for unusable settings or data, an ``out`` that another process trains in or that holds a run with other
    settings or (without ``resume``) an unfinished one, a loss or gradient that is not finite, a batch too large for the
    GPU, another rank that ended, and when stopped by Ctrl-C, SIGTERM or SIGHUP (after writing a checkpoint). Where one
    rank says so, the others raise SystemExit.
    """
    device = resolve_device(config.device)
    wants_compile(config.compile, device, config.deterministic)  # a wrong choice is said before anything is made
    with (
        explained(config.out, device, config.run.batch, "with a smaller one, or in parts (--accumulate)"),
        distributed.started(device),
        numerics(device, config.deterministic),
        ExitStack() as held,
    ):
        run, spec, finished, resumed = _claim(config, device, resume, held)
        return _finished(config) if finished else _train(config, run, spec, device, resumed)


def _claim(
    config: TrainConfig, device: torch.device, resume: bool, held: ExitStack
) -> tuple[RunConfig, dict, bool, bool]:
    """The main rank locks ``config.out`` (until ``held`` ends) and looks what is there.

    Returns the run with its precision and positives, the dataset's spec, whether the run is finished, whether it has a
    checkpoint.
    """
    found = None
    with distributed.together():
        run = _asked(config, device)
        check(run)
        check_shares(run, distributed.world_size())
        if distributed.is_main():
            spec = read_dataset_info(config.data)["spec"]
            held.enter_context(run_directory.locked(config.out))
            run = _check_out(config, run, spec, resume)
            has_checkpoint = (config.out / run_directory.CHECKPOINT).is_file()
            found = (run, spec, run_directory.is_finished(config.out), has_checkpoint)
    return distributed.from_main(found)


def _asked(config: TrainConfig, device: torch.device) -> RunConfig:
    """The run with what "auto" and the file of neighbours stand for. UserError for such a file that cannot be used."""
    run = replace(config.run, precision=resolve_precision(config.run.precision, device))
    if config.neighbours is None:
        return run
    return replace(run, positives=NEIGHBOURS + load_neighbours(config.neighbours).digest)


def _finished(config: TrainConfig) -> dict:
    with distributed.together():
        report = run_directory.read_report(config.out)
        images = count_images(config.data, "train")
    grown = images is not None and images != report["images"]
    change = f" (on {report['images']} images, the dataset now has {images}; another --out trains on those)"
    if distributed.is_main():
        print(f"{config.out}: already finished, not trained again{change if grown else ''}")
    return report


def _train(config: TrainConfig, run: RunConfig, spec: dict, device: torch.device, resumed: bool) -> dict:
    threads = use_own_cores()
    if device.type == "cpu":
        keep_freed_memory()
    with distributed.together():
        table, neighbours = _table(config, run, device)
        checkpoint = run_directory.load_checkpoint(config.out) if resumed else None
    trainer = Trainer(
        run,
        table,
        device,
        neighbours=neighbours,
        compile=wants_compile(config.compile, device, config.deterministic),
        deterministic=config.deterministic,
        online_probes=config.online_probes,
    )
    with distributed.together():
        if checkpoint is not None:
            trainer.restore(checkpoint, config.out)
        if distributed.is_main():
            say_where(config.out, trainer, checkpoint)
            if not (config.out / run_directory.CONFIG).exists():
                run_directory.write_config(config.out, run, spec)
    seconds = fit(trainer, config.out, config.checkpoint_seconds, checkpoint)
    report = None
    with distributed.together():
        if distributed.is_main():
            report = _report(config, trainer, table, seconds, threads)
            run_directory.write_json(config.out / run_directory.REPORT, report)
    return distributed.from_main(report)


def _table(config: TrainConfig, run: RunConfig, device: torch.device) -> tuple[ImageTable, np.ndarray | None]:
    """The images, and their neighbours if the second views show those. UserError if they cannot serve the run."""
    table = load_table(config.data, "train", place=config.table, device=device)
    if distributed.is_main():
        print(table.kept, file=sys.stderr)
    if len(table) < run.batch:
        raise UserError(
            f"--batch {run.batch}: split 'train' of {config.data} has {len(table)} images; choose a smaller batch", 2
        )
    check_side(run.arch, *table.images.shape[2:])
    neighbours = None if config.neighbours is None else _neighbours(config, run, table)
    # These say here, once for all ranks, that the images cannot serve them.
    OBJECTIVES[run.objective](run, 1, table)
    partners(run.positives, table, neighbours)
    return table, neighbours


def _neighbours(config: TrainConfig, run: RunConfig, table: ImageTable) -> np.ndarray:
    found = load_neighbours(config.neighbours)
    found.check(identity(config.data, "train", table), config.neighbours)
    if run.positives != NEIGHBOURS + found.digest:
        raise UserError(f"{config.neighbours}: another file on rank {distributed.rank()}, or changed just now")
    return found.places


def _report(config: TrainConfig, trainer: Trainer, table: ImageTable, seconds: float, threads: int) -> dict:
    images = trainer.steps * trainer.run.batch
    return {
        "objective": trainer.run.objective,
        "images": len(table),
        "steps": trainer.steps,
        "loss_last_epoch": mean_loss(config.out, trainer.steps_per_epoch),
        "seconds": round(seconds, 1),
        "images_per_s": round(images / seconds, 2),
        "views_per_s": round(images * trainer.objective.views / seconds, 2),
        "device": device_name(trainer.device),
        "ranks": distributed.world_size(),
        "threads": threads,
        "torch": torch.__version__,
    }


def _check_out(config: TrainConfig, run: RunConfig, spec: dict, resume: bool) -> RunConfig:
    """Check that ``config.out`` is empty or already this run's directory; return the run, with the stored one's
    precision if any will do."""
    if not holds_run(config.out):
        return run
    stored = run_directory.read_config(config.out)
    if config.run.precision == "auto":
        run = replace(run, precision=stored["run"].precision)
    check_same(config.out, _identity(stored["run"], stored["data"]["spec"]), _identity(run, spec), resume)
    return run


def _identity(run: RunConfig, spec: dict) -> dict:
    """What must be the same for two runs to be one, flat and comparable with what JSON brings back."""
    return {**vars(run), **{f"dataset {name}": value for name, value in spec.items()}}
