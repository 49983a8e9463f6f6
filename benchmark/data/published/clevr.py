"""CLEVR (Johnson et al. 2017), v1.0 as published; the class is the number of objects in the scene."""

import json
from collections import Counter
from pathlib import Path

from benchmark.data.dataset import Photographs, image_files
from benchmark.data.decode import Record
from benchmark.errors import UserError, first_line

_LARGEST = 1 << 31  # bytes of a file of scenes


class Clevr(Photographs):
    """70,000 rendered scenes of 480 x 320 pixels to train on, 15,000 to judge on; classes `03` to `10`."""

    name = "CLEVR"
    layout = "images/train/CLEVR_train_000000.png and scenes/CLEVR_train_scenes.json, the same of val (CLEVR_v1.0.zip)"
    origin = "the CLEVR page of Stanford (CLEVR_v1.0.zip, unpacked)"

    def __init__(self, path: Path, text: str) -> None:
        super().__init__(path / "CLEVR_v1.0" if (path / "CLEVR_v1.0").is_dir() else path, text)

    def _scenes(self, split: str) -> Path:
        return self.path / "scenes" / f"CLEVR_{split}_scenes.json"

    def _splits(self) -> list[str]:
        return [split for split in ("train", "val") if self._scenes(split).is_file()]

    def files(self) -> set[Path]:
        return super().files() | {self._scenes(split) for split in self.splits}

    def _records(self, split: str) -> list[Record]:
        file, folder = self._scenes(split), self.path / "images" / split
        records, missing = [], []
        for index, (name, count) in enumerate(_counts(file)):
            if not (path := folder / name).is_file():
                missing.append(path)
            records.append(Record(str(path), index, None, None, f"{split}/{name}", f"{count:02d}", path))
        if missing:
            raise UserError(f"{missing[0]}: missing, though {file} describes it ({len(missing)} of {len(records)} are)")
        if extra := sorted({*image_files(folder)} - {Path(record.where).name for record in records}):
            raise UserError(f"{folder / extra[0]}: {file} does not describe it ({len(extra)} images have no scene)")
        return records


def _counts(file: Path) -> list[tuple[str, int]]:
    """(name of the image, number of objects) of every scene."""
    try:
        if file.stat().st_size > _LARGEST:
            raise UserError(f"{file}: {file.stat().st_size} bytes, the limit is {_LARGEST}")
        scenes = json.loads(file.read_bytes())["scenes"]
        found = [(scene["image_filename"], len(scene["objects"])) for scene in scenes]
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise UserError(f"{file}: no scenes of CLEVR ({first_line(error)}); get the file again") from error
    if wrong := [name for name, _ in found if not isinstance(name, str) or Path(name).name != name]:
        raise UserError(f"{file}: {wrong[0]!r} is no file name of an image")
    if twice := [name for name, times in Counter(name for name, _ in found).items() if times > 1]:
        raise UserError(f"{file}: several scenes for {twice[0]} ({len(twice)} images have more than one)")
    return found
