"""Render a dataset: the entry point of `gr3d render` and of

    blender -b -P renderer/render.py -- --n 500000

Standard library and NumPy only: it runs in any Python 3.11+ and inside any Blender's own Python.
"""

import argparse
import importlib.util
import json
import os
import sys
import tempfile
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
if str(ROOT) not in sys.path:  # `blender -P` and `python renderer/render.py` know nothing of the checkout
    sys.path.insert(0, str(ROOT))

if importlib.util.find_spec("numpy") is None:  # a Blender takes the first python3 on the PATH for its own
    print(
        f"gr3d render: Blender's Python ({sys.prefix}) has no NumPy. Debian: apt-get install python3-numpy, "
        "and start it with Debian's Python first: PATH=/usr/bin:$PATH blender ...",
        file=sys.stderr,
        flush=True,
    )
    os._exit(1)  # sys.exit leaves Blender running

from assets.catalog import Catalog, load_catalog
from assets.errors import UserError
from renderer import card, devices, estimate, parts, slurm
from renderer.command import ask_devices, find_blender
from renderer.estimate import Stopwatch
from renderer.files import read_json, write_json
from renderer.parts import parse_part
from renderer.passes import ENDINGS
from renderer.plan import Plan
from renderer.pool import usable_cores
from renderer.progress import duration
from renderer.run import Run, say, stop_on_signals
from renderer.shards import open_dataset
from renderer.spec import DEFAULT_SPLITS, ENGINES, FORMATS, PRESETS, DatasetSpec, make_spec

DEFAULT_OUT = Path("data/gr3d")

#: Draws all that is missing in a run; the list holds the signals so far. Returns whether they stopped it.
Draw = Callable[["Run", list[int]], bool]

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
