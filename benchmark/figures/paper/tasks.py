"""Figures 3c and 4: networks trained on one dataset, supervised and by SimCLR, read for other tasks at every layer."""

from __future__ import annotations

from math import inf
from pathlib import Path

from benchmark.data.table import smallest_class
from benchmark.errors import UserError
from benchmark.figures.claims import Verdict, differ
from benchmark.figures.curves import Panel, curve, plot_curves, table
from benchmark.figures.judging import bars_of, last_of
from benchmark.figures.paper.optimisation import regularised
from benchmark.figures.scales import Setting
from benchmark.figures.study import Figure, Found, Made, Packed, Probing, Rendered, Shown, Study, Training

SOURCE = "source"
NETWORKS = ("supervised", "simclr")

_SHARE = 0.01  # of the training images
_FEWEST = 20  # images a class, where a hundredth would be less
_RENDERS = {"demo": 1500, "small": 6000}
_OBJECTS = "procedural:boat,car,chair,duck,lamp,mug"  # few enough to be told apart on some hundred images


def tasks(setting: Setting, share: bool = True) -> dict[str, Packed | Rendered | Made]:
    """The downstream tasks: --task's datasets; without, what needs no download: digits and renders.

    The paper's are ImageNet, its hundredth, CIFAR-10, Places205, CLEVR and EuroSAT. share: whether a hundredth of the
    labels is a task, too.
    """
    found: dict[str, Packed | Rendered | Made] = {SOURCE: setting.packed()}
    if share and setting.is_paper:
        found["source, 1 %"] = setting.packed(share=_SHARE)
    elif share:
        few = _per_class(setting)
        if few * setting.classes < (setting.images("train") or inf):  # of fewer it would be the source again
            found[f"{SOURCE}, {few} a class"] = setting.packed(per_class=few)
    for text in setting.tasks:
        name = task_name(text)
        if name in found:
            raise UserError(f"--task {text}: there is a task '{name}' already, leave one of them out", exit_code=2)
        found[name] = setting.packed(text)
    if not setting.tasks and not setting.is_paper:
        found["digits"] = Made(write_digits, {"side": setting.side})
        found["renders"] = Rendered(_RENDERS[setting.name], setting.side, _OBJECTS)
    return found


def _per_class(setting: Setting) -> int:
    """A hundredth of the scale's images of a class, but not so few that there is nothing to choose a penalty on, nor
    more than every class has."""
    wanted = max(_FEWEST, round(_SHARE * setting.scale.images / setting.classes))
    return min(wanted, smallest_class(setting.source, "train"))


def task_name(text: str) -> str:
    """KIND, or the folder's name where it is one of images."""
    kind, colon, path = text.partition(":")
    return kind if colon and kind != "folder" else Path(path or text).resolve().name


def write_digits(folder: Path) -> None:
    """scikit-learn's 1,797 handwritten digits, 8 x 8 grey pixels, as SPLIT/CLASS/NAME.png; every fourth is in `val`."""
    import numpy as np
    from PIL import Image
    from sklearn.datasets import load_digits

    digits = load_digits()
    for number, (image, label) in enumerate(zip(digits.images, digits.target, strict=True)):
        path = folder / ("train" if number % 4 else "val") / str(label) / f"{number:04d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.round(image * 255 / 16).astype(np.uint8)).save(path)


def study(setting: Setting) -> Study:
    datasets = tasks(setting)
    own = {"supervised": regularised(setting)} if setting.is_paper else {}  # "the well regularized model from a)"
    return Study(
        datasets=datasets,
        trainings={name: Training(SOURCE, setting.training(name, **own.get(name, {}))) for name in NETWORKS},
        probings={name: Probing(name, NETWORKS, untrained=True) for name in datasets},
        seeds=setting.seeds_or_own,
        note=f"{setting.note()} Tasks: {', '.join(datasets)}.",
    )


def draw_figure3c(found: Found, out: Path) -> Shown:
    shown = _draw(found, out, "supervised", "Supervised, read for other tasks")
    return Shown(shown.written, shown.table, _verdicts(found, "supervised"))


def draw_figure4(found: Found, out: Path) -> Shown:
    shown = _draw(found, out, "simclr", "SimCLR, read for other tasks")
    return Shown(shown.written, shown.table, _verdicts(found, "simclr"))


def _draw(found: Found, out: Path, network: str, title: str) -> Shown:
    """A panel for all tasks together: accuracies differ by task, so what compares are the shapes."""
    curves = tuple(curve(mean, network, mean.judged[-1], name) for name, mean in found.mean.items())
    panels = [Panel("validation set of every task", curves)]
    return Shown(plot_curves(panels, out, title, bars_of(found.mean[SOURCE])), table(panels), [])


def _verdicts(found: Found, network: str) -> list[Verdict]:
    """Section 3.2: on the source supervised is read best at the last layer and SimCLR at the trunk; other tasks have
    other layers. A layer is as good as the best unless the interval of their difference says that it is worse."""
    layers = found.mean[SOURCE].layers(network)
    expected = last_of(found.mean[SOURCE], network) if network == "supervised" else "trunk"
    cuts = {name: mean.recommend(network, *mean.judged[-1]) for name, mean in found.mean.items()}
    said = ", ".join(f"{name} {cut.best.layer}" for name, cut in cuts.items())
    common = set(layers).intersection(*(cut.ties for cut in cuts.values()))
    source = cuts[SOURCE]
    # Where trunk and last layer are as good as each other the claim has nothing to say.
    candidates = {"trunk", last_of(found.mean[SOURCE], network)}
    best_read = None if candidates <= set(source.ties) else expected in source.ties
    where = "the last layer" if network == "supervised" else "the trunk"
    return [
        Verdict(
            f"the task trained on is read best at {where}",
            best_read,
            f"best at {source.best.layer}; as good: {', '.join(source.ties)}",
        ),
        Verdict(
            "the best layer differs between tasks: none is as good as the best for all of them",
            differ(cut.ties for cut in cuts.values()),
            f"best layers: {said}; as good as the best for every task: {', '.join(sorted(common)) or 'none'}",
        ),
    ]


FIGURES = {
    "3c": Figure("supervised: downstream tasks per layer", "figures3c-4", study, draw_figure3c),
    "4": Figure("SimCLR: downstream tasks per layer", "figures3c-4", study, draw_figure4),
}
