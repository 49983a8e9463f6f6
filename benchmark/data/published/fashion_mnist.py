"""Fashion-MNIST (Xiao et al. 2017) in its four IDX files, gzipped as published or not; any set in MNIST's files reads
the same."""

import gzip
import math
from pathlib import Path

import numpy as np

from benchmark.data.dataset import Photographs, array_records
from benchmark.data.decode import Record
from benchmark.errors import UserError, first_line

CLASSES = (
    "T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot",
)  # fmt: skip

_FILES = {"train": "train", "val": "t10k"}
_LARGEST = 1 << 32  # bytes of a file, unpacked


class FashionMnist(Photographs):
    """60,000 grey images of 28 x 28 pixels to train on, and 10,000 published as test images, here `val`."""

    name = "Fashion-MNIST"
    layout = "the files train-images-idx3-ubyte.gz, train-labels-idx1-ubyte.gz, t10k-images-... and t10k-labels-..."
    origin = "Debian (apt-get install dataset-fashion-mnist) or zalandoresearch/fashion-mnist on GitHub"
    of_debian = Path("/usr/share/datasets/fashion-mnist")

    def _splits(self) -> list[str]:
        return [split for split, name in _FILES.items() if any(self.path.glob(f"{name}-*-ubyte*"))]

    def files(self) -> set[Path]:
        return {self._file(split, kind) for split in self.splits for kind in ("images-idx3", "labels-idx1")}

    def _file(self, split: str, kind: str) -> Path:
        path = self.path / f"{_FILES[split]}-{kind}-ubyte"
        found = next((file for file in (path.with_name(f"{path.name}.gz"), path) if file.is_file()), None)
        if found is None:
            raise UserError(f"{path}.gz: missing; {self.expected()}")
        return found

    def _records(self, split: str) -> list[Record]:
        paths = self._file(split, "images-idx3"), self._file(split, "labels-idx1")
        images, labels = read_idx(paths[0], 3), read_idx(paths[1], 1)
        if len(images) != len(labels):
            raise UserError(f"{paths[1]}: {len(labels)} labels for the {len(images)} images of {paths[0].name}")
        if labels.size and labels.max() >= len(CLASSES):
            raise UserError(f"{paths[1]}: label {labels.max()}; there are {len(CLASSES)} classes, from 0 on")
        return array_records(images, [CLASSES[label] for label in labels], paths[0].name)


def read_idx(path: Path, dimensions: int) -> np.ndarray:
    """uint8 array of an IDX file: two zero bytes, the type (8: unsigned bytes), the number of dimensions, their sizes
    as big-endian 32-bit numbers, the values. No more is unpacked than the header announces. UserError for anything
    else, and for a file that ends early or goes on."""
    try:
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
            head = file.read(4 + 4 * dimensions)
            if len(head) < 4 + 4 * dimensions or head[:4] != bytes((0, 0, 8, dimensions)):
                raise UserError(f"{path}: no IDX file of unsigned bytes in {dimensions} dimensions")
            shape = tuple(np.frombuffer(head, ">u4", offset=4).tolist())
            size = math.prod(shape)
            if not size:
                raise UserError(f"{path}: its header announces no values ({' x '.join(map(str, shape))})")
            if size > _LARGEST:
                raise UserError(f"{path}: its header announces {size} bytes, the limit is {_LARGEST}")
            values = file.read(size)
            if len(values) < size or file.read(1):
                fault = "truncated" if len(values) < size else "longer"
                raise UserError(f"{path}: {fault}: its header announces {size} bytes; get the file again")
    except (OSError, EOFError, gzip.zlib.error) as error:  # gzip raises all three for a damaged file
        raise UserError(f"{path}: cannot be read ({first_line(error)}); get the file again") from error
    return np.frombuffer(values, np.uint8).reshape(shape)
