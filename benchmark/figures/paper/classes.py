"""Figure 3b: a supervised network trained on some of the classes, read for these and for classes it never saw."""

from __future__ import annotations

from pathlib import Path

from benchmark.data.selection import OOD_SPLITS
from benchmark.errors import UserError
from benchmark.figures.claims import Verdict, all_of
from benchmark.figures.curves import Panel, curve, plot_curves, table
from benchmark.figures.judging import bars_of
from benchmark.figures.scales import Setting
from benchmark.figures.study import Figure, Found, Probing, Shown, Study, Training

TRAINED, OTHERS = "trained on", tuple(f"other classes {number + 1}" for number in range(OOD_SPLITS))

_QUARTER = 40  # classes from which on a quarter of them, as in the paper, leaves a task worth the name


def study(setting: Setting) -> Study:
    """250 of ImageNet's 1000 classes; a quarter of others', two fifths where they are few."""
    known = setting.classes
    chosen = known // 4 if known >= _QUARTER else 2 * known // 5
    if chosen < 2:
        raise UserError(
            f"figure 3b: {setting.source} has {known} classes; it takes at least 5, two to train on and others",
            exit_code=2,
        )
    others = {
        name: Probing("source", ("supervised",), fit_on=f"ood{k}_train") for k, name in enumerate(OTHERS, start=1)
    }
    return Study(
        datasets={"source": setting.packed(classes=chosen)},
        trainings={"supervised": Training("source", setting.training("supervised"))},
        probings={TRAINED: Probing("source", ("supervised",), fit_on="train"), **others},
        seeds=setting.seeds_or_own,
        note=f"{setting.note()} Trained on {chosen} of {known} classes; six draws of the others.",
    )


def draw(found: Found, out: Path) -> Shown:
    curves = []
    for name, (place, _) in _places(found).items():
        curves.append(curve(found.mean[name], "supervised", place, f"{name}: validation"))
        if name == TRAINED:
            curves.append(curve(found.mean[name], "supervised", found.mean[name].fitted, f"{name}: training"))
    panels = [Panel("classes trained on, and classes never seen", tuple(curves))]
    written = plot_curves(panels, out, "Supervised, read for random classes", bars_of(found.mean[TRAINED]))
    return Shown(written, table(panels), _verdicts(found))


def _places(found: Found) -> dict[str, tuple[tuple[str, str], int]]:
    """probing -> ((dataset, split) that judges, number of its draw). Two draws may show the same classes: each is
    judged on its own images."""
    places = {TRAINED: (found.mean[TRAINED].judged[0], 0)}
    for number, name in enumerate(OTHERS, start=1):
        dataset = found.mean[name].info["dataset"]
        places[name] = ((dataset, f"ood{number}"), number)
    return places


def _is_before(one: list[int], other: list[int]) -> bool | None:
    """Of layers that are as good as each other: whether those of `one` come before those of `other`."""
    return True if max(one) < min(other) else False if min(one) >= max(other) else None


def _verdicts(found: Found) -> list[Verdict]:
    """Section 3.2: in distribution the head is read best, on every split of other classes a layer before."""
    best, as_good, places, is_trunk, layers = {}, {}, {}, {}, found.mean[TRAINED].layers("supervised")
    for name, (place, _) in _places(found).items():
        drawn = curve(found.mean[name], "supervised", place)
        best[name] = drawn.best()
        as_good[name] = found.mean[name].recommend("supervised", *place).ties
        places[name] = [layers.index(layer) for layer in as_good[name]]
        # Not by name: a ResNet's trunk is its last block, averaged, and reads the same.
        trunk = drawn.values[layers.index("trunk")]
        is_trunk[name] = all(drawn.values[place] == trunk for place in places[name])
    inside, inside_as_good = best[TRAINED], as_good[TRAINED]
    earlier = [name for name in OTHERS if layers.index(best[name]) < layers.index(inside)]
    in_head = [layer.startswith("head") for layer in inside_as_good]
    said = ", ".join(f"{name} {best[name]}" for name in OTHERS)
    return [
        Verdict(
            "classes trained on are read best within the head",
            None if any(in_head) and not all(in_head) else all(in_head),
            f"best layer {inside}; as good: {', '.join(inside_as_good)}",
        ),
        Verdict(
            "classes never seen are read best at an earlier layer, in every draw",
            all_of(_is_before(places[name], places[TRAINED]) for name in OTHERS),
            f"earlier than {inside} in {len(earlier)} of {len(OTHERS)} draws: {said}",
        ),
        Verdict(
            "the best layer for every draw of classes never seen is the trunk",
            all_of(is_trunk[name] or (None if "trunk" in as_good[name] else False) for name in OTHERS),
            f"the trunk alone in {sum(is_trunk[name] for name in OTHERS)} of {len(OTHERS)} draws, among the best in "
            f"{sum('trunk' in as_good[name] for name in OTHERS)}",
        ),
    ]


FIGURES = {
    "3b": Figure("supervised: classes trained on against classes never seen, per layer", "figure3b", study, draw),
}
