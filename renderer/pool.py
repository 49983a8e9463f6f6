"""Starts, feeds and watches the worker processes that draw with Blender. Never imports bpy.

A worker is one single-threaded Blender pinned to one core: on CPUs two of them draw half as much again as one
with two threads. Supervisor and worker talk JSON lines over two pipes of their own (Blender prints to the standard
streams as it likes; those go to a log). A worker that dies, or that says nothing for longer than its step may take,
is killed and replaced; its visit is given out again without the images that are already there. An object that
brings workers down twice is quarantined.
"""

import json
import os
import selectors
import signal
import subprocess
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path

from assets.errors import UserError
from renderer.command import worker_environment
from renderer.plan import Plan, Visit

#: An object that crashed or hung a worker this often is quarantined.
CRASHES_ALLOWED = 2
#: Workers that fail this often before they are ready mean that Blender itself does not work.
START_FAILURES_ALLOWED = 3


@dataclass(frozen=True)
class Limits:
    """Seconds of silence after which a worker counts as hung, by what it is doing."""

    start: float = 180
    load: float = 180
    frame: float = 120


@dataclass
class Counts:
    """What happened in one run. The pool counts all but `rendered`."""

    rendered: int = 0
    restarts: list[str] = field(default_factory=list)
    notes: dict[str, list[str]] = field(default_factory=dict)  # what was changed about an object, by id
    import_seconds: float = 0.0
    frame_seconds: float = 0.0


def usable_cores() -> list[int]:
    """The cores this process may run on; one worker is pinned to each by default."""
    if hasattr(os, "sched_getaffinity"):
        return sorted(os.sched_getaffinity(0))
    return list(range(os.cpu_count() or 1))


class Worker:
    """One Blender process and the pipes to it.

    Attributes:
        visit: the visit it works on, None while it starts or waits.
        todo: indices of the visit that it has not delivered yet, in order.
        deadline: time.monotonic() by which it must say something.
    """

    def __init__(self, command: list[str], config: Path, core: int | None, log: Path, start_limit: float):
        to_worker_read, to_worker_write = os.pipe()
        from_worker_read, from_worker_write = os.pipe()
        arguments = ["--fd-in", str(to_worker_read), "--fd-out", str(from_worker_write), "--config", str(config)]
        mine = usable_cores()
        try:
            if core is not None:
                os.sched_setaffinity(0, {core})  # inherited by the child, before any of its threads starts
            with log.open("ab") as output:
                self.process = subprocess.Popen(
                    [*command, *arguments],
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                    pass_fds=(to_worker_read, from_worker_write),
                    env=worker_environment(),
                    start_new_session=True,  # Ctrl-C in the terminal is the supervisor's to handle
                )
        finally:
            if core is not None:
                os.sched_setaffinity(0, mine)
            os.close(to_worker_read)
            os.close(from_worker_write)
        os.set_blocking(from_worker_read, False)
        self.core, self.log = core, log
        self.inbox, self.outbox = from_worker_read, to_worker_write
        self.ready = False
        self.visit: Visit | None = None
        self.todo: deque[int] = deque()
        self.deadline = time.monotonic() + start_limit
        self._partial = b""

    def send(self, message: dict) -> None:
        """Raises BrokenPipeError if the worker is gone. A message is far smaller than what a pipe takes at once."""
        os.write(self.outbox, json.dumps(message).encode() + b"\n")

    def receive(self) -> list[dict] | None:
        """The messages that have arrived; None once the worker has closed its end or sends nonsense."""
        try:
            data = os.read(self.inbox, 1 << 16)
        except BlockingIOError:
            return []
        *lines, self._partial = (self._partial + data).split(b"\n")
        try:
            messages = [json.loads(line) for line in lines]
        except ValueError:
            return None
        return messages if data else None

    def kill(self) -> str:
        """End the process, whatever state it is in, and say how it ended ("signal SIGSEGV", "exit code 1")."""
        os.close(self.inbox)
        os.close(self.outbox)
        # Give a worker that is dying already the time to leave its own signal behind.
        try:
            code = self.process.wait(timeout=0.5)
        except subprocess.TimeoutExpired:
            self.process.kill()
            code = self.process.wait()
        return f"signal {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"


@dataclass
class Pool:
    """Draws visits with `workers` processes.

    Args:
        plan: where samples come from.
        command: from `find_blender`.
        config: the worker's configuration file (see renderer/blender/worker.py).
        workers: number of processes.
        logs: folder for the workers' logs.
        limits: how long each step may take.
        on_ready: called with the first worker's "ready" message; may raise to end the run.
        on_rendered: called with the index of each image, which is in the spool by then.
        on_quarantine: called with object id and reason.
        on_tick: called at least twice a second.
        counts: added to as things happen.
    """

    plan: Plan
    command: list[str]
    config: Path
    workers: int
    logs: Path
    limits: Limits
    on_ready: Callable[[dict], None]
    on_rendered: Callable[[int], None]
    on_quarantine: Callable[[str, str], None]
    on_tick: Callable[[], None]
    counts: Counts

    def run(self, visits: Iterator[Visit], stopping: Callable[[], bool]) -> None:
        """Draw all visits, or as many as fit before `stopping()` turns true. No worker outlives the call.

        Raises UserError if Blender cannot be started or refuses the configuration.
        """
        self._visits, self._again = visits, deque()
        self._crashes: Counter[str] = Counter()
        self._failed_starts, self._greeted = 0, False
        self._selector = selectors.DefaultSelector()
        cores = usable_cores()
        pinned = hasattr(os, "sched_setaffinity") and self.workers <= len(cores)
        try:
            for number in range(self.workers):
                self._start(cores[number] if pinned else None, self.logs / f"worker-{number}.log")
            while self._selector.get_map() and not stopping():
                for key, _ in self._selector.select(timeout=0.25):
                    self._listen(key.data)
                now = time.monotonic()
                for worker in self._alive():
                    if now > worker.deadline:
                        self._replace(worker, hung=True)
                self.on_tick()
        finally:
            for worker in self._alive():
                self._end(worker)
            self._selector.close()

    def _alive(self) -> list[Worker]:
        return [key.data for key in list(self._selector.get_map().values())]

    def _start(self, core: int | None, log: Path) -> None:
        worker = Worker(self.command, self.config, core, log, self.limits.start)
        self._selector.register(worker.inbox, selectors.EVENT_READ, worker)

    def _end(self, worker: Worker) -> str:
        self._selector.unregister(worker.inbox)
        return worker.kill()

    def _give_work(self, worker: Worker) -> None:
        """Hand the worker its next visit, or send it home. It stays while others may still fail theirs."""
        visit = self._again.popleft() if self._again else next(self._visits, None)
        worker.visit, worker.todo = visit, deque(visit.indices if visit else ())
        if visit is None:
            worker.deadline = float("inf")
            if not any(other.visit for other in self._alive()):
                for other in self._alive():
                    self._end(other)
            return
        worker.deadline = time.monotonic() + self.limits.load
        samples = [{"index": i, "latents": self.plan.sample(i).latents} for i in visit.indices]
        try:
            worker.send({"visit": visit.indices[0], "object": asdict(visit.object), "samples": samples})
        except BrokenPipeError:
            self._replace(worker)

    def _listen(self, worker: Worker) -> None:
        if worker not in self._alive():
            return
        messages = worker.receive()
        if messages is None:
            self._replace(worker)
            return
        for message in messages:
            self._handle(worker, message)

    def _handle(self, worker: Worker, message: dict) -> None:
        event = message["event"]
        if event == "fatal":
            raise UserError(message["reason"])
        if event == "ready":
            if not self._greeted:
                self.on_ready(message)
                self._greeted = True
            worker.ready = True
            self._failed_starts = 0
            self._give_work(worker)
        elif event == "loaded":
            self.counts.import_seconds += message["seconds"]
            if message["notes"]:
                self.counts.notes[worker.visit.object.id] = message["notes"]
            worker.deadline = time.monotonic() + self.limits.frame
        elif event == "rendered":
            worker.todo.remove(message["index"])
            self.counts.frame_seconds += message["seconds"]
            worker.deadline = time.monotonic() + self.limits.frame
            self.on_rendered(message["index"])
        elif event == "quarantine":
            self.on_quarantine(message["object_id"], message["reason"])
            self._give_work(worker)
        elif event == "visit_done":
            self._give_work(worker)

    def _replace(self, worker: Worker, hung: bool = False) -> None:
        """Bury a worker that died or hung, start another, and decide what becomes of its visit."""
        doing = f"drawing {worker.visit.object.id}" if worker.visit else "starting"
        how = self._end(worker)
        what = f"hung while {doing}" if hung else f"died ({how}) while {doing}"
        self.counts.restarts.append(what)
        if not worker.ready:
            self._failed_starts += 1
            if self._failed_starts >= START_FAILURES_ALLOWED:
                raise UserError(f"Blender does not start ({self.command[0]}: {how}); its output is in {worker.log}")
        if worker.visit and worker.todo:
            culprit = worker.visit.object.id
            self._crashes[culprit] += 1
            if self._crashes[culprit] < CRASHES_ALLOWED:
                self._again.append(Visit(worker.visit.object, tuple(worker.todo)))
            else:
                self.on_quarantine(
                    culprit, f"Blender {'hung' if hung else f'died ({how})'} on it {CRASHES_ALLOWED} times"
                )
        self._start(worker.core, worker.log)
