"""Figures 5 and 13: one hyper-parameter at a time, and what becomes of trunk and head.

The paper names what it varied (of the loss, learning rate, batch size), not the values; these are ours, around those of
the recipe. As in the authors' code the learning rate goes with the batch.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from benchmark.figures.correlation import Trial, correlation, judge, plot_grid, plot_scatter
from benchmark.figures.scales import Setting
from benchmark.figures.study import Figure, Found, Packed, Probing, Shown, Study, Training
from benchmark.figures.style import Written
from benchmark.recipes import RECIPES, batch_for
from benchmark.training.config import RunConfig

TRUNK, LAST = "trunk", "head3"
CLASSES = "classes"  # the one probing


@dataclass(frozen=True)
class Grid:
    """Of one objective's loss: ``name`` in the figure, values other than the recipe's, how an option of `gr3d train`
    says one, and which the recipe has."""

    name: str
    values: tuple[float, ...]
    options: Callable[[float], dict[str, object]]
    own: Callable[[RunConfig], float]


LOSSES = {
    "simclr": Grid("temperature", (0.05, 0.1, 0.5, 1.0), lambda t: {"temperature": t}, lambda run: run.temperature),
    "barlow-twins": Grid(
        "redundancy", (0.0005, 0.002, 0.02, 0.05), lambda r: {"redundancy": r}, lambda run: run.redundancy
    ),
    "vicreg": Grid(
        "covariance", (0.1, 0.3, 3.0, 10.0), lambda c: {"vicreg": (25.0, 25.0, c)}, lambda run: run.vicreg[2]
    ),
    "byol": Grid("ema", (0.9, 0.95, 0.998, 0.9995), lambda m: {"ema": m}, lambda run: run.ema),
}
_RATES = (0.25, 0.5, 2.0, 4.0)  # times the recipe's learning rate
_BATCHES = (0.125, 0.25, 0.5, 2.0)  # times its batch, and its learning rate

# Many networks: fewer images and passes than the other figures' at these scales.
_IMAGES = {"demo": 1000, "small": 4000}
_EPOCHS = {"demo": 4, "small": 10}


@dataclass(frozen=True)
class Point:
    """One training: ``option`` of ``objective`` has the value ``value``; the recipe's own has the option ""."""

    objective: str
    option: str
    value: float
    options: dict[str, object]

    @property
    def name(self) -> str:
        return f"{self.objective}-{self.option}-{self.value:g}" if self.option else self.objective


def points(setting: Setting) -> list[Point]:
    """The recipe of every objective, and each with one option changed."""
    return [point for objective in LOSSES for point in _points(setting, objective)]


def _points(setting: Setting, objective: str) -> Iterator[Point]:
    recipe = RECIPES[setting.scale.training["recipe"]][objective]
    lr, batch = (setting.scale.training.get(option, getattr(recipe, option)) for option in ("lr", "batch"))
    images = setting.images("train")
    images = images and min(images, _IMAGES.get(setting.name, images))
    batch = batch_for(images, batch)
    some = slice(None) if setting.is_paper else slice(None, None, 3)  # the outermost
    grid = LOSSES[objective]
    yield Point(objective, "", 0.0, {"lr": lr, "batch": batch})
    for value in grid.values[some]:
        yield Point(objective, grid.name, value, {"lr": lr, "batch": batch, **grid.options(value)})
    for times in _RATES[some]:
        yield Point(objective, "lr", times * lr, {"lr": times * lr, "batch": batch})
    for times in () if setting.name == "demo" else _BATCHES[some]:
        size = int(times * batch)
        if size < 2 or batch_for(images, size) != size:
            continue  # too large for these images: it would be trained with another one under its name
        yield Point(objective, "batch", size, {"lr": times * lr, "batch": size})


def study(setting: Setting) -> Study:
    grid = points(setting)
    source, epochs = setting.packed(), {}
    if not setting.is_paper:
        source = Packed(source.data, {**source.options, "limit": _IMAGES[setting.name]})
        epochs = {"epochs": _EPOCHS[setting.name]}
    note = setting.note()
    if not setting.is_paper:
        note += f" This figure: {_IMAGES[setting.name]:,} images a split, {_EPOCHS[setting.name]} epochs"
        note += ", one batch size." if setting.name == "demo" else "."
    return Study(
        datasets={"source": source},
        trainings={p.name: Training("source", setting.training(p.objective, **{**p.options, **epochs})) for p in grid},
        probings={CLASSES: Probing("source", tuple(point.name for point in grid), only=(TRUNK, LAST))},
        seeds=setting.seeds_or_own,
        note=note,
    )


def trials(found: Found) -> list[Trial]:
    """Every training once; what is of the recipe alone has the option ""."""
    made = []
    for name in found.study.trainings:
        objective, option, value = _parsed(name)
        read = (tuple(found.accuracies(CLASSES, name, layer)) for layer in (TRUNK, LAST))
        made.append(Trial(objective, option, value, *read))
    return made


def _parsed(name: str) -> tuple[str, str, float]:
    """The inverse of Point.name."""
    objective = next(objective for objective in LOSSES if name == objective or name.startswith(f"{objective}-"))
    option, _, value = name.removeprefix(objective).removeprefix("-").partition("-")
    return objective, option, float(value or 0)


def lines(found: Found) -> list[Trial]:
    """Every line of Figure 13: the recipe's training stands in each, under the value that it has there."""
    once, drawn = trials(found), []
    for trial in once:
        if trial.option:
            drawn.append(trial)
            continue
        options = found.study.trainings[trial.objective].options
        recipe = RECIPES[options["recipe"]][trial.objective]
        grid = LOSSES[trial.objective]
        values = {grid.name: grid.own(recipe), "lr": options["lr"], "batch": options["batch"]}
        varied = {other.option for other in once if other.objective == trial.objective and other.option}
        drawn += [
            Trial(trial.objective, option, float(value), trial.trunk, trial.head)
            for option, value in values.items()
            if option in varied
        ]
    return drawn


def draw_scatter(found: Found, out: Path) -> Shown:
    made = trials(found)
    return _shown(plot_scatter(made, out), made)


def draw_grid(found: Found, out: Path) -> Shown:
    return _shown(plot_grid(lines(found), out), trials(found))


def _shown(written: Written, made: list[Trial]) -> Shown:
    rows = ["| objective | settings | rank correlation | trunk | end of the head |", "|---|---|---|---|---|"]
    for objective in LOSSES:
        mine = [trial for trial in made if trial.objective == objective]
        spans = [_span([sum(getattr(t, layer)) / len(t.trunk) for t in mine]) for layer in ("trunk", "head")]
        rows.append(f"| {objective} | {len(mine)} | {correlation(made, objective):.2f} | {spans[0]} | {spans[1]} |")
    return Shown(written, "\n".join(rows), judge(made))


def _span(values: list[float]) -> str:
    return f"{min(values):.1%} to {max(values):.1%}"


FIGURES = {
    "5": Figure("hyper-parameters: trunk against head, and their rank correlation", "figures5-13", study, draw_scatter),
    "13": Figure("hyper-parameters: trunk and head over each one's values", "figures5-13", study, draw_grid),
}
