"""Table 1: a supervised network's error on corrupted images, layer by layer, with classifiers fitted on clean ones."""

from __future__ import annotations

from pathlib import Path
from statistics import mean, stdev

from benchmark.data.corruptions import CORRUPTIONS, SEVERITIES
from benchmark.data.datasets import open_dataset
from benchmark.errors import UserError
from benchmark.figures.claims import Verdict, all_of, is_positive
from benchmark.figures.curves import Curve, Panel, plot_curves, table
from benchmark.figures.scales import Setting
from benchmark.figures.study import Figure, Found, Packed, Probing, Shown, Study, Training
from benchmark.probes.accuracy import Classification
from benchmark.probes.accuracy_table import points

NETWORK, CORRUPTED, PROBED = "supervised", "corrupted", "corruptions"

_DEMO_SEVERITIES = (1, 3, 5)
_IMAGES = {"demo": 300, "small": 1000}  # that are corrupted, each in every way


def study(setting: Setting) -> Study:
    """ImageNet-C's fifteen corruptions: as published with --task imagenet-c:PATH, else drawn on the validation set."""
    severities = _DEMO_SEVERITIES if setting.name == "demo" else SEVERITIES
    if len(setting.tasks) > 1:
        raise UserError("--task: table1 judges on one corrupted dataset, as imagenet-c:PATH", exit_code=2)
    if setting.tasks:
        corrupted, what = _published(setting, setting.tasks[0]), f"as {setting.tasks[0]} has them"
    else:
        corrupted = _drawn(setting, severities)
        what = f"drawn here at severities {', '.join(map(str, severities))}"
    return Study(
        datasets={"source": setting.packed(), CORRUPTED: corrupted},
        trainings={NETWORK: Training("source", setting.training(NETWORK))},
        probings={PROBED: Probing("source", (NETWORK,), judge_on={CORRUPTED: (CORRUPTED, None)})},
        seeds=setting.seeds_or_own,
        note=f"{setting.note()} Corruptions {what}.",
    )


def _published(setting: Setting, text: str) -> Packed:
    """The fifteen of the mCE alone: ImageNet-C comes with four more. UserError where one is not there."""
    wanted = [f"{corruption}_{severity}" for corruption in CORRUPTIONS for severity in SEVERITIES]
    if missing := sorted(set(wanted) - set(open_dataset(text).splits)):
        raise UserError(
            f"--task {text}: has no split {missing[0]} ({len(missing)} of the {len(wanted)} of the mCE are missing)",
            exit_code=2,
        )
    return Packed(text, {"side": setting.side, "splits": tuple(wanted)})


def _drawn(setting: Setting, severities: tuple[int, ...]) -> Packed:
    """Corrupted at the size that networks are shown."""
    limit = max(_IMAGES[setting.name], setting.classes) if setting.name in _IMAGES else None  # one of every class
    return setting.packed(corrupt=CORRUPTIONS, severities=severities, limit=limit)


def draw(found: Found, out: Path) -> Shown:
    """Error in per cent by layer: mean over corruptions (the unnormalised mCE), each corruption, and clean images."""
    layers = found.each[PROBED].layers(found.runs(NETWORK)[0])
    kinds = sorted({split.rpartition("_")[0] for dataset, split in found.each[PROBED].judged if dataset == CORRUPTED})
    by_kind = {kind: _errors(found, layers, kind) for kind in kinds}
    mce = [[mean(by_kind[kind][k][s] for kind in kinds) for s in range(found.study.seeds)] for k in range(len(layers))]
    clean = _errors(found, layers, None)
    together = Panel("mean over corruptions", (_curve("corrupted: mCE", layers, mce), _curve("clean", layers, clean)))
    apart = [Panel(kind, (_curve("corrupted: mCE", layers, by_kind[kind]),)) for kind in kinds]
    written = plot_curves(
        [together, *apart],
        out,
        "Error on corrupted images, read from every layer of a supervised network",
        f"deviation over {found.study.seeds} seeds" if found.study.seeds > 1 else "no bars: one seed",
        "top-1 error, % (mCE, unnormalised)",
        lowest=True,
    )
    return Shown(written, table([together], lowest=True), _verdicts(together.curves[0], found.mean[PROBED]))


def _errors(found: Found, layers: tuple[str, ...], kind: str | None) -> list[list[float]]:
    """[layer][seed]: top-1 error in per cent, mean over the severities of one corruption; kind None: clean images."""
    judged = found.each[PROBED].judged
    if kind is None:
        places = [place for place in judged if place[0] != CORRUPTED]
    else:
        places = [place for place in judged if place[0] == CORRUPTED and place[1].rpartition("_")[0] == kind]
    errors = []
    for layer in layers:
        by_place = [found.accuracies(PROBED, NETWORK, layer, place) for place in places]
        errors.append([100 - 100 * mean(seeds) for seeds in zip(*by_place, strict=True)])
    return errors


def _curve(name: str, layers: tuple[str, ...], errors: list[list[float]]) -> Curve:
    """errors: [layer][seed]."""
    several = len(errors[0]) > 1
    ends = [[mean(seeds) + sign * stdev(seeds) if several else None for seeds in errors] for sign in (-1, 1)]
    return Curve(name, layers, tuple(map(mean, errors)), *map(tuple, ends))


def _verdicts(mce: Curve, read: Classification) -> list[Verdict]:
    """Table 1: lowest after two layers of the head are cut off."""
    best, last = mce.best(lowest=True), mce.layers[-1]
    value = dict(zip(mce.layers, mce.values, strict=True))
    cuts = [layer for layer in mce.layers if layer == "trunk" or (layer.startswith("head") and layer != last)]
    wins = [is_positive(*_lower(read, layer, last)) for layer in cuts]
    said = ", ".join(f"{layer} {value[layer]:.1f} %" for layer in (*cuts, last))
    low, high = _lower(read, "head1", last)
    return [
        Verdict(
            "errors on corrupted images are lower after layers are cut off than at the last one",
            True if True in wins else all_of(wins),
            f"{said}; {last} less head1 {100 * low:+.1f} to {100 * high:+.1f} points",
        ),
        Verdict(
            "they are lowest with two layers cut off, at the head's first",
            all_of(is_positive(*_lower(read, "head1", layer)) for layer in mce.layers if layer != "head1"),
            f"lowest at {best} ({value[best]:.1f} %)",
        ),
    ]


def _lower(read: Classification, layer: str, than: str) -> tuple[float, float]:
    """By how much the mean error over the corruptions is lower at a layer: the mean of the ends of every corruption's
    95 % interval. That is wider than the mean's own interval, as if all corruptions erred together."""
    places = [place for place in read.judged if place[0] == CORRUPTED]
    ends = [points(read, NETWORK, than, layer, *place) for place in places]
    return mean(low for low, _ in ends), mean(high for _, high in ends)


FIGURES = {"table1": Figure("supervised: error on corrupted images per layer", "table1", study, draw)}
