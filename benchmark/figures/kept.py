"""The number beside Figure 7: what samples show that a layer has lost, next to what linear regressors read of it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from benchmark.figures.claims import Verdict, all_of, is_positive
from benchmark.figures.correlation import between, spearman
from benchmark.figures.style import CONTROL, CURVES, Written, figure_style, new_figure, write_figure
from benchmark.probes.targets import FACTORS, label_of
from benchmark.rcdm.kept import CATEGORY, Kept

AUGMENTATION, CLASS = "augmentation", "class"  # the paper's two kinds of pairs

_AGREE = 0.5  # rank correlation from which on the two ways of asking are said to agree
_COLUMNS = 3


@dataclass(frozen=True)
class Compared:
    """kept: what samples show. error: nmse of the linear regressor of the same layer and factor, on new objects; None
    for the category."""

    kept: Kept
    error: float | None


def plot_kept(found: Mapping[str, Sequence[Compared]], out: Path) -> Written:
    """A panel for each factor, layers from left to right: what samples have lost, with 95 % intervals over objects, and
    dashed the regressors' error. Last, all points of one against the other. Writes out.png, out.svg, out.csv."""
    factors = (*FACTORS, CATEGORY)
    with figure_style():
        rows = math.ceil((len(factors) + 1) / _COLUMNS)
        figure = new_figure(3.5 * _COLUMNS, 2.7 * rows + 0.5)
        axes = figure.subplots(rows, _COLUMNS, squeeze=False).flat
        for axis, factor in zip(axes, factors, strict=False):
            axis.set_title(_label(factor))
            for (name, all_), (colour, marker) in zip(found.items(), CURVES, strict=False):
                mine = [one for one in all_ if one.kept.factor == factor]
                layers = [one.kept.layer for one in mine]
                lost = [one.kept.lost for one in mine]
                spans = [
                    [max(0.0, one.kept.lost - one.kept.low) for one in mine],
                    [max(0.0, one.kept.high - one.kept.lost) for one in mine],
                ]
                axis.errorbar(
                    layers, lost, spans, color=colour, marker=marker, capsize=2, label=f"{name}: samples' scatter"
                )
                if mine[0].error is not None:
                    errors = [one.error for one in mine]
                    style = {"color": colour, "marker": marker, "linestyle": "--", "markerfacecolor": "white"}
                    axis.plot(layers, errors, label=f"{name}: linear regressor's error", **style)
            axis.axhline(1, color=CONTROL, linewidth=0.8)
            axis.set_ylim(bottom=min(0.0, axis.get_ylim()[0]))
        _scatter(axes[len(factors)], found)
        for axis in axes[len(factors) + 1 :]:
            axis.set_visible(False)
        figure.supylabel("0: kept, 1: lost", fontsize=10)
        handles, labels = axes[0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=2, fontsize=9)
        return write_figure(figure, out, kept_rows(found))


def _scatter(axis, found: Mapping[str, Sequence[Compared]]) -> None:
    for (name, all_), (colour, marker) in zip(found.items(), CURVES, strict=False):
        points = [(one.error, one.kept.lost) for one in all_ if one.error is not None]
        axis.plot(*zip(*points, strict=True), marker, color=colour, markersize=4, label=name)
    axis.set_title("do the two agree?")
    axis.set_xlabel(f"regressor's error (rank correlation {agreement(found):+.2f})")
    axis.set_ylabel("samples' scatter")


def agreement(found: Mapping[str, Sequence[Compared]]) -> float:
    """Rank correlation of the two over all networks, layers and latents; NaN where it is not defined."""
    pairs = _pairs(found)
    return spearman(*zip(*pairs, strict=True)) if pairs else math.nan


def agreement_within(found: Mapping[str, Sequence[Compared]]) -> float:
    """Mean over latents of the rank correlation over networks and layers of one latent: that some latents are hard for
    both ways of asking does not count here. NaN where it is defined for none."""
    each = [spearman(*zip(*pairs, strict=True)) for factor in FACTORS if (pairs := _pairs(found, factor))]
    defined = [value for value in each if not math.isnan(value)]
    return sum(defined) / len(defined) if defined else math.nan


def _pairs(found: Mapping[str, Sequence[Compared]], factor: str | None = None) -> list[tuple[float, float]]:
    """(regressor's error, samples' scatter), where both are defined; factor: of one latent alone."""
    return [
        (one.error, one.kept.lost)
        for all_ in found.values()
        for one in all_
        if one.error is not None and not math.isnan(one.kept.lost) and factor in (None, one.kept.factor)
    ]


def kept_rows(found: Mapping[str, Sequence[Compared]]) -> list[dict[str, object]]:
    """For csv: a row for every network, layer and factor."""
    return [
        {"pairs": name, **asdict(one.kept), "regressor_nmse": one.error} for name, all_ in found.items() for one in all_
    ]


def table_of(found: Mapping[str, Sequence[Compared]]) -> str:
    """As Markdown: a row for every network and layer, last layer first, a column for every factor."""
    factors = (*FACTORS, CATEGORY)
    lines = [
        "Scatter of samples around the conditioning image's value (0: the layer keeps the factor, 1: it has lost it; "
        "95 % interval over objects, open where the reader hardly tells the images from samples that know nothing); in "
        "brackets the linear regressor's error.",
        "",
        "| pairs by | layer | " + " | ".join(map(_label, factors)) + " |",
        "|---" * (2 + len(factors)) + "|",
    ]
    for name, all_ in found.items():
        for layer in reversed(dict.fromkeys(one.kept.layer for one in all_)):
            cells = [_cell(_one(all_, layer, factor)) for factor in factors]
            lines.append(f"| {name} | {layer} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _cell(one: Compared) -> str:
    kept = one.kept
    error = "" if one.error is None else f" [{one.error:.2f}]"
    return f"{kept.lost:.2f} ({_interval(kept)}){error}"


def _interval(kept: Kept) -> str:
    return "open" if math.isnan(kept.low) else f"{kept.low:.2f} to {kept.high:.2f}"


def judge(found: Mapping[str, Sequence[Compared]]) -> list[Verdict]:
    """What the paper says of its pictures, and whether the two ways of asking agree."""
    augmented, by_class = found[AUGMENTATION], found[CLASS]
    layers = list(dict.fromkeys(one.kept.layer for one in augmented))
    trunk, last = layers[0], layers[-1]
    hue = [_one(augmented, layer, "spot_hue_cos_sin").kept for layer in (trunk, last)]
    category = {
        name: [_one(all_, layer, CATEGORY).kept for layer in (trunk, last)]
        for name, all_ in ((AUGMENTATION, augmented), (CLASS, by_class))
    }
    (low, high), (class_low, class_high) = (_change(*category[name]) for name in (AUGMENTATION, CLASS))
    together, count = agreement(found), len(_pairs(found))
    ends = between(together, count)
    return [
        Verdict(
            "with pairs by augmentation, the end of the head has lost the spot's hue more than the trunk",
            is_positive(*_change(*hue)),
            f"spot hue: {_said(trunk, hue[0])}, {_said(last, hue[1])}",
        ),
        Verdict(
            "from the trunk to the head's end the category is lost with pairs by augmentation, less so with pairs by "
            "class",
            all_of([is_positive(low, high), is_positive(low - class_high, high - class_low)]),
            "; ".join(f"{name}: {_said(trunk, start)}, {_said(last, end)}" for name, (start, end) in category.items()),
        ),
        Verdict(
            "samples and linear regressors say the same of layers and latents",
            is_positive(ends[0] - _AGREE, ends[1] - _AGREE),
            f"rank correlation {together:+.2f} ({ends[0]:+.2f} to {ends[1]:+.2f}) over {count} pairs of layer and "
            f"latent; within one latent {agreement_within(found):+.2f} on average",
        ),
    ]


def _said(layer: str, kept: Kept) -> str:
    return f"{layer} {kept.lost:.2f} ({_interval(kept)})"


def _change(start: Kept, end: Kept) -> tuple[float, float]:
    """What is lost between two layers, at least and at most; wider than its own interval, as both ends' add up."""
    return end.low - start.high, end.high - start.low


def _one(all_: Sequence[Compared], layer: str, factor: str) -> Compared:
    return next(one for one in all_ if (one.kept.layer, one.kept.factor) == (layer, factor))


def _label(factor: str) -> str:
    return factor if factor == CATEGORY else label_of(factor)
