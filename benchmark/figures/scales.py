"""How large the runs of a figure are: minutes on two CPU cores at `demo`, hours at `small`, the paper's at `paper`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

from benchmark.data.datasets import open_dataset
from benchmark.data.table import glance
from benchmark.errors import UserError
from benchmark.figures.study import Packed

#: What stands for ImageNet in a dry run for somebody who has none here: 1000 classes, these images to train on.
IMAGENET = "imagenet:PATH"
IMAGENET_IMAGES, IMAGENET_CLASSES = 1_281_167, 1000

_PATCH = 8  # sides are multiples of it, as transformers want them
_SMALLEST = 32  # pixels along a side that networks and corruptions take


@dataclass(frozen=True)
class Scale:
    """data: DATASET without --data; None where the user has to say. side: largest side of images, in pixels. images: of
    each split, at most; None for all. training: options of `gr3d train` for every network. epochs: passes over them;
    None for the recipe's. seeds: of each network. takes: in words, on two CPU cores, for --list."""

    data: str | None
    side: int
    images: int | None
    training: Mapping[str, object]
    epochs: int | None
    seeds: int
    takes: str


_SMALL_TRAINING = {"recipe": "small", "stem": "imagenet", "batch": 64, "lr": 5e-4}

SCALES = {
    "demo": Scale("fashion-mnist", 32, 1200, _SMALL_TRAINING, 10, 1, "under 10 minutes on 2 CPU cores"),
    "small": Scale("fashion-mnist", 64, 12_000, _SMALL_TRAINING, 20, 3, "a few hours on 2 CPU cores"),
    "paper": Scale(None, 224, None, {"recipe": "paper"}, None, 3, "the paper's settings, on GPUs; --dry-run says"),
}


@dataclass(frozen=True)
class Setting:
    """What the user asked of a figure.

    name: of the scale. data: DATASET in place of the scale's. tasks: DATASETs for the figures that judge on further
    ones. seeds: in place of the scale's. dry: whether only the cost is wanted.
    """

    name: str = "demo"
    data: str | None = None
    tasks: tuple[str, ...] = ()
    seeds: int | None = None
    dry: bool = False

    @property
    def scale(self) -> Scale:
        return SCALES[self.name]

    @property
    def is_paper(self) -> bool:
        return self.name == "paper"

    @cached_property
    def source(self) -> str:
        """DATASET of the images that networks are trained on. UserError (wrong usage) if the scale has none."""
        source = self.data or self.scale.data or (IMAGENET if self.dry else None)
        if source is None:
            raise UserError(
                f"--scale {self.name}: give the data it is to run on, --data {IMAGENET} (another dataset of "
                "photographs works, too); --dry-run says what ImageNet would cost",
                exit_code=2,
            )
        return source

    @cached_property
    def side(self) -> int:
        """Of the images, in pixels: that of the data, as far as the scale lets it."""
        if self.is_paper:
            return self.scale.side
        seen = glance(self.source, "train")
        own = min(seen[1]) if seen else self.scale.side
        return max(_SMALLEST, min(self.scale.side, own // _PATCH * _PATCH))

    @cached_property
    def classes(self) -> int:
        """Number of classes of the data."""
        return IMAGENET_CLASSES if self.source == IMAGENET else len(open_dataset(self.source).classes)

    def images(self, split: str) -> int | None:
        """Of a split of the data; None where it has none, or no list says."""
        return IMAGENET_IMAGES if self.source == IMAGENET else open_dataset(self.source).count(split)

    def packed(self, data: str | None = None, **options: object) -> Packed:
        """The data, or a further DATASET, at this scale. options: of `pack`, beside or in place of the scale's."""
        return Packed(data or self.source, {"side": self.side, "limit": self.scale.images, **options})

    def training(self, objective: str, **options: object) -> dict[str, object]:
        """Options of `gr3d train` at this scale. Layers are read when it is over, so no probes run along."""
        scaled = {**self.scale.training, **({"epochs": self.scale.epochs} if self.scale.epochs else {})}
        return {"objective": objective, "online_probes": False, **scaled, **options}

    @property
    def seeds_or_own(self) -> int:
        return self.seeds or self.scale.seeds

    def note(self, network: str = "ResNet-18") -> str:
        """What a figure says of how it was made."""
        limit = f"at most {self.scale.images:,} images a split, " if self.scale.images else ""
        if self.is_paper:
            return f"Scale paper, on {self.source}: the paper's settings; {self.seeds_or_own} seeds."
        return (
            f"Scale {self.name}, on {self.source}: {network} instead of the paper's network, images of "
            f"{self.side} x {self.side}, {limit}{self.scale.epochs} epochs, {self.seeds_or_own} seed"
            f"{'s' if self.seeds_or_own > 1 else ''}."
        )
