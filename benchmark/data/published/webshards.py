"""Classified images in others' WebDataset shards: {key}.jpg with {key}.cls, as ImageNet is often kept."""

import re
from collections import Counter
from dataclasses import replace
from pathlib import Path

from benchmark.data import tars
from benchmark.data.dataset import Photographs
from benchmark.data.decode import IMAGE_FORMATS, Record
from benchmark.data.published.text import read_lines
from benchmark.data.tars import Member
from benchmark.errors import UserError

_SPLIT = re.compile(r"(?<![a-z])(train|val|validation|test)(?![a-z])")  # in a shard's path
_LONGEST = 20  # characters of a .cls
_NAMES = ("synsets.txt", "imagenet_synsets.txt", "LOC_synset_mapping.txt")  # the second is timm's, the third Kaggle's


class WebShards(Photographs):
    """Shards say in their name or folder whether they are `train`, `val` (also validation) or `test`. The class is the
    number in the .cls, as four digits; or, where one of _NAMES lies beside the shards, the first word of its line of
    that number, counted from 0: with WordNet ids the classes are those of ImageNet and ImageNet-C."""

    name = "ImageNet in WebDataset shards"
    layout = "tars like imagenet1k-train-0000.tar and imagenet1k-validation-00.tar (or train/0.tar) of .jpg and .cls"
    origin = "Hugging Face (timm/imagenet-1k-wds), or made from ImageNet with the webdataset library"

    def _splits(self) -> list[str]:
        return list(self._shards())

    def _shards(self) -> dict[str, list[Path]]:
        found: dict[str, list[Path]] = {}
        for path in sorted(self.path.rglob("*.tar")):
            if match := _SPLIT.search(str(path.relative_to(self.path)).lower()):
                found.setdefault("val" if match[1] == "validation" else match[1], []).append(path)
        return found

    def _records(self, split: str) -> list[Record]:
        records: list[Record] = []
        file, names = self._names()
        for shard in self._shards()[split]:
            below = str(shard.relative_to(self.path).with_suffix(""))
            for sample in tars.samples(shard, "get it again"):
                record = _record(sample, shard, below, len(records))
                if names:
                    if (number := int(record.category)) >= len(names):
                        raise UserError(f"{record.where}: its class is {number}, {file} names {len(names)} from 0 on")
                    record = replace(record, category=names[number])
                records.append(record)
        return records

    def _names(self) -> tuple[Path | None, list[str]]:
        """The file that names the classes, and what it says; nothing where there is none."""
        file = next((path for name in _NAMES if (path := self.path / name).is_file()), None)
        names = [line.split()[0] for line in read_lines(file) if line.strip()] if file else []
        if twice := [name for name, times in Counter(names).items() if times > 1]:
            raise UserError(f"{file}: two lines begin with '{twice[0]}'; give every class a line")
        return file, names

    def files(self) -> set[Path]:
        file, _ = self._names()
        return super().files() | ({file} if file else set())


def _record(sample: dict[str, Member], shard: Path, below: str, index: int) -> Record:
    """below: the shard's part of the id: keys may start again in every shard."""
    where = f"{shard}, sample {sample['__key__']}"
    formats = [name for name in IMAGE_FORMATS if name in sample]
    if len(formats) != 1:
        raise UserError(f"{where}: needs exactly one image ({', '.join(IMAGE_FORMATS)}), has {len(formats)}")
    if "cls" not in sample:
        raise UserError(f"{where}: has no .cls with its class")
    text = sample["cls"].read()[:_LONGEST].strip()
    if not text.isdigit():
        raise UserError(f"{where}: its .cls is no number of a class")
    return Record(where, index, None, None, f"{below}/{sample['__key__']}", f"{int(text):04d}", sample[formats[0]])
