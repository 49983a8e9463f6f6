"""Linear regression of every latent from every layer of frozen networks (paper, Figure 2).

One pass over the fitting split gathers, for each layer, the moments of two groups of objects; the penalty is
chosen per layer and target by fitting on one group and judging on the other, and the regressor refitted on
both. Then one pass over each judging split measures it. The judging splits choose nothing.
"""

from __future__ import annotations

import hashlib
import platform
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from benchmark.data.table import ImageTable, load_table, read_dataset_info, shards_of
from benchmark.data.table import splits as splits_of
from benchmark.errors import UserError
from benchmark.probes.features import read_layers, weights_hash
from benchmark.probes.results import Results, Row
from benchmark.probes.ridge import RELATIVE_ALPHAS, Moments, ridge_path
from benchmark.probes.subjects import Subject
from benchmark.probes.targets import TARGETS, rotation_error_degrees, target_columns, target_slices
from benchmark.training.device import resolve_device, use_own_cores

POOLS = (1, 2, 4)
JUDGING = ("val_views", "val")  # what the splits are for that judge, the hardest last
INNER_SHARE = 0.2  # of the fitting split's objects: they choose the penalty
_CONSTANT = 1e-12  # variance that rounding alone can give


@dataclass(frozen=True)
class LayerRegressor:
    """The chosen and refitted regressors of one layer, all targets side by side (t columns)."""

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
) -> Results:
    """Fit on split `fit_on`, judge on the splits `judge_on` of the dataset in folder `data`.

    judge_on: None for those of JUDGING that the dataset has, without `fit_on`. pool: one of POOLS; spatial layers
    are averaged to pool x pool cells (1: the paper's global average). Features are taken in eval mode, in float32,
    without gradients; the networks' weights and buffers are hashed before and after. Progress goes to stderr, and a
    warning for a network trained on other data or not to its end. Raises UserError for unusable data, a split that
    is empty or has fewer than two objects to fit on, no split to judge on, features that are not finite;
    RuntimeError if a network changed.
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
    regressors: dict[str, dict[str, LayerRegressor]] = {}
    rows: list[Row] = []
    splits: dict[str, dict] = {}
    # Split by split, so that one image table at a time is in memory, and is decoded once for all networks.
    for split in (fit_on, *judge_on):
        table = load_table(data, split)
        splits[split] = {"images": len(table), "objects": len(set(table.object_ids))}
        for name, subject in networks.items():
            source = f"{name}, {split}"
            batches = read_layers(subject.network, table.images, source, pool, place, batch_size)
            if split == fit_on:
                regressors[name] = fit_layers(batches, target_columns(table), inner_objects(table.object_ids))
                rows += _fitted_rows(name, split, regressors[name], target_columns(table))
            else:
                rows += _judged_rows(name, split, regressors[name], batches, table)
    order = {name: position for position, name in enumerate(networks)}
    info = {
        "networks": {
            name: {**_describe(subject, regressors[name]), **caveats[name]} for name, subject in networks.items()
        },
        "targets": {target.name: target.what for target in TARGETS},
        "fit_on": fit_on,
        "judged_on": list(judge_on),
        "splits": splits,
        "dataset": dataset,
        "pool": pool,
        "ridge": {"relative_alphas": list(RELATIVE_ALPHAS), "inner_share": INNER_SHARE},
        "versions": _versions(),
    }
    return Results(tuple(sorted(rows, key=lambda row: order[row.network])), info)


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
    if subject.unfinished_step is not None:
        caveats["finished"] = False
        print(
            f"warning: {name} is not trained to its end: read as it was after step {subject.unfinished_step}; "
            "gr3d train --resume goes on",
            file=sys.stderr,
        )
    return caveats


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
                moments[layer] = Moments(x.shape[1], targets.shape[1]), Moments(x.shape[1], targets.shape[1])
            for side, mask in zip(moments[layer], (~held, held), strict=True):
                side.add(x[mask], targets[rows][mask])
    # Layer by layer, so that a layer's moments are dropped before the next one's are solved.
    return {layer: _fit(*moments.pop(layer)) for layer in list(moments)}


def _fit(outer: Moments, inner: Moments) -> LayerRegressor:
    whole = outer.merge(inner)
    path = ridge_path(outer)
    candidates = path.alphas
    # Over the variance, so that the quaternion's w, which varies little, counts as much as x, y and z.
    errors = path.errors(inner, candidates) / whole.variance()
    alphas = torch.empty(whole.targets, dtype=torch.float64)
    for columns in target_slices().values():
        alphas[columns] = candidates[errors[:, columns].mean(dim=1).argmin()]
    weight, intercept = ridge_path(whole).solve(alphas)
    return LayerRegressor(weight, intercept, alphas, whole.error(weight, intercept))


def _fitted_rows(name: str, split: str, layers: dict[str, LayerRegressor], targets: Tensor) -> list[Row]:
    variance = _variance(targets, f"split {split!r}")
    return [
        row for layer, fit in layers.items() for row in _rows(name, layer, split, fit.fit_mse, variance, fit.alphas)
    ]


def _judged_rows(
    name: str,
    split: str,
    layers: dict[str, LayerRegressor],
    batches: Iterator[tuple[slice, dict[str, Tensor]]],
    table: ImageTable,
) -> list[Row]:
    """Predict split `split` in one pass and measure every layer."""
    targets, rotation = target_columns(table), target_slices()["rotation"]
    variance = _variance(targets, f"split {split!r}")
    squares = {layer: torch.zeros(targets.shape[1], dtype=torch.float64) for layer in layers}
    degrees = dict.fromkeys(layers, 0.0)
    for rows, features in batches:
        for layer, x in features.items():
            predicted = x.double() @ layers[layer].weight + layers[layer].intercept
            squares[layer] += (predicted - targets[rows]).square().sum(dim=0)
            degrees[layer] += rotation_error_degrees(predicted[:, rotation], table.quaternion[rows]).sum().item()
    return [
        row
        for layer, fit in layers.items()
        for row in _rows(
            name, layer, split, squares[layer] / len(table), variance, fit.alphas, degrees[layer] / len(table)
        )
    ]


def _rows(
    name: str,
    layer: str,
    split: str,
    mse: Tensor,
    variance: Tensor,
    alphas: Tensor,
    degrees: float | None = None,
) -> Iterator[Row]:
    for target, columns in target_slices().items():
        nmse = (mse[columns] / variance[columns]).mean().item()
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


def _variance(targets: Tensor, where: str) -> Tensor:
    """(t,), divided by N. UserError where a target is constant: its error has no scale."""
    variance = targets.var(dim=0, correction=0)
    for target, columns in zip(TARGETS, target_slices().values(), strict=True):
        if not (variance[columns] > _CONSTANT).all():
            raise UserError(f"{target.label} does not vary in {where} ({len(targets)} images): nothing to regress")
    return variance


def _describe(subject: Subject, layers: dict[str, LayerRegressor]) -> dict:
    return {
        "role": subject.role,
        "layers": list(layers),
        "widths": [len(fit.weight) for fit in layers.values()],
        "config": subject.config,
        "weights": weights_hash(subject.network),
    }


def _versions() -> dict[str, str]:
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
