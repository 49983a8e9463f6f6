"""Plain image folders: DATA/SPLIT/CATEGORY/**/*.jpg (.jpeg, .png, .webp), each split as torchvision's ImageFolder."""

from pathlib import Path

from benchmark.data.dataset import Photographs, class_folders
from benchmark.data.decode import IMAGE_FORMATS, Record


class ImageFolder(Photographs):
    """An object of its own for each image, named by its path."""

    name = "a folder of plain images"
    layout = "SPLIT/CATEGORY/NAME.jpg (.jpeg, .png, .webp) with splits like train and val"
    origin = "your own images"

    @property
    def spec(self) -> dict:
        return {**super().spec, "layout": "image folder"}

    def _splits(self) -> list[str]:
        return folder_splits(self.path)

    def _records(self, split: str) -> list[Record]:
        return class_folders(self.path / split, self.path)


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
