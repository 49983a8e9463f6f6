"""What the claims of several figures come down to: which of two layers is read better, and how sure that is."""

from __future__ import annotations

from benchmark.figures.claims import is_positive
from benchmark.probes.accuracy import Classification
from benchmark.probes.accuracy_table import points


def last_of(found: Classification, network: str) -> str:
    return found.layers(network)[-1]


def compare(
    found: Classification, network: str, better: str, worse: str, place: tuple[str, str]
) -> tuple[bool | None, str]:
    """Whether `better` is read better than `worse` (None: the interval of their difference has both signs), and the
    numbers in words. place: (dataset, split)."""
    one, other = (found.row(network, layer, *place).top1 for layer in (better, worse))
    gap = points(found, network, worse, better, *place)
    difference = 100 * (one - other)
    sure = "" if gap is None else f" (95 % interval {100 * gap[0]:+.1f} to {100 * gap[1] + 0.0:+.1f})"
    if found.seeds(network) > 1 and gap is not None:
        sure = f" (over {found.seeds(network)} seeds at least {100 * gap[0]:+.1f})"
    held = difference > 0 if gap is None else is_positive(*gap)
    return held, f"{better} {100 * one:.1f} %, {worse} {100 * other:.1f} %: {difference:+.1f} points{sure}"


def bars_of(found: Classification) -> str:
    """What low and high are, for a legend."""
    several = max(found.seeds(name) for name in found.trained)
    return f"deviation over {several} seeds" if several > 1 else "95 % interval over images"
