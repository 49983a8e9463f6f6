"""Figures 6 and 12: SimCLR with pairs by augmentation, by nearest neighbours and by class, read for several tasks.

The neighbours are those under the network that was trained with pairs by augmentation, with the same seed (section 4 of
the paper: "a pretrained SSL model trained with the traditional SSL handcrafted data augmentation pipeline").
"""

from __future__ import annotations

from collections.abc import Sequence
from math import inf
from pathlib import Path

from benchmark.figures.alignment import POSITIVES, Reading, judge, plot_accuracies, plot_gaps
from benchmark.figures.paper.tasks import SOURCE, tasks
from benchmark.figures.scales import Setting
from benchmark.figures.study import Figure, Found, Packed, Probing, Shown, Study, Training
from benchmark.figures.style import Written
from benchmark.probes.accuracy_table import points

TRUNK, LAST = "trunk", "head3"
TENTH, HUNDREDTH = "source, 10 %", "source, 1 %"  # of the labels, for tasks that ask for the training images' classes
_FEWEST = 2  # images a class, on average, without which a share is no task: one fits, one chooses the penalty


def study(setting: Setting) -> Study:
    shares = {TENTH: 0.1} if setting.name == "demo" else {TENTH: 0.1, HUNDREDTH: 0.01}
    images = _images(setting)
    datasets = {
        **tasks(setting, share=False),
        **{
            task: _share(setting, share)
            for task, share in shares.items()
            if share * images >= _FEWEST * setting.classes
        },
    }
    trainings = {
        "augmentation": Training(SOURCE, setting.training("simclr")),
        "neighbours": Training(SOURCE, setting.training("simclr"), neighbours_of="augmentation"),
        "class": Training(SOURCE, setting.training("simclr", positives="class")),
    }
    return Study(
        datasets=datasets,
        trainings=trainings,
        probings={task: Probing(task, tuple(trainings), only=(TRUNK, LAST)) for task in sorted(datasets, key=_place)},
        seeds=setting.seeds_or_own,
        note=f"{setting.note()} Tasks: {', '.join(datasets)}.",
    )


def _images(setting: Setting) -> float:
    """To train on, as the scale leaves them."""
    return min(setting.images("train") or inf, setting.scale.images or inf)


def _share(setting: Setting, share: float) -> Packed:
    """This share of the training images that the scale leaves, class by class, and the same images to judge on."""
    count = setting.images("train")
    left = _images(setting) / count if count else 1.0
    return setting.packed(share=share * left)


def _place(task: str) -> int:
    """Own classes first, from many labels to few."""
    order = (SOURCE, TENTH, HUNDREDTH)
    return order.index(task) if task in order else len(order)


def readings(found: Found) -> list[Reading]:
    """What every task found on the hardest of its splits, a bar each."""
    bars = []
    for task in found.study.probings:
        place = found.each[task].judged[-1]
        for kind in POSITIVES:
            read = (tuple(found.accuracies(task, kind, layer, place)) for layer in (TRUNK, LAST))
            bars.append(Reading(kind, task, *read, points(found.mean[task], kind, LAST, TRUNK, *place)))
    return bars


def draw_gaps(found: Found, out: Path) -> Shown:
    bars = readings(found)
    return _shown(plot_gaps(bars, out), bars)


def draw_accuracies(found: Found, out: Path) -> Shown:
    bars = readings(found)
    return _shown(plot_accuracies(bars, out), bars)


def _shown(written: Written, bars: Sequence[Reading]) -> Shown:
    rows = ["| task | pairs by | trunk | end of the head | trunk less head |", "|---|---|---|---|---|"]
    for bar in bars:
        trunk, head, gap = (sum(values) / len(values) for values in (bar.trunk, bar.head, bar.gaps))
        rows.append(f"| {bar.task} | {bar.positives} | {trunk:.1%} | {head:.1%} | {gap:+.1%} |")
    own = {bar.task for bar in bars} & {SOURCE, TENTH, HUNDREDTH}
    return Shown(written, "\n".join(rows), judge(bars, sorted(own, key=_place)))


FIGURES = {
    "6": Figure("three kinds of positives: trunk less head, task by task", "figures6-12", study, draw_gaps),
    "12": Figure(
        "three kinds of positives: accuracy of trunk and head, task by task", "figures6-12", study, draw_accuracies
    ),
}
