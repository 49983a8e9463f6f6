"""Writes one shard of a packed dataset: images encoded on all cores, labels beside them."""

import hashlib
import io
import json
import tarfile
from concurrent.futures import Executor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from PIL import Image

from benchmark.data.corruptions import SMALLEST, corrupted
from benchmark.data.decode import (
    IMAGE_FORMATS,
    Record,
    image_bytes,
    opened,
    side_by_side,
    to_pixels,
    undecodable,
)
from benchmark.data.shards import LATENT_NAMES
from benchmark.data.tars import LARGEST_MEMBER
from benchmark.errors import UserError
from benchmark.files import write_atomically

QUALITY = 95  # of JPEGs that are encoded again, without reduced colours


@dataclass(frozen=True)
class Treatment:
    """How images become files: of `format` ("jpg" or "png"); with `side`, the middle square scaled to side x side; with
    `corruption`, corrupted at `severity` (corruptions.py)."""

    format: str
    side: int | None = None
    corruption: str = ""
    severity: int = 0


def write_shard(path: Path, split: str, records: list[Record], treatment: Treatment, pool: Executor | None) -> dict:
    """Write the records as a shard, aside and then renamed; return its entry in checksums.json. pool: who encodes.

    The entry: sha256, bytes, samples; size: the images' [height, width] if they have one; shortest: their shortest
    side; left_out: index -> why, of images that cannot be decoded.
    """

    work = partial(_encoded, treatment=treatment)
    file, sizes, left_out = io.BytesIO(), set(), {}
    with tarfile.open(fileobj=file, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for record, result in zip(records, side_by_side(work, records, pool), strict=True):
            if isinstance(result, str):
                left_out[str(record.index)] = result
                continue
            sizes.add(result[1])
            for ending, content in ((treatment.format, result[0]), ("json", _labels(record, split))):
                info = tarfile.TarInfo(f"{record.index:09d}.{ending}")  # mtime, uid and gid are 0, no names
                info.size = len(content)
                tar.addfile(info, io.BytesIO(content))
    data = file.getvalue()
    write_atomically(path, data)
    return {
        "sha256": hashlib.sha256(data).hexdigest(),
        "bytes": len(data),
        "samples": len(records) - len(left_out),
        "size": next(iter(sizes)) if len(sizes) == 1 else None,
        "shortest": min(map(min, sizes), default=0),
        **({"left_out": left_out} if left_out else {}),
    }


def is_entry(entry: object) -> bool:
    """Whether it is what write_shard returns, also after a round trip through JSON."""
    numbers = ("bytes", "samples", "shortest")
    return (
        isinstance(entry, dict)
        and all(type(entry.get(name)) is int for name in numbers)
        and isinstance(entry.get("sha256"), str)
        and isinstance(entry.get("size", 0), list | None)
        and isinstance(entry.get("left_out", {}), dict)
        and all(index.isdecimal() for index in entry.get("left_out", {}))
    )


def _encoded(record: Record, treatment: Treatment) -> tuple[bytes, tuple[int, int]] | str:
    """`encoded`, or why it cannot be."""
    try:
        return encoded(record, treatment)
    except UserError as error:
        return str(error)


def encoded(record: Record, treatment: Treatment) -> tuple[bytes, tuple[int, int]]:
    """The image as a file, and its (height, width).

    It is decoded whole in any case; a file that is already as it should be stays as it is. UserError for an image that
    cannot be decoded.
    """
    with opened(record) as image:
        if treatment == Treatment(treatment.format) and image.format == IMAGE_FORMATS[treatment.format]:
            try:
                image.load()
            except Exception as error:
                raise undecodable(record, error) from error
            if len(content := image_bytes(record)) <= LARGEST_MEMBER:
                return content, (image.height, image.width)
        array = to_pixels(image, record, treatment.side)
    if treatment.corruption:
        if min(array.shape[:2]) < SMALLEST:
            raise UserError(f"{record.where}: {array.shape[1]} x {array.shape[0]} pixels are too few to corrupt")
        array = corrupted(array, treatment.corruption, treatment.severity, record.index, record.object_id)
    file = io.BytesIO()
    if treatment.format == "jpg":
        Image.fromarray(array).save(file, "JPEG", quality=QUALITY, subsampling=0)
    else:
        Image.fromarray(array).save(file, "PNG")
    return file.getvalue(), array.shape[:2]


def _labels(record: Record, split: str) -> bytes:
    labels = {"index": record.index, "object_id": record.object_id, "category": record.category, "split": split}
    if record.latents is not None:
        labels["latents"] = dict(zip(LATENT_NAMES, record.latents, strict=True))
        labels["quaternion"] = list(record.quaternion)
    return json.dumps(labels).encode()
