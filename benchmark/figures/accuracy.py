"""Figures 1 and 9 of the paper: accuracy of a linear classifier on every layer, a panel a split, a curve a network."""

from __future__ import annotations

import math
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from benchmark.errors import UserError
from benchmark.figures.layers import DASHED, FEW, MANY_LAYERS, STAR, Depth, depth_of, frame, head_of, look_of
from benchmark.figures.style import SHADE, Written, figure_style, new_figure, write_figure
from benchmark.probes.accuracy import Classification
from benchmark.probes.accuracy_table import where
from benchmark.probes.results import PIXELS, TRAINED

_MOST_COLUMNS = 4
_ROOM = 0.04  # above and below the curves, of their range


def plot_accuracy(found: Classification, out: Path) -> Written:
    """Draw out.png and out.svg and write every plotted number to out.csv.

    A panel for each split that judged. Solid curves: top-1 there, in per cent, with bars from `low` to `high`; dashed:
    on the split that was fitted, of the same dataset; with more than three networks in a panel of its own. A star marks
    where to cut. Controls are grey. Networks with the same layers share an axis of their names; unlike ones stand on
    relative depth. UserError if the results hold no network, or as `write_figure`.
    """
    if all(found.role(name) == PIXELS for name in found.networks):
        raise UserError("these results hold no network to plot", exit_code=2)
    depth, panels = depth_of(found), _panels(found)
    numbers = [_plotted(found, depth, solid, dashed) for solid, dashed in panels]
    columns = min(len(panels), _MOST_COLUMNS if len(depth.names) < MANY_LAYERS else 3)
    lines = math.ceil(len(panels) / columns)
    with figure_style():
        figure = new_figure(max(6.0, 3.6 * columns + 0.6), 3.6 * lines + 0.9)
        axes = figure.subplots(lines, columns, squeeze=False)
        for axis, (solid, _), rows in zip(axes.flat, panels, numbers, strict=False):
            axis.set_title(_title(found, *solid))
            frame(axis, depth)
            for name in found.networks:
                _curve(axis, [row for row in rows if row["network"] == name], found, name, depth)
            _limits(axis, rows)
            if not depth.names:
                axis.set_xlabel("share of the network's layers gone through")
        for axis in list(axes.flat)[len(panels) :]:
            axis.set_visible(False)
        for axis in axes[:, 0]:
            axis.set_ylabel("top-1 accuracy, %")
        _legend(figure, found, depth)
        classes = len(found.info["classes"])
        figure.suptitle(f"Linear classification of {classes} classes from every layer", fontsize=12)
        return write_figure(figure, out, [row for rows in numbers for row in rows])


def _panels(found: Classification) -> list[tuple[tuple[str, str], tuple[str, str] | None]]:
    """(what is drawn solid, what dashed), each (dataset, split)."""
    if len(found.subjects) > FEW:
        return [(place, None) for place in (*found.judged, found.fitted)]
    return [(place, found.fitted if place[0] == found.fitted[0] else None) for place in found.judged]


def _plotted(
    found: Classification, depth: Depth, solid: tuple[str, str], dashed: tuple[str, str] | None
) -> list[dict[str, object]]:
    """What one panel shows, a row per point; `panel` names it. A line across has position ''."""
    rows = []
    for name in found.networks:
        subject = name in found.subjects
        cut = found.recommend(name, *solid) if subject and solid in found.judged else None
        for place in (solid, dashed) if dashed and subject else (solid,):
            for k, layer in enumerate(found.layers(name)):
                row = found.row(name, layer, *place)
                mark = cut is not None and place == solid and cut.readable
                rows.append(
                    {
                        "panel": " ".join(solid),
                        "network": name,
                        "role": found.role(name),
                        "dataset": place[0],
                        "split": place[1],
                        "layer": layer,
                        "position": depth.positions[name][k] if name in depth.positions else "",
                        "top1": row.top1,
                        "top5": row.top5,
                        "low": row.low,
                        "high": row.high,
                        "dashed": int(place != solid),
                        "best": int(mark and layer == cut.best.layer),
                        "cut": int(mark and layer == cut.cut.layer),
                    }
                )
    return rows


def _curve(axis: Axes, rows: list[dict], found: Classification, name: str, depth: Depth) -> None:
    """One network in one panel; bars and stars of several networks stand side by side."""
    look = look_of(found, name)
    solid = [row for row in rows if not row["dashed"]]
    if found.role(name) == PIXELS:
        axis.axhline(100 * solid[0]["top1"], **look)
        return
    curves = list(depth.positions)
    aside = depth.step * min(0.1, 0.6 / len(curves)) * (curves.index(name) - (len(curves) - 1) / 2)
    places = [row["position"] + aside for row in solid]
    axis.plot(places, [100 * row["top1"] for row in solid], **look)
    if solid[0]["low"] is not None:
        ends = [[100 * row[end] for row in solid] for end in ("low", "high")]
        axis.vlines(places, *ends, color=look["color"], linewidth=1.3, zorder=look["zorder"])
    if fitted := [row for row in rows if row["dashed"]]:
        dashed = {"color": look["color"], "linewidth": 1.3, "linestyle": DASHED, "zorder": 2}
        axis.plot([row["position"] for row in fitted], [100 * row["top1"] for row in fitted], **dashed)
    for place, row in zip(places, solid, strict=True):
        if row["cut"]:
            axis.plot(place, 100 * row["top1"], **STAR, markersize=14, color=look["color"], zorder=4)


def _limits(axis: Axes, rows: list[dict]) -> None:
    """All of the curves, and no more: a point of accuracy is to be seen."""
    values = [100 * row[key] for row in rows for key in ("top1", "low", "high") if row[key] is not None]
    room = max(1.0, _ROOM * (max(values) - min(values)))
    axis.set_ylim(max(-1.0, min(values) - room), min(101.0, max(values) + room))


def _title(found: Classification, dataset: str, split: str) -> str:
    shown = found.info["splits"][dataset][split]
    fitted = " (fitted on)" if (dataset, split) == found.fitted else ""
    return f"{where(found, dataset, split)}{fitted}, {shown['images']:,} images"


def _legend(figure: Figure, found: Classification, depth: Depth) -> None:
    handles = []
    for name in found.networks:
        label = name if found.seeds(name) == 1 else f"{name} ({found.seeds(name)} seeds)"
        handles.append(Line2D([], [], **look_of(found, name), label=label))
    handles.append(
        Line2D([], [], **STAR, markersize=12, color="white", label="where to cut: earliest as good as the best")
    )
    several = [name for name in found.networks if found.seeds(name) > 1]
    bars = "95 % interval"
    if several:
        all_of_them = all(name in several for name in found.networks if found.role(name) == TRAINED)
        bars = "standard deviation over seeds" if all_of_them else "95 % interval; of seeds: deviation"
    handles.append(
        Line2D([], [], color="black", linewidth=1.3, marker="|", markersize=10, linestyle="none", label=bars)
    )
    if len(found.subjects) <= FEW:
        label = f"dashed: fitted on, {found.info['fit_on']}"
        handles.append(Line2D([], [], color="black", linewidth=1.3, linestyle=DASHED, label=label))
    if head_of(depth):
        handles.append(Patch(facecolor=SHADE, edgecolor="#BBBBBB", label="head"))
    columns = max(2, min(4, round(figure.get_figwidth() / 3.4)))
    figure.legend(handles=handles, loc="outside lower center", ncols=columns, fontsize=8.5, handlelength=2.6)
