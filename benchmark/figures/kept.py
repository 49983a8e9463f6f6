"""The number beside Figure 7: what samples show that a layer has lost, next to what linear regressors read of it."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from benchmark.figures.claims import Verdict, all_of, is_positive
from benchmark.figures.correlation import spearman
from benchmark.figures.style import CONTROL, CURVES, Written, figure_style, new_figure, write_figure
from benchmark.probes.targets import FACTORS, label_of
from benchmark.rcdm.kept import CATEGORY, Kept, Share, ends

AUGMENTATION, CLASS = "augmentation", "class"  # the paper's two kinds of pairs

_AGREE = 0.5  # rank correlation from which on the two ways of asking are said to agree
_COLUMNS = 3
_HIGHEST = 2.0  # that is drawn
_REFERENCES = ("lost", "lost_of_others")  # a claim is held where it is against both kinds of samples that know nothing


@dataclass(frozen=True)
class Compared:
    """kept: what samples show. error: nmse of the linear regressor of the same layer and factor, on the same split;
    None for the category."""

    kept: Kept
    error: float | None


def plot_kept(found: Mapping[str, Sequence[Compared]], out: Path) -> Written:
    """A panel for each factor, layers from left to right: what samples have lost, with 95 % intervals over objects, and
    dashed the regressors' error; a cross is a number that is open. Last, all points of one against the other. Writes
    out.png, out.svg, out.csv."""
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
                axis.plot(layers, [one.kept.lost.value for one in mine], color=colour, linewidth=0)  # their order
                _curve(axis, {one.kept.layer: one.kept.lost for one in mine}, colour, marker, name)
                if mine[0].error is not None:
                    errors = [one.error for one in mine]
                    style = {"color": colour, "marker": marker, "linestyle": "--", "markerfacecolor": "white"}
                    axis.plot(layers, errors, label=f"{name}: linear regressor's error", **style)
            axis.axhline(1, color=CONTROL, linewidth=0.8)
            low, high = axis.get_ylim()
            axis.set_ylim(max(-0.5, min(0.0, low)), min(high, _HIGHEST))
        _scatter(axes[len(factors)], found)
        for axis in axes[len(factors) + 1 :]:
            axis.set_visible(False)
        figure.supylabel("0: kept, 1: lost", fontsize=10)
        handles, labels = axes[0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=2, fontsize=9)
        return write_figure(figure, out, kept_rows(found))


def _curve(axis, shares: Mapping[str, Share], colour: str, marker: str, name: str) -> None:
    """Open numbers have no interval to draw, and are no part of the line."""
    closed = {layer: share for layer, share in shares.items() if not share.is_open}
    values = [share.value for share in closed.values()]
    # Percentile intervals need not hold the number itself.
    spans = [
        [max(0.0, share.value - share.low) for share in closed.values()],
        [max(0.0, share.high - share.value) for share in closed.values()],
    ]
    label = f"{name}: samples' scatter"
    axis.errorbar(list(closed), values, spans, color=colour, marker=marker, capsize=2, label=label)
    for layer in shares.keys() - closed.keys():
        axis.plot(layer, min(shares[layer].value, _HIGHEST), "x", color=colour, clip_on=False)


def _scatter(axis, found: Mapping[str, Sequence[Compared]]) -> None:
    for (name, all_), (colour, marker) in zip(found.items(), CURVES, strict=False):
        paired = _paired({name: all_})
        errors, lost = [one.error for one in paired], [one.kept.lost.value for one in paired]
        axis.plot(errors, lost, marker, color=colour, markersize=4, label=name)
    axis.set_title("do the two agree?")
    axis.set_xlabel(f"regressor's error (rank correlation {agreement(found):+.2f})")
    axis.set_ylabel("samples' scatter")


def agreement(found: Mapping[str, Sequence[Compared]], reference: str = "lost") -> float:
    """Rank correlation of the two over all networks, layers and latents whose number is not open; NaN where it is not
    defined. reference: which of Kept's shares."""
    paired = _paired(found)
    return spearman([one.error for one in paired], [getattr(one.kept, reference).value for one in paired])


def agreement_ends(found: Mapping[str, Sequence[Compared]], reference: str = "lost") -> tuple[float, float]:
    """Its 95 % interval over the objects that samples are judged on. The networks, layers and latents are these: of
    others it says nothing, and a bootstrap over some forty numbers of five latents could not. (-1, 1) for fewer than
    four pairs."""
    paired = _paired(found)
    if len(paired) < 4:
        return -1.0, 1.0
    shares = [getattr(one.kept, reference) for one in paired]
    values = torch.stack([share.draws.nan_to_num(share.value) for share in shares], dim=1)
    errors = torch.tensor([[one.error for one in paired]], dtype=torch.float64)
    a, b = (x.argsort(dim=1).argsort(dim=1).double() for x in (values, errors))  # ties are as good as none
    a, b = a - a.mean(), b - b.mean()
    low, high = ends((a * b).sum(dim=1, keepdim=True) / b.square().sum())
    return float(low), float(high)


def agreement_within(found: Mapping[str, Sequence[Compared]]) -> float:
    """Mean over latents of the rank correlation over networks and layers of one latent: that some latents are hard for
    both ways of asking does not count here. NaN where it is defined for none."""
    each = [
        agreement({name: [one for one in all_ if one.kept.factor == factor] for name, all_ in found.items()})
        for factor in FACTORS
    ]
    defined = [value for value in each if not math.isnan(value)]
    return sum(defined) / len(defined) if defined else math.nan


def _paired(found: Mapping[str, Sequence[Compared]]) -> list[Compared]:
    """Those with a regressor's error and a number that is not open, by neither reference."""
    return [
        one
        for all_ in found.values()
        for one in all_
        if one.error is not None and not any(getattr(one.kept, name).is_open for name in _REFERENCES)
    ]


def kept_rows(found: Mapping[str, Sequence[Compared]]) -> list[dict[str, object]]:
    """For csv: a row for every network, layer and factor."""
    return [{"pairs": name, **_columns(one)} for name, all_ in found.items() for one in all_]


def _columns(one: Compared) -> dict[str, object]:
    kept = one.kept
    row: dict[str, object] = {"layer": kept.layer, "factor": kept.factor}
    for name in ("lost", "control", "lost_of_others"):
        share = getattr(kept, name)
        row |= {name: share.value, f"{name}_low": share.low, f"{name}_high": share.high}
    return row | {
        "given": kept.given,
        "nothing": kept.nothing,
        "others": kept.others,
        "image": kept.image,
        "regressor_nmse": one.error,
    }


def table_of(found: Mapping[str, Sequence[Compared]]) -> str:
    """As Markdown: a row for every network and layer, last layer first, a column for every factor."""
    return "\n".join(
        [
            "Scatter of samples around the conditioning image's value (0: the layer keeps the factor, 1: it has lost "
            "it; 95 % interval over objects, open where the reader hardly tells the images from samples that know "
            "nothing); in brackets the linear regressor's error.",
            "",
            *_rows(found, lambda one: _said(one.kept.lost) + ("" if one.error is None else f" [{one.error:.2f}]")),
            "",
            "Controls: the same number of samples of another object's image (near 1, were they as varied as samples "
            "given nothing), and after the semicolon the number above with these in the place of samples given "
            "nothing (1 for samples that do not depend on their image, however varied).",
            "",
            *_rows(found, lambda one: f"{_said(one.kept.control)}; {_said(one.kept.lost_of_others)}"),
        ]
    )


def _rows(found: Mapping[str, Sequence[Compared]], cell: Callable[[Compared], str]) -> list[str]:
    factors = (*FACTORS, CATEGORY)
    lines = ["| pairs by | layer | " + " | ".join(map(_label, factors)) + " |", "|---" * (2 + len(factors)) + "|"]
    for name, all_ in found.items():
        for layer in reversed(dict.fromkeys(one.kept.layer for one in all_)):
            cells = [cell(_one(all_, layer, factor)) for factor in factors]
            lines.append(f"| {name} | {layer} | " + " | ".join(cells) + " |")
    return lines


def _said(share: Share) -> str:
    return f"{share.value:.2f} ({'open' if share.is_open else f'{share.low:.2f} to {share.high:.2f}'})"


def judge(found: Mapping[str, Sequence[Compared]]) -> list[Verdict]:
    """What the paper says of its pictures, and whether the two ways of asking agree. Held, or not, where it is so
    against samples given nothing as well as against those of other objects' images."""
    augmented, by_class = found[AUGMENTATION], found[CLASS]
    layers = list(dict.fromkeys(one.kept.layer for one in augmented))
    trunk, last = layers[0], layers[-1]

    def change(all_: Sequence[Compared], factor: str, reference: str) -> Tensor:
        """What is lost from the trunk to the head's end, in every draw of objects."""
        start, end = (getattr(_one(all_, layer, factor).kept, reference).draws for layer in (trunk, last))
        return end - start

    def said(all_: Sequence[Compared], factor: str) -> str:
        return ", ".join(f"{layer} {_said(_one(all_, layer, factor).kept.lost)}" for layer in (trunk, last))

    hue, categories, agree = [], [], []
    for reference in _REFERENCES:
        hue.append(_sign(change(augmented, "spot_hue_cos_sin", reference)))
        lost, lost_by_class = (change(all_, CATEGORY, reference) for all_ in (augmented, by_class))
        categories.append(all_of([_sign(lost), _sign(lost - lost_by_class)]))
        agree.append(agreement_ends(found, reference))
    low, high = agree[0]
    return [
        Verdict(
            "with pairs by augmentation, the end of the head has lost the spot's hue more than the trunk",
            _both(hue),
            f"spot hue: {said(augmented, 'spot_hue_cos_sin')}",
        ),
        Verdict(
            "from the trunk to the head's end the category is lost with pairs by augmentation, less so with pairs by "
            "class",
            _both(categories),
            "; ".join(f"{name}: {said(found[name], CATEGORY)}" for name in (AUGMENTATION, CLASS)),
        ),
        Verdict(
            "samples and linear regressors say the same of layers and latents",
            _both([is_positive(least - _AGREE, most - _AGREE) for least, most in agree]),
            f"rank correlation {agreement(found):+.2f} ({low:+.2f} to {high:+.2f} over objects) over "
            f"{len(_paired(found))} pairs of layer and latent; within one latent {agreement_within(found):+.2f} on "
            "average",
        ),
    ]


def _sign(drawn: Tensor) -> bool | None:
    """What the draws of a difference say of it."""
    low, high = ends(drawn[:, None])
    return is_positive(float(low), float(high))


def _both(answers: Sequence[bool | None]) -> bool | None:
    return answers[0] if len(set(answers)) == 1 else None


def _one(all_: Sequence[Compared], layer: str, factor: str) -> Compared:
    return next(one for one in all_ if (one.kept.layer, one.kept.factor) == (layer, factor))


def _label(factor: str) -> str:
    return factor if factor == CATEGORY else label_of(factor)
