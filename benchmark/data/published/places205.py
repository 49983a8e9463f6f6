"""Places205 (Zhou et al. 2014) as published: resized images, and a list of each split."""

from pathlib import Path

from benchmark.data.dataset import Photographs
from benchmark.data.decode import Record
from benchmark.data.published.text import read_lines
from benchmark.errors import UserError

_IMAGES = ("data/vision/torralba/deeplearning/images256", "images256", ".")


class Places205(Photographs):
    """2.4 million scenes of 256 x 256 pixels to train on, 20,500 to judge on. Classes are folders, like `a/abbey`."""

    name = "Places205"
    layout = (
        "the lists trainvalsplit_places205/train_places205.csv and val_places205.csv (lines `a/abbey/NAME.jpg 0`) "
        "beside the images, data/vision/torralba/deeplearning/images256/a/abbey/NAME.jpg"
    )
    origin = "the Places site of MIT (imagesPlaces205_resize.tar.gz and trainvalsplit_places205.tar.gz, unpacked)"

    def __init__(self, path: Path, text: str) -> None:
        self._folders: dict[int, str] = {}  # of each class's number, as the lists of all splits have it so far
        self._numbers: dict[str, int] = {}
        super().__init__(path, text)

    def _splits(self) -> list[str]:
        return [split for split in ("train", "val") if self._list(split)]

    def _list(self, split: str) -> Path | None:
        places = (self.path / "trainvalsplit_places205", self.path)
        files = (place / f"{split}_places205.csv" for place in places)
        return next((file for file in files if file.is_file()), None)

    def _root(self) -> Path:
        places = [base / inside for base in (self.path, self.path / "imagesPlaces205_resize") for inside in _IMAGES]
        found = next((place for place in places if (place / "a").is_dir()), None)
        if found is None:
            raise UserError(f"{self}: its lists are there, its images are not; {self.expected()}")
        return found

    def _records(self, split: str) -> list[Record]:
        file, root = self._list(split), self._root()
        lines = [line.rsplit(maxsplit=1) for line in read_lines(file) if line.strip()]
        records, missing = [], []
        for index, line in enumerate(lines):
            name, number = line if len(line) == 2 else (line[0], "")
            name = name.lstrip("/")
            category = name.rpartition("/")[0]
            if not number.isdecimal() or not category or ".." in Path(name).parts:
                raise UserError(f"{file}: line {index + 1} should be like `a/abbey/NAME.jpg 0`, is {' '.join(line)!r}")
            # Both ways: a line with another folder's number, or a folder with two numbers.
            if self._folders.setdefault(int(number), category) != category:
                was = self._folders[int(number)]
                raise UserError(f"{file}: line {index + 1}, {name}, has class {number}, which was {was} before")
            if self._numbers.setdefault(category, int(number)) != int(number):
                was = self._numbers[category]
                raise UserError(f"{file}: line {index + 1}, {name}, has class {number}, {category} had {was} before")
            if not (path := root / name).is_file():
                missing.append(path)
            records.append(Record(str(path), index, None, None, name, category, path))
        if missing:
            raise UserError(f"{missing[0]}: missing, though {file} lists it ({len(missing)} of {len(records)} are)")
        return records
