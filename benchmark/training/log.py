"""A run's JSONL log and its progress line."""

import json
import math
import os
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import TextIO

import torch
from torch import Tensor

from benchmark.files import write_atomically
from benchmark.training.run import BOARD, LOG

_PLAIN_SECONDS = 30.0  # between progress lines where the output is no terminal
_TERMINAL_SECONDS = 0.5
_TIMED_STEPS = 5  # the estimate printed at the start comes from these


class TrainingLog:
    """What a run's steps gave: a line each in log.jsonl, the same numbers as TensorBoard's scalars in tensorboard/.

    A line has step and epoch (from 1), loss, lr and gradient (its length over all parameters). TensorBoard also gets
    images_per_s: log.jsonl holds nothing that two runs of the same settings would not agree on.

    Losses stay on the device until ``flush``, so that a GPU is not made to wait at every step.
    """

    def __init__(self, run: Path, done: int, lag: int) -> None:
        """done: steps of the checkpoint; what an interrupted run logged beyond them is dropped. lag: steps between
        flushes."""
        self.path = run / LOG
        lines = [line for line in _lines(self.path) if line["step"] <= done]
        write_atomically(self.path, "".join(json.dumps(line) + "\n" for line in lines).encode())
        self.file = self.path.open("a")
        self.board = _board(run / BOARD, done)
        self.lag = lag
        self.pending: list[tuple[dict, int, Tensor]] = []
        self.last_loss = lines[-1]["loss"] if lines else math.nan
        self.since = time.monotonic()

    def add(self, step: int, epoch: int, lr: float, images: int, loss: Tensor, gradient: Tensor) -> None:
        """images: how many the step had, for the rate; loss, gradient: scalars on any device."""
        self.pending.append(({"step": step, "epoch": epoch, "lr": lr}, images, torch.stack([loss, gradient])))
        if len(self.pending) >= self.lag:
            self.flush()

    def flush(self) -> None:
        """Write what is pending. NotFiniteError at the first loss or gradient that is not."""
        if not self.pending:
            return
        numbers = torch.stack([pair for _, _, pair in self.pending]).tolist()
        now = time.monotonic()
        rate = sum(images for _, images, _ in self.pending) / max(now - self.since, 1e-9)
        self.since = now
        for (line, _, _), (loss, gradient) in zip(self.pending, numbers, strict=True):
            for name, value in (("loss", loss), ("gradient", gradient)):
                if not math.isfinite(value):
                    raise NotFiniteError(name, value, line["step"])
            line = {"step": line["step"], "epoch": line["epoch"], "loss": loss, "lr": line["lr"], "gradient": gradient}
            self.file.write(json.dumps(line) + "\n")
            for name in ("loss", "lr", "gradient"):
                self.board.add_scalar(name, line[name], line["step"])
        self.board.add_scalar("images_per_s", rate, line["step"])
        self.last_loss = loss
        self.pending.clear()
        self.file.flush()

    def sync(self) -> None:
        """Flush, and have it all survive a power cut: a checkpoint must not be ahead of its log."""
        self.flush()
        os.fsync(self.file.fileno())
        self.board.flush()

    def close(self) -> None:
        self.file.close()
        self.board.close()


class NotFiniteError(Exception):
    """The loss, the gradient or the outcome of a step is not finite. name: which of them; step: from 1."""

    def __init__(self, name: str, value: object, step: int) -> None:
        super().__init__(f"the {name} became {value} at step {step}")
        self.step = step


def _board(folder: Path, done: int):
    """TensorBoard's writer, told to forget what an interrupted run showed beyond step ``done``."""
    from torch.utils.tensorboard import SummaryWriter  # half a second that only training needs

    return SummaryWriter(str(folder), purge_step=done + 1)


def mean_loss(run: Path, steps: int) -> float:
    """Mean over the last ``steps`` lines of the run's log."""
    losses = [line["loss"] for line in _lines(run / LOG)][-steps:]
    return sum(losses) / len(losses)


def _lines(path: Path) -> list[dict]:
    """The log so far; a last line cut short by a kill is dropped."""
    lines = []
    if path.is_file():
        for text in path.read_text().splitlines():
            try:
                lines.append(json.loads(text))
            except ValueError:
                break
    return lines


class Progress:
    """A line with rate and time left: rewritten in place on a terminal, else a new one every half minute."""

    def __init__(self, name: str, first: int, steps: int, batch: int, out: TextIO | None = None) -> None:
        """first: steps already done; steps: of the whole run; batch: images a step."""
        self.name, self.first, self.steps, self.batch = name, first, steps, batch
        self.out = out or sys.stderr
        self.in_place = self.out.isatty()
        self.started: float | None = None  # after the first step, which is slower than the others
        self.counted = first
        self.shown = time.monotonic()

    def step(self, done: int, epoch: str, loss: float) -> None:
        """done: steps finished, counted from the beginning of the run."""
        now = time.monotonic()
        if self.started is None:
            self.started, self.counted = now, done
            return
        rate = (done - self.counted) / max(now - self.started, 1e-9)
        left = _duration((self.steps - done) / rate)
        if done == self.first + _TIMED_STEPS:
            self._print(f"{self.name}: {self.steps - self.first} steps of {self.batch} images, about {left}")
        elif now - self.shown < (_TERMINAL_SECONDS if self.in_place else _PLAIN_SECONDS) and done < self.steps:
            return
        self.shown = now
        line = f"{self.name}: epoch {epoch}, step {done}/{self.steps}, loss {loss:.4f}, "
        line += f"{rate * self.batch:.0f} images/s, {left} left"
        self._print(line, end="\r" if self.in_place and done < self.steps else "\n")

    def _print(self, line: str, end: str = "\n") -> None:
        with suppress(OSError):  # the terminal may have been closed; the checkpoint has still to be written
            self.out.write(("\x1b[2K" if self.in_place else "") + line + end)
            self.out.flush()


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    if seconds < 90 * 60:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h"
