"""What a run leaves behind while it trains: its log, its progress line, its checkpoints."""

import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from benchmark import distributed
from benchmark.errors import UserError
from benchmark.probes.online import append_record, keep_records, scalars
from benchmark.training import run as run_directory
from benchmark.training.log import NotFiniteError, Progress, TrainingLog
from benchmark.training.schedule import batch_seed
from benchmark.training.trainable import StepResult, Trainable

_GPU_LOG_LAG = 50  # steps between looks at the losses, each of which waits for the GPU


class Keeper:
    """Does nothing at all: on every rank but the main one."""

    def note(self, done: int, result: StepResult) -> None:
        """Step ``done`` (from 1) gave ``result``."""

    def is_due(self, done: int) -> bool:
        """Whether to call ``save`` after step ``done``."""
        return False

    def save(self, done: int, seconds: float) -> None:
        """Write a checkpoint; seconds: of training so far. UserError when that cannot be done, or when there was
        something wrong with a step since the last one; the last checkpoint is then left as it is."""

    def close(self) -> None:
        pass


class MainKeeper(Keeper):
    """On the main rank. What goes wrong in ``note`` is raised by ``save``, when all ranks have come there."""

    def __init__(self, out: Path, checkpoint_seconds: float, trainer: Trainable, first: int) -> None:
        """first: steps already done."""
        self.out, self.checkpoint_seconds, self.trainer = out, checkpoint_seconds, trainer
        lag = _GPU_LOG_LAG if trainer.device.type == "cuda" else 1
        self.log = TrainingLog(out, first, lag)
        keep_records(out, first // trainer.steps_per_epoch)
        self.progress = Progress(trainer.run.objective, first, trainer.steps, trainer.run.batch)
        self.saved_step, self.saved_at = first, time.monotonic()
        self.failure: Exception | None = None

    def note(self, done: int, result: StepResult) -> None:
        run = self.trainer.run
        epoch = (done - 1) // self.trainer.steps_per_epoch + 1
        try:
            self.log.add(done, epoch, result.lr, run.batch, result.loss, result.gradient)
            if self.trainer.probes is not None and done % self.trainer.steps_per_epoch == 0:
                self._note_probes(epoch)
            self.progress.step(done, f"{epoch}/{run.epochs}", self.log.last_loss)
        except (NotFiniteError, OSError) as error:
            self.failure = error

    def _note_probes(self, epoch: int) -> None:
        record = self.trainer.probes.record(epoch)
        if record is None:
            return
        append_record(self.out, record)
        for name, value in scalars(record):
            self.log.board.add_scalar(name, value, record["step"])

    def is_due(self, done: int) -> bool:
        waited = time.monotonic() - self.saved_at
        return self.failure is not None or done == self.trainer.steps or waited >= self.checkpoint_seconds

    def save(self, done: int, seconds: float) -> None:
        try:
            if self.failure is not None:
                raise self.failure
            self.log.sync()  # never a checkpoint after a loss that is not finite,
            if not self.trainer.is_finite():  # nor when the last update of finite numbers went too far
                raise NotFiniteError("weights", "infinite or NaN", done)
            run_directory.save_checkpoint(self.out, self.trainer.checkpoint(done, seconds))
        except NotFiniteError as error:
            raise UserError(self._not_finite(error)) from error
        except OSError as error:
            raise UserError(
                f"{self.out}: cannot be written ({error.strerror}); make room, then add --resume"
            ) from error
        self.saved_step, self.saved_at = done, time.monotonic()

    def _not_finite(self, error: NotFiniteError) -> str:
        checkpoint = self.out / run_directory.CHECKPOINT
        last = f"{checkpoint} of step {self.saved_step}" if self.saved_step else "none"
        if 0 < self.saved_step == error.step - 1:
            last += " (finite, but the weights that gave this)"
        return (
            f"{self.out}: {error}, batch seed {batch_seed(self.trainer.run.seed, error.step - 1)}; last good "
            f"checkpoint: {last}; train again into another --out with a lower --lr or with --precision fp32"
        )

    def close(self) -> None:
        with suppress(OSError):  # what counts has been written by ``save``; a full disk was reported there
            self.log.close()


@contextmanager
def keeping(out: Path, checkpoint_seconds: float, trainer: Trainable, first: int) -> Iterator[Keeper]:
    """This rank's keeper. UserError when the log cannot be written; first: steps already done."""
    with distributed.together():
        try:
            keeper = MainKeeper(out, checkpoint_seconds, trainer, first) if distributed.is_main() else Keeper()
        except OSError as error:
            raise UserError(f"{out}: cannot be written ({error.strerror})") from error
    try:
        yield keeper
    finally:
        keeper.close()
