"""Reads one split of a dataset into a table: decoded uint8 images beside their labels.

A dataset is a folder of gr3d's shards (shards.py) or of plain images (folders.py). Samples end up sorted by their
index, so that nothing downstream depends on how they were stored.
"""

import functools
import json
import sys
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
from benchmark.data.decode import Record, decode_all, image_size
from benchmark.data.folders import Folder, folder_info, folder_splits, image_paths, is_folder
from benchmark.data.place import available_memory, choose_place, in_words
from benchmark.data.shards import LATENT_NAMES, Shards, count_listed, shard_splits
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
        self, source: Path, images: Tensor, index: Tensor, object_ids: list[str], categories: list[str]
    ) -> None:
        self.source, self.images, self.index = source, images, index
        self.object_ids, self.categories = object_ids, categories

    def __getattr__(self, name: str) -> NoReturn:
        if name in ("latents", "quaternion"):
            raise UserError(_without_latents(self.source, name))
        raise AttributeError(name)


def read_dataset_info(data: Path) -> dict:
    """Return DIR/dataset.json as a dict, or what stands for it in a folder of plain images (folders.py). UserError when
    the folder is neither."""
    path = data / "dataset.json"
    if not data.is_dir():
        raise UserError(f"{data}: no such folder; render a dataset there first (gr3d render --out {data})")
    if not path.is_file():
        if is_folder(data):
            return folder_info(data)
        raise UserError(
            f"{data}: not a gr3d dataset (it has no dataset.json), nor images as {data}/SPLIT/CATEGORY/NAME.jpg "
            "with splits like train and val"
        )
    try:
        info = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise UserError(f"{path}: cannot be read as JSON ({error}); run gr3d verify {data}") from error
    if not isinstance(info, dict) or not isinstance(info.get("spec"), dict):
        raise UserError(f"{path}: has no 'spec' entry, so this is not a gr3d dataset")
    return info


def splits(data: Path) -> list[str]:
    """The splits that the dataset has; sorted."""
    return folder_splits(data) if _is_plain(data) else shard_splits(data)


def count_images(data: Path, split: str) -> int | None:
    """Images of a split, as checksums.json lists them; None when it lists none."""
    if _is_plain(data):
        return len(image_paths(data / split)) if split in folder_splits(data) else None
    return count_listed(data, split)


def glance(data: Path, split: str) -> tuple[bool, tuple[int, int]] | None:
    """Whether the split's samples have latents, and the height and width of its images, by the first of them. None
    where that cannot be said; reading the table says why."""
    with suppress(UserError):
        source = Folder(data, split) if _is_plain(data) else Shards(data, split)
        first = next(source.records(1), None)
        if first is not None:
            return first.latents is not None, source.size(first) or image_size(first)
    return None


def shards_of(data: Path, split: str) -> list[Path]:
    """The shards of a split. UserError when it has none, when one that checksums.json lists is not there, or when the
    dataset is a folder of plain images."""
    if _is_plain(data):
        raise UserError(_without_latents(data, "latents"))
    return shards.shards_of(data, split)


def _without_latents(data: Path, name: str) -> str:
    return (
        f"{data}: a folder of plain images: it has categories, but no {name} to learn or to regress; "
        "use a dataset of gr3d render, or an objective that needs none"
    )


def _is_plain(data: Path) -> bool:
    return data.is_dir() and not (data / "dataset.json").exists() and is_folder(data)


def load_table(
    data: Path,
    split: str,
    most: int | None = None,
    place: str = "auto",
    device: torch.device = torch.device("cpu"),  # noqa: B008  (immutable)
) -> ImageTable:
    """Read split ``split`` of the dataset in folder ``data``; with ``most``, only the shards that its first ``most``
    images or more come from, into RAM.

    place: "ram", "mmap" (a memory map of a file in the user's cache folder, made once: cache.py), "device" (decoded to
    RAM, for the trainer to move to ``device``), or "auto", by size (place.py). Images are decoded on all cores. Memory:
    the decoded images, unless they are mapped, and while loading the encoded ones, unless those would take more than a
    quarter of what is available. Says on stderr if images are still to render.

    Raises UserError for a folder that is no dataset, a split it does not have, a missing, truncated or foreign
    shard, an image that cannot be decoded or has another size, a missing or non-finite label, an index that occurs
    twice, a place that is none or has no room.
    """
    data = Path(data)
    read_dataset_info(data)
    if absent := _still_to_render(data):
        _say_incomplete(data, absent)
    source = Folder(data, split) if _is_plain(data) else Shards(data, split)
    name = f"{data}: split '{split}'"
    chosen, why = ("ram", "") if most is not None else choose_place(place, _estimated_size(source, name), device)
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
    table = _table(source.data, images, labels)
    table.place, table.kept = chosen, f"{name}: {len(table)} images, {in_words(images.nbytes)} {where} ({why})"
    return table


def _table(data: Path, images: Tensor, labels: Labels) -> ImageTable:
    index = torch.from_numpy(labels["index"])
    names = labels["object_ids"], labels["categories"]
    if "latents" not in labels:
        return PlainTable(data, images, index, *names)
    latents, quaternion = torch.from_numpy(labels["latents"]), torch.from_numpy(labels["quaternion"])
    return ImageTable(images, index, latents, quaternion, *names)


def _decode_checked(source: Shards | Folder, name: str, allocate: Allocate) -> Labels:
    source.verify()  # what is kept under a checksum must have it
    return _decode(source, name, allocate)


def _decode(source: Shards | Folder, name: str, allocate: Allocate, most: int | None = None) -> Labels:
    """Decode all images into the array that `allocate` makes, sorted by index; return their labels."""
    keep = source.encoded_bytes() <= available_memory() / 4  # else the shards are read twice
    records, size = [], None
    for record in source.records(most):
        size = size or source.size(record) or image_size(record)
        records.append(record if keep else _without_image(record))
    if not records:
        raise UserError(f"{name} holds no samples")
    records.sort(key=lambda record: record.index)
    for before, after in pairwise(records):
        if before.index == after.index:
            raise UserError(f"{after.where}: index {after.index} occurs twice, first in {before.where}")
    images = allocate((len(records), 3, *size))
    row = {record.index: row for row, record in enumerate(records)}
    again = records if keep else source.records(most)
    decode_all(((row[record.index], record) for record in again), images, source.square)
    return _labels(records)


def _without_image(record: Record) -> Record:
    return Record(**{**vars(record), "image": None})


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


def _estimated_size(source: Shards | Folder, name: str) -> int:
    """Bytes of the decoded table, from one image and their number; without a list of that, from the shards' size."""
    first = next(source.records(), None)
    if first is None:
        raise UserError(f"{name} holds no samples")
    height, width = source.size(first) or image_size(first)
    count = count_images(source.data, source.split)
    if count is None:
        count = source.encoded_bytes() // max(1, len(first.image))
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
