"""Real `gr3d train` processes on tiny data, and what to compare of the runs they leave."""

import hashlib
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

ROOT = Path(__file__).parents[3]
_TINY = "--head none --epochs 3 --batch 8 --device cpu --precision fp32 --deterministic --checkpoint-minutes 0"
_PATIENCE = 240  # seconds


class Training(subprocess.Popen):
    """`gr3d train` of 12 steps on 32 images of 16 x 16 pixels, with a checkpoint after every step.

    ranks: started by torchrun with as many. more: further options. Its stderr goes to ``self.said``.
    """

    def __init__(self, data: Path, out: Path, *more: str, ranks: int = 0, script: Path | None = None) -> None:
        self.out, self.said = out, out.with_name(f"{out.name}.{time.monotonic_ns()}.stderr")
        command = [sys.executable]
        if ranks:
            with socket.socket() as free:
                free.bind(("127.0.0.1", 0))
                port = free.getsockname()[1]
            command += ["-m", "torch.distributed.run", f"--nproc-per-node={ranks}", f"--master-port={port}"]
        command += [str(script)] if script else ["-m", "benchmark.cli"]
        command += ["train", "--data", str(data), "--out", str(out), *_TINY.split(), *more]
        with self.said.open("wb") as said:
            super().__init__(
                command, env={**os.environ, "PYTHONPATH": str(ROOT)}, stdout=said, stderr=said, start_new_session=True
            )

    def await_step(self, step: int) -> "Training":
        """Return when the log has this many steps, or when the process has ended."""
        log, end = self.out / "log.jsonl", time.monotonic() + _PATIENCE
        while self.poll() is None and not (log.is_file() and log.read_bytes().count(b"\n") >= step):
            assert time.monotonic() < end, self.text
            time.sleep(0.01)
        return self

    def end(self) -> int:
        """The exit code."""
        return self.wait(_PATIENCE)

    @property
    def text(self) -> str:
        return self.said.read_text()


@pytest.fixture
def training(tmp_path) -> Callable[..., Training]:
    """training(data, name, *options, ranks=0) -> a Training into tmp_path / name; none outlives the test."""
    started = []

    def start(data: Path, name: str, *more: str, **how: object) -> Training:
        started.append(Training(data, tmp_path / name, *more, **how))
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.wait()


@pytest.fixture(scope="session")
def tiny(tmp_path_factory, write_dataset) -> Path:
    """The dataset of a Training."""
    return write_dataset(tmp_path_factory.mktemp("tiny"), count=32, side=16)


@pytest.fixture(scope="session")
def digest() -> Callable[[Path], dict[str, str]]:
    """digest(run) -> SHA-256 of its log's bytes and of every part of its checkpoint, tensors by their bytes."""
    return lambda run: {
        "log": hashlib.sha256((run / "log.jsonl").read_bytes()).hexdigest(),
        **{
            name: _hash(value)
            for name, value in torch.load(run / "checkpoint.pt", weights_only=True).items()
            if name != "seconds"
        },
    }


def _hash(value: object) -> str:
    total = hashlib.sha256()

    def add(part: object) -> None:
        if isinstance(part, torch.Tensor):
            total.update(part.numpy().tobytes())
        elif isinstance(part, dict):
            for key in part:
                total.update(repr(key).encode())
                add(part[key])
        elif isinstance(part, list | tuple):
            for item in part:
                add(item)
        else:
            total.update(repr(part).encode())

    add(value)
    return total.hexdigest()
