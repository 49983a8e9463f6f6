"""EuroSAT (Helber et al. 2019), its RGB version, as published: one folder a class, no splits."""

import zlib
from pathlib import Path

from benchmark.data.dataset import Photographs, class_folders
from benchmark.data.decode import Record

_INSIDE = ("2750", "EuroSAT_RGB", "eurosat/2750", ".")  # of EuroSAT.zip, EuroSAT_RGB.zip, torchvision
_FIFTH = 5  # one image in five judges


class EuroSat(Photographs):
    """27,000 satellite images of 64 x 64 pixels, 10 classes.

    They were published without splits. Here one in five of each class is `val`, the others are `train`: the images of a
    class sorted by the CRC-32 of their file names, every fifth from the first on.
    """

    name = "EuroSAT"
    layout = (
        "2750/CLASS/CLASS_1.jpg (EuroSAT.zip) or EuroSAT_RGB/CLASS/CLASS_1.jpg, with classes like AnnualCrop, Forest"
    )
    origin = "Zenodo or phelber/EuroSAT on GitHub (EuroSAT.zip or EuroSAT_RGB.zip, unpacked)"

    def _root(self) -> Path | None:
        places = (self.path / inside for inside in _INSIDE)
        return next((place for place in places if place.is_dir() and any(place.glob("*/*.jpg"))), None)

    def _splits(self) -> list[str]:
        return ["train", "val"] if self._root() else []

    def _records(self, split: str) -> list[Record]:
        root = self._root()
        judging = {record.object_id for record in _every_fifth(class_folders(root, root))}
        return [record for record in class_folders(root, root) if (record.object_id in judging) == (split == "val")]


def _every_fifth(records: list[Record]) -> list[Record]:
    chosen = []
    for name in {record.category for record in records}:
        members = [record for record in records if record.category == name]
        chosen += sorted(members, key=lambda record: (zlib.crc32(record.image.name.encode()), record.object_id))[
            ::_FIFTH
        ]
    return chosen
