"""Figure 3a: one supervised network, trained with SGD and all that belongs to it, and with AdamW and nothing else.

SGD's settings are those of the authors' code (FFCV-SSL, examples/rn50_configs/rn50_baseline.yaml: lr 1.7 for batches of
2048, one triangle that peaks after 2 epochs, momentum 0.9, weight decay 1e-4), AdamW's those of the paper: lr 1e-4
"without any additional regularization", so neither decay nor a schedule.
"""

from __future__ import annotations

from pathlib import Path

from benchmark.figures.claims import Verdict
from benchmark.figures.curves import Panel, curve, plot_curves, table
from benchmark.figures.judging import bars_of, last_of
from benchmark.figures.scales import Setting
from benchmark.figures.study import Figure, Found, Probing, Shown, Study, Training
from benchmark.probes.accuracy import Classification
from benchmark.recipes import RECIPES

NAMES = {
    "sgd": "SGD, momentum, decay, cyclic learning rate",
    "adamw": "AdamW at 1e-4, nothing else",
}
CLASSES = "classes"  # the one probing

_PEAK_EPOCH = 2
_LR, _LR_BATCH = 1.7, 2048
_LONGER = 3  # times the scale's epochs: one view of an image instead of two, and AdamW's small rate must have its time


def regularised(setting: Setting) -> dict[str, object]:
    """Options of the supervised training with SGD, which figure 3c of the paper reads, too."""
    epochs = _epochs(setting)
    batch = setting.scale.training.get("batch", RECIPES["paper"]["supervised"].batch)
    return {
        "epochs": epochs,
        "optimizer": "sgd",
        "momentum": 0.9,
        "lr": _LR * batch / _LR_BATCH,
        "weight_decay": 1e-4,
        "schedule": "cyclic",
        "warmup": _PEAK_EPOCH / epochs,
    }


def _epochs(setting: Setting) -> int:
    return RECIPES["paper"]["supervised"].epochs if setting.is_paper else _LONGER * setting.scale.epochs


def study(setting: Setting) -> Study:
    epochs = _epochs(setting)
    adamw = {
        "epochs": epochs,
        "optimizer": "adamw",
        "lr": 1e-4,
        "weight_decay": 0.0,
        "schedule": "constant",
        "warmup": 0.0,
    }
    return Study(
        datasets={"source": setting.packed()},
        trainings={
            name: Training("source", setting.training("supervised", **options))
            for name, options in (("sgd", regularised(setting)), ("adamw", adamw))
        },
        probings={CLASSES: Probing("source", tuple(NAMES))},
        seeds=setting.seeds_or_own,
        note=setting.note() + ("" if setting.is_paper else f" This figure: {epochs} epochs."),
    )


def draw(found: Found, out: Path) -> Shown:
    mean = found.mean[CLASSES]
    panels = [_panel(mean, place) for place in (*mean.judged, mean.fitted)]
    written = plot_curves(panels, out, "Two ways to optimise one supervised network", bars_of(mean))
    return Shown(written, table(panels), judge(mean))


def _panel(mean: Classification, place: tuple[str, str]) -> Panel:
    what = "training set" if place == mean.fitted else "validation set"
    return Panel(f"{what}: split {place[1]}", tuple(curve(mean, name, place, NAMES[name]) for name in NAMES))


def judge(mean: Classification) -> list[Verdict]:
    """Section 3.2 of the paper on Figure 3(a)."""
    place = mean.judged[0]
    spans = {name: [round(100 * top1, 1) for top1 in _from_trunk(mean, name, place)] for name in NAMES}
    spread = {name: max(values) - min(values) for name, values in spans.items()}
    best = {name: max(values) for name, values in spans.items()}
    last = {name: last_of(mean, name) for name in NAMES}
    excess = {
        name: 100 * (mean.row(name, last[name], *mean.fitted).top1 - mean.row(name, last[name], *place).top1)
        for name in NAMES
    }

    def said(values: dict[str, float], unit: str) -> str:
        return ", ".join(f"{name} {value:.1f} {unit}" for name, value in values.items())

    return [
        Verdict(
            "from the trunk on, layers are read alike after AdamW and differ after SGD",
            spread["adamw"] < spread["sgd"],
            f"best less worst layer on {place[1]}: {said(spread, 'points')}",
        ),
        Verdict(
            "SGD with its regularisation generalises better",
            best["sgd"] > best["adamw"],
            f"best layer on {place[1]}: {said(best, '%')}",
        ),
        Verdict(
            "AdamW overfits more",
            excess["adamw"] > excess["sgd"],
            f"last layer, {mean.fitted[1]} less {place[1]}: {said(excess, 'points')}",
        ),
    ]


def _from_trunk(mean: Classification, name: str, place: tuple[str, str]) -> list[float]:
    layers = [layer for layer in mean.layers(name) if layer == "trunk" or layer.startswith("head")]
    return [mean.row(name, layer, *place).top1 for layer in layers]


FIGURES = {
    "3a": Figure("SGD with its regularisation against bare AdamW: accuracy on every layer", "figure3a", study, draw)
}
