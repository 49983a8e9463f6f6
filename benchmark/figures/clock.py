"""Wall time of the steps of a figure, kept beside it."""

import json
import os
import platform
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

from benchmark.errors import UserError
from benchmark.files import write_atomically


class Clock:
    """Wall time per step, kept in a file and added up over resumed runs."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.seconds: dict[str, float] = {}
        self.jobs: dict[str, float] = {}
        if path.exists():
            try:
                record = json.loads(path.read_text())
                self.seconds, self.jobs = dict(record["seconds"]), dict(record["jobs"])
            except (ValueError, KeyError, TypeError):
                raise UserError(f"{path}: damaged; delete it, it only holds wall times") from None

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        print(f"-- {name}", file=sys.stderr, flush=True)
        started = time.monotonic()
        try:
            yield
        finally:
            self.seconds[name] = round(self.seconds.get(name, 0) + time.monotonic() - started, 1)
            self._write()

    def note(self, job: str, seconds: float) -> None:
        """Add the seconds of a job that ran beside others within a step."""
        self.jobs[job] = round(self.jobs.get(job, 0) + seconds, 1)

    def _write(self) -> None:
        machine = {
            "cores": os.cpu_count(),
            "processor": platform.processor() or platform.machine(),
            "torch": torch.__version__,
        }
        record = {"seconds": self.seconds, "jobs": self.jobs, "machine": machine}
        write_atomically(self.path, (json.dumps(record, indent=1) + "\n").encode())
