"""What a training run is made of."""

import math
from dataclasses import MISSING, asdict, dataclass, fields, replace
from pathlib import Path

from benchmark.data.views import ViewSpec
from benchmark.errors import UserError
from benchmark.models import ARCHITECTURES, HEADS, STEMS, stems
from benchmark.objectives import OBJECTIVES
from benchmark.training.positives import AUGMENTATION, check_positives
from benchmark.training.schedule import SCHEDULES

PRECISIONS = ("auto", "bf16", "fp32")
OPTIMIZERS = ("adamw", "sgd", "lars")


@dataclass(frozen=True, kw_only=True)
class RunConfig:
    """Everything that decides the weights, besides the data: what config.json of a run directory holds.

    objective, arch, stem, head: names in benchmark.objectives and benchmark.models. views: how each view is augmented,
    as many as the objective wants. epochs: passes over the training split; batch: images a step, over all ranks and
    parts (a step of SimCLR runs twice as many views); accumulate: parts in which a step's batch is run one after the
    other, each with a loss and BatchNorm's statistics of its own. optimizer: a name in OPTIMIZERS; momentum: SGD's and
    LARS'. lr: peak learning rate, not rescaled by the batch; weight_decay: of what benchmark.training.optimizers lets
    decay; warmup: share of the steps, from 0 to 1, over which lr rises linearly; schedule: a name in SCHEDULES, what
    lr does then. positives: which image the second view shows, as benchmark.training.positives has it. temperature:
    SimCLR's; redundancy: Barlow Twins' lambda; vicreg: VICReg's weights of invariance, variance and covariance; ema:
    momentum of BYOL's teacher at the first step, from where it rises to 1. seed: of the initial weights, the order and
    the augmentations. precision: "bf16" (autocast), "fp32", or "auto" for what the device does best.
    """

    objective: str
    arch: str
    stem: str
    head: str
    views: tuple[ViewSpec, ...]
    epochs: int
    batch: int
    lr: float
    weight_decay: float
    warmup: float
    temperature: float = 0.2
    redundancy: float = 0.0051
    vicreg: tuple[float, float, float] = (25.0, 25.0, 1.0)
    ema: float = 0.996
    optimizer: str = "adamw"
    momentum: float = 0.9
    schedule: str = "cosine"
    positives: str = AUGMENTATION
    accumulate: int = 1
    seed: int = 0
    precision: str = "auto"


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """A run, and where and how it is carried out; none of the latter changes what is learnt (beyond rounding).

    data: folder of a dataset; its split "train" is used. out: the run directory. neighbours: file of `gr3d neighbours`
    whose images the second views show; it takes the place of ``run.positives``. device: "auto", "cpu" or "cuda".
    table: where the decoded images are, one of benchmark.data.place.PLACES.
    compile: "auto", "on" or "off", see benchmark.training.compilation. deterministic: only kernels that give the same
    bits every time. online_probes: whether every layer is read during training, see benchmark.probes.online.
    checkpoint_seconds: time between checkpoints; one is also written at the end and when the run is stopped.
    """

    run: RunConfig
    data: Path
    out: Path
    neighbours: Path | None = None
    device: str = "auto"
    table: str = "auto"
    compile: str = "auto"
    deterministic: bool = False
    online_probes: bool = True
    checkpoint_seconds: float = 120.0


def with_views(run: RunConfig, crop_scale: float | None = None, flip: bool | None = None) -> RunConfig:
    """The same run with another smallest crop (share of the area) and with flips on (probability 1/2) or off."""
    changes: dict = {}
    if crop_scale is not None:
        changes["crop_scale"] = (crop_scale, 1.0)
    if flip is not None:
        changes["flip"] = 0.5 if flip else 0.0
    return replace(run, views=tuple(replace(view, **changes) for view in run.views))


def check(run: RunConfig) -> None:
    """Raise UserError (wrong usage), naming the option, for the first value that cannot work."""
    for option, value, known in (
        ("--objective", run.objective, OBJECTIVES),
        ("--arch", run.arch, ARCHITECTURES),
        ("--stem", run.stem, STEMS),
        ("--head", run.head, HEADS),
        ("--optimizer", run.optimizer, OPTIMIZERS),
        ("--schedule", run.schedule, SCHEDULES),
        ("--precision", run.precision, PRECISIONS),
    ):
        if value not in known:
            raise UserError(f"{option} {value}: unknown; choose one of {', '.join(known)}", exit_code=2)
    if run.stem not in stems(run.arch):
        raise UserError(
            f"--stem {run.stem}: {run.arch} has no such stem; choose {', '.join(stems(run.arch))}", exit_code=2
        )
    for option, value, fine, rule in (
        ("--epochs", run.epochs, run.epochs >= 1, "at least 1"),
        ("--batch", run.batch, run.batch >= 2, "at least 2 (BatchNorm needs more than one image)"),
        ("--lr", run.lr, 0 < run.lr < math.inf, "above 0"),
        ("--weight-decay", run.weight_decay, 0 <= run.weight_decay < math.inf, "0 or above"),
        ("--warmup", run.warmup, 0 <= run.warmup <= 1, "a share of the training, from 0 to 1"),
        ("--temperature", run.temperature, 0 < run.temperature < math.inf, "above 0"),
        ("--redundancy", run.redundancy, 0 <= run.redundancy < math.inf, "0 or above"),
        ("--vicreg", run.vicreg, _are_weights(run.vicreg), "three weights, 0 or above"),
        ("--ema", run.ema, 0 <= run.ema <= 1, "a momentum, from 0 to 1"),
        ("--momentum", run.momentum, 0 <= run.momentum < 1, "0 or above and below 1"),
        ("--accumulate", run.accumulate, run.accumulate >= 1, "at least 1"),
        ("--seed", run.seed, 0 <= run.seed < 2**63, "0 or above"),
    ):
        if not fine:
            raise UserError(f"{option} {value}: must be {rule}", exit_code=2)
    check_positives(run.positives, run.objective, len(run.views))
    for view in run.views:
        low, high = view.crop_scale
        if not 0 < low <= high <= 1:
            raise UserError(f"--crop-scale {low}: must be above 0 and at most 1", exit_code=2)


def check_shares(run: RunConfig, ranks: int) -> None:
    """Raise UserError (wrong usage) unless ``ranks`` ranks can share each part of a batch equally."""
    pieces = run.accumulate * ranks
    if run.batch % pieces or run.batch < 2 * pieces:
        raise UserError(
            f"--batch {run.batch}: cannot be shared by {ranks} ranks in {run.accumulate} parts (--accumulate); take a "
            f"multiple of {pieces} that leaves each at least 2 images",
            exit_code=2,
        )


def _are_weights(values: tuple) -> bool:
    return len(values) == 3 and all(0 <= value < math.inf for value in values)


def to_dict(run: RunConfig) -> dict:
    """As JSON types; from_dict reads it back."""
    return asdict(run)


def from_dict(values: dict) -> RunConfig:
    """The inverse of to_dict, also after a round trip through JSON; what an older run does not say has its default.
    TypeError or ValueError for anything else."""
    names = {field.name for field in fields(RunConfig)}
    needed = {field.name for field in fields(RunConfig) if field.default is MISSING}
    if not isinstance(values, dict) or not needed <= set(values) <= names:
        odd = sorted(needed - set(values) | set(values) - names) if isinstance(values, dict) else values
        raise ValueError(f"unknown or missing entries: {odd}")
    views = tuple(ViewSpec(**_as_tuples(view)) for view in values["views"])
    return RunConfig(**{**_as_tuples(values), "views": views})


def _as_tuples(values: dict) -> dict:
    return {name: tuple(value) if isinstance(value, list) else value for name, value in values.items()}
