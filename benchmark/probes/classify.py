"""Linear classification of the classes from every layer of frozen networks (paper, Figures 1, 3, 4, 9, 10, Table 1).

One pass over the fitting split reads the features of all layers. At each layer a multinomial logistic regression is
fitted for a path of penalties on a part of the objects (plain images are an object each), drawn class by class; the
others choose the penalty, and with it all are fitted. Then each split that judges is read once, chooses nothing, and
gives top-1 and top-5 with intervals.
"""

from __future__ import annotations

import hashlib
import math
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from benchmark.data.datasets import open_dataset
from benchmark.data.table import ImageTable, load_table, read_dataset_info
from benchmark.errors import UserError
from benchmark.probes import logistic, sgd
from benchmark.probes.accuracy import Accuracy, Classification, Margins
from benchmark.probes.bootstrap import DRAWS, LEVEL, SEED, TAILS, draws, per_object, quantile
from benchmark.probes.features import read_layers
from benchmark.probes.logistic import Readout, Scaling, ranks
from benchmark.probes.parts import Parts, images_of, what_is_read
from benchmark.probes.regress import INNER_SHARE, JUDGING, POOLS, described, unfinished, versions
from benchmark.probes.store import FeatureStore
from benchmark.probes.subjects import Subject
from benchmark.training.device import resolve_device, use_own_cores

SOLVERS = ("exact", "sgd")


@dataclass(frozen=True)
class Reading:
    """How networks are read: as the arguments of `probe`."""

    solver: str
    epochs: int
    pool: int
    device: torch.device
    batch_size: int
    only: tuple[str, ...]

    def layers(
        self, subject: Subject, table: ImageTable, source: str, order: Tensor | None = None
    ) -> Iterator[tuple[slice, dict[str, Tensor]]]:
        batches = read_layers(subject.open(), table.images, source, self.pool, self.device, self.batch_size, order)
        for rows, features in batches:
            if absent := [layer for layer in self.only if layer not in features]:
                raise UserError(f"{source}: there is no layer {absent[0]!r}, but {', '.join(features)}")
            yield rows, {layer: features[layer] for layer in self.only or features}


@dataclass(frozen=True)
class Shown:
    """The images of one split that are judged. name: of the dataset; labels: int64 (n,); object_of: int64 (n,), which
    object an image shows; keep: the places of the n images in the table."""

    name: str
    split: str
    labels: Tensor
    object_of: Tensor
    keep: Tensor

    @classmethod
    def of(cls, name: str, split: str, table: ImageTable, classes: Sequence[str]) -> Shown:
        """Images of classes that are not in `classes` are left out, and counted on stderr. UserError if all are."""
        place = {category: k for k, category in enumerate(classes)}
        labels = torch.tensor([place.get(category, -1) for category in table.categories])
        keep = (labels >= 0).nonzero()[:, 0]
        if len(keep) < len(labels):
            unknown = sorted(set(table.categories) - set(classes))
            more = f" and {len(unknown) - 1} more" if len(unknown) > 1 else ""
            text = f"split {split!r} of {name} has {len(labels) - len(keep)} images of classes that were not fitted"
            print(f"warning: {text} ('{unknown[0]}'{more}): they are left out", file=sys.stderr)
        if not len(keep):
            raise UserError(f"split {split!r} of {name} has no image of any class that was fitted")
        objects = np.asarray(table.object_ids)[keep.numpy()]
        object_of = torch.from_numpy(np.unique(objects, return_inverse=True)[1].reshape(-1))
        return cls(name, split, labels[keep], object_of, keep)

    @property
    def objects(self) -> int:
        return int(self.object_of.max()) + 1

    def described(self, commonest: int) -> dict:
        """commonest: the class most frequent in fitting."""
        share = (self.labels == commonest).double().mean().item()
        return {"images": len(self.labels), "objects": self.objects, "commonest": share}


@dataclass
class Hits:
    """What every layer of every network got right on one split: per network float64 (objects, layers), images right at
    once; and (layers,) shares right at once and among the first five."""

    shown: Shown
    right: dict[str, Tensor] = field(default_factory=dict)
    top1: dict[str, list[float]] = field(default_factory=dict)
    top5: dict[str, list[float]] = field(default_factory=dict)

    def add(self, network: str, found: Tensor) -> None:
        """found: int64 (n, layers), the ranks of the right classes."""
        self.right[network] = per_object(self.shown.object_of, (found == 0).double())
        self.top1[network] = (found == 0).double().mean(dim=0).tolist()
        self.top5[network] = (found < 5).double().mean(dim=0).tolist()


def probe(
    subjects: Mapping[str, Subject],
    data: str | Path,
    *,
    fit_on: str | None = None,
    judge_on: Mapping[str, tuple[str | Path, str | None]] | None = None,
    only: Sequence[str] = (),
    solver: str = "exact",
    epochs: int = sgd.EPOCHS,
    pool: int = 1,
    device: str = "auto",
    batch_size: int = 256,
    parts: Parts | None = None,
) -> Classification:
    """Fit on split `fit_on` of the DATASET `data`, judge on its splits and on those of `judge_on`.

    fit_on: None for `probe` where there is one, else `train`. Of `data`, renders are judged on `val_views` and `val`,
    others on `val` or, where it is missing or shows other classes, on every other split that shows the same classes.
    judge_on: {name: (DATASET, split)}, further ones, scaled to the same side, judged with the classifiers fitted on
    `data`; split None for `val`, without one for all splits. They must have the same classes. only: the layers to read,
    of every network; none: all. solver: one of SOLVERS; epochs: passes of sgd. pool, device, batch_size, parts: as in
    `regress_latents`. Features of the fitting split are kept in RAM or in the temporary folder (FeatureStore). Weights
    and buffers are hashed before and after.

    Raises UserError for unusable data, classes that disagree, no split to judge on, fewer than two classes, classes of
    one object each, a layer that a network lacks, features that are not finite, no room for the features; RuntimeError
    if a network changed.
    """
    if not subjects:
        raise UserError("no network to read", exit_code=2)
    if pool not in POOLS:
        raise UserError(f"--pool {pool}: choose one of {', '.join(map(str, POOLS))}", exit_code=2)
    if solver not in SOLVERS:
        raise UserError(f"--solver {solver}: choose one of {', '.join(SOLVERS)}", exit_code=2)
    how = Reading(solver, epochs, pool, resolve_device(device), batch_size, tuple(only))
    dataset, name = open_dataset(data), _name(data)
    fit_on = fit_on or ("probe" if "probe" in dataset.splits else "train")
    places = _places(name, data, fit_on, judge_on or {})
    caveats = {network: unfinished(network, subject) for network, subject in subjects.items()}
    use_own_cores()

    table = load_table(data, fit_on)
    classes = sorted(set(table.categories))
    if len(classes) < 2:
        raise UserError(f"{data}: split {fit_on!r} shows a single class, {classes[0]!r}: nothing to classify")
    fitted = Hits(Shown.of(name, fit_on, table, classes))
    held, side = inner_images(table), table.images.shape[2] if table.images.shape[2] == table.images.shape[3] else None
    parts = parts or Parts()
    solving = {
        "only": list(only),
        "pool": pool,
        "solver": _solver(how),
        "fit on": images_of(data, fit_on),
        "by": versions(),
    }
    keys = {network: {**what_is_read(network, subject), **solving} for network, subject in subjects.items()}
    readouts: dict[str, dict[str, Readout]] = {}
    for network, subject in subjects.items():
        fit = partial(_fit, network, subject, table, fitted.shown, held, len(classes), how)
        made = parts.get(f"{network}, {fit_on}", keys[network], fit)
        readouts[network] = {layer: _readout(**found) for layer, found in made["readouts"].items()}
        fitted.add(network, made["ranks"])
    del table
    found = [fitted]
    for place, (text, split) in places.items():
        table = load_table(text, split) if place[0] == name else load_table(text, split, side=side)
        hits = Hits(Shown.of(*place, table, classes))
        key = {"judge on": images_of(text, split), "side": None if place[0] == name else side}
        for network, subject in subjects.items():
            judge = partial(_judge, network, subject, table, hits.shown, readouts[network], how)
            made = parts.get(f"{network}, {' '.join(place)}", {**keys[network], **key}, judge)
            hits.add(network, made["ranks"])
        found.append(hits)

    commonest = int(torch.bincount(fitted.shown.labels).argmax())
    rows, margins = _rows(found, readouts, len(classes))
    splits: dict[str, dict] = {}
    for hits in found:
        splits.setdefault(hits.shown.name, {})[hits.shown.split] = hits.shown.described(commonest)
    texts = {name: data, **{place: text for place, (text, _) in (judge_on or {}).items()}}
    info = {
        "networks": {
            network: {**described(subject, _widths(readouts[network])), **caveats[network]}
            for network, subject in subjects.items()
        },
        "classes": classes,
        "dataset": name,
        "fit_on": fit_on,
        "judged_on": [list(place) for place in places],
        "splits": splits,
        "datasets": {place: read_dataset_info(text) for place, text in texts.items()},
        "only": list(only),
        "pool": pool,
        "solver": _solver(how),
        "fits": [
            {"network": network, "layer": layer, "penalty": readout.penalty, **readout.how}
            for network, layers in readouts.items()
            for layer, readout in layers.items()
        ],
        "intervals": {"level": LEVEL, "method": "percentile, bootstrap over objects", "draws": DRAWS, "seed": SEED},
        "versions": versions(),
    }
    _warn(info["fits"])
    order = {network: position for position, network in enumerate(subjects)}
    return Classification(tuple(sorted(rows, key=lambda row: order[row.network])), info, margins)


def _name(data: str | Path) -> str:
    """What rows call the dataset: KIND, or the folder's name."""
    kind, colon, _ = str(data).partition(":")
    return kind if colon else Path(data).resolve().name if Path(data).exists() else str(data)


def _places(
    name: str, data: str | Path, fit_on: str, judge_on: Mapping[str, tuple[str | Path, str | None]]
) -> dict[tuple[str, str], tuple[str | Path, str]]:
    """{(name, split): (DATASET, split)} of all that judge. UserError where classes disagree, or if there is none."""
    dataset = open_dataset(data)
    known = set(dataset.classes_of(fit_on)) if judge_on or not dataset.has_latents else set()
    others = [split for split in dataset.splits if split != fit_on]
    if dataset.has_latents:
        own = [split for split in JUDGING if split in others]
    else:
        own = _sharing(data, fit_on, known, others)
    places = {(name, split): (data, split) for split in own}
    for other, (text, split) in judge_on.items():
        if other == name:
            raise UserError(f"--judge {other}: the dataset fitted on has that name; choose another", exit_code=2)
        further = open_dataset(text)
        splits = [split] if split else ["val"] if "val" in further.splits else further.splits
        for one in splits:
            if different := known ^ set(further.classes_of(one)):
                first, has = min(different), "lacks" if min(different) in known else "has"
                raise UserError(
                    f"--judge {other}: {text} must have the classes of {data}: its split {one!r} {has} {first!r} "
                    f"({len(different)} in all)"
                )
            places[other, one] = (text, one)
    if not places:
        raise UserError(
            f"{data}: fitted on {fit_on!r}, no split with the same classes is left to judge on; "
            "fit on another split (--fit-on), or judge on another dataset (--judge)",
            exit_code=2,
        )
    return places


def _sharing(data: str | Path, fit_on: str, known: set[str], others: Sequence[str]) -> list[str]:
    """`val`, or else all splits with the same classes. UserError for a `val` with some of the classes."""
    dataset = open_dataset(data)
    theirs = {split: set(dataset.classes_of(split)) for split in others}
    if "val" in theirs and theirs["val"] & known and theirs["val"] != known:
        first = min(theirs["val"] ^ known)
        has, lacks = (fit_on, "val") if first in known else ("val", fit_on)
        raise UserError(f"{data}: split {lacks!r} has no image of class {first!r}, split {has!r} has")
    sharing = [split for split in others if theirs[split] == known]
    return ["val"] if "val" in sharing else sharing


def _inner_order(name: str) -> bytes:
    return hashlib.sha256(f"inner {name}".encode(errors="surrogateescape")).digest()


def inner_images(table: ImageTable) -> Tensor:
    """True (N,) for the images that choose the penalty: of every class, INNER_SHARE of its objects, at least one and
    never all; an object is of its first image's class. UserError if every class has one object."""
    class_of: dict[str, str] = {}
    for name, category in zip(table.object_ids, table.categories, strict=True):
        class_of.setdefault(name, category)
    objects: dict[str, list[str]] = {}
    for name in sorted(class_of, key=_inner_order):
        objects.setdefault(class_of[name], []).append(name)
    held = set()
    for names in objects.values():
        held.update(names[: min(max(1, round(INNER_SHARE * len(names))), len(names) - 1)])
    if not held:
        raise UserError(
            "every class of the split that the classifiers are fitted on shows a single object: choosing the penalty "
            "needs two of some class; fit on another split (--fit-on)"
        )
    return torch.tensor([name in held for name in table.object_ids])


def _fit(
    network: str, subject: Subject, table: ImageTable, shown: Shown, held: Tensor, classes: int, how: Reading
) -> dict[str, dict | Tensor]:
    """Fit every layer of one network. {"readouts": {layer: a readout's fields}, "ranks": as in `Hits.add`, of what was
    fitted}, for `Parts`."""
    source = f"{network}, {shown.split}"
    if how.solver == "sgd":
        readouts = _train(source, subject, table, shown.labels, held, classes, how)
        return _as_part(readouts) | _judge(network, subject, table, shown, readouts, how)
    order = torch.cat([(~held).nonzero()[:, 0], held.nonzero()[:, 0]])  # the inner part last
    place = torch.empty_like(order)
    place[order] = torch.arange(len(order))
    labels, outer = shown.labels[order], int((~held).sum())
    readouts, found = {}, []
    with FeatureStore(len(table)) as store:
        store.fill(how.layers(subject, table, source), place)
        for layer in list(store.layers):
            readouts[layer], logits = logistic.fit(store.pop(layer, how.device), labels, classes, outer, how.device)
            found.append(ranks(logits, labels.to(logits.device)).cpu()[place])
    return {**_as_part(readouts), "ranks": torch.stack(found, dim=1)}


def _as_part(readouts: Mapping[str, Readout]) -> dict[str, dict]:
    return {"readouts": {layer: {**vars(one), "scaling": vars(one.scaling)} for layer, one in readouts.items()}}


def _readout(scaling: dict, **fields: object) -> Readout:
    return Readout(Scaling(**scaling), **fields)


def _train(
    source: str, subject: Subject, table: ImageTable, labels: Tensor, held: Tensor, classes: int, how: Reading
) -> dict[str, Readout]:
    """The same by SGD: passes over the images that are not held, in an order of their own, then one over the held."""
    outer, inner = (~held).nonzero()[:, 0], held.nonzero()[:, 0]
    generator = torch.Generator().manual_seed(SEED)

    def shuffled() -> Tensor:
        return outer[torch.randperm(len(outer), generator=generator)]

    sample = sgd.sample_of(how.layers(subject, table, f"{source}, sample", shuffled()[: sgd.SAMPLE]))
    grid = sgd.Grid(sample, classes, how.epochs * math.ceil(len(outer) / how.batch_size))
    for epoch in range(how.epochs):
        order = shuffled()
        for rows, features in how.layers(subject, table, f"{source}, pass {epoch + 1} of {how.epochs}", order):
            grid.learn(features, labels[order[rows]].to(how.device))
    for rows, features in how.layers(subject, table, f"{source}, inner part", inner):
        grid.judge(features, labels[inner[rows]].to(how.device))
    return grid.readouts()


def _judge(
    network: str, subject: Subject, table: ImageTable, shown: Shown, readouts: Mapping[str, Readout], how: Reading
) -> dict[str, Tensor]:
    """Read the images once: {"ranks": what every layer gets right, as in `Hits.add`}, for `Parts`."""
    found = torch.empty(len(shown.labels), len(readouts), dtype=torch.long)
    for rows, features in how.layers(subject, table, f"{network}, {shown.name} {shown.split}", shown.keep):
        for position, (layer, x) in enumerate(features.items()):
            found[rows, position] = ranks(readouts[layer](x), shown.labels[rows].to(x.device)).cpu()
    return {"ranks": found}


def _rows(
    found: Sequence[Hits], readouts: Mapping[str, Mapping[str, Readout]], classes: int
) -> tuple[list[Accuracy], tuple[Margins, ...]]:
    """Rows and margins of all splits, of which the first is the one fitted on: it gets no intervals."""
    rows: list[Accuracy] = []
    margins: list[Margins] = []
    for position, hits in enumerate(found):
        shown = hits.shown
        drawn = _drawn(hits) if position and shown.objects > 1 else {}
        for network, layers in readouts.items():
            ends = [(None, None)] * len(layers)
            if network in drawn:
                low, high = (quantile(drawn[network], tail).tolist() for tail in TAILS)
                ends = list(zip(low, high, strict=True))
                margins.append(Margins(network, shown.name, shown.split, _gaps(drawn[network])))
            shares = zip(layers.items(), hits.top1[network], hits.top5[network], ends, strict=True)
            rows += [
                Accuracy(
                    *(network, layer, shown.name, shown.split, top1, top5, low, high),
                    *(readout.penalty, classes, len(shown.labels)),
                )
                for (layer, readout), top1, top5, (low, high) in shares
            ]
    return rows, tuple(margins)


def _drawn(hits: Hits) -> dict[str, Tensor]:
    """Top-1 of every layer in every draw of objects, (layers, draws) per network; the same draws for all."""
    images = per_object(hits.shown.object_of, torch.ones(len(hits.shown.labels), 1, dtype=torch.float64))
    right = torch.cat(list(hits.right.values()), dim=1)
    shares = torch.cat([(weights @ right) / (weights @ images) for weights in draws(len(images))]).T
    widths = [right.shape[1] for right in hits.right.values()]
    return dict(zip(hits.right, shares.split(widths), strict=True))


def _gaps(shares: Tensor) -> tuple[tuple[float, ...], ...]:
    """Lower ends for error[a] - error[b], from (layers, draws)."""
    return tuple(tuple(quantile(shares - one, TAILS[0]).tolist()) for one in shares)


def _widths(layers: Mapping[str, Readout]) -> dict[str, int]:
    return {layer: len(readout.weight) for layer, readout in layers.items()}


def _solver(how: Reading) -> dict:
    if how.solver == "sgd":
        return {"name": "sgd", "rates": list(sgd.RATES), "momentum": sgd.MOMENTUM, "epochs": how.epochs}
    return {
        "name": "exact",
        "relative_penalties": list(logistic.RELATIVE_PENALTIES),
        "patience": logistic.PATIENCE,
        "tolerance": logistic.TOLERANCE,
        "inner_share": INNER_SHARE,
    }


def _warn(fits: Sequence[dict]) -> None:
    for fit in fits:
        if not fit.get("converged", True):
            print(
                f"warning: {fit['network']}, {fit['layer']}: {fit['steps']} steps did not reach the optimum "
                f"(largest entry of the gradient {fit['gradient']:.1e})",
                file=sys.stderr,
            )
