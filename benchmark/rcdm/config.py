"""What a diffusion model's training is made of."""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import ClassVar

from benchmark.errors import UserError
from benchmark.training.config import PRECISIONS

SIDES = (32, 64, 128)
PATCHES = (1, 2, 4)
WIDTH_STEP = 32
WIDTHS = range(WIDTH_STEP, 1024 + 1, WIDTH_STEP)


@dataclass(frozen=True, kw_only=True)
class DiffusionConfig:
    """Everything that decides the weights, besides the network that is looked into and the images.

    layers: names of the layers it can be conditioned on, one of them at a time; with several, each image of a step is
    shown with one of them, drawn at random. side: of the images it makes, in pixels, one of SIDES. patch: one of
    PATCHES; squares of patch x patch pixels are folded into channels before the U-Net and unfolded after it, which
    makes it patch^2 times as cheap and coarser. width: channels of its first level, a multiple of 32. epochs: passes
    over the images; batch: images a step, over all ranks. lr, weight_decay: AdamW's; warmup: share of the steps over
    which lr rises; afterwards it falls as a cosine. withheld: share of the images that are shown without any condition,
    so that the model makes unconditional samples, too. ema: momentum of the averaged weights that samples are drawn
    with, once it has warmed up. seed: of the weights, the order and the noise. precision: as RunConfig's.
    """

    layers: tuple[str, ...]
    side: int = 64
    patch: int = 1
    width: int = 64
    epochs: int = 40
    batch: int = 64
    lr: float = 3e-4
    weight_decay: float = 0.0
    warmup: float = 0.05
    withheld: float = 0.1
    ema: float = 0.999
    seed: int = 0
    precision: str = "auto"

    objective: ClassVar[str] = "rcdm"
    optimizer: ClassVar[str] = "adamw"


@dataclass(frozen=True, kw_only=True)
class DiffusionTraining:
    """A model, and where and how it is trained.

    network: run of gr3d train that is looked into. data: DATASET; its split ``split`` is used. out: folder. device,
    table, deterministic, checkpoint_seconds: as TrainConfig's.
    """

    run: DiffusionConfig
    network: Path
    data: Path | str
    out: Path
    split: str = "train"
    device: str = "auto"
    table: str = "auto"
    deterministic: bool = False
    checkpoint_seconds: float = 120.0


def check(run: DiffusionConfig, ranks: int) -> None:
    """Raise UserError (wrong usage), naming the option, for the first value that cannot work on so many ranks."""
    for option, value, known in (("--side", run.side, SIDES), ("--patch", run.patch, PATCHES)):
        if value not in known:
            raise UserError(f"{option} {value}: choose one of {', '.join(map(str, known))}", exit_code=2)
    if run.precision not in PRECISIONS:
        raise UserError(f"--precision {run.precision}: choose one of {', '.join(PRECISIONS)}", exit_code=2)
    for option, value, fine, rule in (
        ("--width", run.width, run.width in WIDTHS, f"a multiple of {WIDTH_STEP}, up to {WIDTHS[-1]}"),
        ("--epochs", run.epochs, run.epochs >= 1, "at least 1"),
        ("--batch", run.batch, run.batch >= ranks and run.batch % ranks == 0, f"a multiple of the {ranks} ranks"),
        ("--lr", run.lr, 0 < run.lr < math.inf, "above 0"),
        ("--weight-decay", run.weight_decay, 0 <= run.weight_decay < math.inf, "0 or above"),
        ("--warmup", run.warmup, 0 <= run.warmup <= 1, "a share of the training, from 0 to 1"),
        ("--withheld", run.withheld, 0 < run.withheld < 1, "a share of the images, above 0 and below 1"),
        ("--ema", run.ema, 0 <= run.ema < 1, "a momentum, 0 or above and below 1"),
        ("--seed", run.seed, 0 <= run.seed < 2**63, "0 or above"),
    ):
        if not fine:
            raise UserError(f"{option} {value}: must be {rule}", exit_code=2)


def chosen_layers(asked: Sequence[str], there: Sequence[str]) -> tuple[str, ...]:
    """The layers asked for ("all": every one), in the order in which the network has them. UserError (wrong usage) for
    one that it has not."""
    if unknown := [name for name in asked if name != "all" and name not in there]:
        raise UserError(f"--layer {unknown[0]}: the network has no such layer; choose of {', '.join(there)}, all", 2)
    return tuple(name for name in there if "all" in asked or name in asked)


def to_dict(run: DiffusionConfig) -> dict:
    """As JSON types; from_dict reads it back."""
    return {**asdict(run), "layers": list(run.layers)}


def from_dict(values: dict) -> DiffusionConfig:
    """TypeError or ValueError for anything but what to_dict makes."""
    names = {field.name for field in fields(DiffusionConfig)}
    if set(values) != names:
        raise ValueError(f"unknown or missing entries: {sorted(names ^ set(values))}")
    layers = values["layers"]
    if not (isinstance(layers, list) and layers and all(isinstance(name, str) for name in layers)):
        raise ValueError("layers: no list of names")
    for field in fields(DiffusionConfig):
        known = {int: (int,), float: (int, float), str: (str,)}.get(field.type)
        if known and type(values[field.name]) not in known:
            raise ValueError(f"{field.name}: is no {field.type.__name__}")
    return DiffusionConfig(**{**values, "layers": tuple(layers)})
