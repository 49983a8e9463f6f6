"""Trunk and head over tasks, for several ways to pair images (Figures 6 and 12 of the paper)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import mean, stdev

from matplotlib.axes import Axes
from matplotlib.patches import Patch
from matplotlib.ticker import PercentFormatter

from benchmark.errors import UserError
from benchmark.figures.claims import Verdict, all_of, is_positive
from benchmark.figures.style import CURVES, Written, figure_style, new_figure, write_figure

AUGMENTATION, NEIGHBOURS, CLASS = "augmentation", "neighbours", "class"
POSITIVES = (AUGMENTATION, NEIGHBOURS, CLASS)

_HATCHES = {AUGMENTATION: "", NEIGHBOURS: "///", CLASS: "..."}  # told apart in grey, too
_WIDTH = 0.26


@dataclass(frozen=True)
class Reading:
    """Networks trained on one kind of positives (of POSITIVES), read for one task.

    trunk, head: top-1 accuracy, from 0 to 1, read from the trunk and from the last layer of the head, one a seed.
    between: 95 % interval of their difference over images; of several seeds, what each has at least and at most.
    """

    positives: str
    task: str
    trunk: tuple[float, ...]
    head: tuple[float, ...]
    between: tuple[float, float]

    @property
    def gaps(self) -> tuple[float, ...]:
        """Trunk minus head, one a seed: above 0, it pays to cut the head off."""
        return tuple(trunk - head for trunk, head in zip(self.trunk, self.head, strict=True))


def plot_gaps(readings: Sequence[Reading], out: Path) -> Written:
    """Figure 6: trunk minus head, a group of bars a task, a bar for each kind of positives.

    Thin lines are the deviation over seeds. Writes out.png, out.svg and, a row a bar, out.csv. UserError when there is
    nothing to draw, and as `write_figure`.
    """
    with figure_style():
        figure = new_figure(1.9 * len(_tasks(readings)) + 3, 4)
        axis = figure.subplots()
        _bars(axis, readings, [reading.gaps for reading in readings])
        axis.axhline(0, color="black", linewidth=0.9)
        axis.set_ylabel("accuracy at the trunk minus at the head's end")
        _legend(axis)
        return write_figure(figure, out, _rows(readings))


def plot_accuracies(readings: Sequence[Reading], out: Path) -> Written:
    """Figure 12: the accuracies themselves, at the trunk above, at the last layer of the head below. As `plot_gaps`."""
    with figure_style():
        figure = new_figure(1.9 * len(_tasks(readings)) + 3, 6.6)
        axes = figure.subplots(2, 1, sharex=True, sharey=True)
        for axis, layer, name in zip(axes, ("trunk", "head"), ("trunk", "head's last layer"), strict=True):
            _bars(axis, readings, [getattr(reading, layer) for reading in readings])
            axis.set_ylabel(f"accuracy at the {name}")
        axes[0].tick_params(labelbottom=False)
        _legend(axes[0])
        return write_figure(figure, out, _rows(readings))


def judge(readings: Sequence[Reading], own: Sequence[str]) -> list[Verdict]:
    """What the paper says of Figure 6. own: the tasks that ask for the classes of the training images."""
    gap = {(reading.positives, reading.task): mean(reading.gaps) for reading in readings}
    trunk_wins = {(reading.positives, reading.task): is_positive(*reading.between) for reading in readings}
    no_worse = {True: False, False: True, None: None}
    tasks = _tasks(readings)

    def said(positives: str, where: Sequence[str]) -> str:
        return f"{positives}: " + ", ".join(f"{task} {gap[positives, task]:+.1%}" for task in where)

    sizes = {kind: mean(abs(gap[kind, task]) for task in tasks) for kind in POSITIVES}
    low, high = (
        {kind: mean(_distance(r.between)[end] for r in readings if r.positives == kind) for kind in POSITIVES}
        for end in (0, 1)
    )
    return [
        Verdict(
            "with pairs by augmentation, the trunk is read better than the end of the head on every task",
            all_of(trunk_wins[AUGMENTATION, task] for task in tasks),
            said(AUGMENTATION, tasks),
        ),
        Verdict(
            "with pairs by class, the end of the head is read at least as well as the trunk for the training's classes",
            all_of(no_worse[trunk_wins[CLASS, task]] for task in own),
            said(CLASS, own),
        ),
        Verdict(
            "with pairs by nearest neighbours, trunk and head lie closer together than with augmentation",
            is_positive(low[AUGMENTATION] - high[NEIGHBOURS], high[AUGMENTATION] - low[NEIGHBOURS]),
            "mean distance over tasks: " + ", ".join(f"{kind} {size:.1%}" for kind, size in sizes.items()),
        ),
    ]


def _distance(between: tuple[float, float]) -> tuple[float, float]:
    """The interval of a difference's size."""
    sizes = sorted(map(abs, between))
    return (0.0 if is_positive(*between) is None else sizes[0]), sizes[1]


def _tasks(readings: Sequence[Reading]) -> list[str]:
    if not readings:
        raise UserError("there is no task to draw")
    return list(dict.fromkeys(reading.task for reading in readings))


def _bars(axis: Axes, readings: Sequence[Reading], values: Sequence[Sequence[float]]) -> None:
    """values: of each reading, one a seed."""
    tasks = _tasks(readings)
    for reading, seeds in zip(readings, values, strict=True):
        kind = POSITIVES.index(reading.positives)
        place = tasks.index(reading.task) + _WIDTH * (kind - 1)
        bar = {"color": CURVES[kind][0], "hatch": _HATCHES[reading.positives], "edgecolor": "white", "linewidth": 0}
        axis.bar(place, mean(seeds), _WIDTH * 0.94, **bar)
        if len(seeds) > 1:
            axis.errorbar(place, mean(seeds), stdev(seeds), color="black", linewidth=1, capsize=2)
    axis.set_xticks(range(len(tasks)), tasks)
    axis.yaxis.set_major_formatter(PercentFormatter(xmax=1))  # as many decimals as the ticks need


def _legend(axis: Axes) -> None:
    handles = [
        Patch(facecolor=CURVES[k][0], hatch=_HATCHES[kind], edgecolor="white", label=f"pairs by {kind}")
        for k, kind in enumerate(POSITIVES)
    ]
    axis.figure.legend(handles=handles, loc="outside lower center", ncols=len(handles), fontsize=9)


def _rows(readings: Sequence[Reading]) -> list[dict[str, object]]:
    return [
        {
            "positives": reading.positives,
            "task": reading.task,
            "seeds": len(reading.trunk),
            **{
                f"{name}{what}": number
                for name, values in (
                    ("trunk", reading.trunk),
                    ("head", reading.head),
                    ("trunk_minus_head", reading.gaps),
                )
                for what, number in (("", mean(values)), ("_deviation", stdev(values) if len(values) > 1 else 0.0))
            },
        }
        for reading in readings
    ]
