"""Starts, feeds and watches the worker processes that draw with Blender. Never imports bpy.

On CPUs a worker is one single-threaded Blender pinned to one core: two of them draw half as much again as one with two
threads. On GPUs see renderer/devices.py. Supervisor and worker talk JSON lines over two pipes of their own (Blender
prints to the standard streams as it likes; those go to a log). A worker that dies, or that says nothing for longer than
its step may take, is killed and replaced; its visit is given out again without the images that are already there. An
object that brings workers down again and again is quarantined (see renderer/health.py).
"""

import ctypes
import json
import os
import selectors
import signal
import subprocess
import sys
import time
from collections import Counter, defaultdict, deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path

from assets.errors import UserError
from renderer.command import worker_environment
from renderer.devices import Seat
from renderer.health import Blame, Memory, Recycling
from renderer.plan import Plan, Visit

#: So many workers in a row (for each place) that die before they are ready mean that Blender itself does not work.
START_FAILURES_ALLOWED = 3
#: Where one has been ready before, or SIGKILL ended them, somebody kills them: they get more chances.
KILLED_STARTS_ALLOWED = 12


@dataclass(frozen=True)
class Limits:
    """Seconds of silence after which a worker counts as hung, by what it is doing.

    `finish` is how long a stopped run waits for the images in flight: less than the 30 s that SLURM leaves a job.
    """

    start: float = 180
    load: float = 180
    frame: float = 120
    finish: float = 10


@dataclass
class Counts:
    """What happened in one run. The pool counts all but `rendered`."""

    rendered: int = 0
    restarts: list[str] = field(default_factory=list)
    recycled: int = 0
    visits: int = 0
    memory: dict[int, Memory] = field(default_factory=lambda: defaultdict(Memory))  # by the worker's place in the pool
    notes: dict[str, list[str]] = field(default_factory=dict)  # what was changed about an object, by id
    import_seconds: float = 0.0
    frame_seconds: float = 0.0


def usable_cores() -> list[int]:
    """The cores this process may run on; one worker is pinned to each by default."""
    if hasattr(os, "sched_getaffinity"):
        return sorted(os.sched_getaffinity(0))
    return list(range(os.cpu_count() or 1))


@dataclass(frozen=True)
class Place:
    """Where in the pool a worker works, and its successors after it."""

    number: int
    seat: Seat
    log: Path


class Worker:
    """One Blender process and the pipes to it.

    Attributes:
        visit: the visit it works on, None while it starts or waits.
        todo: indices of the visit that it has not delivered yet, in order.
        drawing: whether it has loaded the visit's object.
        worn: whether a fresh one shall draw the next visit.
        frames: images it has drawn.
        first_mb: its resident memory after its first visit, None before.
        last_words: what it said it dies of.
        deadline: time.monotonic() by which it must say something.
    """

    def __init__(self, command: list[str], config: Path, place: Place, start_limit: float):
        to_worker_read, to_worker_write = os.pipe()
        from_worker_read, from_worker_write = os.pipe()
        arguments = ["--fd-in", str(to_worker_read), "--fd-out", str(from_worker_write), "--config", str(config)]
        arguments += ["--device-number", str(place.seat.number), "--threads", str(place.seat.threads)]
        mine = usable_cores()
        try:
            if place.seat.core is not None:
                os.sched_setaffinity(0, {place.seat.core})  # inherited by the child, before any of its threads starts
            with place.log.open("ab") as output:
                self.process = subprocess.Popen(
                    [*command, *arguments],
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                    pass_fds=(to_worker_read, from_worker_write),
                    # What it leaves in TMPDIR goes with the run, even if it is killed.
                    env={**worker_environment(), "TMPDIR": str(config.parent), **place.seat.environment},
                    preexec_fn=_die_with(os.getpid()),
                    start_new_session=True,  # Ctrl-C in the terminal is the supervisor's to handle
                )
        finally:
            if place.seat.core is not None:
                os.sched_setaffinity(0, mine)
            os.close(to_worker_read)
            os.close(from_worker_write)
        os.set_blocking(from_worker_read, False)
        self.place = place
        self.inbox, self.outbox = from_worker_read, to_worker_write
        self.ready = self.drawing = self.worn = False
        self.visit: Visit | None = None
        self.todo: deque[int] = deque()
        self.frames = 0
        self.first_mb: float | None = None
        self.last_words = ""
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

    def hang_up(self) -> None:
        """Send no more: the worker finishes the image that it is drawing, and ends."""
        if self.outbox is not None:
            os.close(self.outbox)
            self.outbox = None

    def end(self, patience: float = 0.5) -> str:
        """End the process, whatever state it is in, and say how it ended ("signal SIGSEGV", "exit code 1").

        One that is dying already, or has nothing to do, is given `patience` seconds to end by itself.
        """
        self.hang_up()
        os.close(self.inbox)
        try:
            code = self.process.wait(timeout=patience)
        except subprocess.TimeoutExpired:
            with suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGKILL)  # a session of its own: `blender` may be a script
            code = self.process.wait()
        how = f"signal {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
        return f"{how}, {self.last_words}" if self.last_words else how


def _die_with(supervisor: int) -> Callable[[], None] | None:
    """What a new process does to be killed by the kernel when its supervisor dies, even if it is stopped by then.

    Elsewhere than on Linux it ends a little later: when its input does.
    """
    if sys.platform != "linux":
        return None
    prctl = ctypes.CDLL(None).prctl  # looked up before the fork, after which little is safe

    def die_with_parent() -> None:
        pr_set_pdeathsig = 1
        prctl(pr_set_pdeathsig, signal.SIGKILL.value)
        if os.getppid() != supervisor:  # died meanwhile
            os._exit(1)

    return die_with_parent


@dataclass
class Pool:
    """Draws visits with a worker process on each seat.

    Args:
        plan: where samples come from.
        command: from `find_blender`.
        config: the worker's configuration file (see renderer/blender/worker.py).
        seats: one for each worker.
        logs: folder for the workers' logs.
        limits: how long each step may take.
        start_advice: what to say where no worker starts.
        recycling: when a worker is replaced though nothing is wrong with it.
        on_ready: called with the first worker's "ready" message; may raise to end the run.
        on_rendered: called with the index of each image, which is in the spool by then.
        on_quarantine: called with object id and reason.
        on_tick: called at least twice a second.
        counts: added to as things happen.
    """

    plan: Plan
    command: list[str]
    config: Path
    seats: Sequence[Seat]
    logs: Path
    limits: Limits
    start_advice: str
    recycling: Recycling
    on_ready: Callable[[dict], None]
    on_rendered: Callable[[int], None]
    on_quarantine: Callable[[str, str], None]
    on_tick: Callable[[], None]
    counts: Counts

    def run(self, visits: Iterator[Visit], stopping: Callable[[], int]) -> None:
        """Draw all visits, or as many as fit before `stopping()` is more than 0. No worker outlives the call.

        Once it is to stop, each worker finishes the image that it is drawing; if `stopping()` is more than 1, none.
        Raises UserError if Blender cannot be started or refuses the configuration.
        """
        self._visits, self._again = visits, deque()
        self._blame, self._began = Blame(), time.monotonic()
        self._drawn: Counter[int] = Counter()  # images by place
        self._failed_starts, self._greeted, self._closing = 0, False, False
        self._selector = selectors.DefaultSelector()
        try:
            for number, seat in enumerate(self.seats):
                self._start(Place(number, seat, self.logs / f"worker-{number}.log"))
            while self._selector.get_map() and not stopping():
                self._listen_to_all()
            if self._selector.get_map():
                self._wind_up(lambda: stopping() > 1)
        finally:
            self._end_all(self._alive())
            self._selector.close()

    def _listen_to_all(self) -> None:
        for key, _ in self._selector.select(timeout=0.25):
            self._listen(key.data)
        now = time.monotonic()
        for worker in self._alive():
            if now > worker.deadline:
                self._replace(worker, hung=True)
        self.on_tick()

    def _wind_up(self, hurry: Callable[[], bool]) -> None:
        """Wait for the images in flight, for as long as `limits.finish` and `hurry` allow."""
        self._closing = True
        self._end_all([worker for worker in self._alive() if not worker.drawing])
        for worker in self._alive():
            worker.hang_up()
        deadline = time.monotonic() + self.limits.finish
        while self._selector.get_map() and time.monotonic() < deadline and not hurry():
            for key, _ in self._selector.select(timeout=0.1):
                self._listen(key.data)

    def _alive(self) -> list[Worker]:
        return [key.data for key in list(self._selector.get_map().values())]

    def _start(self, place: Place) -> None:
        worker = Worker(self.command, self.config, place, self.limits.start)
        self._selector.register(worker.inbox, selectors.EVENT_READ, worker)

    def _end(self, worker: Worker) -> str:
        self._selector.unregister(worker.inbox)
        return worker.end()

    def _end_all(self, workers: list[Worker]) -> None:
        for worker in workers:
            self._selector.unregister(worker.inbox)
            worker.hang_up()
        deadline = time.monotonic() + 0.5
        for worker in workers:
            worker.end(max(0.0, deadline - time.monotonic()))

    def _give_work(self, worker: Worker) -> None:
        """Hand the worker its next visit, or send it home. It stays while others may still fail theirs."""
        worker.drawing = False
        if self._closing:
            return
        visit = self._again.popleft() if self._again else next(self._visits, None)
        worker.visit, worker.todo = visit, deque(visit.indices if visit else ())
        if visit is None:
            worker.deadline = float("inf")
            if not any(other.visit for other in self._alive()):
                self._end_all(self._alive())
            return
        if worker.worn:
            self.counts.recycled += 1
            self._again.appendleft(visit)
            self._end(worker)
            self._start(worker.place)
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
        for message in messages or ():
            self._handle(worker, message)
        if messages is None:
            if self._closing:
                self._end(worker)
            else:
                self._replace(worker)

    def _handle(self, worker: Worker, message: dict) -> None:
        event = message["event"]
        if event == "fatal":
            raise UserError(message["reason"])
        if event == "dying":
            worker.last_words = message["reason"]
        elif event == "ready":
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
            worker.drawing = True
            worker.deadline = time.monotonic() + self.limits.frame
        elif event == "rendered":
            worker.todo.remove(message["index"])
            worker.frames += 1
            self._drawn[worker.place.number] += 1
            self.counts.frame_seconds += message["seconds"]
            worker.deadline = time.monotonic() + self.limits.frame
            self.on_rendered(message["index"])
        elif event == "quarantine":
            self.on_quarantine(message["object_id"], message["reason"])
            self._give_work(worker)
        elif event == "visit_done":
            self.counts.visits += 1
            self._weigh(worker, message["rss_mb"])
            self._give_work(worker)

    def _weigh(self, worker: Worker, rss_mb: float) -> None:
        """Note the worker's memory between two visits, and whether a fresh one shall take its place."""
        place, seconds = worker.place.number, time.monotonic() - self._began
        self.counts.memory[place].add(self._drawn[place], rss_mb, seconds)
        if worker.first_mb is None:
            worker.first_mb = rss_mb
        grown = rss_mb - worker.first_mb
        worker.worn = worker.frames >= self.recycling.frames or grown > self.recycling.grown_mb

    def _replace(self, worker: Worker, hung: bool = False) -> None:
        """Bury a worker that died or hung, start another, and decide what becomes of its visit."""
        doing = f"drawing {worker.visit.object.id}" if worker.visit else "starting"
        how = self._end(worker)
        self.counts.restarts.append(f"hung while {doing}" if hung else f"died ({how}) while {doing}")
        if not worker.ready:
            self._failed_starts += 1
            works = self._greeted or "SIGKILL" in how
            allowed = KILLED_STARTS_ALLOWED if works and not hung else START_FAILURES_ALLOWED
            if self._failed_starts >= allowed * len(self.seats):
                blender = f"Blender does not start ({self.command[0]}: {how})"
                raise UserError(f"{blender}; its output is in {worker.place.log}{self.start_advice}")
        if worker.visit and worker.todo:
            culprit = worker.visit.object.id
            step = worker.todo[0] if worker.drawing else None
            times = self._blame.hung(culprit) if hung else self._blame.died(culprit, step)
            if times is None:
                self._again.append(Visit(worker.visit.object, tuple(worker.todo)))
            else:
                self.on_quarantine(culprit, f"Blender {'hung' if hung else f'died ({how})'} on it {times} times")
        self._start(worker.place)
