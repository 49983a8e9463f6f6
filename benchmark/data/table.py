"""Reads one split of a gr3d dataset into memory: decoded uint8 images beside their labels.

Shards are read with the webdataset library; samples end up sorted by their index, so that nothing downstream
depends on how they were spread over shards. Shards come from outside: every fault in one is a UserError that names
the shard and the sample.
"""

import functools
import io
import json
import re
import sys
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from webdataset.tariterators import group_by_keys, tar_file_expander

from benchmark.errors import UserError

# Table 2 of the paper, in the dataset contract's order.
LATENT_NAMES = ("yaw", "pitch", "roll", "floor_hue", "spot_theta", "spot_phi", "spot_hue")

# Image formats a shard may hold: member name's ending -> PIL's decoder (the only one PIL is allowed to use).
IMAGE_FORMATS = {"jpg": "JPEG", "png": "PNG", "webp": "WEBP"}

_MAX_SIDE = 4096  # a header that claims more is refused before anything is decoded
_LARGEST = 1e300  # JSON can hold whole numbers that no float can
_TAR_END = bytes(1024)  # two zero blocks close every complete tar


@dataclass
class ImageTable:
    """N images of one split with their labels, sorted by index.

    images: uint8 (N, 3, H, W), contiguous, RGB. index: int64 (N,), the sample's number in the dataset.
    latents: float64 (N, 7) in LATENT_NAMES order, raw units (radians; hues in [0, 1]).
    quaternion: float64 (N, 4), the object's unit rotation [w, x, y, z], w >= 0.
    object_ids, categories: N strings.
    """

    images: Tensor
    index: Tensor
    latents: Tensor
    quaternion: Tensor
    object_ids: list[str]
    categories: list[str]

    def __len__(self) -> int:
        return len(self.images)


@dataclass(frozen=True)
class _Record:
    """One sample as stored: its labels, and its image still encoded (about a sixth of the decoded size)."""

    where: str
    index: int
    latents: tuple[float, ...]
    quaternion: tuple[float, ...]
    object_id: str
    category: str
    image: bytes
    format: str


def read_dataset_info(data: Path) -> dict:
    """Return DIR/dataset.json as a dict. UserError when the folder is not a gr3d dataset."""
    path = data / "dataset.json"
    if not data.is_dir():
        raise UserError(f"{data}: no such folder; render a dataset there first (gr3d render --out {data})")
    if not path.is_file():
        raise UserError(f"{data}: not a gr3d dataset (it has no dataset.json)")
    try:
        info = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise UserError(f"{path}: cannot be read as JSON ({error}); run gr3d verify {data}") from error
    if not isinstance(info, dict) or not isinstance(info.get("spec"), dict):
        raise UserError(f"{path}: has no 'spec' entry, so this is not a gr3d dataset")
    return info


def load_table(data: Path, split: str, most: int | None = None) -> ImageTable:
    """Read split ``split`` of the dataset in folder ``data``; with ``most``, only the shards that its first ``most``
    images or more come from.

    Memory: the decoded images, plus the encoded ones while loading. Says on stderr if images are still to render.

    Raises UserError for a folder that is no gr3d dataset, a split it does not have, a missing, truncated or foreign
    shard, an image that cannot be decoded or has another size, a missing or non-finite label, an index that occurs
    twice.
    """
    data = Path(data)
    read_dataset_info(data)
    if absent := _still_to_render(data):
        _say_incomplete(data, absent)
    records: list[_Record] = []
    for shard in shards_of(data, split):
        if most is not None and len(records) >= most:
            break
        records += _read_shard(shard)
    records.sort(key=lambda record: record.index)
    for before, after in pairwise(records):
        if before.index == after.index:
            raise UserError(f"{after.where}: index {after.index} occurs twice, first in {before.where}")
    if not records:
        raise UserError(f"{data}: split '{split}' holds no samples")
    return ImageTable(
        images=_decode_all(records),
        index=torch.tensor([record.index for record in records], dtype=torch.int64),
        latents=torch.tensor([record.latents for record in records], dtype=torch.float64),
        quaternion=torch.tensor([record.quaternion for record in records], dtype=torch.float64),
        object_ids=[record.object_id for record in records],
        categories=[record.category for record in records],
    )


def splits(data: Path) -> list[str]:
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
        raise UserError(f"{data}: no shards of split '{split}' (splits there: {', '.join(splits(data)) or 'none'})")
    return chosen


def count_images(data: Path, split: str) -> int | None:
    """Images of a split as checksums.json lists them; None when it lists none."""
    return sum(count for name, count in _listed(data).items() if _split(name) == split) or None


def _present(data: Path) -> list[str]:
    return sorted(path.name for path in data.glob("*-*.tar"))


def _split(name: str) -> str:
    return re.sub(r"-\d+$", "", name.removesuffix(".tar"))


def _listed(data: Path) -> dict[str, int]:
    """Shard -> number of images as checksums.json has it; empty without that file. UserError when it is damaged."""
    path = data / "checksums.json"
    try:
        return {name: int(entry["samples"]) for name, entry in json.loads(path.read_text()).items()}
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise UserError(f"{path}: damaged ({_first_line(error)}); run gr3d verify {data}") from error


def _still_to_render(data: Path) -> int:
    """As report.json has it; 0 where that says nothing."""
    with suppress(OSError, ValueError, TypeError, KeyError):
        return int(json.loads((data / "report.json").read_text())["still_to_render"])
    return 0


@functools.cache  # once, however many splits are read
def _say_incomplete(data: Path, absent: int) -> None:
    print(
        f"{data}: the dataset is incomplete: {absent} images still to render; run the same gr3d render command again",
        file=sys.stderr,
    )


def _read_shard(shard: Path) -> Iterator[_Record]:
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
        raise UserError(f"{shard}: damaged shard ({_first_line(error)}); {advice}") from error


def _parse(sample: dict, where: str) -> _Record:
    formats = [name for name in IMAGE_FORMATS if name in sample]
    if len(formats) != 1:
        raise UserError(f"{where}: needs exactly one image ({', '.join(IMAGE_FORMATS)}), has {len(formats)}")
    if "json" not in sample:
        raise UserError(f"{where}: has no .json with its labels")
    try:
        labels = json.loads(sample["json"])
    except ValueError as error:
        raise UserError(f"{where}: its .json cannot be read ({_first_line(error)})") from error
    if not isinstance(labels, dict) or not isinstance(labels.get("latents"), dict):
        raise UserError(f"{where}: its .json has no 'latents'")
    index = labels.get("index")
    if type(index) is not int or not 0 <= index < 2**63:
        raise UserError(f"{where}: its .json has no valid 'index'")
    quaternion = labels.get("quaternion")
    if not isinstance(quaternion, list) or len(quaternion) != 4:
        raise UserError(f"{where}: its .json has no 'quaternion' of four numbers")
    return _Record(
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


def _decode_all(records: list[_Record]) -> Tensor:
    """uint8 (N, 3, H, W). All images must have the first one's size."""
    images = None
    for row, record in enumerate(records):
        pixels = _decode(record, expected=None if images is None else images.shape[2:])
        if images is None:
            images = torch.empty((len(records), 3, *pixels.shape[:2]), dtype=torch.uint8)
            target = images.numpy()
        target[row] = pixels.transpose(2, 0, 1)
    return images


def _decode(record: _Record, expected: tuple[int, int] | None) -> np.ndarray:
    """uint8 (H, W, 3). The size in the header is judged before a pixel is decoded, so that none can explode."""
    try:
        with Image.open(io.BytesIO(record.image), formats=[IMAGE_FORMATS[record.format]]) as image:
            width, height = image.size
            if max(width, height) > _MAX_SIDE:
                raise UserError(f"{record.where}: image of {width} x {height} pixels, the limit is {_MAX_SIDE}")
            if expected is not None and (height, width) != tuple(expected):
                raise UserError(
                    f"{record.where}: image of {width} x {height} pixels among images of {expected[1]} x {expected[0]}"
                )
            return np.asarray(image.convert("RGB"))
    except UserError:
        raise
    except Exception as error:  # PIL's decoders raise OSError, SyntaxError, ValueError, struct.error, ...
        raise UserError(f"{record.where}: image cannot be decoded ({_first_line(error)})") from error


def _first_line(error: Exception) -> str:
    return (str(error) or type(error).__name__).splitlines()[0]
