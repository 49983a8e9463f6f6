"""Trains one network on one device."""

import time
from contextlib import closing
from dataclasses import replace

import torch

from benchmark.data.table import count_images, load_table, read_dataset_info
from benchmark.errors import UserError
from benchmark.models import check_side
from benchmark.training import run as run_directory
from benchmark.training.config import RunConfig, TrainConfig, check
from benchmark.training.device import resolve_device, resolve_precision, use_own_cores
from benchmark.training.log import Progress, TrainingLog, mean_loss
from benchmark.training.stop import StopRequest
from benchmark.training.trainer import Trainer

_GPU_LOG_LAG = 50  # steps between looks at the losses, each of which waits for the GPU


def train(config: TrainConfig, resume: bool = False) -> dict:
    """Train on split "train" of ``config.data`` into the run directory ``config.out``; return report.json's content.

    With ``resume``, goes on from the checkpoint in ``config.out`` if there is one, as if never stopped: bit for bit on
    a CPU with the same number of threads. A finished run is reported, not trained again. Prints progress to stderr.

    UserError for unusable settings or data, an ``out`` that another process trains in or that holds a run with other
    settings or (without ``resume``) an unfinished one, a loss that is not finite, a batch too large for the GPU, and
    when stopped by Ctrl-C, SIGTERM or SIGHUP (after writing a checkpoint).
    """
    check(config.run)
    device = resolve_device(config.device)
    spec = read_dataset_info(config.data)["spec"]
    try:
        with run_directory.locked(config.out):
            run = _check_out(config, resolve_precision(config.run.precision, device), spec, resume)
            return _finished(config) if run_directory.is_finished(config.out) else _train(config, run, spec, device)
    except torch.OutOfMemoryError as error:
        raise UserError(
            f"--batch {config.run.batch}: too large for the memory of {_name(device)}; "
            "train again with a smaller one into another --out"
        ) from error
    except KeyboardInterrupt:
        raise UserError(f"{config.out}: stopped; add --resume to go on from the last checkpoint") from None


def _finished(config: TrainConfig) -> dict:
    report = run_directory.read_report(config.out)
    images = count_images(config.data, "train")
    grown = images is not None and images != report["images"]
    change = f" (on {report['images']} images, the dataset now has {images}; another --out trains on those)"
    print(f"{config.out}: already finished, not trained again{change if grown else ''}")
    return report


def _train(config: TrainConfig, run: RunConfig, spec: dict, device: torch.device) -> dict:
    threads = use_own_cores()
    table = load_table(config.data, "train")
    if len(table) < run.batch:
        raise UserError(
            f"--batch {run.batch}: split 'train' of {config.data} has {len(table)} images; choose a smaller batch", 2
        )
    check_side(run.arch, *table.images.shape[2:])
    trainer = Trainer(run, table, device)
    first, seconds = 0, 0.0
    if (config.out / run_directory.CHECKPOINT).is_file():
        checkpoint = run_directory.load_checkpoint(config.out)
        trainer.restore(checkpoint, config.out)
        first, seconds = checkpoint.step, checkpoint.seconds
        print(f"{config.out}: goes on after step {first} of {trainer.steps}")
    if not (config.out / run_directory.CONFIG).exists():
        run_directory.write_config(config.out, run, spec)
    try:
        seconds = _fit(trainer, config, first, seconds)
    except OSError as error:
        raise UserError(f"{config.out}: cannot be written ({error.strerror}); make room, then add --resume") from error
    images = trainer.steps * run.batch
    report = {
        "objective": run.objective,
        "images": len(table),
        "steps": trainer.steps,
        "loss_last_epoch": mean_loss(config.out, trainer.steps_per_epoch),
        "seconds": round(seconds, 1),
        "images_per_s": round(images / seconds, 2),
        "views_per_s": round(images * trainer.objective.views / seconds, 2),
        "device": _name(device),
        "threads": threads,
        "torch": torch.__version__,
    }
    run_directory.write_json(config.out / run_directory.REPORT, report)
    return report


def _check_out(config: TrainConfig, precision: str, spec: dict, resume: bool) -> RunConfig:
    """Check that ``config.out`` is empty or already this run's directory; return the run with
    its precision."""
    run = replace(config.run, precision=precision)
    if not (config.out / run_directory.CONFIG).exists():
        if any(not path.name.startswith(".") for path in config.out.iterdir()):
            raise UserError(f"--out {config.out}: holds other files and no run; choose another folder")
        return run
    stored = run_directory.read_config(config.out)
    if config.run.precision == "auto":
        run = replace(run, precision=stored["run"].precision)
    was, now = _identity(stored["run"], stored["data"]["spec"]), _identity(run, spec)
    for name in [*now, *was]:
        if was.get(name) != now.get(name):
            raise UserError(
                f"--out {config.out}: holds a run with another {name} ({was.get(name)}, now {now.get(name)}); "
                "choose another folder or the same settings"
            )
    started = (config.out / run_directory.CHECKPOINT).exists()
    if started and not resume and not run_directory.is_finished(config.out):
        raise UserError(f"--out {config.out}: holds an unfinished run; add --resume to go on, or choose another folder")
    return run


def _identity(run: RunConfig, spec: dict) -> dict:
    """What must be the same for two runs to be one, flat and comparable with what JSON brings back."""
    return {**vars(run), **{f"dataset {name}": value for name, value in spec.items()}}


def _fit(trainer: Trainer, config: TrainConfig, first: int, seconds: float) -> float:
    """Carry out steps ``first`` and on; return the seconds of training, ``seconds`` of earlier sittings included."""
    run, steps = trainer.run, trainer.steps
    started = saved = time.monotonic()

    def save(done: int) -> None:
        log.flush()  # never a checkpoint after a loss that is not finite
        run_directory.save_checkpoint(config.out, trainer.checkpoint(done, seconds + time.monotonic() - started))

    progress = Progress(run.objective, first, steps, run.batch)
    lag = _GPU_LOG_LAG if trainer.device.type == "cuda" else 1
    with closing(TrainingLog(config.out, first, lag)) as log, StopRequest() as stop:
        for done in range(first + 1, steps + 1):
            result = trainer.step(done - 1)
            epoch = (done - 1) // trainer.steps_per_epoch + 1
            log.add(done, epoch, result.lr, run.batch, result.loss)
            progress.step(done, f"{epoch}/{run.epochs}", log.last_loss)
            if stop.name and done < steps:
                save(done)
                raise UserError(
                    f"{config.out}: stopped by {stop.name} after step {done} of {steps}, saved; "
                    "add --resume to go on from there"
                )
            if time.monotonic() - saved >= config.checkpoint_seconds and done < steps:
                save(done)
                saved = time.monotonic()
        save(steps)
    return seconds + time.monotonic() - started


def _name(device: torch.device) -> str:
    return torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu"
