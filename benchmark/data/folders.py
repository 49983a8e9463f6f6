"""Plain image folders: DATA/SPLIT/CATEGORY/**/*.jpg (or another of IMAGE_FORMATS), each split as torchvision's
ImageFolder; or without splits."""

import zlib
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from benchmark.data.dataset import Photographs, class_folders
from benchmark.data.decode import IMAGE_FORMATS, Record
from benchmark.errors import UserError


class ImageFolder(Photographs):
    """An object of its own for each image, named by its path."""

    name = "a folder of plain images"
    layout = "SPLIT/CATEGORY/NAME.jpg (.png, .webp, .bmp, .tif, .ppm) with splits like train and val"
    origin = "your own images"

    @property
    def spec(self) -> dict:
        return {**super().spec, "layout": "image folder"}

    def _splits(self) -> list[str]:
        found = folder_splits(self.path)
        if found:
            self._check_depth()
        return found

    def _check_depth(self) -> None:
        """UserError for images that no split would have: they lie directly in a folder, where classes should be."""
        lost = sorted(
            image for image in self.path.glob("*/*") if image.suffix[1:].lower() in IMAGE_FORMATS and not image.is_dir()
        )
        lost = [image for image in lost if not any(part.startswith(".") for part in image.parts[-2:])]
        if lost:
            more = f", nor are {len(lost) - 1} others" if len(lost) > 1 else ""
            raise UserError(
                f"{lost[0]}: is in no folder SPLIT/CATEGORY{more}; put it there, or give folder:{self.path} if the "
                "folders there are classes"
            )

    def _records(self, split: str) -> list[Record]:
        return class_folders(self.path / split, self.path)


class Unsplit(Photographs):
    """Images in one folder a class, without splits. One in five of each class is `val`, the others are `train`: the
    images of a class sorted by the CRC-32 of their file names, every fifth from the first on."""

    name = "a folder of classes"
    layout = "CLASS/NAME.jpg (.png, .webp, .bmp, .tif, .ppm), at least two images a class"
    origin = "your own images"

    def _root(self) -> Path:
        """The folder that holds those of the classes."""
        return self.path

    def _splits(self) -> list[str]:
        found = any(path.suffix[1:].lower() in IMAGE_FORMATS for path in self._root().glob("*/*"))
        return ["train", "val"] if found else []

    def _records(self, split: str) -> list[Record]:
        records = class_folders(self._root(), self._root())
        counts = Counter(record.category for record in records)
        if lonely := [category for category, count in counts.items() if count == 1]:
            more = f" (so have {len(lonely) - 1} others)" if len(lonely) > 1 else ""
            raise UserError(
                f"{self}: class '{lonely[0]}' has one image{more}; `train` and `val` need one each: "
                "add another, or take the folder away"
            )
        judging = {record.object_id for record in _every_fifth(records)}
        return [record for record in records if (record.object_id in judging) == (split == "val")]


def _every_fifth(records: list[Record]) -> Iterator[Record]:
    classes: dict[str, list[Record]] = {}
    for record in records:
        classes.setdefault(record.category, []).append(record)
    for members in classes.values():
        yield from sorted(members, key=lambda record: (_crc(record.image.name), record.object_id))[::5]


def _crc(name: str) -> int:
    return zlib.crc32(name.encode(errors="surrogateescape"))  # a file's name need not be UTF-8


def is_folder(data: Path) -> bool:
    """Whether DATA is laid out as SPLIT/CATEGORY/IMAGE."""
    return bool(folder_splits(data))


def folder_splits(data: Path) -> list[str]:
    """The folders in DATA that hold a category with an image; sorted."""
    return sorted(
        path.name
        for path in data.iterdir()
        if path.is_dir() and not path.name.startswith(".") and _holds_categories(path)
    )


def _holds_categories(path: Path) -> bool:
    """Whether an image is in a folder of `path`, or one below it: no search through a whole disk for what is none."""
    return any(
        image.suffix[1:].lower() in IMAGE_FORMATS and not image.name.startswith(".")
        for pattern in ("*/*", "*/*/*")
        for image in path.glob(pattern)
    )
