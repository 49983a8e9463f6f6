"""Figure 2 of the paper from data to plot: render, train, regress, draw. Rendering and training can be resumed.

OUT/NAME/data        renders
OUT/NAME/runs/...    trained networks
OUT/NAME/regression  regression.json, regression.csv
OUT/NAME/            figure2.png, .svg, .csv, contact-sheet.jpg, summary.md
OUT/steps.json       wall time of every step, over all the times it was resumed
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from benchmark.errors import UserError
from benchmark.figures.claims import control_lines, judge
from benchmark.figures.clock import Clock
from benchmark.figures.contact import contact_sheet
from benchmark.figures.jobs import Job, gr3d_job, run_jobs, trainings_at_once
from benchmark.figures.layers import plot_layers
from benchmark.files import write_atomically
from benchmark.probes.parts import Parts
from benchmark.probes.regress import regress_latents
from benchmark.probes.results import Results
from benchmark.probes.seeds import averaged
from benchmark.probes.subjects import Subject, pixels8, trained, untrained
from benchmark.probes.summary import conclusions, format_recommendations, format_table, sentences

#: Objects that share a pose, so that a rotation has one meaning for all of them: what `--objects SOURCE` stands for
#: in the stage that trains on rotation. Folders are taken as they are.
POSED = {"sweethome3d": "sweethome3d:chair,sofa", "procedural": "procedural:chair,car"}


@dataclass(frozen=True)
class Stage:
    """One dataset and the networks trained on it.

    name: folder below OUT. posed: whether only objects with a shared pose are shown (see POSED). n: images in all
    splits together. training: objective -> options of `gr3d train` that differ from its recipe.
    """

    name: str
    posed: bool
    n: int
    training: dict[str, dict[str, object]] = field(default_factory=dict)


@dataclass(frozen=True)
class Scale:
    """How large a run is: what it renders, how often and how long it trains, and about how long it all takes on two
    CPU cores. seeds: of initial weights, order of images and augmentations; all are trained on the same images."""

    stages: tuple[Stage, ...]
    resolution: int
    objects: str
    takes: str
    seeds: int = 1


SCALES = {
    "demo": Scale(
        stages=(
            Stage(
                "objects",
                posed=True,
                n=2400,
                training={"simclr": {"epochs": 7, "batch": 128}, "rotation": {"epochs": 14}},
            ),
        ),
        resolution=64,
        objects="procedural",
        takes="about 6 minutes",
    ),
    "small": Scale(
        stages=(
            Stage(
                "seats",
                posed=True,
                n=19500,
                training={"simclr": {"epochs": 18}, "rotation": {"epochs": 32}},
            ),
            Stage("mixed", posed=False, n=12000, training={"simclr": {"epochs": 10}}),
        ),
        resolution=64,
        objects="sweethome3d",
        takes="about 3 hours",
        seeds=3,
    ),
}


def figure2(
    out: Path, scale: Scale, objects: str | None, render: Callable[[Sequence[str]], int], device: str = "auto"
) -> list[str]:
    """Make the figure and return lines that say where everything is and what it shows.

    Args:
        out: folder for everything; what is there already is used again.
        scale: one of SCALES, or your own.
        objects: SOURCE as in `gr3d render`; None for the scale's own.
        render: takes the arguments of `gr3d render`, returns its exit code.
        device: for training and regression.

    Raises UserError naming the step that failed.
    """
    source = objects or scale.objects
    clock = Clock(out / "steps.json")
    stages = [s for s in scale.stages if s.posed or source in POSED]  # a user's folder is one stage
    for stage in stages:
        with clock.step(f"{stage.name}: render"):
            _render(out / stage.name / "data", scale, stage, source, render)
    # Seed by seed, so that what is there when it is stopped is whole.
    seeds = range(scale.seeds)
    jobs = [job for seed in seeds for stage in stages for job in _training(out / stage.name, stage, seed, device)]
    with clock.step("train"):
        run_jobs(jobs, trainings_at_once(device), clock.note)
    lines = []
    for stage in stages:
        folder = out / stage.name
        with clock.step(f"{stage.name}: regress"), Parts(folder / "regression") as parts:
            found = regress_latents(_subjects(folder, stage, seeds), folder / "data", device=device, parts=parts)
            found.save(folder / "regression")
        results = averaged(found)
        plot = plot_layers(results, folder / "figure2", split="val")
        plot_layers(results, folder / "figure2-new-views", split="val_views")
        sheet = contact_sheet(folder / "data", folder / "contact-sheet.jpg")
        text = summary(results)
        write_atomically(folder / "summary.md", text.encode())
        lines += ["", f"== {stage.name} ==", format_table(results), "", format_recommendations(results), ""]
        lines += [*conclusions(results), ""]
        lines += [f"figure: {plot.png}", f"contact sheet: {sheet}", f"claims of the paper: {folder / 'summary.md'}"]
    lines.append(f"wall time: {sum(clock.seconds.values()):.0f} s in all ({out / 'steps.json'})")
    return lines


def _render(data: Path, scale: Scale, stage: Stage, source: str, render: Callable[[Sequence[str]], int]) -> None:
    shown = POSED.get(source, source) if stage.posed else source
    arguments = ["--n", str(stage.n), "--out", str(data), "--objects", shown, "--resolution", str(scale.resolution)]
    if code := render(arguments):
        raise UserError(f"{stage.name}: rendering into {data} ended early; the same command resumes", exit_code=code)


def _training(folder: Path, stage: Stage, seed: int, device: str) -> Iterator[Job]:
    for objective, own in stage.training.items():
        name = _run_name(objective, seed)
        options = {
            "data": folder / "data",
            "out": folder / "runs" / name,
            "objective": objective,
            "seed": seed,
            "device": device,
            **own,
        }
        yield gr3d_job(f"{stage.name}, {name}", folder / "runs" / f"{name}.log", "train", {"resume": True, **options})


def _run_name(objective: str, seed: int) -> str:
    return f"{objective}-seed{seed}" if seed else objective


def _subjects(folder: Path, stage: Stage, seeds: Sequence[int]) -> dict[str, Subject]:
    """The trained networks, and the controls: for each seed one untrained network (they start alike), pooled pixels."""
    runs = {
        (objective, seed): folder / "runs" / _run_name(objective, seed)
        for seed in seeds
        for objective in stage.training
    }
    subjects = {run.name: trained(run) for run in runs.values()}
    first = next(iter(stage.training))
    controls = {_run_name("untrained", seed): untrained(runs[first, seed]) for seed in seeds}
    return {**subjects, **controls, "pixels 8x8": pixels8()}


def summary(results: Results) -> str:
    """The claims and what this run says to each, on new objects and on new views, as Markdown."""
    lines = []
    for split, where in (("val", "new objects"), ("val_views", "new views of known objects")):
        lines += [f"## Judged on {where} (errors are shares of the variance)", ""]
        lines += [verdict.line() for verdict in judge(results, split)]
        lines += ["", "Best error of each network and control:", ""]
        lines += [f"* {line}" for line in control_lines(results, split)]
        lines.append("")
    lines += ["## Which layer to read", "", *(f"* {sentence}" for sentence in sentences(results)), ""]
    return "\n".join(lines)
