"""A figure of the paper as what it declares, and the runner that makes it: datasets, trainings, probings, drawing.

    OUT/data/NAME          packed or rendered datasets
    OUT/runs/RUN           trained networks, RUN.log beside each; RUN is TRAINING, or TRAINING-seed1 and so on
    OUT/probes/NAME/RUN    what was classified from every layer of one network
    OUT/figureNAME.png, .svg, .csv, .md
    OUT/steps.json         wall time of every step, over all the times it was resumed

Figures that show the same trainings share one Study, and with it OUT: what is there already is used again.
"""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from benchmark.data.datasets import open_dataset
from benchmark.data.pack import pack
from benchmark.data.table import count_images, read_dataset_info
from benchmark.errors import UserError
from benchmark.figures.claims import Verdict
from benchmark.figures.clock import Clock
from benchmark.figures.jobs import Job, gr3d_job, launcher, run_jobs, trainings_at_once
from benchmark.figures.style import Written
from benchmark.files import write_atomically
from benchmark.probes.accuracy import (
    JSON_NAME,
    Classification,
    averaged_over_seeds,
    load_classification,
    merge_classifications,
)
from benchmark.probes.classify import probe
from benchmark.probes.parts import Parts
from benchmark.probes.subjects import Subject, trained, untrained
from benchmark.recipes import batch_for
from benchmark.training.run import is_finished

UNTRAINED = "untrained"

Render = Callable[[Sequence[str]], int]  # takes the arguments of `gr3d render`, returns its exit code


@dataclass(frozen=True)
class Packed:
    """data: DATASET. options: of benchmark.data.pack.pack."""

    data: str
    options: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True)
class Rendered:
    """n: images in all splits together. objects: SOURCE as in `gr3d render`."""

    n: int
    resolution: int
    objects: str = "procedural"


@dataclass(frozen=True)
class Made:
    """write: puts images SPLIT/CLASS/NAME.png into a folder; options as Packed."""

    write: Callable[[Path], None]
    options: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True)
class Training:
    """data: name of the dataset in the study. options: of `gr3d train`, in Python's spelling; batch becomes smaller
    where the data are few. neighbours_of: name of a training of the same study, on the same data, whose network finds
    the positives."""

    data: str
    options: Mapping[str, object]
    neighbours_of: str | None = None


@dataclass(frozen=True)
class Probing:
    """Classifiers fitted on a dataset of the study and judged, as benchmark.probes.classify.probe does it.

    trainings: names. judge_on: {name: (name of a dataset of the study, split or None)}. untrained: whether the first
    network as it was before training is read, too. only, options: as of `probe`.
    """

    data: str
    trainings: tuple[str, ...]
    fit_on: str | None = None
    judge_on: Mapping[str, tuple[str, str | None]] = field(default_factory=dict)
    untrained: bool = False
    only: tuple[str, ...] = ()
    options: Mapping[str, object] = field(default_factory=dict)

    @property
    def datasets(self) -> set[str]:
        """Names of all that it reads."""
        return {self.data, *(name for name, _ in self.judge_on.values())}


@dataclass(frozen=True)
class Study:
    """All that figures need before they are drawn; the mappings are by name. seeds: of initial weights, order and
    augmentations; every training is run with each. note: what the figure has to say of itself, as that its networks
    are smaller than the paper's."""

    datasets: Mapping[str, Packed | Rendered | Made]
    trainings: Mapping[str, Training]
    probings: Mapping[str, Probing]
    seeds: int = 1
    note: str = ""

    def runs(self) -> Iterator[tuple[str, str, int]]:
        """(run, training, seed), seed by seed, so that what is there when it is stopped is whole."""
        for seed in range(self.seeds):
            for name in self.trainings:
                yield run_name(name, seed), name, seed


def run_name(training: str, seed: int) -> str:
    return f"{training}-seed{seed}" if seed else training


@dataclass(frozen=True)
class Found:
    """What a study found. folder: OUT. each: probing -> its Classification, every run by itself."""

    study: Study
    folder: Path
    each: Mapping[str, Classification]

    @cached_property
    def mean(self) -> dict[str, Classification]:
        """The same with runs that differ in the seed alone taken together: mean and deviation."""
        return {name: averaged_over_seeds(found) for name, found in self.each.items()}

    def accuracies(self, probing: str, training: str, layer: str, place: tuple[str, str] | None = None) -> list[float]:
        """Top-1 of one layer, one a seed. place: (dataset, split); None for the first that judged."""
        found = self.each[probing]
        place = place or found.judged[0]
        return [found.row(run, layer, *place).top1 for run in self.runs(training)]

    def runs(self, training: str) -> list[str]:
        return [run_name(training, seed) for seed in range(self.study.seeds)]

    def run_folders(self, training: str) -> list[Path]:
        return [self.folder / "runs" / run for run in self.runs(training)]


@dataclass(frozen=True)
class Shown:
    """A figure drawn: its files, its numbers as a table in Markdown, and what it says of the paper's claims."""

    written: Written
    table: str
    verdicts: Sequence[Verdict]


@dataclass(frozen=True)
class Figure:
    """title: in one line what it shows. study: its file's declaration, by the Setting asked for; figures with the same
    `shares` have the same. draw: from what was found to files, named by a path without ending."""

    title: str
    shares: str
    study: Callable[..., Study]
    draw: Callable[[Found, Path], Shown]


def make(name: str, figure: Figure, study: Study, out: Path, render: Render, device: str = "auto") -> list[str]:
    """Make a figure, or go on doing so, and return lines that say where everything is and what it shows.

    Raises UserError naming what failed.
    """
    found = run_study(study, out, render, device)
    stem = name if name.startswith("table") else f"figure{name}"
    shown = figure.draw(found, out / stem)
    report = out / f"{stem}.md"
    text = summary(name, figure, study, shown)
    write_atomically(report, text.encode())
    seconds = sum(Clock(out / "steps.json").seconds.values())
    written = shown.written
    return [
        text.rstrip(),
        "",
        f"figure: {written.png}",
        f"numbers: {written.csv}",
        f"all of this: {report}",
        f"wall time: {seconds:.0f} s in all ({out / 'steps.json'})",
    ]


def summary(name: str, figure: Figure, study: Study, shown: Shown) -> str:
    """What the figure shows, as Markdown."""
    title = f"# {'Table' if name.startswith('table') else 'Figure'} {name.removeprefix('table')}: {figure.title}"
    lines = [title, "", *([study.note, ""] if study.note else []), shown.table.rstrip(), ""]
    lines += [verdict.line() for verdict in shown.verdicts]
    return "\n".join(lines) + "\n"


def run_study(study: Study, out: Path, render: Render, device: str = "auto") -> Found:
    """Everything before drawing; what is done already is not done again. UserError naming the step that failed."""
    clock = Clock(out / "steps.json")
    ready: set[str] = set()
    # Renders last: they take long, and what is wrong with other data is known before.
    for name, dataset in sorted(study.datasets.items(), key=lambda item: isinstance(item[1], Rendered)):
        with clock.step(f"data: {name}"):
            prepare(dataset, out / "data" / name, render)
        ready.add(name)
        for probing in study.probings.values():
            if name in probing.datasets <= ready:
                _check_splits(out / "data", probing)
    with clock.step("train"):
        _train(study, out, device, clock)
    each = {}
    for name, probing in study.probings.items():
        with clock.step(f"probe: {name}"):
            each[name] = _probe(study, probing, out, out / "probes" / name, device)
    return Found(study, out, each)


def prepare(dataset: Packed | Rendered | Made, folder: Path, render: Render) -> None:
    """Put the dataset into the folder. UserError, as `pack`, and when rendering ends early."""
    if isinstance(dataset, Rendered):
        words = {"n": dataset.n, "out": folder, "objects": dataset.objects, "resolution": dataset.resolution}
        if code := render([word for option, value in words.items() for word in (f"--{option}", str(value))]):
            raise UserError(f"rendering into {folder} ended early; the same command resumes", exit_code=code)
        return
    source = dataset.data if isinstance(dataset, Packed) else str(_made(dataset, folder))
    report = pack(source, folder, **dataset.options)
    if report.left_out:
        print("\n".join(report.lines()), file=sys.stderr, flush=True)


def _made(dataset: Made, folder: Path) -> Path:
    """The folder of plain images beside `folder`; it is whole or not there."""
    source = folder.with_name(f"{folder.name}-images")
    if not source.is_dir():
        aside = source.with_name(f".{source.name}.tmp")
        shutil.rmtree(aside, ignore_errors=True)
        dataset.write(aside)
        aside.rename(source)
    return source


def _check_splits(folder: Path, probing: Probing) -> None:
    """UserError, before hours of training, where nothing could be fitted or judged in the end."""
    dataset = open_dataset(folder / probing.data)
    fit_on = probing.fit_on or ("probe" if "probe" in dataset.splits else "train")
    if fit_on not in dataset.splits:
        raise dataset.no_such_split(fit_on)
    classes = set(dataset.classes_of(fit_on))
    if len(classes) < 2:
        raise UserError(f"{dataset}: split '{fit_on}' shows a single class: nothing to classify")
    others = [split for split in dataset.splits if split != fit_on and set(dataset.classes_of(split)) == classes]
    if not (others or probing.judge_on or dataset.has_latents):
        raise UserError(
            f"{dataset}: no split beside '{fit_on}' shows the same classes: nothing to judge on; the data given with "
            "--data need a second split, as train and val"
        )
    images = dataset.count(fit_on)
    if images is not None and images <= len(classes):
        raise UserError(
            f"{dataset}: split '{fit_on}' has one image of each class: choosing the penalty needs two of some class"
        )
    for other, split in probing.judge_on.values():
        further = open_dataset(folder / other)
        for one in [split] if split else ["val"] if "val" in further.splits else further.splits:  # as probing does
            if different := classes ^ set(further.classes_of(one)):
                raise UserError(
                    f"{further}: split '{one}' must show the classes of {dataset}, that classifiers are fitted on; "
                    f"'{min(different)}' is in one of them alone ({len(different)} are)"
                )


def _train(study: Study, out: Path, device: str, clock: Clock) -> None:
    """Train what is not finished; at first what finds neighbours for others."""
    record = out / "runs" / "requests.json"
    requests = _read_requests(record)
    wanted = {run: _training_options(study, out, name, seed, device) for run, name, seed in study.runs()}
    first = {t.neighbours_of for t in study.trainings.values() if t.neighbours_of}
    phases = [[run for run, name, _ in study.runs() if (name in first) == early] for early in (True, False)]
    for runs in phases:
        open_ = [r for r in runs if not (is_finished(out / "runs" / r) and requests.get(r) == _as_text(wanted[r]))]
        _find_neighbours(study, out, open_, device, clock)
        jobs = [gr3d_job(r, out / "runs" / f"{r}.log", "train", wanted[r], launcher(device)) for r in open_]
        run_jobs(sorted(jobs, key=lambda job: _slow_last(job, study)), trainings_at_once(device), clock.note)
        requests.update({r: _as_text(wanted[r]) for r in runs})
        write_atomically(record, (json.dumps(requests, indent=1) + "\n").encode())


def _slow_last(job: Job, study: Study) -> tuple[int, bool]:
    """Order of jobs: seed by seed, and supervised, with its single view, at the end of each: cores end together."""
    training, _, seed = job.name.partition("-seed")
    return int(seed or 0), study.trainings[training].options.get("objective") == "supervised"


def _training_options(study: Study, out: Path, name: str, seed: int, device: str) -> dict[str, object]:
    training = study.trainings[name]
    data = out / "data" / training.data
    options = dict(training.options)
    if "batch" in options:
        options["batch"] = batch_for(count_images(data, "train"), options["batch"])
    if training.neighbours_of:
        options["positives"] = _neighbours(out, training.neighbours_of, seed)
    run = out / "runs" / run_name(name, seed)
    return {"resume": True, "data": data, "out": run, "seed": seed, "device": device, **options}


def _neighbours(out: Path, training: str, seed: int) -> Path:
    return out / "runs" / f"{run_name(training, seed)}-neighbours.npz"


def _find_neighbours(study: Study, out: Path, runs: Sequence[str], device: str, clock: Clock) -> None:
    """Files of neighbours for those of `runs` that want one."""
    jobs = {}
    for run, name, seed in study.runs():
        training = study.trainings[name]
        if run in runs and training.neighbours_of:
            file, finder = _neighbours(out, training.neighbours_of, seed), run_name(training.neighbours_of, seed)
            options = {"data": out / "data" / training.data, "run": out / "runs" / finder, "out": file}
            log = out / "runs" / f"{finder}-neighbours.log"
            if not file.exists():
                jobs[file] = gr3d_job(f"{finder}-neighbours", log, "neighbours", {**options, "device": device})
    run_jobs(list(jobs.values()), trainings_at_once(device), clock.note)


def _read_requests(path: Path) -> dict[str, dict]:
    try:
        return dict(json.loads(path.read_text())) if path.exists() else {}
    except (ValueError, TypeError):
        raise UserError(f"{path}: damaged; delete it, the runs beside it are looked at again") from None


def _as_text(options: Mapping[str, object]) -> dict[str, str]:
    return {name: str(value) for name, value in options.items()}


def _probe(study: Study, probing: Probing, out: Path, folder: Path, device: str) -> Classification:
    """Network by network, each saved when it is read."""
    runs = {run: out / "runs" / run for run, name, _ in study.runs() if name in probing.trainings}
    subjects: dict[str, Callable[[], Subject]] = {run: lambda path=path: trained(path) for run, path in runs.items()}
    if probing.untrained:
        first = next(iter(runs.values()))
        subjects[UNTRAINED] = lambda: untrained(first)
    data = out / "data" / probing.data
    judge_on = {name: (out / "data" / other, split) for name, (other, split) in probing.judge_on.items()}
    parts = []
    for name, subject in subjects.items():
        part = _known(folder / name, name, subject, data, probing.only)
        if part is None:
            options = {"fit_on": probing.fit_on, "judge_on": judge_on, "only": probing.only, "device": device}
            with Parts(folder / name) as unfinished:
                part = probe({name: subject()}, data, **options, **probing.options, parts=unfinished)
                part.save(folder / name)
        parts.append(part)
    return merge_classifications(parts)


def _known(
    folder: Path, name: str, subject: Callable[[], Subject], data: Path, only: Sequence[str]
) -> Classification | None:
    """What was found before, if it is of the same network, layers and data."""
    if not (folder / JSON_NAME).is_file():
        return None
    found = load_classification(folder)
    known, now = found.info["networks"].get(name), subject()
    same = known is not None and known["role"] == now.role and known["config"] == now.config
    same = same and found.info.get("only", []) == list(only)
    spec = read_dataset_info(data)
    return found if same and spec in found.info["datasets"].values() else None
