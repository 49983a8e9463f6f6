"""Classified images in others' WebDataset shards: {key}.jpg with {key}.cls, as ImageNet is often kept."""

import re
from pathlib import Path

from benchmark.data import tars
from benchmark.data.dataset import Photographs
from benchmark.data.decode import IMAGE_FORMATS, Record
from benchmark.data.tars import Member
from benchmark.errors import UserError

_SPLIT = re.compile(r"(?<![a-z])(train|val|validation|test)(?![a-z])")  # in a shard's path
_LONGEST = 20  # characters of a .cls


class WebShards(Photographs):
    """The class is the number in the .cls, as four digits. Shards say in their name or folder whether they are `train`,
    `val` (also validation) or `test`."""

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
        for shard in self._shards()[split]:
            for sample in tars.samples(shard, "get it again"):
                records.append(_record(sample, shard, str(shard.relative_to(self.path).with_suffix("")), len(records)))
        return records


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
