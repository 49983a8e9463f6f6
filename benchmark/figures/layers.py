"""Figure 2 of the paper: error of a linear regressor on every layer, a panel per latent, a curve per network."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from benchmark.errors import UserError
from benchmark.figures.style import CONTROL, CURVES, SHADE, Written, figure_style, new_figure, write_figure
from benchmark.probes.recommend import recommend
from benchmark.probes.results import PIXELS, SPLIT_WORDS, TRAINED, UNTRAINED, Networks, Results
from benchmark.probes.targets import FACTORS, OVERALL

# A raw hue or angle comes last: it jumps where its range closes, and no linear reader gets below about 0.39 on it.
PANELS: tuple[tuple[str, str], ...] = (
    (OVERALL, f"Overall (mean of the {len(FACTORS)} marked ●)"),
    ("rotation", "● Rotation (quaternion)"),
    ("floor_hue_cos_sin", "● Floor hue (cos, sin)"),
    ("spot_hue_cos_sin", "● Spot hue (cos, sin)"),
    ("spot_theta", "● Spot theta"),
    ("spot_phi_cos_sin", "● Spot phi (cos, sin)"),
    ("yaw", "Yaw"),
    ("pitch", "Pitch"),
    ("roll", "Roll"),
    ("floor_hue", "Floor hue (raw)"),
    ("spot_hue", "Spot hue (raw)"),
    ("spot_phi", "Spot phi (raw)"),
)
# Above 1 a regressor is worse than always answering the mean; by how much is not worth the space.
_CEILING = 1.2
STAR = {"marker": "*", "markeredgecolor": "black", "markeredgewidth": 0.8, "linestyle": "none"}
DASHED = (0, (4, 2))
_GREY_MARKERS = (".", "x", "+", "1", "2")
FEW = 3  # networks of which the errors on the fitting split are drawn too
MANY_LAYERS = 11  # from here on panels are wider and names smaller
_LONGEST = 13  # characters of a layer's name


@dataclass(frozen=True)
class Depth:
    """The axis that the layers stand on.

    positions: of the layers of each network but pixels. names: the layers at 0, 1, 2, ... where all networks share
    them; empty where their layers are unlike: the axis is then the share of a network's layers gone through, 0 to 1.
    """

    positions: dict[str, tuple[float, ...]]
    names: tuple[str, ...]

    @property
    def step(self) -> float:
        """About the distance of two layers."""
        return 1.0 if self.names else 1 / max(max(map(len, self.positions.values())) - 1, 1)


def plot_layers(results: Results, out: Path, split: str | None = None) -> Written:
    """Draw out.png and out.svg and write every plotted number to out.csv.

    Solid curves: error on `split`, as in `Results.judged`, with bars from `low` to `high`; dashed, for up to three
    networks: on the fitting split; a star marks where to cut. Controls are grey. Errors are shares of the latent's
    variance. Networks with the same layers share an axis of their names; unlike ones stand on relative depth.
    UserError if `split` was not judged, if the results hold no network, or as `write_figure`.
    """
    split = results.judged(split)
    if all(results.role(name) == PIXELS for name in results.networks):
        raise UserError("these results hold no network to plot", exit_code=2)
    depth = depth_of(results)
    numbers = {target: _plotted(results, target, split, depth) for target, _ in PANELS}
    everything = [number for rows in numbers.values() for number in rows]
    columns = 4 if len(depth.names) < MANY_LAYERS else 3
    with figure_style():
        figure = new_figure(13.5, 3.15 * len(PANELS) / columns + 0.8)
        axes = figure.subplots(len(PANELS) // columns, columns, sharey=True)
        top = min(_CEILING, max(1.05, 1.03 * max(number["high"] or number["error"] for number in everything)))
        axes[0, 0].set_ylim(-0.02, top)  # a marker at 0 is whole
        for axis, (target, title) in zip(axes.flat, PANELS, strict=True):
            axis.set_title(title)
            frame(axis, depth)
            axis.axhline(1, color="#555555", linewidth=0.8, zorder=1)
            for name in results.networks:
                _curve(axis, [n for n in numbers[target] if n["network"] == name], results, name, split, depth)
        for axis in axes[:, 0]:
            axis.set_ylabel("error / variance of the latent")
        if not depth.names:
            for axis in axes[-1]:
                axis.set_xlabel("share of the network's layers gone through")
        _legend(figure, results, split, depth)
        figure.suptitle(_title(results, split), fontsize=13)
        return write_figure(figure, out, everything)


def depth_of(results: Networks) -> Depth:
    """Shared names where the networks have most of their layers in common, else relative depth. Pooled pixels have no
    depth."""
    layers = {name: results.layers(name) for name in results.networks if results.role(name) != PIXELS}
    if all(_alike(one, other) for one, other in combinations(set(layers.values()), 2)):
        order = _order(list(layers.values()))
        return Depth({name: tuple(map(order.index, own)) for name, own in layers.items()}, tuple(order))
    return Depth({name: tuple(k / max(len(own) - 1, 1) for k in range(len(own))) for name, own in layers.items()}, ())


def _alike(one: Sequence[str], other: Sequence[str]) -> bool:
    """Whether two networks share half of the shorter one's layers, in the same order."""
    shared = [layer for layer in one if layer in other]
    in_order = shared == [layer for layer in other if layer in one]
    return in_order and 2 * len(shared) >= min(len(one), len(other))


def _order(networks: Sequence[Sequence[str]]) -> list[str]:
    """The layers of all networks from input to output."""
    order: list[str] = []
    for layers in sorted(networks, key=lambda layers: -len(layers)):
        place = 0
        for layer in layers:
            if layer not in order:
                order.insert(place, layer)
            place = order.index(layer) + 1
    return order


def _plotted(results: Results, target: str, split: str, depth: Depth) -> list[dict[str, object]]:
    """What one panel shows, a row per point. A line across has position ''."""
    numbers = []
    for name in results.networks:
        found = recommend(results, name, target, split)
        subject = name in results.subjects
        fitted = [results.info["fit_on"]] if subject and len(results.subjects) <= FEW else []
        for shown in (split, *fitted):
            for k, layer in enumerate(results.layers(name)):
                row = results.row(name, layer, target, shown)
                mark = subject and shown == split and found.readable
                numbers.append(
                    {
                        "target": target,
                        "network": name,
                        "role": results.role(name),
                        "split": shown,
                        "layer": layer,
                        "position": depth.positions[name][k] if name in depth.positions else "",
                        "error": row.nmse,
                        "low": row.low,
                        "high": row.high,
                        "best": int(mark and layer == found.best.layer),
                        "cut": int(mark and layer == found.cut.layer),
                    }
                )
    return numbers


def look_of(results: Networks, name: str) -> dict[str, object]:
    """Colour, marker and width of a network's solid curve."""
    if name in results.subjects:
        index = results.subjects.index(name)
        colour, marker = CURVES[index % len(CURVES)]
        size = (
            {"markersize": 5, "linewidth": 1.8}
            if len(results.subjects) <= FEW
            else {"markersize": 4.5, "linewidth": 1.3}
        )
        filled = colour if index < len(CURVES) else "white"  # a second round of the colours
        return {"color": colour, "marker": marker, "markerfacecolor": filled, **size, "linestyle": "-", "zorder": 3}
    if results.role(name) == PIXELS:
        return {"color": CONTROL, "linewidth": 1.4, "linestyle": ":", "zorder": 2}
    controls = [other for other in results.networks if results.role(other) == UNTRAINED]
    marker = _GREY_MARKERS[controls.index(name) % len(_GREY_MARKERS)]
    return {"color": CONTROL, "marker": marker, "markersize": 5, "linewidth": 1, "linestyle": "-", "zorder": 2}


def _curve(axis: Axes, numbers: list[dict], results: Results, name: str, split: str, depth: Depth) -> None:
    """One network in one panel; bars and stars of several networks stand side by side."""
    look = look_of(results, name)
    judged = [number for number in numbers if number["split"] == split]
    if results.role(name) == PIXELS:
        axis.axhline(judged[0]["error"], **look)
        return
    curves = list(depth.positions)
    height = curves.index(name)
    aside = depth.step * min(0.1, 0.6 / len(curves)) * (height - (len(curves) - 1) / 2)
    places = [number["position"] + aside for number in judged]
    axis.plot(places, [number["error"] for number in judged], **look)
    if judged[0]["low"] is not None:
        ends = [[number[end] for number in judged] for end in ("low", "high")]
        axis.vlines(places, *ends, color=look["color"], linewidth=1.3, zorder=look["zorder"])
    fitted = [number for number in numbers if number["split"] != split]
    dashed = {"color": look["color"], "linewidth": 1.3, "linestyle": DASHED, "zorder": 2}
    axis.plot([number["position"] for number in fitted], [number["error"] for number in fitted], **dashed)
    top = axis.get_ylim()[1]
    for place, number in zip(places, judged, strict=True):
        if number["error"] > top and len(results.subjects) <= FEW and len(judged) < MANY_LAYERS:
            text = f"↑{number['error']:.1f}"
            axis.text(
                place, top * (0.985 - 0.055 * height), text, color=look["color"], fontsize=7.5, ha="center", va="top"
            )
        if number["cut"]:
            size = 15 if len(results.subjects) <= FEW else 11
            axis.plot(place, number["error"], **STAR, markersize=size, color=look["color"], zorder=4)


def frame(axis: Axes, depth: Depth) -> None:
    """Layer names below; the head, which the paper's guillotine cuts off, shaded."""
    if not depth.names:
        axis.set_xticks([0, 0.25, 0.5, 0.75, 1], ["first", "¼", "½", "¾", "last"])
        axis.set_xlim(-0.5 * depth.step, 1 + 0.5 * depth.step)
        return
    names = [name if len(name) <= _LONGEST else f"…{name[1 - _LONGEST :]}" for name in depth.names]
    slant = {"rotation": 50, "fontsize": 9} if len(names) < MANY_LAYERS else {"rotation": 60, "fontsize": 8}
    axis.set_xticks(range(len(names)), names, ha="right", rotation_mode="anchor", **slant)
    axis.set_xlim(-0.5, len(names) - 0.5)
    head = head_of(depth)
    if head:
        axis.axvspan(min(head) - 0.5, max(head) + 0.5, color=SHADE, linewidth=0, zorder=0)


def head_of(depth: Depth) -> list[int]:
    return [position for position, layer in enumerate(depth.names) if layer.startswith("head")]


def _legend(figure: Figure, results: Results, split: str, depth: Depth) -> None:
    handles = [
        Line2D([], [], **look_of(results, name), label=_label(results, name, split)) for name in results.networks
    ]
    bar = Line2D([], [], color="black", linewidth=1.3, marker="|", markersize=10, linestyle="none")
    bar.set_label(_bars(results))
    handles += [
        Line2D([], [], **STAR, markersize=12, color="white", label="where to cut: earliest as good as the best"),
        bar,
    ]
    if len(results.subjects) <= FEW:
        fit_on = results.info["fit_on"]
        label = f"dashed: fitted on, {fit_on} ({results.info['splits'][fit_on]['images']:,} images)"
        handles.append(Line2D([], [], color="black", linewidth=1.3, linestyle=DASHED, label=label))
    handles.append(Line2D([], [], color="#555555", linewidth=0.8, label="1: always answers the mean"))
    if head_of(depth):
        handles.append(Patch(facecolor=SHADE, edgecolor="#BBBBBB", label="head"))
    figure.legend(handles=handles, loc="outside lower center", ncols=4, fontsize=9, handlelength=2.6)


def _label(results: Results, name: str, split: str) -> str:
    """A network in the legend, and where to cut it for all factors together."""
    label = name if results.seeds(name) == 1 else f"{name} ({results.seeds(name)} seeds)"
    if name not in results.subjects:
        return label
    found = recommend(results, name, OVERALL, split)
    return f"{label}: cut at {found.cut.layer}" if found.readable else label


def _bars(results: Results) -> str:
    several = [name for name in results.networks if results.seeds(name) > 1]
    if not several:
        return "95 % interval over objects"
    if all(name in several for name in results.networks if results.role(name) == TRAINED):
        return "standard deviation over seeds"
    return "95 % interval over objects; of seeds: deviation"


def _title(results: Results, split: str) -> str:
    shown = results.info["splits"][split]
    where = SPLIT_WORDS.get(split, f"split {split}")
    return (
        f"Linear regression of each latent from every layer, judged on {where} "
        f"({shown['objects']:,} objects, {shown['images']:,} images)"
    )
