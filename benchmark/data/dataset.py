"""What every dataset has, whatever its files look like: splits, classes, counts, an identity, and images to decode.

A new dataset of photographs is a subclass of Photographs that says where its splits and records are; it is listed in
datasets.py.
"""

import os
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import ClassVar, Protocol

import numpy as np

from benchmark.data.decode import IMAGE_FORMATS, LARGEST_SIDE, Record, image_size
from benchmark.data.tars import Member
from benchmark.errors import UserError

_OPENED = 2000  # images of a dataset whose headers are read to choose its size


class Source(Protocol):
    """The samples of one split, as load_table reads them. square: whether images of other sizes become the table's."""

    square: bool

    def records(self, most: int | None = None) -> Iterator[Record]:
        """Every sample; with `most`, that many or a few more."""

    def size(self) -> tuple[int, int] | None:
        """(height, width) of the table; None for the first image's."""

    def identity(self) -> list:
        """JSON values that change whenever an image or its label does."""

    def verify(self) -> None:
        """UserError if what is stored is not what `identity` says."""


class Dataset(ABC):
    """A dataset on disk.

    path: its folder. text: as the user gave it, for messages. name: how its makers call it. splits: sorted, but `train`
    first where there is one. spec: JSON values that tell it from others, for config.json. has_latents: whether its
    samples have the renders' latents and quaternions.
    """

    name: ClassVar[str]
    has_latents: ClassVar[bool] = False

    def __init__(self, path: Path, text: str) -> None:
        self.path, self.text = path, text

    def __str__(self) -> str:
        return self.text

    @property
    @abstractmethod
    def splits(self) -> tuple[str, ...]: ...

    @property
    @abstractmethod
    def spec(self) -> dict: ...

    @abstractmethod
    def count(self, split: str) -> int | None:
        """Images of a split; None where it has no such split, or no list says."""

    @abstractmethod
    def source(self, split: str) -> Source:
        """UserError for a split that is not there."""

    @abstractmethod
    def classes_of(self, split: str) -> tuple[str, ...]:
        """The classes of which the split has images; sorted."""

    @property
    def groups(self) -> tuple[tuple[str, ...], ...]:
        """Splits that show the same classes; the first group is the one that `classes` speaks of."""
        return (self.splits,)

    @cached_property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes; sorted. UserError as `check_classes`."""
        self.check_classes(self.splits)
        return self.classes_of(self.groups[0][0])

    def check_classes(self, splits: Sequence[str]) -> None:
        """UserError when one of `splits` has no image of a class that another one of the same group shows."""
        for group in self.groups:
            found = {split: set(self.classes_of(split)) for split in group if split in splits}
            everything = set().union(*found.values())
            for split, names in found.items():
                if missing := sorted(everything - names):
                    other = next(split for split, names in found.items() if missing[0] in names)
                    more = f" and {len(missing) - 1} others" if len(missing) > 1 else ""
                    raise UserError(
                        f"{self}: split '{split}' has no image of class '{missing[0]}'{more}, split '{other}' has; "
                        "every split must show the same classes"
                    )

    def no_such_split(self, split: str) -> UserError:
        """What to raise for it."""
        return UserError(f"{self}: no images of split '{split}' (splits there: {', '.join(self.splits) or 'none'})")


class Photographs(Dataset):
    """Images with a class each and no latents. A subclass says what follows, and how to find records.

    layout: its files, as its makers publish them. origin: where to get it. `_splits` and `_records` are called once.
    """

    layout: ClassVar[str]
    origin: ClassVar[str]

    def __init__(self, path: Path, text: str) -> None:
        """UserError, saying what should be there, when nothing of it is."""
        super().__init__(path, text)
        self._found: dict[str, list[Record]] = {}
        if not path.is_dir():
            raise UserError(f"{text}: no such folder; {self.expected()}")
        if not self.splits:
            raise UserError(f"{text}: no {self.name.removeprefix('a ')} there; {self.expected()}")

    @classmethod
    def expected(cls) -> str:
        """What should be in the folder, and where to get it."""
        return f"{cls.name} is {cls.layout}; get it from {cls.origin}"

    @abstractmethod
    def _splits(self) -> list[str]:
        """Names of the splits of which there is something."""

    @abstractmethod
    def _records(self, split: str) -> list[Record]:
        """All images of a split. UserError for labels that do not fit the images."""

    @cached_property
    def splits(self) -> tuple[str, ...]:
        return tuple(sorted(self._splits(), key=lambda split: (split != "train", split)))

    def records(self, split: str) -> list[Record]:
        """All images of a split. UserError when there are none."""
        if split not in self.splits:
            raise self.no_such_split(split)
        if split not in self._found:
            self._found[split] = self._records(split)
            if not self._found[split]:
                raise UserError(f"{self}: split '{split}' holds no images; {self.expected()}")
        return self._found[split]

    def files(self) -> set[Path]:
        """Everything whose change is a change of the dataset."""
        images = [record.image for split in self.splits for record in self.records(split)]
        return {image.tar if isinstance(image, Member) else image for image in images}

    def count(self, split: str) -> int | None:
        return len(self.records(split)) if split in self.splits else None

    @property
    def spec(self) -> dict:
        return {"layout": self.name, "images": {split: len(self.records(split)) for split in self.splits}}

    def source(self, split: str) -> "Pictures":
        self.records(split)
        return Pictures(self, split)

    def classes_of(self, split: str) -> tuple[str, ...]:
        return tuple(sorted({record.category for record in self.records(split)}))


class Pictures:
    """The images of one split of Photographs. All splits become squares of one size, unless they all have one."""

    square = True

    def __init__(self, dataset: Photographs, split: str) -> None:
        self.dataset, self.split = dataset, split

    def records(self, most: int | None = None) -> Iterator[Record]:
        yield from self.dataset.records(self.split)[:most]

    def size(self) -> tuple[int, int]:
        dataset = self.dataset
        return common_size([record for split in dataset.splits for record in dataset.records(split)])

    def identity(self) -> list:
        """[path, bytes, time of change] of every file of every split: all of them decide the size."""
        root = str(self.dataset.path)
        stats = ((path.removeprefix(root), os.stat(path)) for path in sorted(map(str, self.dataset.files())))
        stamps = [[path, stat.st_size, stat.st_mtime_ns] for path, stat in stats]
        return [self.dataset.name, str(self.dataset.path.resolve()), self.split, *stamps]

    def verify(self) -> None:
        """There is nothing to compare the files with."""


def common_size(records: list[Record]) -> tuple[int, int]:
    """(height, width) in which images of several sizes make a table: their own if they all have one of at most
    LARGEST_SIDE, else a square of their smallest side, at most LARGEST_SIDE. Of many images, a sample is looked at.
    UserError when none of these can be opened."""
    sizes, fault = set(), None
    for record in records[:: -(-len(records) // _OPENED)]:
        try:
            sizes.add(image_size(record))
        except UserError as error:  # decoding will name it, with all others
            fault = fault or error
    if not sizes:
        raise fault
    one = next(iter(sizes))
    if len(sizes) == 1 and max(one) <= LARGEST_SIDE:
        return one
    side = min(LARGEST_SIDE, *map(min, sizes))
    return side, side


def class_folders(root: Path, base: Path) -> list[Record]:
    """The images in root/CLASS/**, sorted by class and name. Their ids are paths below `base`."""
    records: list[Record] = []
    for folder in sorted(filter(is_class_folder, root.iterdir())):
        prefix = folder.relative_to(base)
        for name in image_files(folder):
            where = f"{folder}/{name}"
            records.append(Record(where, len(records), None, None, f"{prefix}/{name}", folder.name, Path(where)))
    return records


def is_class_folder(folder: Path) -> bool:
    """Whether it is a folder, and not a hidden one."""
    return not folder.name.startswith(".") and folder.is_dir()


def image_files(folder: Path) -> list[str]:
    """Paths below `folder`, at any depth, of files that end as images do and are not hidden; sorted part by part."""
    found = []
    for place, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        inside = os.path.relpath(place, folder)
        prefix = "" if inside == "." else f"{inside}/"
        for name in names:
            if is_image(name):
                found.append(prefix + name)
    return sorted(found, key=lambda name: name.split("/"))


def is_image(name: str) -> bool:
    """Whether a file's name ends as an image's does, and is not hidden."""
    return name.rpartition(".")[2].lower() in IMAGE_FORMATS and not name.startswith(".")


def array_records(images: np.ndarray, labels: list[str], name: str) -> list[Record]:
    """A record for each of N images, uint8 (N, H, W) or (N, H, W, 3), with their classes; `name`: of the file."""
    return [
        Record(f"{name}, image {index}", index, None, None, f"{name}/{index:05d}", label, image)
        for index, (image, label) in enumerate(zip(images, labels, strict=True))
    ]
