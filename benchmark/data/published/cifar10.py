"""CIFAR-10 (Krizhevsky 2009): the version for Python (pickles, read as data: pickles.py) and the binary one."""

from pathlib import Path

import numpy as np

from benchmark.data.dataset import Photographs, array_records
from benchmark.data.decode import Record
from benchmark.data.published.pickles import load_plain
from benchmark.data.published.text import read_lines
from benchmark.errors import UserError

CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")

_BATCHES = {"train": tuple(f"data_batch_{number}" for number in range(1, 6)), "val": ("test_batch",)}
_PIXELS = 3 * 32 * 32  # bytes: all of red, all of green, all of blue, each by rows


class Cifar10(Photographs):
    """50,000 images of 32 x 32 pixels to train on, and 10,000 published as test batch, here `val`."""

    name = "CIFAR-10"
    layout = (
        "the folder cifar-10-batches-py with data_batch_1 ... data_batch_5 and test_batch, or cifar-10-batches-bin "
        "with the same names ending in .bin"
    )
    origin = "the CIFAR page of the University of Toronto (cifar-10-python.tar.gz or cifar-10-binary.tar.gz, unpacked)"

    def __init__(self, path: Path, text: str) -> None:
        folders = [folder for name in ("py", "bin") if (folder := path / f"cifar-10-batches-{name}").is_dir()]
        super().__init__(next(iter(folders), path), text)

    def _splits(self) -> list[str]:
        return [split for split, names in _BATCHES.items() if any(self._find(name) for name in names)]

    def _find(self, batch: str) -> Path | None:
        return next((path for path in (self.path / batch, self.path / f"{batch}.bin") if path.is_file()), None)

    def files(self) -> set[Path]:
        return {path for split in self.splits for name in _BATCHES[split] if (path := self._find(name))}

    def _records(self, split: str) -> list[Record]:
        names = self._class_names()
        images, labels = [], []
        for batch in _BATCHES[split]:
            path = self._find(batch)
            if path is None:
                raise UserError(f"{self}: {batch} is missing among the batches of '{split}'; {self.expected()}")
            read = _read_binary if path.suffix == ".bin" else _read_pickle
            found, numbers = read(path)
            if any(not 0 <= number < len(names) for number in numbers):
                raise UserError(f"{path}: a label beyond the {len(names)} classes")
            images.append(found)
            labels += [names[number] for number in numbers]
        return array_records(np.concatenate(images).transpose(0, 2, 3, 1), labels, split)

    def _class_names(self) -> tuple[str, ...]:
        """As the dataset has them in batches.meta, else as published."""
        if (path := self.path / "batches.meta").is_file():
            meta = load_plain(path)
            names = meta.get(b"label_names", meta.get("label_names")) if isinstance(meta, dict) else None
            if not (isinstance(names, list) and all(isinstance(name, bytes | str) for name in names)):
                raise UserError(f"{path}: has no label_names; get the file again")
            names = [name.decode(errors="backslashreplace") if isinstance(name, bytes) else name for name in names]
        elif (path := self.path / "batches.meta.txt").is_file():
            names = " ".join(read_lines(path)).split()
        else:
            names = CLASSES
        if twice := [name for place, name in enumerate(names) if name in names[:place]]:
            raise UserError(f"{path}: two classes are called '{twice[0]}'; get the file again")
        return tuple(names)


def _read_pickle(path: Path) -> tuple[np.ndarray, list[int]]:
    """Images, uint8 (N, 3, 32, 32), and their labels."""
    batch = load_plain(path)
    if not isinstance(batch, dict):
        raise UserError(f"{path}: no batch of CIFAR-10 (it holds no dict)")
    images, labels = (batch.get(name.encode(), batch.get(name)) for name in ("data", "labels"))
    if not (isinstance(images, np.ndarray) and images.ndim == 2 and images.shape[1] == _PIXELS):
        raise UserError(f"{path}: no batch of CIFAR-10 (its 'data' are not rows of {_PIXELS} bytes)")
    if not isinstance(labels, list) or any(type(label) is not int for label in labels):
        raise UserError(f"{path}: no batch of CIFAR-10 (its 'labels' are no list of numbers)")
    if len(labels) != len(images):
        raise UserError(f"{path}: {len(labels)} labels for {len(images)} images")
    return images.reshape(-1, 3, 32, 32), labels


def _read_binary(path: Path) -> tuple[np.ndarray, list[int]]:
    """The same of the binary version: for each image its label, then its pixels."""
    size = path.stat().st_size
    if not size or size % (1 + _PIXELS):
        raise UserError(f"{path}: truncated: {size} bytes are no multiple of {1 + _PIXELS}; get the file again")
    rows = np.fromfile(path, np.uint8).reshape(-1, 1 + _PIXELS)
    return rows[:, 1:].reshape(-1, 3, 32, 32), rows[:, 0].tolist()
