"""Figure 11 of the paper: how well every layer can be read while the network trains, a panel per latent and one for
the classes, a curve per layer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.colors import to_hex
from matplotlib.lines import Line2D

from benchmark.errors import UserError
from benchmark.figures.style import Written, figure_style, new_figure, write_figure
from benchmark.probes.online import CLASSES, read_records
from benchmark.probes.recommend import LATENTS
from benchmark.probes.targets import TARGETS_BY_NAME

_MARKERS = "os^Dv"
_COLUMNS = 5
_CEILING = 1.2  # above 1 a regressor is worse than always answering the mean; by how much is not worth the space


def plot_epochs(run: Path, out: Path) -> Written:
    """Draw the online probes' records of a run directory as out.png and out.svg, and write them to out.csv.

    The csv has a row for every epoch, layer and target: its error over the target's variance, or, for the target
    "classes", the accuracy. UserError for a folder without records, or as `write_figure`.
    """
    records = read_records(run)
    numbers = _numbers(records)
    layers = list(dict.fromkeys(number["layer"] for number in numbers))
    # The raw hues and spot phi are in the csv alone: no linear reader gets below about 0.39 on them.
    shown = [name for name in (*LATENTS, CLASSES) if any(number["target"] == name for number in numbers)]
    if not shown:
        raise UserError(f"{run}: its online probes have read nothing that could be drawn")
    looks = {layer: _look(layer, place, len(layers)) for place, layer in enumerate(layers)}
    rows = -(-(len(shown) + 1) // _COLUMNS)  # one place more, for the legend
    with figure_style():
        figure = new_figure(14, 3.6 * rows)
        axes = figure.subplots(rows, _COLUMNS, squeeze=False)
        for axis, name in zip(axes.flat, shown, strict=False):
            _panel(axis, name, [number for number in numbers if number["target"] == name], looks)
        if CLASSES in shown:
            _commonest(axes.flat[shown.index(CLASSES)], records)
        for axis in axes.flat[len(shown) :]:
            axis.set_axis_off()
        _legend(axes.flat[len(shown)], looks)
        judged = records[-1]["judged_images"]
        figure.suptitle(
            f"What can be read linearly from each layer during training: {run.resolve().name} "
            f"({judged:,} images judged an epoch)",
            fontsize=13,
        )
        return write_figure(figure, out, numbers)


def _numbers(records: list[dict]) -> list[dict[str, object]]:
    """Every number of the records, a row each."""
    numbers = []
    for record in records:
        for layer, errors in record["error"].items():
            values = dict(errors)
            if layer in record.get("accuracy", {}):
                values[CLASSES] = record["accuracy"][layer]
            for target, value in values.items():
                if value is not None:
                    kind = "accuracy" if target == CLASSES else "error / variance"
                    row = {"epoch": record["epoch"], "layer": layer, "target": target}
                    numbers.append({**row, "measure": kind, "value": value})
    return numbers


def _look(layer: str, place: int, count: int) -> dict[str, object]:
    """Dark near the input, light near the output, the same in grey; the head, which is cut off, is dashed."""
    colour = to_hex(colormaps["viridis"](0.9 * place / max(1, count - 1)))
    style = (0, (4, 1.5)) if layer.startswith("head") else "-"
    return {"color": colour, "marker": _MARKERS[place % len(_MARKERS)], "markersize": 4.5, "linestyle": style}


def _panel(axis: Axes, name: str, numbers: list[dict], looks: dict[str, dict]) -> None:
    axis.set_title("Category" if name == CLASSES else TARGETS_BY_NAME[name].label.capitalize())
    for layer, look in looks.items():
        mine = [number for number in numbers if number["layer"] == layer]
        every = max(1, len(mine) // 8)  # a long run's markers would hide its curve
        axis.plot([n["epoch"] for n in mine], [n["value"] for n in mine], **look, linewidth=1.6, markevery=every)
    axis.set_xlabel("epoch")
    axis.xaxis.get_major_locator().set_params(integer=True)
    if name == CLASSES:
        axis.set_ylabel("accuracy")
        axis.set_ylim(0, 1.03)
    else:
        axis.set_ylabel("error / variance")
        axis.set_ylim(0, min(_CEILING, max(1.05, 1.03 * max(number["value"] for number in numbers))))
        axis.axhline(1, color="#555555", linewidth=0.8, zorder=1)


def _commonest(axis: Axes, records: list[dict]) -> None:
    share = [(record["epoch"], record["commonest"]) for record in records if record.get("commonest") is not None]
    axis.plot(*zip(*share, strict=True), color="#555555", linewidth=0.8, zorder=1)


def _legend(axis: Axes, looks: dict[str, dict]) -> None:
    handles = [Line2D([], [], **look, linewidth=1.6, label=layer) for layer, look in looks.items()]
    handles.append(Line2D([], [], color="#555555", linewidth=0.8, label="always the mean,\nor the commonest"))
    axis.legend(
        handles=handles,
        loc="center",
        ncols=1 + (len(handles) > 12),
        fontsize=9,
        handlelength=3.4,
        borderaxespad=0,
    )


def plot_accuracies(
    values: Mapping[str, Sequence[float]],
    spread: Mapping[str, Sequence[float]],
    commonest: float,
    title: str,
    out: Path,
) -> Written:
    """Draw one panel of accuracies by epoch as out.png and out.svg; a row for every epoch and layer into out.csv.

    values, spread: layer -> per cent, and the deviation over seeds, of every epoch. commonest: per cent that always
    answering the commonest class gets right. UserError as `write_figure`.
    """
    looks = {layer: _look(layer, place, len(values)) for place, layer in enumerate(values)}
    with figure_style():
        figure = new_figure(9.5, 4.6)
        axis, legend = figure.subplots(1, 2, width_ratios=(3, 1))
        legend.set_axis_off()
        for layer, look in looks.items():
            epochs = range(1, len(values[layer]) + 1)
            every = max(1, len(epochs) // 8)  # a long run's markers would hide its curve
            axis.plot(epochs, values[layer], **look, linewidth=1.6, markevery=every)
            low = [value - deviation for value, deviation in zip(values[layer], spread[layer], strict=True)]
            high = [value + deviation for value, deviation in zip(values[layer], spread[layer], strict=True)]
            axis.vlines(epochs, low, high, color=look["color"], linewidth=1)
        axis.axhline(commonest, color="#555555", linewidth=0.8, zorder=1)
        axis.xaxis.get_major_locator().set_params(integer=True)
        axis.set_xlabel("epoch")
        axis.set_ylabel("top-1 accuracy, %")
        _legend(legend, looks)
        figure.suptitle(title, fontsize=12)
        numbers = [
            {"epoch": k + 1, "layer": layer, "percent": value, "deviation": spread[layer][k]}
            for layer, row in values.items()
            for k, value in enumerate(row)
        ]
        return write_figure(figure, out, numbers)
