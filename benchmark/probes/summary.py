"""Results in words: which layer to read each latent from, and what the last layer costs."""

from __future__ import annotations

from benchmark.probes.results import SPLIT_WORDS, Results
from benchmark.probes.targets import TARGETS_BY_NAME

# One entry per latent; the circular ones in the form that a linear reader can get right.
LATENTS = (
    "rotation",
    "yaw",
    "pitch",
    "roll",
    "floor_hue_cos_sin",
    "spot_hue_cos_sin",
    "spot_theta",
    "spot_phi_cos_sin",
)
_UNREADABLE = 0.97  # an error of 1 is that of always answering the mean
_EQUAL = 1.02


def sentences(results: Results, split: str | None = None) -> list[str]:
    """A plain sentence per trained network and latent. Errors are shares of the latent's variance on `split`.

    The best layer is the one with the smallest error on that same split, as in the paper. split: as in
    `Results.judged`.
    """
    split = results.judged(split)
    return [_sentence(results, network, latent, split) for network in results.trained for latent in LATENTS]


def _sentence(results: Results, network: str, latent: str, split: str) -> str:
    label, last = TARGETS_BY_NAME[latent].label, results.layers(network)[-1]
    best = results.best_layer(network, latent, split)
    error, last_error = (results.row(network, layer, latent, split).nmse for layer in (best, last))
    size = _size(results, network, best, latent, split)
    if error > _UNREADABLE:
        return f"{network}, {label}: no layer reads it (best is {best}, {size})."
    head = f"{network}, {label}: read it at {best} ({size});"
    if best == last:
        return f"{head} that is the last layer."
    ratio = last_error / error if error > 0 else float("inf")
    if ratio < _EQUAL:
        return f"{head} the last layer {last} is as good ({last_error:.2f})."
    return f"{head} the last layer {last} is {_times(ratio)} ({last_error:.2f})."


def _size(results: Results, network: str, layer: str, latent: str, split: str) -> str:
    row = results.row(network, layer, latent, split)
    degrees = "" if row.degrees is None else f", {row.degrees:.0f} degrees,"
    return f"error {row.nmse:.2f} of the variance{degrees} on {_words(split)}"


def _words(split: str) -> str:
    return SPLIT_WORDS.get(split, f"split {split}")


def _times(ratio: float) -> str:
    return f"{(ratio - 1) * 100:.0f} % worse" if ratio < 1.5 else f"{ratio:.1f} x worse"


def format_table(results: Results, split: str | None = None) -> str:
    """The which-layer table: per network (controls too) and latent the best and the last layer, with errors.

    split: as in `Results.judged`.
    """
    split = results.judged(split)
    header = ("network", "latent", "best layer", "error", "last layer", "error", "last / best")
    lines = [header]
    for network in results.networks:
        last = results.layers(network)[-1]
        for latent in LATENTS:
            best = results.best_layer(network, latent, split)
            error, last_error = (results.row(network, layer, latent, split).nmse for layer in (best, last))
            ratio = f"{last_error / error:.2f}" if error > 0 else "-"
            label = TARGETS_BY_NAME[latent].label
            lines.append((network, label, best, f"{error:.3f}", last, f"{last_error:.3f}", ratio))
    widths = [max(len(line[column]) for line in lines) for column in range(len(header))]
    lines.insert(1, tuple("-" * width for width in widths))
    title = f"Error over variance on {_words(split)}: 0 is perfect, 1 is always answering the mean."
    return "\n".join([title, *("  ".join(map(str.ljust, line, widths)).rstrip() for line in lines)])
