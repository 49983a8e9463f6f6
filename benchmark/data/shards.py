"""The shards of a gr3d dataset: which there are, and the samples in them.

Shards are read with the webdataset library. They come from outside: every fault in one is a UserError that names
the shard and the sample.
"""

import hashlib
import json
import re
from collections.abc import Iterator
from pathlib import Path

from benchmark.data import tars
from benchmark.data.dataset import Dataset
from benchmark.data.decode import IMAGE_FORMATS, LARGEST_SIDE, Record
from benchmark.errors import UserError, first_line

# Table 2 of the paper, in the dataset contract's order.
LATENT_NAMES = ("yaw", "pitch", "roll", "floor_hue", "spot_theta", "spot_phi", "spot_hue")

PACKED = "packed"  # the layout in the spec of what gr3d pack made
FITTING = ("train", "probe")  # splits on which networks and probes are fitted

_LARGEST = 1e300  # JSON can hold whole numbers that no float can


class Gr3dShards(Dataset):
    """A folder of gr3d render, gr3d convert or gr3d pack. What was packed names its classes in dataset.json, and needs
    no latents."""

    name = "shards"

    def __init__(self, path: Path, text: str) -> None:
        """UserError for a dataset.json that is damaged, or of a pack that was not finished."""
        super().__init__(path, text)
        self.info = read_info(path)
        self._packed = self.info["spec"].get("layout") == PACKED
        if self._packed and not _is_finished(self.info):
            raise UserError(f"{text}: was not packed to its end; run the same gr3d pack command again")

    @property
    def has_latents(self) -> bool:
        return self.info["has_latents"] if self._packed else True

    @property
    def splits(self) -> tuple[str, ...]:
        return tuple(self.info["classes"]) if self._packed else tuple(shard_splits(self.path))

    @property
    def spec(self) -> dict:
        return self.info["spec"]

    def count(self, split: str) -> int | None:
        return count_listed(self.path, split)

    def source(self, split: str) -> "Shards":
        several_sizes = self._packed and self.info["images"].get("size") is None
        side = min(self.info["images"]["shortest"], LARGEST_SIDE) if several_sizes else None
        return Shards(self.path, split, self.has_latents, side)

    def classes_of(self, split: str) -> tuple[str, ...]:
        if self._packed and split in self.info["classes"]:
            return tuple(self.info["classes"][split])
        return tuple(sorted({record.category for record in self.source(split).records()}))

    @property
    def groups(self) -> tuple[tuple[str, ...], ...]:
        """As packed. Renders: every split for itself, as it has the classes of the objects that fell to it."""
        if self._packed:
            return tuple(map(tuple, self.info["groups"]))
        return tuple((split,) for split in sorted(self.splits, key=lambda split: split not in FITTING))


class Shards:
    """The samples of one split, as load_table reads them."""

    def __init__(self, data: Path, split: str, has_latents: bool = True, side: int | None = None) -> None:
        """side: of the square that images of several sizes become; None where all have one size. UserError as
        `shards_of`."""
        self.data, self.split, self.paths = data, split, shards_of(data, split)
        self.has_latents, self.side, self.square = has_latents, side, side is not None

    def records(self, most: int | None = None) -> Iterator[Record]:
        """Every sample, in the order of the shards; with `most`, whole shards, until there are at least so many."""
        count = 0
        for path in self.paths:
            for record in _read_shard(path, self.has_latents):
                yield record
                count += 1
            if most is not None and count >= most:
                return

    def size(self) -> tuple[int, int] | None:
        """None: all have the first one's."""
        return None if self.side is None else (self.side, self.side)

    def identity(self) -> list:
        """[name, sha256] of every shard: as checksums.json lists it where the size agrees, else computed."""
        listed = checksums(self.data)
        trusted = {
            path.name: listed[path.name]["sha256"]
            for path in self.paths
            if path.name in listed and listed[path.name].get("bytes") == path.stat().st_size
        }
        return [[path.name, trusted.get(path.name) or sha256(path)] for path in self.paths]

    def verify(self) -> None:
        """UserError for a shard whose bytes are not those that checksums.json lists."""
        for (name, said), path in zip(self.identity(), self.paths, strict=True):
            if sha256(path) != said:
                raise UserError(f"{path}: {name} is not as checksums.json lists it; run gr3d verify {self.data}")


def read_info(data: Path) -> dict:
    """The content of DATA/dataset.json. UserError when it cannot be read or is none of gr3d's."""
    path = data / "dataset.json"
    try:
        info = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise UserError(f"{path}: cannot be read as JSON ({error}); run gr3d verify {data}") from error
    if not isinstance(info, dict) or not isinstance(info.get("spec"), dict):
        raise UserError(f"{path}: has no 'spec' entry, so this is not a gr3d dataset")
    return info


def _is_finished(info: dict) -> bool:
    """Whether all is there, and as it should be, that gr3d pack writes in the end."""
    classes, groups, images = info.get("classes"), info.get("groups"), info.get("images")
    return (
        isinstance(classes, dict)
        and all(map(_are_names, classes.values()))
        and isinstance(groups, list)
        and len(groups) > 0
        and all(_are_names(group) and set(group) <= set(classes) for group in groups)
        and isinstance(images, dict)
        and type(images.get("shortest")) is int
        and images["shortest"] > 0
        and type(info.get("has_latents")) is bool
    )


def _are_names(values: object) -> bool:
    return isinstance(values, list) and len(values) > 0 and all(isinstance(value, str) for value in values)


def shard_splits(data: Path) -> list[str]:
    """The splits of which the dataset has shards, in the folder or listed in checksums.json; sorted."""
    return sorted({_split(name) for name in (*_present(data), *_listed(data))})


def shards_of(data: Path, split: str) -> list[Path]:
    """The shards of a split. UserError when it has none, or when one that checksums.json lists is not there."""
    present = _present(data)
    for name in _listed(data):
        if _split(name) == split and name not in present:
            raise UserError(f"{data / name}: missing, though checksums.json lists it; run the same gr3d command again")
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
    return {name: entry["samples"] for name, entry in checksums(data).items()}


def checksums(data: Path) -> dict[str, dict]:
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


def sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _read_shard(shard: Path, has_latents: bool) -> Iterator[Record]:
    for sample in tars.samples(shard, f"run gr3d verify {shard.parent} and make it again"):
        yield _parse(sample, f"{shard}, sample {sample['__key__']}", has_latents)


def _parse(sample: dict, where: str, has_latents: bool) -> Record:
    formats = [name for name in IMAGE_FORMATS if name in sample]
    if len(formats) != 1:
        raise UserError(f"{where}: needs exactly one image ({', '.join(IMAGE_FORMATS)}), has {len(formats)}")
    if "json" not in sample:
        raise UserError(f"{where}: has no .json with its labels")
    try:
        labels = json.loads(sample["json"].read())
    except ValueError as error:
        raise UserError(f"{where}: its .json cannot be read ({first_line(error)})") from error
    if not isinstance(labels, dict):
        raise UserError(f"{where}: its .json holds no labels")
    index = labels.get("index")
    if type(index) is not int or not 0 <= index < 2**63:
        raise UserError(f"{where}: its .json has no valid 'index'")
    return Record(
        where=where,
        index=index,
        latents=_latents(labels, where) if has_latents else None,
        quaternion=_quaternion(labels, where) if has_latents else None,
        object_id=_text(labels, "object_id", where),
        category=_text(labels, "category", where),
        image=sample[formats[0]],
        format=formats[0],
    )


def _latents(labels: dict, where: str) -> tuple[float, ...]:
    latents = labels.get("latents")
    if not isinstance(latents, dict):
        raise UserError(f"{where}: its .json has no 'latents'")
    return tuple(_number(latents.get(name), f"latent '{name}'", where) for name in LATENT_NAMES)


def _quaternion(labels: dict, where: str) -> tuple[float, ...]:
    quaternion = labels.get("quaternion")
    if not isinstance(quaternion, list) or len(quaternion) != 4:
        raise UserError(f"{where}: its .json has no 'quaternion' of four numbers")
    return tuple(_number(value, "quaternion", where) for value in quaternion)


def _number(value: object, name: str, where: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) < _LARGEST:  # NaN fails too
        raise UserError(f"{where}: {name} is missing or not a finite number")
    return float(value)


def _text(labels: dict, name: str, where: str) -> str:
    value = labels.get(name)
    if not isinstance(value, str):
        raise UserError(f"{where}: its .json has no '{name}'")
    return value
