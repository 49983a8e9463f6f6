"""Where to cut: the layer to read each latent from, and one for all of them.

The best layer is the one with the smallest error on the judging split, as in the paper. A layer ties with it unless
its error is shown to be more than TOLERANCE larger: unless the whole 95 % interval of their difference, paired over the
same draws of objects, lies above that. Of the layers that tie, the earliest is where to cut: the least to compute, and
the narrowest features.
"""

from __future__ import annotations

from dataclasses import dataclass

from benchmark.probes.results import Results, Row
from benchmark.probes.targets import OVERALL

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
TOLERANCE = 0.02  # of the best error: a smaller difference is of no use, however sure it is
UNREADABLE = 0.97  # an error of 1 is that of always answering the mean


@dataclass(frozen=True)
class Recommendation:
    """Where to read one target of one network.

    cut: the layer to read, `best`: the one with the smallest error, ties: all layers as good as it, in order; last:
    the last layer. gap: interval for the error at `last` less that at `cut`, None without intervals. readable: whether
    any layer tells more of the target than its mean.
    """

    network: str
    target: str
    split: str
    cut: Row
    best: Row
    last: Row
    ties: tuple[str, ...]
    gap: tuple[float, float] | None
    readable: bool


def recommend(results: Results, network: str, target: str, split: str) -> Recommendation:
    """The recommendation for one target, or for all factors together where target is OVERALL."""
    layers = results.layers(network)
    best = results.row(network, results.best_layer(network, target, split), target, split)
    ties = tuple(layer for layer in layers if _ties(results, best, layer))
    cut, last = (results.row(network, layer, target, split) for layer in (ties[0], layers[-1]))
    readable = best.nmse <= UNREADABLE and (best.high is None or best.high < 1)
    gap = results.gap(network, last.layer, cut.layer, target, split)
    return Recommendation(network, target, split, cut, best, last, ties, gap, readable)


def recommendations(results: Results, split: str) -> list[Recommendation]:
    """For every network that is asked about: one for each of LATENTS, then the one over all factors."""
    return [
        recommend(results, network, target, split) for network in results.subjects for target in (*LATENTS, OVERALL)
    ]


def _ties(results: Results, best: Row, layer: str) -> bool:
    margin = TOLERANCE * best.nmse
    gap = results.gap(best.network, layer, best.layer, best.target, best.split)
    if gap is not None:
        return gap[0] <= margin
    return results.row(best.network, layer, best.target, best.split).nmse - best.nmse <= margin
