"""Results in words: every layer's errors, which layer to read each latent from, and what the last layer costs."""

from __future__ import annotations

from collections.abc import Sequence

from benchmark.probes.recommend import LATENTS, Recommendation, recommend, recommendations
from benchmark.probes.results import SPLIT_WORDS, Results, Row
from benchmark.probes.targets import FACTORS, OVERALL, label_of

_CUT, _TIE = "*", "="


def sentences(results: Results, split: str | None = None) -> list[str]:
    """A plain sentence per network that is asked about and latent, and one over all factors. Errors are shares of the
    latent's variance on `split`, which is as in `Results.judged`.
    """
    return [_sentence(results, found) for found in recommendations(results, results.judged(split))]


def conclusions(results: Results, split: str | None = None) -> list[str]:
    """Where to cut each network if one layer is to serve all latents, and why."""
    split = results.judged(split)
    return [_conclusion(results, network, split) for network in results.subjects]


def _conclusion(results: Results, network: str, split: str) -> str:
    overall = recommend(results, network, OVERALL, split)
    if not overall.readable:
        return _sentence(results, overall)
    lines = [_sentence(results, overall)]
    losses = {}
    for factor in FACTORS:
        found = recommend(results, network, factor, split)
        if found.readable and overall.cut.layer not in found.ties:
            there = results.row(network, overall.cut.layer, factor, split)
            losses[there.nmse - found.best.nmse] = (there, found.best)
    if not losses:
        return f"{lines[0]} No latent that can be read is read better elsewhere."
    there, best = losses[max(losses)]
    costs = f"{there.nmse:.2f} there, {best.nmse:.2f} at {best.layer}"
    return f"{lines[0]} One cut for all costs {label_of(there.target)} most: {costs}."


def _sentence(results: Results, found: Recommendation) -> str:
    head = f"{found.network}, {label_of(found.target)}:"
    size = f"error {_with_interval(found.cut)}{_degrees(found.cut)} on {_words(found.split)}"
    if not found.readable:
        return f"{head} no layer reads it (the best is {found.best.layer}, {_with_interval(found.best)})."
    head = f"{head} cut at {found.cut.layer} ({size}{_ties_in_words(found)});"
    if found.last.layer == found.cut.layer:
        return f"{head} that is the last layer."
    if found.last.layer in found.ties:
        return f"{head} the last layer {found.last.layer} is as good ({found.last.nmse:.2f})."
    ratio = found.last.nmse / found.cut.nmse if found.cut.nmse > 0 else float("inf")
    return f"{head} the last layer {found.last.layer} is {_times(ratio)} ({found.last.nmse:.2f}{_gap(found)})."


def _ties_in_words(found: Recommendation) -> str:
    others = [layer for layer in found.ties if layer != found.cut.layer]
    if not others:
        return ""
    if len(others) > 3:
        others = [*others[:2], f"{len(others) - 2} more"]
    return f"; {', '.join(others)} as good"


def _gap(found: Recommendation) -> str:
    return "" if found.gap is None else f"; difference {found.gap[0]:+.2f} to {found.gap[1]:+.2f}"


def _with_interval(row: Row) -> str:
    return f"{row.nmse:.2f}" if row.low is None else f"{row.nmse:.2f} [{row.low:.2f}, {row.high:.2f}]"


def _degrees(row: Row) -> str:
    return "" if row.degrees is None else f", {row.degrees:.0f} degrees,"


def _words(split: str) -> str:
    return SPLIT_WORDS.get(split, f"split {split}")


def _times(ratio: float) -> str:
    return f"{(ratio - 1) * 100:.0f} % worse" if ratio < 1.5 else f"{ratio:.1f} x worse"


def format_table(results: Results, split: str | None = None) -> str:
    """Layer by latent, a block per network (controls too): the errors and their intervals; 110 columns wide unless
    layers have long names. split: as in `Results.judged`.
    """
    split = results.judged(split)
    shown = results.info["splits"][split]
    lines = [
        f"Error over variance on {_words(split)} ({shown['objects']:,} objects, {shown['images']:,} images): "
        "0 is perfect, 1 is always answering the mean.",
        "± half of the 95 % interval, by bootstrap over objects"
        + ("; of several seeds, their standard deviation." if _several(results, results.networks) else "."),
        f"{_CUT} where to cut: the earliest layer as good as the best; {_TIE} as good too.",
    ]
    columns = (*LATENTS, OVERALL)
    first = max(len(layer) for name in results.networks for layer in results.layers(name))
    header = ["layer".ljust(first), *(label_of(target).removesuffix(" (cos, sin)") for target in columns)]
    for network in results.networks:
        seeds = results.seeds(network)
        many = f": mean of {seeds} seeds ± their standard deviation" if seeds > 1 else ""
        lines += ["", f"{network}{many}", _line(header)]
        found = {target: recommend(results, network, target, split) for target in columns}
        for layer in results.layers(network):
            cells = [_cell(results.row(network, layer, target, split), found[target]) for target in columns]
            lines.append(_line([layer.ljust(first), *cells]))
    return "\n".join(lines)


def _several(results: Results, networks: Sequence[str]) -> bool:
    """Whether one of them stands for several seeds."""
    return any(results.seeds(network) > 1 for network in networks)


def _line(cells: Sequence[str]) -> str:
    return " ".join([cells[0], *(cell.ljust(10) for cell in cells[1:])]).rstrip()


def _cell(row: Row, found: Recommendation) -> str:
    mark = _CUT if row.layer == found.cut.layer else _TIE if row.layer in found.ties else ""
    half = "" if row.low is None else f"±{_short((row.high - row.low) / 2)}"
    return f"{_short(row.nmse)}{half}{mark if found.readable else ''}"


def _short(value: float) -> str:
    """Four characters for what an error is as a rule: .412, 1.03, 25.2."""
    if value >= 9999.5:
        return f"{value:.0e}"
    digits = 3 if value < 0.9995 else 2 if value < 9.995 else 1 if value < 99.95 else 0
    return f"{value:.{digits}f}".removeprefix("0" if digits == 3 else "")


def format_recommendations(results: Results, split: str | None = None) -> str:
    """Which layer to read each latent from, a block per network that is asked about, with the reason."""
    found = recommendations(results, results.judged(split))
    blocks = []
    for network in results.subjects:
        header = (network, "cut at", "error [95 %]", "as good", "last layer", "error", "last - cut [95 %]")
        blocks += [header, *(_reason(one) for one in found if one.network == network)]
    widths = [max(len(line[column]) for line in blocks) for column in range(len(blocks[0]))]
    lines = []
    for line in blocks:
        lines += [""] if line[1] == "cut at" and lines else []
        lines.append("  ".join(map(str.ljust, line, widths)).rstrip())
    if _several(results, results.subjects):
        lines += [
            "",
            "Of several seeds: [mean less deviation, plus deviation]; differences as wide as those of all runs.",
        ]
    return "\n".join(lines)


def _reason(found: Recommendation) -> tuple[str, ...]:
    # Where there is nothing to read there is nowhere to cut.
    row, cut = (found.cut, found.cut.layer) if found.readable else (found.best, "-")
    interval = "" if row.low is None else f" [{_short(row.low)}, {_short(row.high)}]"
    others = [layer for layer in found.ties if layer != found.cut.layer] if found.readable else []
    gap = "" if found.gap is None else f"{found.gap[0]:+.3f} to {found.gap[1]:+.3f}"
    label = label_of(found.target).removesuffix(" (cos, sin)")
    error = f"{_short(row.nmse)}{interval}"
    return label, cut, error, _few(others), found.last.layer, _short(found.last.nmse), gap


def _few(names: Sequence[str]) -> str:
    return " ".join(names) if len(names) < 3 else f"{names[0]} + {len(names) - 1}"


def as_json(found: Recommendation) -> dict[str, object]:
    """A recommendation as `gr3d regress-latents --json` prints it."""
    low, high = found.gap or (None, None)
    return {
        "network": found.network,
        "target": found.target,
        "split": found.split,
        "readable": found.readable,
        "cut": found.cut.layer if found.readable else None,
        "error": found.cut.nmse,
        "low": found.cut.low,
        "high": found.cut.high,
        "best": found.best.layer,
        "ties": list(found.ties),
        "last": found.last.layer,
        "last_error": found.last.nmse,
        "last_less_cut": [low, high],
    }
