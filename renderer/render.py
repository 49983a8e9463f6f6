"""Render a dataset: the entry point of `gr3d render` and of

    blender -b -P renderer/render.py -- --n 500000

Standard library and NumPy only: it runs in any Python 3.11+ and inside any Blender's own Python.
"""

import argparse
import contextlib
import hashlib
import json
import os
import platform
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
if str(ROOT) not in sys.path:  # `blender -P` and `python renderer/render.py` know nothing of the checkout
    sys.path.insert(0, str(ROOT))

from assets.catalog import Catalog, load_catalog
from assets.errors import UserError
from renderer import card, croissant, devices, estimate, parts, slurm
from renderer.command import ask_devices, find_blender
from renderer.estimate import Stopwatch
from renderer.files import flocked, read_json, write_json
from renderer.health import Recycling
from renderer.parts import parse_part
from renderer.passes import ENDINGS
from renderer.plan import Plan, Visit
from renderer.pool import Counts, Limits, Pool, usable_cores
from renderer.progress import Progress, Standing, duration
from renderer.shards import Dataset, open_dataset, stamp_blender
from renderer.spec import DEFAULT_SPLITS, ENGINES, FORMATS, PRESETS, DatasetSpec, __version__, make_spec

DEFAULT_OUT = Path("data/gr3d")

#: Draws all that is missing in a run; the list holds the signals so far. Returns whether they stopped it.
Draw = Callable[["Run", list[int]], bool]

RECYCLING = Recycling()
#: What the report of a run that joins parts does not repeat of theirs.
NOT_JOINED = ("gr3d", "part", "parts", "notes", "quarantined", "left_out_by_source", "rss_mb")

#: Seconds that EEVEE may take to compile its shaders, which software OpenGL does for minutes when it first meets them.
EEVEE_START = 1800
NO_OPENGL = (
    ". EEVEE needs OpenGL 4.3: a GPU's driver, or Mesa's software (Debian: apt-get install libegl1 libgl1-mesa-dri); "
    "or use --engine cycles"
)

EXAMPLE = """examples:
  gr3d render --n 2000 --out data/chairs --objects sweethome3d:chair,sofa
  blender -b -P renderer/render.py -- --n 500000

Stopped or killed, the same command resumes. A larger --n adds samples to what is there.

in parts, at once, on machines that share the folder:
  gr3d render --n 500000 --out data/big --part 1/8        (and 2/8 to 8/8, anywhere, in any order)
  gr3d render --n 500000 --out data/big                   joins them, and draws what is missing

on a SLURM cluster (again: how far it is):
  gr3d render --n 500000 --out data/big --workers 16 --slurm --slurm-tasks 32 --slurm-set partition=cpu"""


def parser() -> argparse.ArgumentParser:
    p = argparse.ArgumentParser(
        prog="gr3d render",
        description="Render objects under the seven controlled latents into WebDataset shards.",
        epilog=EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    p.add_argument("--n", type=int, required=True, metavar="N", help="number of images in all splits together")
    p.add_argument("--out", type=Path, default=DEFAULT_OUT, metavar="DIR", help=f"dataset folder ({DEFAULT_OUT})")
    p.add_argument(
        "--objects",
        metavar="SOURCE",
        help="procedural[:FAMILY,...][@INSTANCES], sweethome3d[:FAMILY,...] or a folder of models "
        "(assets/models if it holds any, else procedural)",
    )
    p.add_argument("--categories", type=Path, metavar="CSV", help="categories of a folder's models (docs/objects.md)")
    p.add_argument("--resolution", type=int, default=128, metavar="PIXELS", help="side of the square images (128)")
    p.add_argument("--workers", default="auto", metavar="W", help="worker processes (auto: one per core, or per GPU 2)")
    p.add_argument("--workers-per-device", type=int, metavar="W", help="worker processes per GPU (2)")
    p.add_argument(
        "--device", choices=("auto", *devices.DEVICES), default="auto", help="what Cycles draws on (auto: a GPU if any)"
    )
    p.add_argument("--engine", choices=ENGINES, default="cycles", help="Blender's engine (cycles)")
    p.add_argument("--preset", choices=PRESETS, default="fast", help="quality against speed (fast)")
    p.add_argument("--seed", type=int, default=0, help="decides every draw (0)")
    p.add_argument("--splits", default=DEFAULT_SPLITS, metavar="SHARES", help=f"({DEFAULT_SPLITS})")
    p.add_argument("--shard-size", type=int, default=1000, metavar="K", help="samples per shard (1000)")
    p.add_argument("--format", choices=FORMATS, default="jpg", help="image format (jpg)")
    p.add_argument(
        "--passes",
        default="",
        metavar="PASS,...",
        help=f"further files of every sample: {', '.join(ENDINGS)} (none)",
    )
    p.add_argument(
        "--blender",
        metavar="PATH",
        help="Blender, or a Python that has bpy, to draw with (this Python's bpy, else `blender`)",
    )
    p.add_argument("--part", metavar="K/P", help="draw only part K of P of the shards; without it, join all parts")
    slurm.add_options(p)
    p.add_argument("--dry-run", action="store_true", help="draw a little, elsewhere; say what all of it would take")
    p.add_argument("--json", action="store_true", help="print the report as JSON")
    p.add_argument("--debug", action="store_true", help="show the traceback of an error")
    return p


def main(arguments: Sequence[str]) -> int:
    """Run the command line. Returns the exit code: 0 done, 1 stopped or a problem found, 2 wrong usage."""
    options = parser().parse_args(arguments)
    options.arguments = arguments
    try:
        return render(options)
    except UserError as error:
        if options.debug:
            raise
        print(f"gr3d render: {error}", file=sys.stderr)
        return error.exit_code
    except OSError as error:
        if options.debug:
            raise
        print(
            f"gr3d render: {error.filename or options.out}: {error.strerror}; what is rendered is kept, free the "
            "way and run the same command",
            file=sys.stderr,
        )
        return 1


def render(options: argparse.Namespace, make_plan: Callable[[DatasetSpec, Catalog], Plan] = Plan) -> int:
    if options.n < 1:
        raise UserError(f"--n {options.n}: must be at least 1", exit_code=2)
    devices.check(options.engine, options.device, options.workers, options.workers_per_device)
    cluster = slurm.check(options)
    part = parse_part(options.part) if options.part else None
    catalog = load_catalog(options.objects, models_root(), options.categories)
    spec = make_spec(
        catalog,
        seed=options.seed,
        resolution=options.resolution,
        preset=options.preset,
        splits=options.splits,
        shard_size=options.shard_size,
        image_format=options.format,
        passes=options.passes,
        engine=options.engine,
    )
    plan = make_plan(spec, catalog)
    if cluster and not options.dry_run:
        return submit(options, plan, cluster)
    say(f"objects: {catalog.source}, {len(catalog.objects)} ({len(catalog.left_out)} left out by its rules)")
    command = find_blender(options.blender)
    choice, seats = give_devices(command, options.engine, options.device, options.workers, options.workers_per_device)
    drawn_on = f"{choice.device} ({choice.why}: {', '.join(choice.names)})"
    with_what = f"{command[0]}; {len(seats)} worker{'s' if len(seats) > 1 else ''} on {drawn_on}"

    def draw(run: Run, stops: list[int]) -> bool:
        return run.draw(command, choice.device, seats, stops)

    if options.dry_run:
        say(f"blender: {with_what} draw a little of it, elsewhere (dry run)")
        told = dry_run(plan, options.n, part, len(seats), draw)
        if told is None:
            say("stopped")
            return 1
        print(json.dumps(told) if options.json else estimate.text(told))
        return 0
    where = f"part {part} of {options.out}" if part else f"{options.out}"
    say(f"blender: {with_what}; into {where}")
    make_folder(options.out)
    categories = str(options.categories) if options.categories else None
    again = {"objects": catalog.source, "categories": categories, "blender": options.blender, "n": options.n}
    with parts.held(options.out, part, options.n), stop_on_signals() as stops:
        dataset = open_dataset(options.out, plan, part, again)
        dataset.take_over_parts()
        run = Run(dataset, plan.parts(options.n, part.count)[part.number - 1] if part else plan.shards(options.n))
        if run.complete:
            report = read_json(dataset.home / "report.json", {})
            print(json.dumps(report) if options.json else f"{where}: complete, nothing is left to render")
            return 0
        stopped = draw(run, stops)
        report = run.report(choice, len(seats))
        if part is None:
            card.write(options.out, plan, report, dataset.sealed)
        write_json(dataset.home / "report.json", report)  # last: it says that the rest is there
        if part is None and not stopped:
            dataset.dissolve_parts()
    print(json.dumps(report) if options.json else summary(where, dataset.home, report))
    if stopped:
        say("stopped; the same command resumes")
        return 1
    return 0


def submit(options: argparse.Namespace, plan: Plan, cluster: slurm.Request) -> int:
    """Submit what is missing to SLURM, or say how far the jobs of an earlier submission are."""
    folder, words = options.out, slurm.job_arguments(options.arguments)
    if now := slurm.at_work(folder, plan, words):
        print(json.dumps(now) if options.json else slurm.describe(folder, now))
        return 0
    find_blender(options.blender)  # to fail now rather than in every task; devices are the tasks' own affair
    count = slurm.task_count(cluster, plan, options.n)
    make_folder(folder)
    with parts.held(folder, None, options.n):
        run = Run(open_dataset(folder, plan), plan.shards(options.n))
    if run.complete:
        report = read_json(folder / "report.json", {})
        print(json.dumps(report) if options.json else f"{folder}: complete, nothing is left to render")
        return 0
    submission = slurm.submit(folder, plan.parts(options.n, count), run.missing, words, options.n, cluster)
    if options.json:
        print(json.dumps(slurm.status(folder, plan, submission)))
    else:
        print(slurm.announce(folder, submission, cluster))
    return 0


def models_root() -> Path:
    """The folder whose assets/models/ holds the user's models: the current one if it has that, else the checkout."""
    return Path.cwd() if (Path.cwd() / "assets" / "models").is_dir() else ROOT


def give_devices(
    command: list[str], engine: str, device: str, workers: str, per_device: int | None
) -> tuple[devices.Choice, list[devices.Seat]]:
    """What a run draws on, and what each of its workers is given; the options are those of the command line.

    Raises UserError (exit code 2) for options that contradict each other, and for a device that is not there.
    """
    devices.check(engine, device, workers, per_device)
    if engine == "eevee":
        choice = devices.Choice(devices.OPENGL, ("OpenGL",), "EEVEE's")
    elif devices.must_ask(device):
        choice = devices.choose(device, ask_devices(command))
    else:
        choice = devices.choose(device, {})
    cores = usable_cores()
    count = devices.worker_count(choice, workers, per_device, len(cores))
    return choice, devices.seats(choice, count, cores, os.environ)


def make_folder(folder: Path) -> None:
    """Make the output folder, and fail early where it cannot be made or written."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"--out {folder}: cannot be made ({error.strerror})", exit_code=2) from None
    check_writable(folder)


def check_writable(folder: Path) -> None:
    """Fail early, and clearly, where the output folder cannot be written."""
    try:
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise UserError(f"--out {folder}: cannot be written ({error.strerror})", exit_code=2) from None


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def dry_run(plan: Plan, n: int, part: parts.Part | None, workers: int, draw: Draw) -> dict | None:
    """Measure a little of what a run would draw, in a temporary folder.

    Returns what estimate.estimate makes of it; None if a signal stopped it. Raises UserError as the run would.
    """
    with stop_on_signals() as stops, tempfile.TemporaryDirectory(prefix="gr3d-dry-run-") as folder:
        dataset = open_dataset(Path(folder), plan)
        if part:
            shards = plan.parts(n, part.count)[part.number - 1]
            asked, visits = estimate.extent_of(shards), dataset.visits(shards)
        else:
            asked, visits = estimate.extent(plan, n), plan.visits(n)
        sampled = estimate.choose(visits, sum(asked.images.values()), workers)
        watch = Stopwatch({visit.indices[0] for visit in sampled.visits}, stops)
        run = Run(dataset, sampled.shards(plan), counts=watch.counts, progress=watch)
        draw(run, stops)
        if any(stop != estimate.TIME_IS_UP for stop in stops):
            return None
        if not run.counts.rendered:
            reasons = "; ".join(f"{name}: {reason}" for name, reason in dataset.quarantined.items())
            raise UserError(f"no object of the probe can be used: {reasons}")
        return estimate.estimate(plan, asked, watch.probe(sampled, dataset), workers)


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


def summary(where: str, home: Path, report: dict) -> str:
    lines = [
        f"{where}: {report['in_shards']} images in shards; {report['rendered_in_this_run']} rendered now in "
        f"{duration(report['wall_seconds'])} ({report['images_per_second']} images/s)"
    ]
    if report["quarantined"]:
        lines.append(
            f"{len(report['quarantined'])} objects could not be used, {report['skipped']} images skipped: "
            f"see {home / 'quarantine.json'}"
        )
    if report["worker_restarts"]:
        lines.append(f"{len(report['worker_restarts'])} worker restarts: see {home / 'report.json'}")
    return "\n".join(lines)


def arguments_after_dashes(argv: Sequence[str]) -> Sequence[str]:
    """Blender keeps what stands before `--` for itself."""
    return argv[argv.index("--") + 1 :] if "--" in argv else argv[1:]


if __name__ == "__main__":
    try:
        code = main(arguments_after_dashes(sys.argv))
    except SystemExit as stop:  # argparse's
        code = stop.code
    except BaseException:
        traceback.print_exc()
        code = 1
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)  # a Blender that meets an exception goes on, and reports success
