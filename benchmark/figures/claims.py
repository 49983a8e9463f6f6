"""The paper's claims about Figure 2, judged on a run's own numbers: held or not held, with the figures that say so."""

from collections.abc import Iterator
from dataclasses import dataclass

from benchmark.probes.results import PIXELS, UNTRAINED, Results
from benchmark.probes.targets import TARGETS_BY_NAME

#: The factors of Figure 2, the circular ones as (cos, sin).
FACTORS = ("rotation", "floor_hue_cos_sin", "spot_hue_cos_sin", "spot_theta", "spot_phi_cos_sin")
#: Two layers whose errors differ by less than this share count as equally good.
TIE = 0.03


@dataclass(frozen=True)
class Verdict:
    """One claim, whether this run bears it out, and the numbers in plain words."""

    claim: str
    held: bool
    evidence: str


def judge(results: Results, split: str) -> list[Verdict]:
    """The verdicts on every claim that the networks in `results` allow, by their errors on `split`."""
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
    best, last = results.best_layer(network, "rotation", split), layers[-1]
    error = _errors(results, network, "rotation", split)
    near = error[last] <= error[best] * (1 + TIE) or layers.index(best) >= len(layers) - 2
    yield Verdict(
        "(a) trained on rotation, rotation is read best at or near the last layer",
        near,
        f"best at {best} ({error[best]:.3f}), last layer {last} {error[last]:.3f}",
    )
    # Where rotation has become readable, rather than where its shallow minimum lies.
    reached = next(i for i, layer in enumerate(layers) if error[layer] <= error[best] * (1 + TIE))
    others = {factor: results.best_layer(network, factor, split) for factor in FACTORS[1:]}
    yield Verdict(
        "(a) and the other factors are read best at layers before the one where rotation becomes readable",
        all(layers.index(layer) < reached for layer in others.values()),
        f"rotation is within {TIE:.0%} of its best from {layers[reached]} on; "
        + _list(results, network, others, split),
    )


def head_claim(results: Results, network: str, split: str) -> Verdict:
    """(b) Trained with SimCLR, every factor is read better before the head than at its end."""
    layers = results.layers(network)
    before = [layer for layer in layers if not layer.startswith("head")]
    parts, held = [], True
    for factor in FACTORS:
        error = _errors(results, network, factor, split)
        best = min(before, key=error.__getitem__)
        held &= error[best] < error[layers[-1]]
        parts.append(f"{TARGETS_BY_NAME[factor].label} {error[best]:.3f} at {best}, {error[layers[-1]]:.3f} at the end")
    return Verdict(
        "(b) trained with SimCLR, every factor is read better before the head than at its end", held, "; ".join(parts)
    )


def layers_differ(results: Results, network: str, split: str) -> Verdict:
    """(c) The best layer differs between factors."""
    best = {factor: results.best_layer(network, factor, split) for factor in FACTORS}
    return Verdict(
        f"(c) the best layer differs between factors ({network})",
        len(set(best.values())) > 1,
        _list(results, network, best, split),
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
        lines.append(f"{TARGETS_BY_NAME[factor].label}: {', '.join(parts)}")
    return lines


def _errors(results: Results, network: str, factor: str, split: str) -> dict[str, float]:
    return {layer: results.row(network, layer, factor, split).nmse for layer in results.layers(network)}


def _list(results: Results, network: str, best: dict[str, str], split: str) -> str:
    return ", ".join(
        f"{TARGETS_BY_NAME[factor].label} at {layer} ({results.row(network, layer, factor, split).nmse:.3f})"
        for factor, layer in best.items()
    )
