"""Where the features of all layers wait between the one pass that reads them and the regressions."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from types import TracebackType

import numpy as np
import torch
from torch import Tensor

from benchmark.data.place import available_memory, in_words
from benchmark.errors import UserError

_RAM_SHARE = 0.5  # of the available memory, or of a GPU's, that features may take
_DISK_SHARE = 0.9  # of the free space of the temporary folder


class FeatureStore:
    """float32 (n, d) of every layer, filled batch by batch, dropped when the context ends.

    All of them in RAM where they take at most half of the memory available; else each in a memory-mapped file in the
    temporary folder ($TMPDIR), which has no name there and goes with the process. UserError where that has no room.
    """

    def __init__(self, images: int) -> None:
        self.images = images
        self.layers: dict[str, Tensor] = {}

    def __enter__(self) -> FeatureStore:
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.layers.clear()

    def fill(self, batches: Iterator[tuple[slice, dict[str, Tensor]]], place: Tensor) -> None:
        """batches: as `read_layers` yields them. place: int64 (n,), the row that each image gets."""
        for rows, features in batches:
            if not self.layers:
                self._allocate({layer: x.shape[1] for layer, x in features.items()})
            for layer, x in features.items():
                self.layers[layer][place[rows]] = x.cpu()

    def pop(self, layer: str, device: torch.device) -> Tensor:
        """The layer's features, which the store forgets: on a GPU, where they take at most half of its free memory."""
        x = self.layers.pop(layer)
        fits = device.type == "cuda" and x.nbytes <= _RAM_SHARE * torch.cuda.mem_get_info(device)[0]
        return x.to(device) if fits else x

    def _allocate(self, widths: dict[str, int]) -> None:
        size = 4 * self.images * sum(widths.values())
        in_ram = size <= _RAM_SHARE * available_memory()
        if not in_ram and size > _DISK_SHARE * shutil.disk_usage(tempfile.gettempdir()).free:
            raise UserError(
                f"the features of {self.images:,} images take {in_words(size)}: over half of the available memory, "
                f"and {tempfile.gettempdir()} has no room for them; set TMPDIR to a larger disk, or use --solver sgd, "
                "which stores none"
            )
        for layer, width in widths.items():
            self.layers[layer] = torch.empty(self.images, width) if in_ram else _mapped(self.images, width)


def _mapped(images: int, width: int) -> Tensor:
    handle, path = tempfile.mkstemp(prefix="gr3d-features-")
    try:
        array = np.memmap(path, np.float32, "w+", shape=(images, width))
    finally:
        os.close(handle)
        os.unlink(path)  # the mapping keeps it alive
    return torch.from_numpy(array)
