"""Runs several training commands at once, one core each, and ends them together.

On CPUs two one-thread processes train half as much again as one two-thread process; where there is a GPU, one after
the other is the faster way.
"""

import ctypes
import fcntl
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from benchmark.errors import UserError

_REPORT_EVERY = 30.0  # seconds
_PATIENCE = 60.0  # seconds that a stopped job has to write its checkpoint


@dataclass(frozen=True)
class Job:
    """A command, the name it goes by in messages, and the file that takes its output."""

    name: str
    command: tuple[str, ...]
    log: Path


def gr3d_job(
    name: str,
    log: Path,
    command: str | Sequence[str],
    options: Mapping[str, object],
    launcher: Sequence[str] = (),
) -> Job:
    """A gr3d command as a job.

    command: its name, or name, subcommand and arguments. options: in Python's spelling; True and False are --option and
    --no-option, a tuple is several values, a list the option several times. launcher: what of Python starts the module,
    as torchrun does; empty for Python itself.
    """
    words: list[str] = []
    for option, value in options.items():
        flag = option.replace("_", "-")
        if isinstance(value, bool):
            words.append(f"--{flag}" if value else f"--no-{flag}")
            continue
        for values in value if isinstance(value, list) else [value]:
            words += [f"--{flag}", *map(str, values if isinstance(values, tuple) else (values,))]
    command = (command,) if isinstance(command, str) else tuple(command)
    # -P: a folder called `benchmark` in the current directory is not ours.
    return Job(name, (sys.executable, "-P", *launcher, "-m", "benchmark.cli", *command, *words), log)


def launcher(device: str) -> tuple[str, ...]:
    """torchrun over all GPUs where there are several."""
    import torch

    ranks = torch.cuda.device_count() if device != "cpu" else 0
    return ("-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={ranks}") if ranks > 1 else ()


def trainings_at_once(device: str) -> int:
    """One where a GPU is used, else one a core."""
    import torch

    return 1 if device != "cpu" and torch.cuda.is_available() else len(available_cores())


def available_cores() -> list[int]:
    if hasattr(os, "sched_getaffinity"):
        return sorted(os.sched_getaffinity(0))
    return list(range(os.cpu_count() or 1))


def run_jobs(jobs: Sequence[Job], at_once: int, done: Callable[[str, float], None]) -> None:
    """Run all jobs, `at_once` at a time, each pinned to its own share of the cores.

    `done` is called with the name and the seconds of each job that ends, also of those that are stopped. Every half
    minute the last line of each running job's log is shown. Ctrl-C and SIGTERM are passed on as SIGTERM, and
    KeyboardInterrupt is raised once all jobs have ended. A job whose log another process still writes, as one does that
    saves its checkpoint because its caller was killed, waits for that process to end. Raises UserError with the end of
    its log if a job fails; the others are stopped first.
    """
    cores = available_cores()
    at_once = max(1, min(at_once, len(cores), len(jobs) or 1))
    share = len(cores) // at_once
    slots = [cores[k * share : (k + 1) * share] for k in range(at_once)]
    waiting, running, told = list(jobs), {}, set()
    before = signal.signal(signal.SIGTERM, _interrupt)
    shown = time.monotonic()
    try:
        while waiting or running:
            for slot in range(at_once):
                if slot in running or not waiting:
                    continue
                job = waiting.pop(0)
                if process := _start(job, slots[slot]):
                    running[slot] = (job, process, time.monotonic())
                    print(f"{job.name}: started, log in {job.log}", file=sys.stderr, flush=True)
                else:
                    waiting.append(job)
                    if job.name not in told:
                        print(f"{job.name}: waiting for another process that writes {job.log}", file=sys.stderr)
                    told.add(job.name)
            time.sleep(0.5)
            for slot, (job, process, started) in list(running.items()):
                if process.poll() is not None:
                    del running[slot]
                    done(job.name, time.monotonic() - started)
                    if process.returncode:
                        raise UserError(f"{job.name} failed: {last_line(job.log)} (whole output: {job.log})")
                    print(f"{job.name}: done", file=sys.stderr, flush=True)
            if time.monotonic() - shown > _REPORT_EVERY:
                shown = time.monotonic()
                for job, _, _ in running.values():
                    print(f"{job.name}: {last_line(job.log)}", file=sys.stderr, flush=True)
    finally:
        _end([process for _, process, _ in running.values()])
        for job, _, started in running.values():
            done(job.name, time.monotonic() - started)
        signal.signal(signal.SIGTERM, before)


def _interrupt(*_: object) -> None:
    """As Ctrl-C does, and also where a shell's & has switched that off."""
    raise KeyboardInterrupt


def last_line(log: Path) -> str:
    """The last line of text in `log`, "" if there is none."""
    try:
        lines = log.read_text(errors="replace").replace("\r", "\n").split("\n")
    except FileNotFoundError:
        return ""
    return next((line.strip() for line in reversed(lines) if line.strip()), "")


def _start(job: Job, cores: list[int]) -> subprocess.Popen | None:
    """The job's process, None while another one writes its log."""
    job.log.parent.mkdir(parents=True, exist_ok=True)
    mine = available_cores()
    pin = hasattr(os, "sched_setaffinity")
    try:
        if pin:
            os.sched_setaffinity(0, cores)  # inherited, so that the job counts its threads by it
        with job.log.open("ab") as log:
            if not _is_ours(log):
                return None
            return subprocess.Popen(
                job.command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                preexec_fn=_end_with_parent if sys.platform == "linux" else None,
            )
    finally:
        if pin:
            os.sched_setaffinity(0, mine)


def _is_ours(log: BinaryIO) -> bool:
    """Lock the log of a job. Its process inherits the lock with the file and keeps it for as long as it lives."""
    try:
        fcntl.flock(log, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _end_with_parent() -> None:
    """Have the kernel send SIGTERM when the parent dies, however it dies: a job then writes its checkpoint and ends."""
    pr_set_pdeathsig = 1
    ctypes.CDLL(None).prctl(pr_set_pdeathsig, signal.SIGTERM)


def _end(processes: list[subprocess.Popen]) -> None:
    for process in processes:
        process.terminate()
    for process in processes:
        try:
            process.wait(_PATIENCE)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
