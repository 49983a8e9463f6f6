"""Trains one network: sets up what a run needs, repeats the trainer's step, saves.

Under torchrun every rank runs this. They end together: what goes wrong on one, or is asked of one, is known to all
after the step at the latest. The main rank alone writes and speaks.
"""

import signal
import sys
import time
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
from benchmark.training.keeper import keeping
from benchmark.training.log import mean_loss
from benchmark.training.memory import keep_freed_memory
from benchmark.training.positives import NEIGHBOURS, partners
from benchmark.training.run import Checkpoint
from benchmark.training.stop import StopRequest
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
    try:
        with distributed.started(device), numerics(device, config.deterministic), ExitStack() as held:
            run, spec, finished, resumed = _claim(config, device, resume, held)
            return _finished(config) if finished else _train(config, run, spec, device, resumed)
    except torch.OutOfMemoryError as error:
        raise UserError(
            f"--batch {config.run.batch}: too large for the memory of {_name(device)}; train again into another --out "
            "with a smaller one, or in parts (--accumulate)"
        ) from error
    except KeyboardInterrupt:
        raise UserError(f"{config.out}: stopped; add --resume to go on from the last checkpoint") from None
    except RuntimeError as error:
        if reason := _reason(error, config):
            raise UserError(reason) from error
        raise


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
            _say_where(config, trainer, checkpoint)
            if not (config.out / run_directory.CONFIG).exists():
                run_directory.write_config(config.out, run, spec)
    seconds = _fit(trainer, config, checkpoint)
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


def _say_where(config: TrainConfig, trainer: Trainer, checkpoint: Checkpoint | None) -> None:
    if checkpoint is None:
        return
    print(f"{config.out}: goes on after step {checkpoint.step} of {trainer.steps}")
    if checkpoint.ranks != distributed.world_size():
        print(
            f"{config.out}: on {distributed.world_size()} ranks, until now on {checkpoint.ranks}: the weights will not "
            "be those of an uninterrupted run to the bit"
        )


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
        "device": _name(trainer.device),
        "ranks": distributed.world_size(),
        "threads": threads,
        "torch": torch.__version__,
    }


def _check_out(config: TrainConfig, run: RunConfig, spec: dict, resume: bool) -> RunConfig:
    """Check that ``config.out`` is empty or already this run's directory; return the run, with the stored one's
    precision if any will do."""
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


def _fit(trainer: Trainer, config: TrainConfig, checkpoint: Checkpoint | None) -> float:
    """Carry out the steps after ``checkpoint``; return the seconds of training, those of earlier sittings included."""
    first, before = (checkpoint.step, checkpoint.seconds) if checkpoint else (0, 0.0)
    started = time.monotonic()
    with keeping(config, trainer, first) as keeper, StopRequest() as stop:
        for done in range(first + 1, trainer.steps + 1):
            keeper.note(done, trainer.step(done - 1))
            # What one rank knows, all know: they save, fail and stop after the same step.
            due, wish = distributed.highest(keeper.is_due(done), stop.number)
            if due or wish:
                with distributed.together():
                    keeper.save(done, before + time.monotonic() - started)
                    if wish and done < trainer.steps and distributed.is_main():
                        raise UserError(
                            f"{config.out}: stopped by {signal.Signals(wish).name} after step {done} of "
                            f"{trainer.steps}, saved; add --resume to go on from there"
                        )
    return before + time.monotonic() - started


def _name(device: torch.device) -> str:
    return torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu"


def _reason(error: RuntimeError, config: TrainConfig) -> str | None:
    """What to tell of errors of torch's that have a plain cause; None for others."""
    text = (str(error) or type(error).__name__).splitlines()[0]
    if "does not have a deterministic implementation" in text:
        return f"--deterministic: {text.partition(',')[0]}; train without it into another --out"
    lost = isinstance(error, torch.distributed.DistError) or "gloo" in text.lower() or "nccl" in text.lower()
    if lost and distributed.world_size() > 1:
        return (
            f"rank {distributed.rank()}: another rank is gone ({text}); see what it or the kernel said, then run the "
            f"same command with --resume on {config.out}"
        )
    return None
