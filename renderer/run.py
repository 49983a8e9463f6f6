"""One run of the renderer on an open dataset: draws what is missing, seals it, quarantines, reports."""

import contextlib
import hashlib
import json
import platform
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from renderer import croissant, devices, parts
from renderer.estimate import Stopwatch
from renderer.files import flocked, read_json
from renderer.health import Recycling
from renderer.plan import Visit
from renderer.pool import Counts, Limits, Pool
from renderer.progress import Progress, Standing
from renderer.shards import Dataset, stamp_blender
from renderer.spec import DatasetSpec, __version__

RECYCLING = Recycling()
#: What the report of a run that joins parts does not repeat of theirs.
NOT_JOINED = ("gr3d", "part", "parts", "notes", "quarantined", "left_out_by_source", "rss_mb")

#: Seconds that EEVEE may take to compile its shaders, which software OpenGL does for minutes when it first meets them.
EEVEE_START = 1800
NO_OPENGL = (
    ". EEVEE needs OpenGL 4.3: a GPU's driver, or Mesa's software (Debian: apt-get install libegl1 libgl1-mesa-dri); "
    "or use --engine cycles"
)


@dataclass
class Run:
    """One run of the renderer on an open dataset: what is still to do, and what becomes of it."""

    dataset: Dataset
    shards: dict[str, list[int]]  # name -> the samples it shall have
    started: float = field(default_factory=time.monotonic)
    counts: Counts = field(default_factory=Counts)
    engine: dict = field(default_factory=dict)
    start_seconds: float = 0.0  # until the first worker was ready
    progress: Progress | Stopwatch = field(default_factory=Progress)

    def __post_init__(self) -> None:
        self.dataset.sweep(self.shards)
        self._members = self.dataset.missing(self.shards)
        self.dataset.drop({i for name, sealed in self.shards.items() if name not in self._members for i in sealed})
        waiting = self.dataset.waiting({i for members in self._members.values() for i in members})
        self._absent = {name: set(members) - waiting for name, members in self._members.items()}
        self._shard_of = {i: name for name, absent in self._absent.items() for i in absent}
        self._visits = list(self.dataset.visits(self._absent))
        self.todo = len(self._shard_of)
        self._asked = sum(map(len, self.shards.values()))
        sealed = (
            min(len(members), self.dataset.sealed[name]["samples"])
            for name, members in self.shards.items()
            if name not in self._members and name in self.dataset.sealed
        )
        # What earlier runs have drawn.
        self._before = sum(sealed) + sum(map(len, self._members.values())) - self.todo

    @property
    def missing(self) -> list[str]:
        """Names of the shards that are not sealed whole."""
        return list(self._members)

    @property
    def complete(self) -> bool:
        """Whether an earlier run has done everything: its report is there and, of the whole, card and tables."""
        folder = self.dataset.folder
        reported = read_json(self.dataset.home / "report.json", {}).get("in_shards") == self._in_shards()
        described = self.dataset.part or ((folder / croissant.FILE).exists() and not parts.homes(folder))
        return bool(not self._members and reported and described)

    def draw(self, command: list[str], device: str, seats: Sequence[devices.Seat], stops: list[int]) -> bool:
        """Render and seal all that is missing. Returns whether `stops` (signals so far) stopped it before the end."""
        for name, absent in self._absent.items():
            if not absent:
                self.dataset.seal(name, self._members[name])
        if not self.todo:
            return False
        desk = self.dataset.desk.resolve()
        with (
            scratch_folder(self.dataset.home) as scratch,
            tempfile.TemporaryDirectory(prefix="unfinished-", dir=desk, ignore_cleanup_errors=True) as unfinished,
        ):
            config = scratch / "worker.json"
            spec = self.dataset.plan.spec
            config.write_text(
                json.dumps(
                    {
                        "resolution": spec.resolution,
                        "preset": spec.preset,
                        "format": spec.format,
                        "passes": spec.passes,
                        "device": device,
                        "engine": spec.engine,
                        "spool": str(self.dataset.spool.resolve()),
                        "unfinished": unfinished,
                        "scratch": str(scratch),
                    }
                )
            )
            pool = Pool(
                plan=self.dataset.plan,
                command=command,
                config=config,
                seats=seats,
                logs=self.dataset.desk,
                limits=limits(spec),
                start_advice=NO_OPENGL if spec.engine == "eevee" else "",
                recycling=RECYCLING,
                on_ready=self._ready,
                on_rendered=self._image,
                on_quarantine=self._quarantine,
                on_tick=lambda: self.progress.show(self.standing()),
                counts=self.counts,
            )
            pool.run(self._wanted_visits(), lambda: len(stops))
            self.progress.show(self.standing(), last=True)
            stopped = bool(stops) and any(self._absent.values())
            if stopped:
                self._seal_parts()
            return stopped

    def _wanted_visits(self) -> Iterator[Visit]:
        # Asked as each visit comes up: an object may have been quarantined since.
        return (visit for visit in self._visits if visit.object.id not in self.dataset.quarantined)

    def _ready(self, message: dict) -> None:
        self.engine = message["engine"]
        self.start_seconds = time.monotonic() - self.started
        self.progress.ready()
        blender = f"{message['blender']} ({message['build']})"
        stamp_blender(self.dataset.folder, blender, self.engine, cpu_name())
        settings = ", ".join(f"{name} {value}" for name, value in self.engine.items())
        self.progress.say(f"Blender {blender}: {settings}")

    def _image(self, index: int) -> None:
        if index in self._absent[self._shard_of[index]]:
            self.counts.rendered += 1
            self.progress.image(index)
            self._settle(index)
        else:  # its object was quarantined while this worker still drew it
            self.dataset.discard(index)

    def _quarantine(self, object_id: str, reason: str) -> None:
        if object_id in self.dataset.quarantined:
            return
        self.progress.say(f"quarantined {object_id}: {reason}")
        self.dataset.quarantine(object_id, reason)
        for visit in self._visits:
            if visit.object.id == object_id:
                for index in visit.indices:
                    name = self._shard_of[index]
                    if index in self._absent[name]:
                        self.todo -= 1
                        self._members[name].remove(index)
                        self._settle(index)

    def _settle(self, index: int) -> None:
        """Sample `index` has its image, or will never have one: seal its shard if it was the last."""
        name = self._shard_of[index]
        self._absent[name].discard(index)
        if not self._absent[name] and self._members[name]:
            self.dataset.seal(name, self._members[name])

    def _seal_parts(self) -> None:
        """Seal what each unfinished shard has, so that a stopped run leaves a dataset to work with.

        The run that resumes takes these shards apart again and gives them the rest.
        """
        for name, absent in self._absent.items():
            if absent and (present := [i for i in self._members[name] if i not in absent]):
                self.dataset.seal(name, present)

    def standing(self) -> Standing:
        """Where the dataset, or its part, stands."""
        return Standing(
            asked=self._asked,
            done=self._before + self.counts.rendered,
            left=self.todo - self.counts.rendered,
            quarantined=len(self.dataset.quarantined),
        )

    def report(self, choice: devices.Choice, workers: int) -> dict:
        """What this run did and what the dataset, or its part, holds now: the content of report.json."""
        seconds = time.monotonic() - self.started
        asked = sum(map(len, self.shards.values()))
        present = self._in_shards()
        absent = sum(map(len, self._absent.values()))
        joined = {} if self.dataset.part else parts.reports(self.dataset.folder)
        return {
            "gr3d": __version__,
            "part": str(self.dataset.part) if self.dataset.part else None,
            "asked": asked,
            "rendered_in_this_run": self.counts.rendered,
            "in_shards": present,
            "still_to_render": absent,
            "skipped": max(0, asked - present - absent),
            "quarantined": self.dataset.quarantined,
            "left_out_by_source": dict(self.dataset.plan.catalog.left_out),
            "notes": {name: text for part in joined.values() for name, text in part["notes"].items()}
            | self.counts.notes,
            "worker_restarts": self.counts.restarts,
            "workers_recycled": self.counts.recycled,
            "visits": self.counts.visits,
            "rss_mb": {f"worker-{n}": {"max": m.max_mb, "series": m.series} for n, m in self.counts.memory.items()},
            "wall_seconds": round(seconds, 2),
            "start_seconds": round(self.start_seconds, 2),
            "images_per_second": round(self.counts.rendered / seconds, 2) if self.counts.rendered else 0.0,
            "import_seconds": round(self.counts.import_seconds, 2),
            "frame_seconds": round(self.counts.frame_seconds, 2),
            "workers": workers,
            "device": asdict(choice),
            "engine": self.engine,
            "cpu": cpu_name(),
            "parts": {name: {k: v for k, v in r.items() if k not in NOT_JOINED} for name, r in joined.items()},
        }

    def _in_shards(self) -> int:
        """How many samples are sealed, of this run's part or of the whole dataset."""
        mine = self.shards if self.dataset.part else self.dataset.sealed
        return sum(entry["samples"] for name, entry in self.dataset.sealed.items() if name in mine)


def cpu_name() -> str:
    """The model of this machine's CPU: on another kind, the same samples may differ in their last bits."""
    with contextlib.suppress(OSError), open("/proc/cpuinfo") as lines:
        for line in lines:
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


@contextlib.contextmanager
def scratch_folder(home: Path) -> Iterator[Path]:
    """A new temporary folder for a run whose lists are in `home`; those of its killed predecessors go."""
    prefix = f"gr3d-{hashlib.sha256(str(home.resolve()).encode()).hexdigest()[:12]}-"
    for leftover in Path(tempfile.gettempdir()).glob(prefix + "*"):
        with contextlib.suppress(OSError), flocked(leftover / "lock"):  # held: another machine's or container's run
            shutil.rmtree(leftover, ignore_errors=True)
    with (
        tempfile.TemporaryDirectory(prefix=prefix, ignore_cleanup_errors=True) as name,
        flocked(Path(name) / "lock"),
    ):
        yield Path(name)


def limits(spec: DatasetSpec) -> Limits:
    """How long a frame may take before its worker counts as hung: generous, since a slow machine is no fault."""
    pixels = (spec.resolution / 128) ** 2
    if spec.engine == "eevee":
        frame = EEVEE_START + (1800.0 if spec.preset == "reference" else 300.0) * pixels
        return Limits(start=EEVEE_START, frame=frame)
    return Limits(frame=max(120.0, (1800.0 if spec.preset == "reference" else 30.0) * pixels))


@contextlib.contextmanager
def stop_on_signals() -> Iterator[list[int]]:
    """Within the context, SIGINT and SIGTERM are only noted in the list that it yields."""
    noted: list[int] = []
    stops = (signal.SIGINT, signal.SIGTERM)
    before = {stop: signal.signal(stop, lambda number, _: noted.append(number)) for stop in stops}
    try:
        yield noted
    finally:
        for stop, handler in before.items():
            # A handler that Blender set from C, Python knows as None.
            signal.signal(stop, signal.SIG_DFL if handler is None else handler)


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
