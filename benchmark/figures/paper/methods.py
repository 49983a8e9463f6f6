"""Figures 1, 9 and 10: five objectives, every layer read for the classes of the training images."""

from __future__ import annotations

from pathlib import Path

from benchmark.figures.claims import Verdict
from benchmark.figures.curves import Panel, curve, plot_curves, table
from benchmark.figures.judging import bars_of, compare, last_of
from benchmark.figures.scales import Setting
from benchmark.figures.study import Figure, Found, Probing, Shown, Study, Training
from benchmark.probes.accuracy import Classification

SELF_SUPERVISED = {"simclr": "SimCLR", "barlow-twins": "Barlow Twins", "vicreg": "VICReg", "byol": "BYOL"}
OBJECTIVES = {"supervised": "supervised", **SELF_SUPERVISED}
TRAINED_ON = "classes"  # the one probing
PAPER_VIT = "vit-b16"


def study(setting: Setting) -> Study:
    """ResNet."""
    return _study(setting, setting.note(), {})


def vit_study(setting: Setting) -> Study:
    """ViT-B of 16 x 16 patches at the paper's scale."""
    note = setting.note("a ViT of 6 blocks of width 192, patches of 8 x 8 and a trunk of width 2048")
    return _study(setting, note, {"arch": PAPER_VIT if setting.is_paper else "vit-t8"})


def _study(setting: Setting, note: str, network: dict[str, object]) -> Study:
    return Study(
        datasets={"source": setting.packed()},
        trainings={name: Training("source", setting.training(name, **network)) for name in OBJECTIVES},
        probings={TRAINED_ON: Probing("source", tuple(OBJECTIVES), untrained=True)},
        seeds=setting.seeds_or_own,
        note=note,
    )


def draw_figure1(found: Found, out: Path) -> Shown:
    return _draw(found, out, "Accuracy of a linear classifier on every layer", training=False)


def draw_figure9(found: Found, out: Path) -> Shown:
    return _draw(found, out, "Accuracy of a linear classifier on every layer", training=True)


def draw_figure10(found: Found, out: Path) -> Shown:
    mean = found.mean[TRAINED_ON]
    arch = mean.info["networks"]["simclr"]["config"]["arch"]
    small = "" if arch == PAPER_VIT else ", a smaller one than the paper's ViT-B"
    shown = _draw(found, out, f"Accuracy on every layer of a transformer ({arch}{small})", training=True)
    return Shown(shown.written, shown.table, [*shown.verdicts, _transformer_claim(mean)])


def _draw(found: Found, out: Path, title: str, training: bool) -> Shown:
    mean = found.mean[TRAINED_ON]
    places = [mean.fitted, *mean.judged] if training else list(mean.judged)
    panels = [_panel(mean, place) for place in places]
    written = plot_curves(panels, out, title, bars_of(mean))
    verdicts = [verdict for place in mean.judged for verdict in _claims(mean, place)]
    if training:
        verdicts += _claims(mean, mean.fitted)
    return Shown(written, table(panels), verdicts)


def _panel(mean: Classification, place: tuple[str, str]) -> Panel:
    images = mean.info["splits"][place[0]][place[1]]["images"]
    what = "training set" if place == mean.fitted else "validation set"
    names = {**OBJECTIVES, "untrained": "untrained (control)"}
    curves = tuple(curve(mean, network, place, names[network]) for network in mean.networks)
    return Panel(f"{what}: split {place[1]}, {images:,} images", curves)


def _claims(mean: Classification, place: tuple[str, str]) -> list[Verdict]:
    """Caption of Figure 1: supervised drops from the head's end to the trunk, self-supervised the other way round."""
    where = "on the training set" if place == mean.fitted else f"on {place[1]}"
    held, evidence = compare(mean, "supervised", last_of(mean, "supervised"), "trunk", place)
    verdicts = [
        Verdict(f"supervised is read better at the head's last layer than at the trunk, {where}", held, evidence)
    ]
    for network, name in SELF_SUPERVISED.items():
        held, evidence = compare(mean, network, "trunk", last_of(mean, network), place)
        claim = f"{name} is read better at the trunk than at the head's last layer, {where}"
        verdicts.append(Verdict(claim, held, evidence))
    return verdicts


def _transformer_claim(mean: Classification) -> Verdict:
    """Caption of Figure 10."""
    place = mean.judged[0]
    best = {network: curve(mean, network, place).best() for network in OBJECTIVES}
    said = ", ".join(f"{OBJECTIVES[network]} {layer}" for network, layer in best.items())
    as_good = mean.recommend("simclr", *place).ties
    held = None if {"trunk", "head1"} <= set(as_good) else "head1" in as_good
    claim = "SimCLR's best layer is the head's first, not the trunk as in a ResNet"
    return Verdict(claim, held, f"best layers: {said}; SimCLR's as good as its best: {', '.join(as_good)}")


FIGURES = {
    "1": Figure("five objectives: accuracy on every layer, validation", "figures1-9", study, draw_figure1),
    "9": Figure("five objectives: accuracy on every layer, training and validation", "figures1-9", study, draw_figure9),
    "10": Figure("the same with a vision transformer", "figure10", vit_study, draw_figure10),
}
