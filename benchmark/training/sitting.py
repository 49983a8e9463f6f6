"""One sitting at a training, whatever is trained: finds the run's folder as it was left, repeats the step, saves, ends
in order.

Under torchrun every rank is here. They end together: what goes wrong on one, or is asked of one, is known to all after
the step at the latest. The main rank alone writes and speaks.
"""

import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

from benchmark import distributed
from benchmark.errors import UserError
from benchmark.training import run as run_directory
from benchmark.training.keeper import keeping
from benchmark.training.run import Checkpoint
from benchmark.training.stop import StopRequest
from benchmark.training.trainable import Trainable


def holds_run(out: Path) -> bool:
    """Whether a run was begun in the folder. UserError when it holds other things instead."""
    if (out / run_directory.CONFIG).exists():
        return True
    if any(not path.name.startswith(".") for path in out.iterdir()):
        raise UserError(f"--out {out}: holds other files and no run; choose another folder")
    return False


def check_same(out: Path, was: dict, now: dict, resume: bool) -> None:
    """UserError unless the run begun in the folder is the one asked for, and may be gone on with.

    was, now: all that makes a run another one, by name.
    """
    for name in [*now, *was]:
        if was.get(name) != now.get(name):
            raise UserError(
                f"--out {out}: holds a run with another {name} ({was.get(name)}, now {now.get(name)}); "
                "choose another folder or the same settings"
            )
    started = (out / run_directory.CHECKPOINT).exists()
    if started and not resume and not run_directory.is_finished(out):
        raise UserError(f"--out {out}: holds an unfinished run; add --resume to go on, or choose another folder")


def say_where(out: Path, trainer: Trainable, checkpoint: Checkpoint | None) -> None:
    if checkpoint is None:
        return
    print(f"{out}: goes on after step {checkpoint.step} of {trainer.steps}")
    if checkpoint.ranks != distributed.world_size():
        print(
            f"{out}: on {distributed.world_size()} ranks, until now on {checkpoint.ranks}: the weights will not "
            "be those of an uninterrupted run to the bit"
        )


def fit(trainer: Trainable, out: Path, checkpoint_seconds: float, checkpoint: Checkpoint | None) -> float:
    """Carry out the steps after ``checkpoint``; return the seconds of training, those of earlier sittings included."""
    first, before = (checkpoint.step, checkpoint.seconds) if checkpoint else (0, 0.0)
    started = time.monotonic()
    with keeping(out, checkpoint_seconds, trainer, first) as keeper, StopRequest() as stop:
        for done in range(first + 1, trainer.steps + 1):
            keeper.note(done, trainer.step(done - 1))
            # What one rank knows, all know: they save, fail and stop after the same step.
            due, wish = distributed.highest(keeper.is_due(done), stop.number)
            if due or wish:
                with distributed.together():
                    keeper.save(done, before + time.monotonic() - started)
                    if wish and done < trainer.steps and distributed.is_main():
                        raise UserError(
                            f"{out}: stopped by {signal.Signals(wish).name} after step {done} of "
                            f"{trainer.steps}, saved; add --resume to go on from there"
                        )
    return before + time.monotonic() - started


@contextmanager
def explained(out: Path, device: torch.device, batch: int, less: str = "with a smaller one") -> Iterator[None]:
    """Turns what torch raises for plain causes into a UserError. batch: images a step; less: how to take fewer at a
    time."""
    try:
        yield
    except torch.OutOfMemoryError as error:
        raise UserError(
            f"--batch {batch}: too large for the memory of {device_name(device)}; train again into another --out {less}"
        ) from error
    except KeyboardInterrupt:
        raise UserError(f"{out}: stopped; add --resume to go on from the last checkpoint") from None
    except RuntimeError as error:
        if reason := _reason(error, out):
            raise UserError(reason) from error
        raise


def device_name(device: torch.device) -> str:
    return torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu"


def _reason(error: RuntimeError, out: Path) -> str | None:
    """What to tell of errors of torch's that have a plain cause; None for others."""
    text = (str(error) or type(error).__name__).splitlines()[0]
    if "does not have a deterministic implementation" in text:
        return f"--deterministic: {text.partition(',')[0]}; train without it into another --out"
    lost = isinstance(error, torch.distributed.DistError) or "gloo" in text.lower() or "nccl" in text.lower()
    if lost and distributed.world_size() > 1:
        return (
            f"rank {distributed.rank()}: another rank is gone ({text}); see what it or the kernel said, then run the "
            f"same command with --resume on {out}"
        )
    return None
