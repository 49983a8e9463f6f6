"""Figure 2 of the paper: error of a linear regressor on every layer, a panel per latent, a curve per
network."""

from __future__ import annotations

from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from benchmark.errors import UserError
from benchmark.figures.style import CONTROL, CURVES, SHADE, Written, figure_style, new_figure, write_figure
from benchmark.probes.results import PIXELS, SPLIT_WORDS, TRAINED, Results

# Rows of panels. A raw hue or angle stands below its circular form: it jumps where its range closes, and no
# linear reader gets below about 0.39 on it.
PANELS: tuple[tuple[tuple[str, str], ...], ...] = (
    (
        ("rotation", "Rotation (quaternion)"),
        ("floor_hue_cos_sin", "Floor hue (cos, sin)"),
        ("spot_hue_cos_sin", "Spot hue (cos, sin)"),
        ("spot_phi_cos_sin", "Spot phi (cos, sin)"),
    ),
    (
        ("spot_theta", "Spot theta"),
        ("floor_hue", "Floor hue (raw)"),
        ("spot_hue", "Spot hue (raw)"),
        ("spot_phi", "Spot phi (raw)"),
    ),
    (("yaw", "Yaw"), ("pitch", "Pitch"), ("roll", "Roll")),
)
# Above 1 a regressor is worse than always answering the mean; by how much is not worth the space.
_CEILING = 1.2
_STAR = {
    "marker": "*",
    "markeredgecolor": "black",
    "markeredgewidth": 0.8,
    "linestyle": "none",
}


def plot_layers(results: Results, out: Path, split: str | None = None) -> Written:
    """Draw out.png and out.svg and write every plotted number to out.csv.

    Solid curves: error on `split`, as in `Results.judged`; dashed: on the fitting split; a star marks the best
    layer on `split`. Controls are grey. Errors are shares of the latent's variance. UserError if `split` was not
    judged, if the results hold no network, or as `write_figure`.
    """
    split = results.judged(split)
    layers = layer_order(results)
    if not layers:
        raise UserError("these results hold no network to plot", exit_code=2)
    panels = [panel for row in PANELS for panel in row]
    numbers = {target: _plotted(results, target, split, layers) for target, _ in panels}
    everything = [number for rows in numbers.values() for number in rows]
    with figure_style():
        figure = new_figure(13.5, 9.4)
        axes = figure.subplots(len(PANELS), len(PANELS[0]), sharey=True)
        axes[0, 0].set_ylim(0, min(_CEILING, max(1.05, 1.03 * max(number["error"] for number in everything))))
        for axis, (target, title) in zip(axes.flat, panels, strict=False):
            axis.set_title(title)
            _frame(axis, layers)
            for position, name in enumerate(results.networks):
                _curve(
                    axis,
                    [n for n in numbers[target] if n["network"] == name],
                    _look(results, name),
                    split,
                    position,
                )
        for axis in axes[:, 0]:
            axis.set_ylabel("error / variance of the latent")
        _legend(axes.flat[len(panels)], results, split, layers)
        figure.suptitle(f"Linear regression of each latent from every layer, judged on {_words(split)}", fontsize=13)
        return write_figure(figure, out, everything)


def layer_order(results: Results) -> list[str]:
    """The layers of all networks from input to output; pooled pixels, which have no depth, are not among
    them."""
    order: list[str] = []
    networks = [name for name in results.networks if results.role(name) != PIXELS]
    for name in sorted(networks, key=lambda name: -len(results.layers(name))):
        place = 0
        for layer in results.layers(name):
            if layer not in order:
                order.insert(place, layer)
            place = order.index(layer) + 1
    return order


def _plotted(results: Results, target: str, split: str, layers: list[str]) -> list[dict[str, object]]:
    """What one panel shows, a row per point: controls on the judging split only. A line across has position
    ''."""
    numbers = []
    for name in results.networks:
        best = results.best_layer(name, target, split)
        for shown in (split, results.info["fit_on"]) if results.role(name) == TRAINED else (split,):
            for layer in results.layers(name):
                numbers.append(
                    {
                        "target": target,
                        "network": name,
                        "role": results.role(name),
                        "split": shown,
                        "layer": layer,
                        "position": layers.index(layer) if results.role(name) != PIXELS else "",
                        "error": results.row(name, layer, target, shown).nmse,
                        "best": int(layer == best and shown == split and results.role(name) == TRAINED),
                    }
                )
    return numbers


def _look(results: Results, name: str) -> dict[str, object]:
    """Colour, marker and width of a network's solid curve."""
    role = results.role(name)
    if role == TRAINED:
        colour, marker = CURVES[results.trained.index(name) % len(CURVES)]
        return {
            "color": colour,
            "marker": marker,
            "markersize": 6,
            "linewidth": 2,
            "linestyle": "-",
            "zorder": 3,
        }
    if role == PIXELS:
        return {"color": CONTROL, "linewidth": 1.4, "linestyle": ":", "zorder": 2}
    return {"color": CONTROL, "marker": ".", "markersize": 5, "linewidth": 1, "linestyle": "-", "zorder": 2}


def _curve(axis: Axes, numbers: list[dict], look: dict, split: str, height: int) -> None:
    """One network in one panel. `height`, its place among the networks, staggers what would overlap."""
    judged = [number for number in numbers if number["split"] == split]
    if judged[0]["role"] == PIXELS:
        axis.axhline(judged[0]["error"], **look)
        return
    axis.plot([n["position"] for n in judged], [n["error"] for n in judged], **look)
    fitted = [number for number in numbers if number["split"] != split]
    axis.plot(
        [n["position"] for n in fitted],
        [n["error"] for n in fitted],
        **{**look, "marker": "", "linewidth": 1.3, "linestyle": (0, (4, 2))},
    )
    top = axis.get_ylim()[1]
    for number in judged:
        if number["error"] > top:
            place = (number["position"], top * (0.985 - 0.055 * height))
            axis.text(*place, f"↑{number['error']:.1f}", color=look["color"], fontsize=7.5, ha="center", va="top")
    best = next((number for number in judged if number["best"]), None)
    if best:
        # Smaller from one network to the next, so that none hides another at the same place.
        size = max(17 - 4 * height, 9)
        axis.plot(best["position"], best["error"], **_STAR, markersize=size, color=look["color"], zorder=4)


def _frame(axis: Axes, layers: list[str]) -> None:
    """Layer names below; the head, which the paper's guillotine cuts off, shaded."""
    axis.set_xticks(range(len(layers)), layers, rotation=50, ha="right", rotation_mode="anchor")
    axis.set_xlim(-0.5, len(layers) - 0.5)
    axis.axhline(1, color="#555555", linewidth=0.8, zorder=1)
    head = [position for position, layer in enumerate(layers) if layer.startswith("head")]
    if head:
        axis.axvspan(min(head) - 0.5, max(head) + 0.5, color=SHADE, linewidth=0, zorder=0)


def _legend(axis: Axes, results: Results, split: str, layers: list[str]) -> None:
    fit_on, splits = results.info["fit_on"], results.info["splits"]
    handles = [Line2D([], [], **_look(results, name), label=name) for name in results.networks]
    handles += [
        Line2D([], [], color="black", linewidth=2, label=f"solid: {_words(split)} ({_size(splits[split])})"),
        Line2D(
            [],
            [],
            color="black",
            linewidth=1.3,
            linestyle=(0, (4, 2)),
            label=f"dashed: fitted on, {fit_on} ({_size(splits[fit_on])})",
        ),
        Line2D([], [], **_STAR, markersize=14, color="white", label="best layer"),
        Line2D([], [], color="#555555", linewidth=0.8, label="1: always answers the mean"),
    ]
    if any(layer.startswith("head") for layer in layers):
        handles.append(Patch(facecolor=SHADE, edgecolor="#BBBBBB", label="head"))
    axis.set_axis_off()
    axis.legend(handles=handles, loc="center left", fontsize=9, handlelength=2.6, borderaxespad=0)


def _words(split: str) -> str:
    return SPLIT_WORDS.get(split, f"split {split}")


def _size(split: dict) -> str:
    return f"{split['images']:,} images"
