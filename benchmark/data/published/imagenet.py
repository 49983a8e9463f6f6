"""ImageNet (ILSVRC2012) as torchvision, Kaggle and the challenge's own archives lay it out."""

import re
from pathlib import Path

from benchmark.data.dataset import Photographs, class_folders, image_files, is_class_folder, is_image
from benchmark.data.decode import Record
from benchmark.data.published.text import read_lines
from benchmark.errors import UserError, first_line

_INSIDE = (".", "ILSVRC/Data/CLS-LOC", "Data/CLS-LOC")  # Kaggle's archive, unpacked
_DEVKITS = ("ILSVRC2012_devkit_t12/data", "devkit/data", "ILSVRC2012_devkit_t12", "devkit", ".")
_TRUTHS = ("ILSVRC2012_validation_ground_truth.txt", "ILSVRC2015_clsloc_validation_ground_truth.txt")
_SYNSET = re.compile(r"n\d{8}")


class ImageNet(Photographs):
    """Classes are named by their WordNet ids, as the folders of `train` are.

    Validation images may lie in such folders, too, or all in one, as the challenge published them; then their classes
    come from Kaggle's LOC_val_solution.csv, from a list of synsets (one a line, or beside the images' names), or from
    the challenge's development kit.
    """

    name = "ImageNet"
    layout = (
        "train/nXXXXXXXX/*.JPEG and val/nXXXXXXXX/*.JPEG; or val/*.JPEG with LOC_val_solution.csv, "
        "imagenet_2012_validation_synset_labels.txt or ILSVRC2012_devkit_t12/ beside it"
    )
    origin = "the ImageNet site (ILSVRC2012, for registered researchers) or Kaggle's ImageNet challenge"

    def __init__(self, path: Path, text: str) -> None:
        inside = (path / place for place in _INSIDE)
        self.root = next((root for root in inside if any((root / split).is_dir() for split in ("train", "val"))), path)
        super().__init__(path, text)

    def _splits(self) -> list[str]:
        return [split for split in ("train", "val") if (self.root / split).is_dir()]

    def _records(self, split: str) -> list[Record]:
        folder = self.root / split
        if any(is_class_folder(entry) for entry in folder.iterdir()):
            self._check_depth(folder)
            return class_folders(folder, self.root)
        paths = [folder / name for name in image_files(folder)]
        if not paths:
            return []
        return [
            Record(str(path), index, None, None, f"{split}/{path.name}", category, path)
            for index, (path, category) in enumerate(zip(paths, self._truth(paths), strict=True))
        ]

    def _check_depth(self, folder: Path) -> None:
        """UserError for images beside folders of classes, as a half-finished move into these leaves them."""
        if loose := sorted(entry.name for entry in folder.iterdir() if is_image(entry.name) and not entry.is_dir()):
            raise UserError(
                f"{folder / loose[0]}: lies beside folders of classes ({len(loose)} images do); move all images of "
                f"'{folder.name}' into such folders, or none"
            )

    def _truth(self, paths: list[Path]) -> list[str]:
        """The class of every image of a flat folder. UserError where nothing says, or it says otherwise."""
        for place in (self.path, self.root, paths[0].parent, self.root.parent):
            if (file := place / "LOC_val_solution.csv").is_file():
                return named_labels(file, paths)
            for name in ("imagenet_2012_validation_synset_labels.txt", "synset_labels.txt", "val.txt"):
                if (file := place / name).is_file():
                    return listed_labels(file, paths)
            for name in _TRUTHS:
                for kit in _DEVKITS:
                    if (file := place / kit / name).is_file():
                        return numbered_labels(file, synsets(file.parent), paths)
        raise UserError(
            f"{paths[0].parent}: {len(paths)} images in one folder, and nothing that says their classes; "
            f"{self.expected()}"
        )


def named_labels(file: Path, paths: list[Path]) -> list[str]:
    """Of Kaggle's LOC_val_solution.csv: lines `ILSVRC2012_val_00048981,n03995372 85 1 499 272 ...`."""
    lines = [line.split(",", 1) for line in read_lines(file)[1:] if line.strip()]
    return _fitted(file, [(line[0], line[-1].split()[0]) for line in lines if line[-1].split()], paths)


def listed_labels(file: Path, paths: list[Path]) -> list[str]:
    """One synset a line, in the order of the images' names; or lines `ILSVRC2012_val_00000001.JPEG n01751748`."""
    lines = [line.split() for line in read_lines(file) if line.strip()]
    if all(len(line) == 2 for line in lines):
        return _fitted(file, [(Path(name).stem, label) for name, label in lines], paths)
    _check_count(file, len(lines), paths)
    return _synsets(file, [line[0] for line in lines])


def numbered_labels(file: Path, names: dict[int, str], paths: list[Path]) -> list[str]:
    """One number a line, in the order of the images' names; names: number -> synset."""
    lines = [line.strip() for line in read_lines(file) if line.strip()]
    _check_count(file, len(lines), paths)
    if unknown := [line for line in lines if not line.isdecimal() or int(line) not in names]:
        raise UserError(f"{file}: {unknown[0]} is the number of no class")
    return [names[int(line)] for line in lines]


def synsets(kit: Path) -> dict[int, str]:
    """Number -> synset, of the development kit: map_clsloc.txt, or meta.mat, which takes scipy."""
    if (file := kit / "map_clsloc.txt").is_file():
        lines = [line.split() for line in read_lines(file) if line.strip()]
        if any(len(line) < 2 or not line[1].isdecimal() for line in lines):
            raise UserError(f"{file}: lines should be like `n02119789 1 kit_fox`")
        return dict(zip((int(line[1]) for line in lines), _synsets(file, [line[0] for line in lines]), strict=True))
    if not (file := kit / "meta.mat").is_file():
        raise UserError(f"{kit}: has neither map_clsloc.txt nor meta.mat, which say what the numbers of classes mean")
    try:
        from scipy.io import loadmat
    except ImportError:
        raise UserError(f"{file}: to read it takes scipy; pip install scipy") from None
    try:
        rows = loadmat(file, squeeze_me=True)["synsets"]
        return {int(row["ILSVRC2012_ID"]): str(row["WNID"]) for row in rows}
    except Exception as error:  # of a damaged file, scipy raises many kinds
        raise UserError(f"{file}: cannot be read ({first_line(error)}); get the development kit again") from error


def _fitted(file: Path, lines: list[tuple[str, str]], paths: list[Path]) -> list[str]:
    """The labels of the images, from (name without ending, label)."""
    labels: dict[str, str] = {}
    for name, label in lines:
        if labels.setdefault(name, label) != label:
            raise UserError(f"{file}: names {name} twice, with {labels[name]} and with {label}")
    if absent := [path.name for path in paths if path.stem not in labels]:
        raise UserError(f"{file}: says nothing of {absent[0]} ({len(absent)} of {len(paths)} images are not in it)")
    if len(labels) > len(paths):
        gone = next(iter(set(labels) - {path.stem for path in paths}))
        missing = len(labels) - len(paths)
        raise UserError(f"{file}: names {gone}, which is not in {paths[0].parent} ({missing} images are missing)")
    return _synsets(file, [labels[path.stem] for path in paths])


def _check_count(file: Path, labels: int, paths: list[Path]) -> None:
    if labels != len(paths):
        raise UserError(f"{file}: {labels} labels for the {len(paths)} images in {paths[0].parent}")


def _synsets(file: Path, names: list[str]) -> list[str]:
    if wrong := [name for name in names if not _SYNSET.fullmatch(name)]:
        raise UserError(f"{file}: {wrong[0]!r} is no synset like n01440764")
    return names
