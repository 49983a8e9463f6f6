"""The paper's claims about Figure 2, judged on a run's own numbers: held, not held or too close to tell, and
the figures that say so."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from benchmark.probes.recommend import Recommendation, recommend
from benchmark.probes.results import PIXELS, UNTRAINED, Results
from benchmark.probes.targets import FACTORS, label_of


@dataclass(frozen=True)
class Verdict:
    """One claim, whether this run bears it out (None: the intervals leave room for it and for its opposite), and the
    numbers in plain words."""

    claim: str
    held: bool | None
    evidence: str

    def line(self) -> str:
        """As an item of a Markdown list."""
        word = {True: "Held", False: "Not held", None: "Too close to tell"}[self.held]
        return f"* **{word}**: {self.claim}. {self.evidence}."


def is_positive(low: float, high: float) -> bool | None:
    """What an interval says of a difference; None where it has both signs in it."""
    return True if low > 0 else False if high < 0 else None


def all_of(parts: Iterable[bool | None]) -> bool | None:
    """False where one part is, else None where one is."""
    parts = list(parts)
    return False if False in parts else None if None in parts else True


def differ(ties: Iterable[Iterable[str]]) -> bool | None:
    """Whether the best layer differs between tasks, by the layers that are as good as the best for each: no layer is so
    for all of them. False where one alone is the best for each; layers that tie for all leave it open."""
    tied = [set(layers) for layers in ties]
    common = set.intersection(*tied)
    return True if not common else False if len(common) == 1 and all(layers == common for layers in tied) else None


def judge(results: Results, split: str) -> list[Verdict]:
    """The verdicts on every claim that the networks in `results` allow, by their errors on `split`.

    Layers count as equally good where `recommend` says that they tie.
    """
    networks = {results.info["networks"][n]["config"].get("objective"): n for n in results.trained}
    verdicts = []
    if "rotation" in networks:
        verdicts += rotation_claims(results, networks["rotation"], split)
    if "simclr" in networks:
        verdicts.append(head_claim(results, networks["simclr"], split))
    verdicts += [layers_differ(results, network, split) for network in results.trained]
    return verdicts


def rotation_claims(results: Results, network: str, split: str) -> Iterator[Verdict]:
    """(a) Rotation is read best at or near the last layer, everything else layers earlier."""
    layers = results.layers(network)
    found = recommend(results, network, "rotation", split)
    error = _errors(results, network, "rotation", split)
    best, last = found.best.layer, layers[-1]
    yield Verdict(
        "(a) trained on rotation, rotation is read best at or near the last layer",
        last in found.ties or layers.index(best) >= len(layers) - 2,
        f"best at {best} ({error[best]:.3f}), last layer {last} {error[last]:.3f}",
    )
    # Where rotation has become readable, rather than where its shallow minimum lies.
    reached = layers.index(found.cut.layer)
    others = {factor: recommend(results, network, factor, split) for factor in FACTORS[1:]}
    yield Verdict(
        "(a) and the other factors are read best at layers before the one where rotation becomes readable",
        all(layers.index(other.best.layer) < reached for other in others.values()),
        f"rotation is as good as at its best from {layers[reached]} on; " + _list(others.values()),
    )


def head_claim(results: Results, network: str, split: str) -> Verdict:
    """(b) Trained with SimCLR, every factor is read better before the head than at its end."""
    layers = results.layers(network)
    before = [layer for layer in layers if not layer.startswith("head")]
    parts, held = [], []
    for factor in FACTORS:
        error = _errors(results, network, factor, split)
        best = min(before, key=error.__getitem__)
        gap = results.gap(network, layers[-1], best, factor, split)
        held.append(error[layers[-1]] > error[best] if gap is None else is_positive(*gap))
        sure = "" if gap is None else f", difference {gap[0]:+.3f} to {gap[1]:+.3f}"
        parts.append(f"{label_of(factor)} {error[best]:.3f} at {best}, {error[layers[-1]]:.3f} at the end{sure}")
    return Verdict(
        "(b) trained with SimCLR, every factor is read better before the head than at its end",
        all_of(held),
        "; ".join(parts),
    )


def layers_differ(results: Results, network: str, split: str) -> Verdict:
    """(c) The best layer differs between factors: no layer is as good as the best one for all of them."""
    found = [recommend(results, network, factor, split) for factor in FACTORS]
    return Verdict(
        f"(c) the best layer differs between factors ({network})",
        differ(factor.ties for factor in found),
        _list(found),
    )


def control_lines(results: Results, split: str) -> list[str]:
    """What the controls say, one line per factor: the best errors of trained networks and of controls side by side."""
    controls = [n for n in results.networks if results.role(n) in (UNTRAINED, PIXELS)]
    lines = []
    for factor in FACTORS:
        parts = []
        for network in (*results.trained, *controls):
            best = results.best_layer(network, factor, split)
            parts.append(f"{network} {results.row(network, best, factor, split).nmse:.3f} ({best})")
        lines.append(f"{label_of(factor)}: {', '.join(parts)}")
    return lines


def _errors(results: Results, network: str, factor: str, split: str) -> dict[str, float]:
    return {layer: results.row(network, layer, factor, split).nmse for layer in results.layers(network)}


def _list(found: Iterable[Recommendation]) -> str:
    return ", ".join(f"{label_of(one.target)} at {one.best.layer} ({one.best.nmse:.3f})" for one in found)
