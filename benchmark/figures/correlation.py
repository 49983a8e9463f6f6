"""Trunk against head over a grid of settings: how alike the two rank them (Figures 5 and 13 of the paper)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import mean, stdev

import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from benchmark.errors import UserError
from benchmark.figures.claims import Verdict
from benchmark.figures.style import CURVES, Written, figure_style, new_figure, write_figure

WEAK = 0.5  # a rank correlation below this says little of one layer's order by the other's
_NORMAL = 1.96  # standard deviations to each side of a 95 % interval


@dataclass(frozen=True)
class Trial:
    """Networks of one setting: ``option`` of ``objective`` was ``value``, all else as in the recipe. The recipe itself
    has the option "".

    trunk, head: top-1 accuracy, from 0 to 1, read from the trunk and from the last layer of the head, one a seed.
    """

    objective: str
    option: str
    value: float
    trunk: tuple[float, ...]
    head: tuple[float, ...]


def spearman(x: Sequence[float], y: Sequence[float]) -> float:
    """Rank correlation, ties sharing the mean of their ranks; NaN where all of x or all of y are equal, or for fewer
    than two. The same as scipy.stats.spearmanr."""
    if len(x) < 2:
        return float("nan")
    (a, b) = (_ranks(values) for values in (x, y))
    a, b = a - a.mean(), b - b.mean()
    length = np.sqrt((a @ a) * (b @ b))
    return float(a @ b / length) if length else float("nan")


def _ranks(values: Sequence[float]) -> np.ndarray:
    _, place, count = np.unique(values, return_inverse=True, return_counts=True)
    return (np.cumsum(count) - (count - 1) / 2)[place]


def between(rank_correlation: float, settings: int) -> tuple[float, float]:
    """95 % interval of a rank correlation over so many settings (Bonett and Wright 2000, Psychometrika 65: normal after
    Fisher's transformation); (-1, 1) for fewer than four, or where it is NaN."""
    if settings < 4 or np.isnan(rank_correlation):
        return -1.0, 1.0
    centre = np.arctanh(np.clip(rank_correlation, -1 + 1e-9, 1 - 1e-9))
    reach = _NORMAL * np.sqrt((1 + rank_correlation**2 / 2) / (settings - 3))
    return float(np.tanh(centre - reach)), float(np.tanh(centre + reach))


def correlation(trials: Sequence[Trial], objective: str) -> float:
    """Rank correlation of trunk and head over an objective's settings, each the mean of its seeds."""
    mine = [trial for trial in trials if trial.objective == objective]
    return spearman([mean(trial.trunk) for trial in mine], [mean(trial.head) for trial in mine])


def plot_scatter(trials: Sequence[Trial], out: Path) -> Written:
    """Figure 5: a panel per objective, a point per setting, its head's accuracy across and its trunk's up.

    Bars are the deviation over seeds. Writes out.png, out.svg and, a row a setting, out.csv. UserError when there is
    nothing to draw, and as `write_figure`.
    """
    objectives = _objectives(trials)
    options = list(dict.fromkeys(trial.option for trial in trials))
    with figure_style():
        figure = new_figure(3.5 * len(objectives) + 0.4, 3.9)
        axes = figure.subplots(1, len(objectives), squeeze=False)[0]
        for axis, objective in zip(axes, objectives, strict=True):
            mine = [trial for trial in trials if trial.objective == objective]
            axis.set_title(f"{objective}: rank correlation {correlation(trials, objective):.2f}")
            for trial in mine:
                _point(axis, trial, *CURVES[options.index(trial.option) % len(CURVES)])
            axis.set_xlabel("accuracy at the last layer of the head")
            _diagonal(axis)
        axes[0].set_ylabel("accuracy at the trunk")
        handles = [
            Line2D([], [], color=colour, marker=marker, linestyle="none", label=option or "recipe")
            for option, (colour, marker) in zip(options, CURVES * 2, strict=False)
        ]
        handles.append(Line2D([], [], color="#555555", linewidth=0.8, label="both alike"))
        figure.legend(handles=handles, loc="outside lower center", ncols=len(handles), fontsize=9)
        return write_figure(figure, out, _rows(trials))


def plot_grid(trials: Sequence[Trial], out: Path) -> Written:
    """Figure 13: a column per objective, a row per option, accuracy over the option's values at trunk and head.

    As `plot_scatter` otherwise.
    """
    objectives = _objectives(trials)
    rows = _kinds(trials)
    with figure_style():
        figure = new_figure(3.2 * len(objectives) + 0.4, 2.5 * len(rows) + 0.6)
        axes = figure.subplots(len(rows), len(objectives), squeeze=False, sharey=True)
        for line, kind in zip(axes, rows, strict=True):
            for axis, objective in zip(line, objectives, strict=True):
                mine = [t for t in trials if t.objective == objective and _kind(t.option) == kind]
                _curves(axis, objective, sorted(mine, key=lambda trial: trial.value))
            line[0].set_ylabel("accuracy")
        (trunk, circle), (head, square) = CURVES[0], CURVES[1]
        handles = [
            Line2D([], [], color=trunk, marker=circle, label="trunk"),
            Line2D([], [], color=head, marker=square, linestyle="--", label="last layer of the head"),
        ]
        figure.legend(handles=handles, loc="outside lower center", ncols=2, fontsize=9)
        return write_figure(figure, out, _rows(trials))


def judge(trials: Sequence[Trial]) -> list[Verdict]:
    """What the paper says of Figures 5 and 13, on these settings."""
    verdicts, found = [], []
    for objective in _objectives(trials):
        mine = [trial for trial in trials if trial.objective == objective]
        trunk, head = (_span([mean(getattr(trial, layer)) for trial in mine]) for layer in ("trunk", "head"))
        verdicts.append(
            Verdict(
                f"over the grid, {objective}'s accuracy varies less at the trunk than at the end of the head",
                trunk[1] - trunk[0] < head[1] - head[0],
                f"trunk {trunk[0]:.1%} to {trunk[1]:.1%}, head {head[0]:.1%} to {head[1]:.1%}, {len(mine)} settings",
            )
        )
        value = correlation(trials, objective)
        found.append((objective, value, between(value, len(mine))))
    verdicts.append(
        Verdict(
            f"trunk and head do not always rank settings alike (a rank correlation below {WEAK} somewhere)",
            _is_any_weak([ends for *_, ends in found]),
            ", ".join(f"{objective} {value:.2f} ({low:.2f} to {high:.2f})" for objective, value, (low, high) in found),
        )
    )
    return verdicts


def _is_any_weak(intervals: Sequence[tuple[float, float]]) -> bool | None:
    if any(high < WEAK for _, high in intervals):
        return True
    return False if all(low >= WEAK for low, _ in intervals) else None


def _objectives(trials: Sequence[Trial]) -> list[str]:
    if not trials:
        raise UserError("there is no setting to draw")
    return list(dict.fromkeys(trial.objective for trial in trials))


_COMMON = ("lr", "batch")  # options that every objective has; the others are of the loss


def _kind(option: str) -> str:
    return option if option in _COMMON else "loss"


def _kinds(trials: Sequence[Trial]) -> list[str]:
    return list(dict.fromkeys(_kind(trial.option) for trial in trials))


def _deviation(values: Sequence[float]) -> float:
    return stdev(values) if len(values) > 1 else 0.0


def _span(values: Sequence[float]) -> tuple[float, float]:
    return min(values), max(values)


def _point(axis: Axes, trial: Trial, colour: str, marker: str) -> None:
    x, y = mean(trial.head), mean(trial.trunk)
    axis.errorbar(
        x,
        y,
        _deviation(trial.trunk),
        _deviation(trial.head),
        color=colour,
        marker=marker,
        markersize=5.5,
        linestyle="none",
        elinewidth=0.9,
    )
    text = f"{trial.value:g}" if trial.option else ""
    axis.annotate(text, (x, y), xytext=(4, 3), textcoords="offset points", fontsize=7, color=colour)


def _diagonal(axis: Axes) -> None:
    axis.margins(0.15)
    limits = axis.get_xlim(), axis.get_ylim()
    axis.axline((0, 0), slope=1, color="#555555", linewidth=0.8, zorder=1)
    axis.set(xlim=limits[0], ylim=limits[1])


def _curves(axis: Axes, objective: str, trials: Sequence[Trial]) -> None:
    if not trials:
        axis.set_axis_off()
        return
    axis.set_title(objective)
    axis.set_xlabel(trials[0].option)
    places = range(len(trials))  # values lie a factor apart; some are 0
    for layer, (colour, marker), style in (("trunk", CURVES[0], "-"), ("head", CURVES[1], "--")):
        seeds = [getattr(trial, layer) for trial in trials]
        bars = list(map(_deviation, seeds))
        axis.errorbar(
            places, list(map(mean, seeds)), bars, color=colour, marker=marker, linestyle=style, linewidth=1.6, capsize=2
        )
    axis.set_xticks(places, [f"{trial.value:g}" for trial in trials])


def _rows(trials: Sequence[Trial]) -> list[dict[str, object]]:
    return [
        {
            "objective": trial.objective,
            "option": trial.option,
            "value": trial.value,
            "seeds": len(trial.trunk),
            "trunk": mean(trial.trunk),
            "trunk_deviation": _deviation(trial.trunk),
            "head": mean(trial.head),
            "head_deviation": _deviation(trial.head),
        }
        for trial in trials
    ]
