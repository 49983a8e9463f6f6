"""Plain image folders: DATA/SPLIT/CATEGORY/**/*.jpg (.jpeg, .png, .webp), each split as torchvision's ImageFolder."""

from collections.abc import Iterator
from pathlib import Path

from benchmark.data.decode import IMAGE_FORMATS, Record, image_size
from benchmark.errors import UserError

LARGEST_SIDE = 224  # to which larger photographs are scaled


class Folder:
    """The images of one split, as load_table reads them: a category each, an object of its own each, no latents."""

    square = True

    def __init__(self, data: Path, split: str) -> None:
        """UserError for a split that is not there or holds no image."""
        self.data, self.split = data, split
        if split not in (known := folder_splits(data)):
            raise UserError(f"{data}: no images of split '{split}' (splits there: {', '.join(known)})")
        self.paths = image_paths(data / split)

    def encoded_bytes(self) -> int:
        """Size of what has to be kept to decode later: nothing but paths."""
        return 0

    def records(self, most: int | None = None) -> Iterator[Record]:
        """Every image, in the order of categories and file names; with `most`, the first so many."""
        for index, path in enumerate(self.paths[:most]):
            category = path.relative_to(self.data / self.split).parts[0]
            name = str(path.relative_to(self.data))
            format = path.suffix[1:].lower()
            yield Record(str(path), index, None, None, name, category, path, format)

    def size(self, first: Record) -> tuple[int, int] | None:
        """One square for all splits: of the smallest side of all images, at most LARGEST_SIDE pixels; None if they all
        have one size, up to that."""
        sizes = {_image_size(path) for path in self._paths_of_all_splits()}
        side = min(LARGEST_SIDE, min(min(size) for size in sizes))
        return None if len(sizes) == 1 and max(next(iter(sizes))) <= LARGEST_SIDE else (side, side)

    def identity(self) -> list:
        """[path, bytes, time of change] of every image of every split: all of them decide the size."""
        files = ((path, path.stat()) for path in self._paths_of_all_splits())
        return [self.split, *([str(path.resolve()), stat.st_size, stat.st_mtime_ns] for path, stat in files)]

    def verify(self) -> None:
        """There is nothing to compare the files with."""

    def _paths_of_all_splits(self) -> list[Path]:
        return [path for split in folder_splits(self.data) for path in image_paths(self.data / split)]


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


def folder_info(data: Path) -> dict:
    """What stands for the content of a dataset.json: which images these are."""
    counts = {split: len(image_paths(data / split)) for split in folder_splits(data)}
    return {"spec": {"layout": "image folder", "images": counts}}


def image_paths(split: Path) -> list[Path]:
    """Sorted by category and name."""
    return sorted(_images(split))


def _images(split: Path) -> Iterator[Path]:
    for category in split.iterdir():
        if category.is_dir() and not category.name.startswith("."):
            for path in category.rglob("*"):
                if path.suffix[1:].lower() in IMAGE_FORMATS and path.is_file():
                    yield path


def _image_size(path: Path) -> tuple[int, int]:
    return image_size(Record(str(path), 0, None, None, "", "", path, path.suffix[1:].lower()))
