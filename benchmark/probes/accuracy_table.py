"""A classification in words: every layer's accuracy, networks side by side, where to cut, what the last layer costs."""

from __future__ import annotations

from collections.abc import Sequence

from benchmark.probes.accuracy import Accuracy, Classification
from benchmark.probes.recommend import Recommendation
from benchmark.probes.results import SPLIT_WORDS

_CUT, _TIE = "*", "="


def format_accuracies(found: Classification) -> str:
    """For each split that judges, a table layer x network, controls too; networks with other layers below.
    Top-1 in per cent, half of its interval, and in brackets top-1 on the split that was fitted."""
    split, classes = found.info["fit_on"], len(found.info["classes"])
    lines = [
        f"Top-1 in per cent of {classes} classes, ± half of the 95 % interval by bootstrap over objects; in brackets "
        f"on what was fitted, {split!r} ({found.info['splits'][found.info['dataset']][split]['images']:,} images).",
        f"{_CUT} where to cut: the earliest layer as good as the best; {_TIE} as good too.",
    ]
    several = [f"{name} of {found.seeds(name)}" for name in found.networks if found.seeds(name) > 1]
    if several:
        lines.append(f"Means over seeds ± their standard deviation: {', '.join(several)}.")
    for place in found.judged:
        lines += ["", _heading(found, *place)]
        by_layers: dict[tuple[str, ...], list[str]] = {}
        for name in found.networks:
            by_layers.setdefault(found.layers(name), []).append(name)
        for layers, names in by_layers.items():
            lines += _block(found, layers, names, *place)
    return "\n".join(lines)


def where(found: Classification, dataset: str, split: str) -> str:
    """A split in words."""
    words = SPLIT_WORDS.get(split) if "val_views" in found.info["splits"][dataset] else None
    return f"{dataset}, {words or f'split {split}'}"


def _heading(found: Classification, dataset: str, split: str) -> str:
    shown = found.info["splits"][dataset][split]
    objects = f"{shown['objects']:,} objects, " if shown["objects"] != shown["images"] else ""
    return (
        f"{where(found, dataset, split)} ({objects}{shown['images']:,} images; "
        f"always the commonest class: {100 * shown['commonest']:.1f})"
    )


def _block(found: Classification, layers: Sequence[str], names: Sequence[str], dataset: str, split: str) -> list[str]:
    cuts = {name: found.recommend(name, dataset, split) for name in names}
    lines = [["layer", *names]]
    for layer in layers:
        cells = [
            _cell(found.row(name, layer, dataset, split), found.row(name, layer, *found.fitted), cuts[name])
            for name in names
        ]
        lines.append([layer, *cells])
    widths = [max(len(line[column]) for line in lines) for column in range(len(lines[0]))]
    return ["  ".join(map(str.ljust, line, widths)).rstrip() for line in lines]


def _cell(row: Accuracy, fitted: Accuracy, cut: Recommendation) -> str:
    mark = _CUT if row.layer == cut.cut.layer else _TIE if row.layer in cut.ties else ""
    half = "" if row.low is None else f"±{50 * (row.high - row.low):.1f}"
    return f"{100 * row.top1:.1f}{half}{mark if cut.readable else ''} ({100 * fitted.top1:.1f})"


def cuts_in_words(found: Classification) -> list[str]:
    """A sentence per split that judges and network that is asked about: where to cut, and why."""
    return [_sentence(found, name, *place) for place in found.judged for name in found.subjects]


def _sentence(found: Classification, name: str, dataset: str, split: str) -> str:
    cut = found.recommend(name, dataset, split)
    there, last, best = (found.row(name, row.layer, dataset, split) for row in (cut.cut, cut.last, cut.best))
    head = f"{name} on {where(found, dataset, split)}:"
    if not cut.readable:
        return f"{head} no layer tells the classes (the best is {best.layer}, {_with_interval(best)})."
    others = [layer for layer in cut.ties if layer != there.layer]
    also = f"; {', '.join(others)} as good" if others else ""
    top5 = f", top-5 {100 * there.top5:.1f}" if there.classes > 5 else ""
    head = f"{head} cut at {there.layer} ({_with_interval(there)}{top5}{also});"
    if last.layer == there.layer:
        return f"{head} that is the last layer."
    if last.layer in cut.ties:
        return f"{head} the last layer {last.layer} is as good ({100 * last.top1:.1f})."
    gap = points(found, name, last.layer, there.layer, dataset, split)
    sure = "" if gap is None else f", {100 * gap[0]:.1f} to {100 * gap[1]:.1f}"
    lost = f"{100 * (there.top1 - last.top1):.1f} points fewer{sure}"
    return f"{head} the last layer {last.layer} has {100 * last.top1:.1f} ({lost})."


def points(
    found: Classification, name: str, layer: str, other: str, dataset: str, split: str
) -> tuple[float, float] | None:
    """95 % interval for top-1 at `other` less that at `layer`; None without intervals."""
    layers = found.layers(name)
    a, b = layers.index(layer), layers.index(other)
    for margins in found.margins:
        if (margins.network, margins.dataset, margins.split) == (name, dataset, split):
            return margins.low[a][b], -margins.low[b][a]
    return None


def _with_interval(row: Accuracy) -> str:
    ends = "" if row.low is None else f" [{100 * row.low:.1f}, {100 * row.high:.1f}]"
    return f"{100 * row.top1:.1f} %{ends}"


def as_json(found: Classification, name: str, dataset: str, split: str) -> dict[str, object]:
    """A recommendation as `gr3d probe --json` prints it; accuracies are shares."""
    cut = found.recommend(name, dataset, split)
    there, last = (found.row(name, row.layer, dataset, split) for row in (cut.cut, cut.last))
    return {
        "network": name,
        "dataset": dataset,
        "split": split,
        "readable": cut.readable,
        "cut": there.layer if cut.readable else None,
        "top1": there.top1,
        "low": there.low,
        "high": there.high,
        "best": cut.best.layer,
        "ties": list(cut.ties),
        "last": last.layer,
        "last_top1": last.top1,
        "cut_less_last": list(points(found, name, last.layer, there.layer, dataset, split) or (None, None)),
    }
