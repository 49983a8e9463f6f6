"""Reads one split of a dataset into a table: decoded uint8 images beside their labels.

A dataset is anything that datasets.py can open. Samples end up sorted by their index, so that nothing downstream
depends on how they were stored.
"""

import functools
import json
import sys
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import NoReturn

import numpy as np
import torch
from torch import Tensor

from benchmark.data import shards
from benchmark.data.cache import Allocate, Labels, mapped
from benchmark.data.dataset import Dataset, Source
from benchmark.data.datasets import open_dataset
from benchmark.data.decode import Record, decode_all, image_size
from benchmark.data.place import choose_place, in_words
from benchmark.data.shards import LATENT_NAMES, Gr3dShards
from benchmark.errors import UserError

__all__ = ["LATENT_NAMES", "ImageTable", "count_images", "load_table", "read_dataset_info", "shards_of", "splits"]


@dataclass
class ImageTable:
    """N images of one split with their labels, sorted by index.

    images: uint8 (N, 3, H, W), contiguous, RGB; they may be mapped read-only. index: int64 (N,), the sample's number in
    the dataset. latents: float64 (N, 7) in LATENT_NAMES order, raw units (radians; hues in [0, 1]).
    quaternion: float64 (N, 4), the object's unit rotation [w, x, y, z], w >= 0.
    object_ids, categories: N strings. place: where training should have the images: on its "device", or left where they
    are, in "ram" or in a memory map ("mmap"). kept: the same, with sizes and reasons, for the user.
    """

    has_latents = True  # and quaternions

    images: Tensor
    index: Tensor
    latents: Tensor
    quaternion: Tensor
    object_ids: list[str]
    categories: list[str]
    place: str = "device"
    kept: str = ""

    def __len__(self) -> int:
        return len(self.images)


class PlainTable(ImageTable):
    """A table of plain images: all but latents and quaternion; asking for those is a UserError."""

    has_latents = False

    def __init__(
        self, dataset: Dataset, images: Tensor, index: Tensor, object_ids: list[str], categories: list[str]
    ) -> None:
        self.dataset, self.images, self.index = dataset, images, index
        self.object_ids, self.categories = object_ids, categories

    def __getattr__(self, name: str) -> NoReturn:
        if name in ("latents", "quaternion"):
            raise UserError(_without_latents(self.dataset, name))
        raise AttributeError(name)


def read_dataset_info(data: Path | str) -> dict:
    """Return DIR/dataset.json as a dict, or what stands for it in other datasets: {"spec": ...}. UserError as
    `open_dataset`."""
    dataset = open_dataset(data)
    return dataset.info if isinstance(dataset, Gr3dShards) else {"spec": dataset.spec}


def splits(data: Path | str) -> list[str]:
    """The splits that the dataset has; sorted."""
    return sorted(open_dataset(data).splits)


def count_images(data: Path | str, split: str) -> int | None:
    """Images of a split, as checksums.json lists them; None when it lists none."""
    return open_dataset(data).count(split)


def smallest_class(data: Path | str, split: str) -> int:
    """Images of the class that has the fewest in the split. UserError for a split that is not there."""
    return min(Counter(record.category for record in open_dataset(data).source(split).records()).values())


def glance(data: Path | str, split: str) -> tuple[bool, tuple[int, int]] | None:
    """Whether the split's samples have latents, and the height and width of its images, by the first of them. None
    where that cannot be said; reading the table says why."""
    with suppress(UserError):
        source = open_dataset(data).source(split)
        first = next(source.records(1), None)
        if first is not None:
            return first.latents is not None, source.size() or image_size(first)
    return None


def shards_of(data: Path | str, split: str) -> list[Path]:
    """The shards of a split. UserError when it has none, when one that checksums.json lists is not there, or when the
    dataset has no latents."""
    dataset = open_dataset(data)
    if not dataset.has_latents:
        raise UserError(_without_latents(dataset, "latents"))
    return shards.shards_of(dataset.path, split)


def _without_latents(dataset: Dataset, name: str) -> str:
    return (
        f"{dataset}: {dataset.name}: it has categories, but no {name} to learn or to regress; "
        "use a dataset of gr3d render, or an objective that needs none"
    )


def load_table(
    data: Path | str,
    split: str,
    most: int | None = None,
    place: str = "auto",
    device: torch.device = torch.device("cpu"),  # noqa: B008  (immutable)
    side: int | None = None,
) -> ImageTable:
    """Read split ``split`` of the dataset that ``data`` names (datasets.py); with ``most``, only its first ``most``
    images, or the whole shards that those come from, into RAM.

    place: "ram", "mmap" (a memory map of a file in the user's cache folder, made once: cache.py), "device" (decoded to
    RAM, for the trainer to move to ``device``), or "auto", by size (place.py). side: of the square to which the middle
    of every image is scaled while it is decoded; None for what the dataset's images have (docs/data.md). Images are
    decoded on all cores. Memory: the decoded images, unless they are mapped. Says on stderr if images are still to
    render.

    Raises UserError for what is no dataset, a split it does not have, a missing, truncated or foreign shard, images
    that cannot be decoded (the first by name, and how many) or have another size, a missing or non-finite label, an
    index that occurs twice, a place that is none or has no room.
    """
    dataset = open_dataset(data)
    if absent := _still_to_render(dataset.path):
        _say_incomplete(dataset.path, absent)
    source, name = dataset.source(split), f"{dataset}: split '{split}'"
    if side is not None:
        source = _Resized(source, side)
    chosen, why = "ram", ""
    if most is None:
        chosen, why = choose_place(place, _estimated_size(source, dataset.count(split), name), device)
    if chosen == "mmap":
        images, labels, entry = mapped(source.identity(), functools.partial(_decode_checked, source, name), name)
        where = f"mapped from {entry}"
    else:
        images = torch.empty(0, dtype=torch.uint8)

        def allocate(shape: tuple[int, int, int, int]) -> np.ndarray:
            nonlocal images
            images = torch.empty(shape, dtype=torch.uint8)
            return images.numpy()

        labels = _decode(source, name, allocate, most)
        where = "on the training device" if chosen == "device" else "in RAM"
    table = _table(dataset, images, labels)
    table.place, table.kept = chosen, f"{name}: {len(table)} images, {in_words(images.nbytes)} {where} ({why})"
    return table


class _Resized:
    """A source whose images are decoded to squares of one size."""

    square = True

    def __init__(self, source: Source, side: int) -> None:
        self.source, self.side = source, side
        self.records, self.verify = source.records, source.verify

    def size(self) -> tuple[int, int]:
        return self.side, self.side

    def identity(self) -> list:
        return [*self.source.identity(), f"side {self.side}"]


def _table(dataset: Dataset, images: Tensor, labels: Labels) -> ImageTable:
    index = torch.from_numpy(labels["index"])
    names = labels["object_ids"], labels["categories"]
    if "latents" not in labels:
        return PlainTable(dataset, images, index, *names)
    latents, quaternion = torch.from_numpy(labels["latents"]), torch.from_numpy(labels["quaternion"])
    return ImageTable(images, index, latents, quaternion, *names)


def _decode_checked(source: Source, name: str, allocate: Allocate) -> Labels:
    source.verify()  # what is kept under a checksum must have it
    return _decode(source, name, allocate)


def _decode(source: Source, name: str, allocate: Allocate, most: int | None = None) -> Labels:
    """Decode all images into the array that `allocate` makes, sorted by index; return their labels."""
    stored = list(source.records(most))
    if not stored:
        raise UserError(f"{name} holds no samples")
    records = sorted(stored, key=lambda record: record.index)
    for before, after in pairwise(records):
        if before.index == after.index:
            raise UserError(f"{after.where}: index {after.index} occurs twice, first in {before.where}")
    images = allocate((len(records), 3, *(source.size() or image_size(stored[0]))))
    row = {record.index: row for row, record in enumerate(records)}
    # In the order in which they are stored, which is how a disk reads fastest.
    decode_all(((row[record.index], record) for record in stored), images, source.square)
    return _labels(records)


def _labels(records: list[Record]) -> Labels:
    labels = {
        "index": np.array([record.index for record in records], dtype=np.int64),
        "object_ids": [record.object_id for record in records],
        "categories": [record.category for record in records],
    }
    if records[0].latents is not None:
        labels["latents"] = np.array([record.latents for record in records], dtype=np.float64)
        labels["quaternion"] = np.array([record.quaternion for record in records], dtype=np.float64)
    return labels


def _estimated_size(source: Source, count: int | None, name: str) -> int:
    """Bytes of the decoded table, from one image and their number; where no list says that, they are counted."""
    first = next(source.records(), None)
    if first is None:
        raise UserError(f"{name} holds no samples")
    height, width = source.size() or image_size(first)
    if count is None:
        count = sum(1 for _ in source.records())
    return count * 3 * height * width


def _still_to_render(data: Path) -> int:
    """As report.json has it; 0 where that says nothing."""
    with suppress(OSError, ValueError, TypeError, KeyError):
        return int(json.loads((data / "report.json").read_text())["still_to_render"])
    return 0


@functools.cache  # once, however many splits are read
def _say_incomplete(data: Path, absent: int) -> None:
    print(
        f"{data}: the dataset is incomplete: {absent} images still to render; run the same gr3d render command again",
        file=sys.stderr,
    )
