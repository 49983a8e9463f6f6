"""Images to condition on: some of a dataset's, or files of one's own."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from benchmark.data.decode import Record, decode_all
from benchmark.data.table import ImageTable, glance, load_table
from benchmark.errors import UserError


def conditioning_images(data: Path | str, split: str, asked: Sequence[str]) -> Tensor:
    """uint8 (N, 3, H, W), of the size of the dataset's. asked: numbers, of images of the split, and files of pictures,
    whose middle square is scaled to that size. UserError for anything else, and for pictures that cannot be decoded."""
    found = []
    for text in asked:
        if text.isdecimal():
            table = load_table(data, split)
            found.append(table.images[spread(table, int(text))])
        else:
            found.append(_from_file(data, split, Path(text)))
    return torch.cat(found)


def spread(table: ImageTable, count: int) -> Tensor:
    """int64 (count,): images of as many objects (of photographs: classes) as there are, evenly over all of them.
    UserError (wrong usage) where there are not so many images."""
    if not 1 <= count <= len(table):
        raise UserError(f"--images {count}: choose from 1 to the {len(table)} there are", exit_code=2)
    names = np.array(table.object_ids if table.has_latents else table.categories)
    _, group = np.unique(names, return_inverse=True)
    # The how-many-th of its group every image is: the first images of all groups come before any second one.
    order = np.argsort(group, kind="stable")
    starts = np.searchsorted(group[order], np.arange(group.max() + 1))
    turn = np.empty(len(group), dtype=np.int64)
    turn[order] = np.arange(len(group)) - starts[group[order]]
    ranked = np.lexsort((group, turn))
    first = ranked[: max(count, int((turn == 0).sum()))]
    picks = np.linspace(0, len(first) - 1, count).round().astype(int)
    return torch.from_numpy(np.sort(first[picks]))


def _from_file(data: Path | str, split: str, path: Path) -> Tensor:
    if not path.is_file():
        raise UserError(f"--images {path}: neither a number of images nor a file", exit_code=2)
    seen = glance(data, split) or glance(data, "train")
    if seen is None:
        load_table(data, split, most=1)  # says what is wrong
        raise UserError(f"{data}: no images to take the size from")
    images = torch.empty((1, 3, *seen[1]), dtype=torch.uint8)
    record = Record(str(path), 0, None, None, "", "", path)
    decode_all([(0, record)], images.numpy(), square=True)
    return images
