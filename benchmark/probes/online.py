"""Reads every layer while the network trains: Figure 11 of the paper, for latents and for classes.

At the end of each epoch lie two windows of images. On the first, at most FIT_IMAGES, a ridge regressor is fitted to
every layer; on the second, about JUDGE_IMAGES, it is judged batch by batch, before the features have drifted far from
what it was fitted to. An epoch visits an image once, so no regressor ever meets an image it was fitted on. In a short
epoch the windows are shorter: at most a half (or a third) and a quarter of it, which bounds what they cost.

The features are those of the training's own forward pass (first view of each image, train mode), detached: the network
is not run a second time, and neither a gradient nor a random number depends on being watched.

Classes are ridge regressions too, onto one-hot vectors, of which the largest is the answer. They come out of the same
sums as the latents and have no learning rate, which would suit some layers better than others; at every layer they are
somewhat less accurate than a logistic regression.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from benchmark.data.table import ImageTable
from benchmark.errors import UserError
from benchmark.files import write_atomically
from benchmark.probes.targets import target_columns, target_slices
from benchmark.probes.windows import PENALTIES, Readout, Rows, Sums, check_shapes

ONLINE = "online.jsonl"  # in the run directory
CLASSES = "classes"  # beside the targets' names

FIT_IMAGES = 8192
JUDGE_IMAGES = 2048
_DEAR = (
    1024,
    4096,
)  # half an epoch between these would cost over 3 % of it with layers of width 2048: a third is taken

# Each epoch reports the penalty that was best in the epoch before, per layer and target; the first one reports this.
_FIRST_PENALTY = 1e-1

_VARIES = 1e-12  # variance of a target, above what rounding gives


@dataclass(frozen=True)
class Schedule:
    """Which steps of an epoch of ``steps`` are fitted on, and which, at its very end, are judged."""

    steps: int
    fit: int
    judge: int

    @classmethod
    def of(cls, steps: int, batch: int) -> Schedule:
        """steps: of an epoch; batch: images a step. An epoch of one step has nothing left to judge on: no window."""
        if steps < 2:
            return cls(steps, 0, 0)
        judge = max(1, min(math.ceil(JUDGE_IMAGES / batch), steps // 4))
        low, high = _DEAR
        share = 3 if low < steps * batch / 2 < high else 2
        return cls(steps, max(1, min(math.ceil(FIT_IMAGES / batch), steps // share)), judge)

    def fits(self, step: int) -> bool:
        return self.steps - self.judge - self.fit <= step % self.steps < self.steps - self.judge

    def judges(self, step: int) -> bool:
        return step % self.steps >= self.steps - self.judge


@dataclass(frozen=True)
class Labels:
    """What is read off the layers, for N images.

    latents: float32 (N, t), columns of ``target_columns`` less their means. slices: columns of each target.
    classes: int64 (N,), positions in ``names``: the categories, or none if all images are of the same.
    """

    latents: Tensor
    slices: dict[str, slice]
    classes: Tensor
    names: tuple[str, ...]

    @classmethod
    def of(cls, table: ImageTable, device: torch.device) -> Labels:
        columns = target_columns(table) if table.has_latents else torch.empty(len(table), 0)
        place = {name: position for position, name in enumerate(sorted(set(table.categories)))}
        classes = torch.tensor([place[name] for name in table.categories])
        latents = (columns - columns.mean(dim=0)).float()
        slices = target_slices() if table.has_latents else {}
        return cls(latents.to(device), slices, classes.to(device), tuple(place) if len(place) > 1 else ())

    @property
    def width(self) -> int:
        return self.latents.shape[1] + len(self.names)

    def of_images(self, rows: Tensor) -> Tensor:
        """float32 (n, width): their latents, then their classes as one-hot vectors."""
        one_hot = self.classes[rows, None] == torch.arange(len(self.names), device=rows.device)
        return torch.cat([self.latents[rows], one_hot.float()], dim=1)


@dataclass
class Judged:
    """What has been predicted in the second window, summed over ``count`` images; all float64.

    latents: (2, t), the true values and their squares; classes: (c,), images of each. Per layer and penalty:
    squares (p, t), squared errors; right: (p,), classes that were right, if there are classes.
    """

    count: int
    latents: Tensor
    classes: Tensor
    squares: dict[str, Tensor]
    right: dict[str, Tensor]

    def errors(self, layer: str, slices: Mapping[str, slice]) -> dict[str, Tensor]:
        """Target -> (p,), squared error over the target's variance, averaged over its components. NaN for a target that
        did not vary."""
        mean, mean_square = self.latents / self.count
        variance = mean_square - mean.square()
        nmse = self.squares[layer] / self.count / torch.where(variance > _VARIES, variance, math.nan)
        return {name: nmse[:, columns].mean(dim=1) for name, columns in slices.items()}

    def check(self, readouts: Mapping[str, Readout], labels: Labels) -> None:
        """ValueError if the shapes are not those of judging these regressors."""
        t, c = labels.latents.shape[1], len(labels.names)
        check_shapes((self.latents, (2, t)), (self.classes, (c,)))
        for layer, readout in readouts.items():
            check_shapes((self.squares[layer], (len(readout.weight), t)))
            if c:
                check_shapes((self.right[layer], (len(readout.weight),)))


class OnlineProbes:
    """Regressors of every latent, and of the category, on every layer, fitted anew in every epoch.

    Show it the features of every step that it ``wants``, and take an epoch's ``record`` when its last step is done.
    Under DDP the main rank alone observes: its part of every batch is as random as the whole.
    """

    def __init__(self, table: ImageTable, steps: int, batch: int, device: torch.device) -> None:
        """table: the images trained on; steps: of an epoch; batch: images of a step that are shown."""
        self.labels = Labels.of(table, device)
        self.device = device
        self.schedule = Schedule.of(steps, batch)
        self.window = self.schedule.fit * batch  # images
        self.fitted = 0  # images in the sums, or in the regressors that came of them
        self.moments: dict[str, Sums | Rows] = {}
        self.readouts: dict[str, Readout] = {}
        self.judged: Judged | None = None
        self.best: dict[str, dict[str, float]] = {}  # layer -> target -> the penalty that was best in the last epoch

    def wants(self, step: int) -> bool:
        """Whether step ``step``, counted from 0 over the whole run, is to be observed."""
        if self.labels.width == 0:  # plain images of one category
            return False
        # A run that was resumed with probes, having had none, may have missed what it would judge.
        return self.schedule.fits(step) or (self.schedule.judges(step) and self.fitted > 0)

    @torch.no_grad()
    def observe(self, step: int, features: Mapping[str, Tensor], rows: Tensor) -> None:
        """A step that it wants, whole or in parts. features: {layer: (views * n, d)}, view by view, on the device;
        rows: int64 (n,), the images' places in the table."""
        rows = rows.to(self.device)
        first_view = {layer: x.detach()[: len(rows)] for layer, x in features.items()}
        for layer, known in (self.moments | self.readouts).items():
            if layer not in first_view or known.width != first_view[layer].shape[1]:
                raise UserError(
                    f"the checkpoint's online probes read another layer '{layer}' than the network has; "
                    "add --no-online-probes to go on without them"
                )
        with torch.autocast(self.device.type, enabled=False):
            if self.schedule.fits(step):
                self._fit(first_view, self.labels.of_images(rows))
            else:
                self._judge(first_view, self.labels.of_images(rows), self.labels.classes[rows])

    def _fit(self, features: dict[str, Tensor], targets: Tensor) -> None:
        self.fitted += len(targets)
        for layer, x in features.items():
            if layer not in self.moments:
                few = self.window < x.shape[1]
                self.moments[layer] = Rows() if few else Sums.about(x, self.labels.width)
            self.moments[layer].add(x, targets)

    def _judge(self, features: dict[str, Tensor], targets: Tensor, classes: Tensor) -> None:
        for layer in list(self.moments):  # one by one, so that the sums of a layer go as its solution comes
            self.readouts[layer] = self.moments.pop(layer).solve()
        t = self.labels.latents.shape[1]
        latents = targets[:, :t].double()
        if self.judged is None:
            self.judged = Judged(0, latents.new_zeros(2, t), latents.new_zeros(len(self.labels.names)), {}, {})
        judged = self.judged
        judged.count += len(targets)
        judged.latents += torch.stack([latents.sum(dim=0), latents.square().sum(dim=0)])
        judged.classes += targets[:, t:].sum(dim=0)
        for layer, x in features.items():
            predicted = self.readouts[layer](x)
            squares = (predicted[..., :t].double() - latents).square().sum(dim=1)
            judged.squares[layer] = judged.squares.get(layer, 0) + squares
            if self.labels.names:
                right = (predicted[..., t:].argmax(dim=2) == classes).double().sum(dim=1)
                judged.right[layer] = judged.right.get(layer, 0) + right

    def record(self, epoch: int) -> dict | None:
        """What the epoch that has just ended, counted from 1, has shown, as JSON types; None if nothing was judged.

        {"epoch", "step", "fitted_images", "judged_images", "error": {layer: {target: error over variance}}, and if
        there are classes "accuracy": {layer: share} and "commonest": the share of the most frequent one}. null stands
        for what has no finite value: a latent that does not vary, a layer whose features are not finite.
        """
        judged, fitted = self.judged, self.fitted
        self.judged, self.fitted, self.readouts = None, 0, {}
        if judged is None:
            return None
        record: dict = {"epoch": epoch, "step": epoch * self.schedule.steps}
        record |= {"fitted_images": fitted, "judged_images": judged.count}
        record["error"] = {
            layer: self._chosen(layer, judged.errors(layer, self.labels.slices)) for layer in judged.squares
        }
        if self.labels.names:
            misses = {
                layer: self._chosen(layer, {CLASSES: 1 - right / judged.count}) for layer, right in judged.right.items()
            }
            record["accuracy"] = {layer: 1 - miss[CLASSES] for layer, miss in misses.items()}
            record["commonest"] = (judged.classes.max() / judged.count).item()
        return record

    def _chosen(self, layer: str, errors: dict[str, Tensor]) -> dict[str, float | None]:
        """Of every target's errors (p,) the one of the penalty that was best an epoch ago. Notes which is best now."""
        best, chosen = self.best.setdefault(layer, {}), {}
        for name, error in errors.items():
            path = PENALTIES[-len(error) :]
            penalty = best.get(name, _FIRST_PENALTY)
            value = error[path.index(penalty if penalty in path else _FIRST_PENALTY)].item()
            chosen[name] = value if math.isfinite(value) else None
            best[name] = path[int(error.nan_to_num(nan=math.inf).argmin())]
        return chosen

    def state_dict(self) -> dict:
        """All that observing goes on from, as tensors and plain values."""
        return {
            "fitted": self.fitted,
            "moments": {layer: vars(moments) for layer, moments in self.moments.items()},
            "readouts": {layer: vars(readout) for layer, readout in self.readouts.items()},
            "judged": None if self.judged is None else vars(self.judged),
            "best": self.best,
        }

    def load_state_dict(self, state: dict) -> None:
        """The inverse of ``state_dict``, for the same labels and network. ValueError for what cannot be that."""
        try:
            state = _moved(state, self.device)
            self.moments = {
                layer: (Sums if "xx" in values else Rows)(**values) for layer, values in state["moments"].items()
            }
            self.readouts = {layer: Readout(**values) for layer, values in state["readouts"].items()}
            self.judged = None if state["judged"] is None else Judged(**state["judged"])
            for part in (*self.moments.values(), *self.readouts.values()):
                part.check(self.labels.width)
            if self.judged is not None:
                self.judged.check(self.readouts, self.labels)
            self.best = {
                layer: {name: float(value) for name, value in row.items()} for layer, row in state["best"].items()
            }
            self.fitted = int(state["fitted"])
        except (KeyError, IndexError, TypeError, AttributeError) as error:
            raise ValueError(f"no state of online probes ({error!r})") from error


def _moved(state: object, device: torch.device) -> object:
    """The same with every tensor on the device; what contains them is new, so that nothing is shared."""
    if isinstance(state, Tensor):
        return state.to(device, copy=True)
    if isinstance(state, dict):
        return {key: _moved(value, device) for key, value in state.items()}
    return [_moved(value, device) for value in state] if isinstance(state, list) else state


def keep_records(run: Path, epochs: int) -> None:
    """Drop from the run's records what an interrupted run wrote beyond its checkpoint, after ``epochs`` whole ones."""
    path = run / ONLINE
    if path.is_file():
        kept = [record for record in _lines(path) if record["epoch"] <= epochs]
        write_atomically(path, "".join(json.dumps(record) + "\n" for record in kept).encode())


def append_record(run: Path, record: dict) -> None:
    """To be called before the checkpoint of the epoch's end: once this returns, the record survives a power cut."""
    with (run / ONLINE).open("a") as file:
        file.write(json.dumps(record) + "\n")
        file.flush()
        os.fsync(file.fileno())


def read_records(run: Path) -> list[dict]:
    """One record an epoch, as ``OnlineProbes.record`` makes them. UserError where there are none, or no such."""
    path = run / ONLINE
    if not path.is_file():
        raise UserError(f"{run}: has no {ONLINE}; gr3d train writes it unless told --no-online-probes")
    try:
        records = _lines(path)
        for record in records:
            _check(record)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(f"{path}: not the records of gr3d train's online probes ({error!r})") from error
    if not records:
        raise UserError(f"{path}: empty; the first record is written at the end of the first epoch")
    return records


def scalars(record: dict) -> Iterator[tuple[str, float]]:
    """A record's numbers as TensorBoard names them: probes/TARGET/LAYER, and probes/accuracy/LAYER."""
    for layer, errors in record["error"].items():
        for target, error in errors.items():
            if error is not None:
                yield f"probes/{target}/{layer}", error
    for layer, accuracy in record.get("accuracy", {}).items():
        yield f"probes/accuracy/{layer}", accuracy


def _lines(path: Path) -> list[dict]:
    """The records so far; a last line cut short by a kill is dropped."""
    records = []
    for line in path.read_text().splitlines():
        try:
            records.append(json.loads(line))
        except ValueError:
            break
    return records


def _check(record: dict) -> None:
    """TypeError, KeyError, ValueError or AttributeError for what `record` does not make."""
    int(record["epoch"])
    rows = [*record["error"].values(), record.get("accuracy", {})]
    for value in (value for row in rows for value in row.values()):
        if value is not None and not math.isfinite(value):
            raise ValueError(f"{value} in epoch {record['epoch']}")
