"""Curves over layers in panels, the best layer of each marked by a square, as the paper draws its accuracies."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from benchmark.figures.layers import Depth, frame, head_of
from benchmark.figures.style import CONTROL, CURVES, SHADE, Written, figure_style, new_figure, write_figure
from benchmark.probes.accuracy import Accuracy, Classification
from benchmark.probes.results import UNTRAINED

_MOST_COLUMNS = 3
_DASHES = ("-", (0, (5, 1.5)), (0, (1.5, 1.2)))  # from the eighth curve on, colours come again


@dataclass(frozen=True)
class Curve:
    """name: in the legend; the same one has the same look in every panel. layers: from input to output. values, in
    per cent; low, high: ends of their bars, None for none. control: drawn in grey, without a square."""

    name: str
    layers: tuple[str, ...]
    values: tuple[float, ...]
    low: tuple[float | None, ...]
    high: tuple[float | None, ...]
    control: bool = False

    def best(self, lowest: bool = False) -> str:
        return self.layers[self.values.index((min if lowest else max)(self.values))]


@dataclass(frozen=True)
class Panel:
    title: str
    curves: tuple[Curve, ...]


def curve(found: Classification, network: str, place: tuple[str, str], name: str | None = None) -> Curve:
    """Top-1 of a network on one (dataset, split)."""
    rows = [found.row(network, layer, *place) for layer in found.layers(network)]
    return accuracy_curve(name or network, rows, found.role(network) == UNTRAINED)


def accuracy_curve(name: str, rows: Sequence[Accuracy], control: bool = False) -> Curve:
    """Rows of one network, a layer each."""
    return Curve(
        name,
        tuple(row.layer for row in rows),
        tuple(100 * row.top1 for row in rows),
        tuple(None if row.low is None else 100 * row.low for row in rows),
        tuple(None if row.high is None else 100 * row.high for row in rows),
        control,
    )


def plot_curves(
    panels: Sequence[Panel],
    out: Path,
    title: str,
    bars: str,
    ylabel: str = "top-1 accuracy, %",
    lowest: bool = False,
) -> Written:
    """Draw out.png and out.svg and write every plotted number to out.csv.

    bars: what the bars are, for the legend. lowest: whether small values are good. All curves have the same layers.
    UserError as `write_figure`.
    """
    names = list(dict.fromkeys(curve.name for panel in panels for curve in panel.curves if not curve.control))
    columns = min(len(panels), _MOST_COLUMNS)
    lines = -(-len(panels) // columns)
    layers = panels[0].curves[0].layers
    depth = Depth({}, layers)
    with figure_style():
        figure = new_figure(max(6.4, columns * (2.2 + 0.32 * len(layers))), 3.9 * lines + 1.2)
        axes = figure.subplots(lines, columns, squeeze=False)
        for axis, panel in zip(axes.flat, panels, strict=False):
            axis.set_title(panel.title)
            frame(axis, depth)
            for curve in panel.curves:
                _draw(axis, curve, names, lowest)
        for axis in list(axes.flat)[len(panels) :]:
            axis.set_visible(False)
        for axis in axes[:, 0]:
            axis.set_ylabel(ylabel)
        _legend(figure, panels, names, depth, bars, lowest)
        figure.suptitle(title, fontsize=12)
        return write_figure(figure, out, _rows(panels, lowest))


def _look(curve: Curve, names: Sequence[str]) -> dict[str, object]:
    if curve.control:
        return {"color": CONTROL, "marker": ".", "linewidth": 1, "zorder": 2}
    place = names.index(curve.name)
    colour, marker = CURVES[place % len(CURVES)]
    dash = _DASHES[place // len(CURVES) % len(_DASHES)]
    return {"color": colour, "marker": marker, "markersize": 4.5, "linewidth": 1.5, "linestyle": dash, "zorder": 3}


def _draw(axis, curve: Curve, names: Sequence[str], lowest: bool) -> None:
    look, count = _look(curve, names), len(names)
    aside = 0 if curve.control else min(0.1, 0.6 / count) * (names.index(curve.name) - (count - 1) / 2)
    places = [layer + aside for layer in range(len(curve.layers))]  # bars of several curves stand side by side
    axis.plot(places, curve.values, **look)
    barred = [k for k, low in enumerate(curve.low) if low is not None]
    ends = [[end[k] for k in barred] for end in (curve.low, curve.high)]
    axis.vlines([places[k] for k in barred], *ends, color=look["color"], linewidth=1.1, zorder=look["zorder"])
    if not curve.control:
        best = curve.layers.index(curve.best(lowest))
        square = {"marker": "s", "markersize": 11, "markerfacecolor": "none", "markeredgewidth": 1.8}
        axis.plot(places[best], curve.values[best], color=look["color"], **square, zorder=4)


def _legend(figure, panels: Sequence[Panel], names: Sequence[str], depth: Depth, bars: str, lowest: bool) -> None:
    curves = {curve.name: curve for panel in panels for curve in panel.curves}
    handles = [Line2D([], [], **_look(curves[name], names), label=name) for name in names]
    handles += [Line2D([], [], **_look(one, names), label=one.name) for one in curves.values() if one.control]
    square = Line2D([], [], color="black", marker="s", markersize=10, markerfacecolor="none", linestyle="none")
    square.set_label("lowest of its curve" if lowest else "best of its curve")
    bar = Line2D([], [], color="black", linewidth=1.3, marker="|", markersize=10, linestyle="none", label=bars)
    handles += [square, bar]
    if head_of(depth):
        handles.append(Patch(facecolor=SHADE, edgecolor="#BBBBBB", label="head"))
    columns = max(2, min(5, round(figure.get_figwidth() / 2.6)))
    figure.legend(handles=handles, loc="outside lower center", ncols=columns, fontsize=9, handlelength=2.8)


def _rows(panels: Sequence[Panel], lowest: bool) -> list[dict[str, object]]:
    return [
        {
            "panel": panel.title,
            "curve": curve.name,
            "layer": layer,
            "percent": value,
            "low": low,
            "high": high,
            "best": int(not curve.control and layer == curve.best(lowest)),
        }
        for panel in panels
        for curve in panel.curves
        for layer, value, low, high in zip(curve.layers, curve.values, curve.low, curve.high, strict=True)
    ]


def table(panels: Sequence[Panel], lowest: bool = False) -> str:
    """A Markdown table a panel: layers down, curves across, in per cent with half of the bar; the best in bold."""
    lines: list[str] = []
    for panel in panels:
        lines += [f"{panel.title}, %:", "", "| layer | " + " | ".join(one.name for one in panel.curves) + " |"]
        lines.append("|---" * (1 + len(panel.curves)) + "|")
        for k, layer in enumerate(panel.curves[0].layers):
            cells = [_cell(one, k, layer == one.best(lowest) and not one.control) for one in panel.curves]
            lines.append(f"| {layer} | " + " | ".join(cells) + " |")
        lines.append("")
    return "\n".join(lines)


def _cell(curve: Curve, k: int, best: bool) -> str:
    text = f"{curve.values[k]:.1f}"
    if curve.low[k] is not None:
        text += f" ±{(curve.high[k] - curve.low[k]) / 2:.1f}"
    return f"**{text}**" if best else text
