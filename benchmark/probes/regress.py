"""Linear regression of every latent from every layer of frozen networks (paper, Figure 2).

One pass over the fitting split gathers, for each layer, the moments of two groups of objects; the penalty is
chosen per layer and target by fitting on one group and judging on the other, and the regressor refitted on
both. Then one pass over each judging split measures it, object by object, so that every error gets an interval. The
judging splits choose nothing.
"""

from __future__ import annotations

import hashlib
import platform
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from benchmark.data.table import ImageTable, load_table, read_dataset_info, shards_of
from benchmark.data.table import splits as splits_of
from benchmark.errors import UserError
from benchmark.probes.bootstrap import DRAWS, LEVEL, SEED, by_target, intervals, object_sums
from benchmark.probes.features import read_layers, weights_hash
from benchmark.probes.parts import Parts, images_of, what_is_read
from benchmark.probes.results import Gaps, Results, Row
from benchmark.probes.ridge import RELATIVE_ALPHAS, Moments, ridge_path
from benchmark.probes.subjects import Subject
from benchmark.probes.targets import (
    OVERALL,
    OVERALL_WHAT,
    TARGETS,
    rotation_error_degrees,
    target_columns,
    target_slices,
)
from benchmark.training.device import resolve_device, use_own_cores

POOLS = (1, 2, 4)
JUDGING = ("val_views", "val")  # what the splits are for that judge, the hardest last
INNER_SHARE = 0.2  # of the fitting split's objects: they choose the penalty
_CONSTANT = 1e-12  # variance that rounding alone can give


@dataclass(frozen=True)
class LayerRegressor:
    """The chosen and refitted regressors of one layer, all targets side by side (t columns), on the CPU."""

    weight: Tensor  # float64 (d, t)
    intercept: Tensor  # float64 (t,)
    alphas: Tensor  # float64 (t,), the same within a target
    fit_mse: Tensor  # float64 (t,), on the fitting split


def regress_latents(
    networks: Mapping[str, Subject],
    data: Path,
    fit_on: str = "probe",
    judge_on: Sequence[str] | None = None,
    pool: int = 1,
    device: str = "auto",
    batch_size: int = 256,
    parts: Parts | None = None,
) -> Results:
    """Fit on split `fit_on`, judge on the splits `judge_on` of the dataset in folder `data`.

    judge_on: None for those of JUDGING that the dataset has, without `fit_on`. pool: one of POOLS; spatial layers
    are averaged to pool x pool cells (1: the paper's global average). Features are taken in eval mode, in float32,
    without gradients; the networks' weights and buffers are hashed before and after. Progress goes to stderr, and a
    warning for a network trained on other data or not to its end, and for a judging split of a single object, whose
    errors have no intervals. parts: keeps what is finished, a network on a split each; None: nothing is kept. Raises
    UserError for unusable data, a split that is empty or has fewer than two objects to fit on, no split to judge on,
    features that are not finite or have no width; RuntimeError if a network changed.
    """
    if not networks:
        raise UserError("no network to read", exit_code=2)
    if pool not in POOLS:
        raise UserError(f"--pool {pool}: choose one of {', '.join(map(str, POOLS))}", exit_code=2)
    place = resolve_device(device)
    dataset = read_dataset_info(data)
    judge_on = _judging(data, fit_on, judge_on)
    caveats = {name: _caveats(name, subject, dataset["spec"]) for name, subject in networks.items()}
    use_own_cores()
    parts = parts or Parts()
    keys = {
        name: {**what_is_read(name, subject), "pool": pool, "fit on": images_of(data, fit_on), "by": versions()}
        for name, subject in networks.items()
    }
    regressors: dict[str, dict[str, LayerRegressor]] = {}
    rows: list[Row] = []
    gaps: list[Gaps] = []
    splits: dict[str, dict] = {}
    # Split by split, so that one image table at a time is in memory, and is decoded once for all networks.
    for split in (fit_on, *judge_on):
        table = load_table(data, split)
        splits[split] = {"images": len(table), "objects": len(set(table.object_ids))}
        if split != fit_on and splits[split]["objects"] < 2:
            print(f"warning: split {split!r} shows a single object: its errors get no intervals", file=sys.stderr)
        for name, subject in networks.items():
            source = f"{name}, {split}"
            batches = read_layers(subject.open(), table.images, source, pool, place, batch_size)
            if split == fit_on:
                fit = partial(_fit_part, batches, table)
                made = parts.get(source, keys[name], fit)
                regressors[name] = {layer: LayerRegressor(**found) for layer, found in made.items()}
                rows += _fitted_rows(name, split, regressors[name], target_columns(table))
            else:
                judge = partial(_judge_part, name, split, regressors[name], batches, table)
                made = parts.get(source, {**keys[name], "judge on": images_of(data, split)}, judge)
                rows += [Row(**row) for row in made["rows"]]
                gaps += [Gaps(**found) for found in made["gaps"]]
    order = {name: position for position, name in enumerate(networks)}
    info = {
        "networks": {
            name: {**described(subject, widths_of(regressors[name])), **caveats[name]}
            for name, subject in networks.items()
        },
        "targets": {**{target.name: target.what for target in TARGETS}, OVERALL: OVERALL_WHAT},
        "fit_on": fit_on,
        "judged_on": list(judge_on),
        "splits": splits,
        "dataset": dataset,
        "pool": pool,
        "ridge": {"relative_alphas": list(RELATIVE_ALPHAS), "inner_share": INNER_SHARE},
        "intervals": {"level": LEVEL, "method": "percentile, bootstrap over objects", "draws": DRAWS, "seed": SEED},
        "versions": versions(),
    }
    return Results(tuple(sorted(rows, key=lambda row: order[row.network])), info, tuple(gaps))


def _judging(data: Path, fit_on: str, judge_on: Sequence[str] | None) -> Sequence[str]:
    """The splits to judge on. UserError unless there is one, and all splits are there and as they should be."""
    if fit_on == "val":
        raise UserError("--fit-on val: its objects are for judging; fit on probe or train", exit_code=2)
    if judge_on is None:
        judge_on = [split for split in JUDGING if split in splits_of(data) and split != fit_on]
    if not judge_on:
        raise UserError(
            f"{data}: fitted on {fit_on!r}, no split of {', '.join(JUDGING)} is left to judge on; "
            "fit on another split or render a dataset that has them",
            exit_code=2,
        )
    if fit_on in judge_on:
        raise UserError(f"the regressors cannot be judged on the split they are fitted on, {fit_on!r}", exit_code=2)
    for split in (fit_on, *judge_on):
        shards_of(data, split)
    return judge_on


def _caveats(name: str, subject: Subject, spec: dict) -> dict[str, bool]:
    """What a reader of the network's results should know, said on stderr too: entries for the results' info."""
    caveats = {}
    theirs = spec if subject.data_spec is None else subject.data_spec
    if other := [key for key in {**spec, **theirs} if spec.get(key) != theirs.get(key)]:
        caveats["trained_on_other_data"] = True
        print(
            f"warning: {name} was trained on another dataset ({', '.join(other)} differ): "
            "objects called new here may have been seen in its training",
            file=sys.stderr,
        )
    return caveats | unfinished(name, subject)


def unfinished(name: str, subject: Subject) -> dict[str, bool]:
    """The entry for a network that is not trained to its end, said on stderr too; empty for others."""
    if subject.unfinished_step is None:
        return {}
    print(
        f"warning: {name} is not trained to its end: read as it was after step {subject.unfinished_step}; "
        "gr3d train --resume goes on",
        file=sys.stderr,
    )
    return {"finished": False}


def inner_objects(object_ids: Sequence[str]) -> Tensor:
    """True (N,) for the images of the objects that choose the penalty: INNER_SHARE of the objects.

    All views of an object are on the same side, and each side has at least one object. UserError for fewer
    than two objects.
    """
    objects = sorted(set(object_ids), key=lambda name: hashlib.sha256(f"inner {name}".encode()).digest())
    if len(objects) < 2:
        raise UserError(
            f"the split that the regressors are fitted on holds {len(objects)} object; choosing the penalty "
            "needs at least 2: render more objects, or fit on another split (--fit-on train)"
        )
    chosen = set(objects[: max(1, round(INNER_SHARE * len(objects)))])
    return torch.tensor([name in chosen for name in object_ids])


def fit_layers(
    batches: Iterator[tuple[slice, dict[str, Tensor]]], targets: Tensor, inner: Tensor
) -> dict[str, LayerRegressor]:
    """Fit every layer from one pass.

    batches: (rows, {layer: features (b, d)}), together covering the rows of targets, float64 (N, t).
    inner: (N,) True for the rows that choose the penalty. Constant targets raise UserError.
    """
    _variance(targets, "the fitting split")
    moments: dict[str, tuple[Moments, Moments]] = {}
    for rows, features in batches:
        held = inner[rows]
        for layer, x in features.items():
            if layer not in moments:
                outer, chosen = (Moments(x.shape[1], targets.shape[1], x.device) for _ in range(2))
                moments[layer] = outer, chosen
            for side, mask in zip(moments[layer], (~held, held), strict=True):
                side.add(x[mask.to(x.device)], targets[rows][mask].to(x.device))
    # Layer by layer, so that a layer's moments are dropped before the next one's are solved.
    return {layer: _fit(*moments.pop(layer)) for layer in list(moments)}


def _fit(outer: Moments, inner: Moments) -> LayerRegressor:
    whole = outer.merge(inner)
    path = ridge_path(outer)
    candidates = path.alphas
    # Over the variance, so that the quaternion's w, which varies little, counts as much as x, y and z.
    errors = path.errors(inner, candidates) / whole.variance()
    alphas = candidates.new_empty(whole.targets)
    for columns in target_slices().values():
        alphas[columns] = candidates[errors[:, columns].mean(dim=1).argmin()]
    weight, intercept = ridge_path(whole).solve(alphas)
    return LayerRegressor(*(value.cpu() for value in (weight, intercept, alphas, whole.error(weight, intercept))))


def _fit_part(batches: Iterator[tuple[slice, dict[str, Tensor]]], table: ImageTable) -> dict[str, dict[str, Tensor]]:
    """`fit_layers` as `Parts` keeps it."""
    fitted = fit_layers(batches, target_columns(table), inner_objects(table.object_ids))
    return {layer: vars(regressor) for layer, regressor in fitted.items()}


def _judge_part(*arguments: object) -> dict[str, list[dict]]:
    """`judge_layers` as `Parts` keeps it."""
    rows, gaps = judge_layers(*arguments)
    return {"rows": [asdict(row) for row in rows], "gaps": [asdict(found) for found in gaps]}


def _fitted_rows(name: str, split: str, layers: dict[str, LayerRegressor], targets: Tensor) -> list[Row]:
    variance = _variance(targets, f"split {split!r}")
    return [
        row for layer, fit in layers.items() for row in _rows(name, layer, split, fit.fit_mse, variance, fit.alphas)
    ]


def judge_layers(
    name: str,
    split: str,
    layers: dict[str, LayerRegressor],
    batches: Iterator[tuple[slice, dict[str, Tensor]]],
    table: ImageTable,
) -> tuple[list[Row], list[Gaps]]:
    """Predict the images of `table`, split `split`, in one pass and measure every layer.

    batches: as for `fit_layers`, of the network called `name`. Besides the errors of all images, only their sums over
    each object are kept. UserError for a constant target.
    """
    targets, rotation = target_columns(table), target_slices()["rotation"]
    variance = _variance(targets, f"split {split!r}")
    sums = object_sums(table.object_ids, targets)
    squares = {layer: torch.zeros_like(sums.targets) for layer in layers}
    degrees = dict.fromkeys(layers, 0.0)
    for rows, features in batches:
        for layer, x in features.items():
            fit = layers[layer]
            predicted = (x.double() @ fit.weight.to(x.device) + fit.intercept.to(x.device)).cpu()
            squares[layer].index_add_(0, sums.object_of[rows], (predicted - targets[rows]).square())
            degrees[layer] += rotation_error_degrees(predicted[:, rotation], table.quaternion[rows]).sum().item()
    found = intervals(sums, list(squares.values()))
    judged = []
    for position, (layer, fit) in enumerate(layers.items()):
        mse, turned = squares[layer].sum(dim=0) / len(table), degrees[layer] / len(table)
        made = list(_rows(name, layer, split, mse, variance, fit.alphas, turned))
        if found is not None:
            spans = zip(made, found.low[position].tolist(), found.high[position].tolist(), strict=True)
            made = [replace(row, low=low, high=high) for row, low, high in spans]
        judged += made
    gaps = [] if found is None else found.gap.tolist()
    names = (*target_slices(), OVERALL)
    return judged, [Gaps(name, target, split, tuple(map(tuple, low))) for target, low in zip(names, gaps, strict=False)]


def _rows(
    name: str,
    layer: str,
    split: str,
    mse: Tensor,
    variance: Tensor,
    alphas: Tensor,
    degrees: float | None = None,
) -> Iterator[Row]:
    *errors, overall = by_target(mse / variance).tolist()
    for (target, columns), nmse in zip(target_slices().items(), errors, strict=True):
        yield Row(
            network=name,
            layer=layer,
            target=target,
            split=split,
            mse=mse[columns].mean().item(),
            nmse=nmse,
            r2=1 - nmse,
            alpha=alphas[columns][0].item(),
            degrees=degrees if target == "rotation" else None,
        )
    yield Row(name, layer, OVERALL, split, mse=None, nmse=overall, r2=1 - overall, alpha=None)


def _variance(targets: Tensor, where: str) -> Tensor:
    """(t,), divided by N. UserError where a target is constant: its error has no scale."""
    variance = targets.var(dim=0, correction=0)
    for target, columns in zip(TARGETS, target_slices().values(), strict=True):
        if not (variance[columns] > _CONSTANT).all():
            raise UserError(f"{target.label} does not vary in {where} ({len(targets)} images): nothing to regress")
    return variance


def widths_of(layers: dict[str, LayerRegressor]) -> dict[str, int]:
    return {layer: len(fit.weight) for layer, fit in layers.items()}


def described(subject: Subject, widths: Mapping[str, int]) -> dict:
    """What results keep of a network. widths: features of each layer."""
    return {
        "role": subject.role,
        "layers": list(widths),
        "widths": list(widths.values()),
        "config": subject.config,
        "weights": weights_hash(subject.open()),
    }


def versions() -> dict[str, str]:
    """Of what the numbers depend on."""
    try:
        gr3d = version("gr3d")
    except PackageNotFoundError:  # a plain checkout
        gr3d = "checkout"
    return {
        "gr3d": gr3d,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "numpy": np.__version__,
    }
