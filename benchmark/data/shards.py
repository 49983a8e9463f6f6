"""The shards of a gr3d dataset: which there are, and the samples in them.

Shards are read with the webdataset library. They come from outside: every fault in one is a UserError that names
the shard and the sample.
"""

import hashlib
import io
import json
import re
from collections.abc import Iterator
from pathlib import Path

from webdataset.tariterators import group_by_keys, tar_file_expander

from benchmark.data.decode import IMAGE_FORMATS, Record, first_line
from benchmark.errors import UserError

# Table 2 of the paper, in the dataset contract's order.
LATENT_NAMES = ("yaw", "pitch", "roll", "floor_hue", "spot_theta", "spot_phi", "spot_hue")

_LARGEST = 1e300  # JSON can hold whole numbers that no float can
_TAR_END = bytes(1024)  # two zero blocks close every complete tar


class Shards:
    """The samples of one split, as load_table reads them."""

    square = False  # all images have one size

    def __init__(self, data: Path, split: str) -> None:
        """UserError as `shards_of`."""
        self.data, self.split, self.paths = data, split, shards_of(data, split)

    def encoded_bytes(self) -> int:
        """Size of all that `records` reads."""
        return sum(path.stat().st_size for path in self.paths)

    def records(self, most: int | None = None) -> Iterator[Record]:
        """Every sample with its image's bytes, in the order of the shards; with `most`, whole shards, until there are
        at least so many."""
        count = 0
        for path in self.paths:
            for record in _read_shard(path):
                yield record
                count += 1
            if most is not None and count >= most:
                return

    def size(self, first: Record) -> tuple[int, int] | None:
        """None: all have the first one's."""
        return None

    def identity(self) -> list:
        """[name, sha256] of every shard: as checksums.json lists it where the size agrees, else computed."""
        listed = _checksums(self.data)
        trusted = {
            path.name: listed[path.name]["sha256"]
            for path in self.paths
            if path.name in listed and listed[path.name].get("bytes") == path.stat().st_size
        }
        return [[path.name, trusted.get(path.name) or _sha256(path)] for path in self.paths]

    def verify(self) -> None:
        """UserError for a shard whose bytes are not those that checksums.json lists."""
        for (name, said), path in zip(self.identity(), self.paths, strict=True):
            if _sha256(path) != said:
                raise UserError(f"{path}: {name} is not as checksums.json lists it; run gr3d verify {self.data}")


def shard_splits(data: Path) -> list[str]:
    """The splits of which the dataset has shards, in the folder or listed in checksums.json; sorted."""
    return sorted({_split(name) for name in (*_present(data), *_listed(data))})


def shards_of(data: Path, split: str) -> list[Path]:
    """The shards of a split. UserError when it has none, or when one that checksums.json lists is not there."""
    present = _present(data)
    for name in _listed(data):
        if _split(name) == split and name not in present:
            raise UserError(
                f"{data / name}: missing, though checksums.json lists it; run the same gr3d render command again"
            )
    chosen = [data / name for name in present if _split(name) == split]
    if not chosen:
        raise UserError(
            f"{data}: no shards of split '{split}' (splits there: {', '.join(shard_splits(data)) or 'none'})"
        )
    return chosen


def count_listed(data: Path, split: str) -> int | None:
    """Images of a split as checksums.json lists them; None when it lists none."""
    return sum(count for name, count in _listed(data).items() if _split(name) == split) or None


def _present(data: Path) -> list[str]:
    return sorted(path.name for path in data.glob("*-*.tar"))


def _split(name: str) -> str:
    return re.sub(r"-\d+$", "", name.removesuffix(".tar"))


def _listed(data: Path) -> dict[str, int]:
    """Shard -> number of images as checksums.json has it; empty without that file. UserError when it is damaged."""
    return {name: entry["samples"] for name, entry in _checksums(data).items()}


def _checksums(data: Path) -> dict[str, dict]:
    """Shard -> {samples, ...}, the content of checksums.json; empty without that file. UserError when it is damaged."""
    path = data / "checksums.json"
    try:
        return {
            name: {**entry, "samples": int(entry["samples"])} for name, entry in json.loads(path.read_text()).items()
        }
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise UserError(f"{path}: damaged ({first_line(error)}); run gr3d verify {data}") from error


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _read_shard(shard: Path) -> Iterator[Record]:
    advice = f"run gr3d verify {shard.parent} and render again"
    try:
        with shard.open("rb") as stream:
            # A tar cut between two members reads without complaint: only its missing end gives it away.
            if stream.seek(0, io.SEEK_END) < len(_TAR_END):
                raise UserError(f"{shard}: truncated shard; {advice}")
            stream.seek(-len(_TAR_END), io.SEEK_END)
            if stream.read() != _TAR_END:
                raise UserError(f"{shard}: truncated shard; {advice}")
            stream.seek(0)
            for sample in group_by_keys(tar_file_expander([{"url": str(shard), "stream": stream}])):
                yield _parse(sample, f"{shard}, sample {sample['__key__']}")
    except UserError:
        raise
    except Exception as error:  # webdataset passes on tarfile's, zlib's and its own errors, all about this shard
        raise UserError(f"{shard}: damaged shard ({first_line(error)}); {advice}") from error


def _parse(sample: dict, where: str) -> Record:
    formats = [name for name in IMAGE_FORMATS if name in sample]
    if len(formats) != 1:
        raise UserError(f"{where}: needs exactly one image ({', '.join(IMAGE_FORMATS)}), has {len(formats)}")
    if "json" not in sample:
        raise UserError(f"{where}: has no .json with its labels")
    try:
        labels = json.loads(sample["json"])
    except ValueError as error:
        raise UserError(f"{where}: its .json cannot be read ({first_line(error)})") from error
    if not isinstance(labels, dict) or not isinstance(labels.get("latents"), dict):
        raise UserError(f"{where}: its .json has no 'latents'")
    index = labels.get("index")
    if type(index) is not int or not 0 <= index < 2**63:
        raise UserError(f"{where}: its .json has no valid 'index'")
    quaternion = labels.get("quaternion")
    if not isinstance(quaternion, list) or len(quaternion) != 4:
        raise UserError(f"{where}: its .json has no 'quaternion' of four numbers")
    return Record(
        where=where,
        index=index,
        latents=tuple(_number(labels["latents"].get(name), f"latent '{name}'", where) for name in LATENT_NAMES),
        quaternion=tuple(_number(value, "quaternion", where) for value in quaternion),
        object_id=_text(labels, "object_id", where),
        category=_text(labels, "category", where),
        image=sample[formats[0]],
        format=formats[0],
    )


def _number(value: object, name: str, where: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) < _LARGEST:  # NaN fails too
        raise UserError(f"{where}: {name} is missing or not a finite number")
    return float(value)


def _text(labels: dict, name: str, where: str) -> str:
    value = labels.get(name)
    if not isinstance(value, str):
        raise UserError(f"{where}: its .json has no '{name}'")
    return value
