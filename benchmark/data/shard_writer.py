"""Writes one shard of a packed dataset: images encoded on all cores, labels beside them."""

import hashlib
import io
import json
import tarfile
from pathlib import Path

from PIL import Image

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


def write_shard(path: Path, split: str, records: list[Record], format: str, side: int | None) -> dict:
    """Write the records as a shard, aside and then renamed; return its entry in checksums.json.

    The entry: sha256, bytes, samples; size: the images' [height, width] if they have one; shortest: their shortest
    side; left_out: index -> why, of images that cannot be decoded.
    """

    def work(record: Record) -> tuple[bytes, tuple[int, int]] | UserError:
        try:
            return encoded(record, format, side)
        except UserError as error:
            return error

    file, sizes, left_out = io.BytesIO(), set(), {}
    with tarfile.open(fileobj=file, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for record, result in zip(records, side_by_side(work, records), strict=True):
            if isinstance(result, UserError):
                left_out[str(record.index)] = str(result)
                continue
            sizes.add(result[1])
            for ending, content in ((format, result[0]), ("json", _labels(record, split))):
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


def encoded(record: Record, format: str, side: int | None) -> tuple[bytes, tuple[int, int]]:
    """The image as a file of `format` ("jpg" or "png"), and its (height, width).

    It is decoded whole in any case; without `side` the file stays as it is, if it is one of that format. UserError for
    an image that cannot be decoded.
    """
    with opened(record) as image:
        if side is None and image.format == IMAGE_FORMATS[format]:
            try:
                image.load()
            except Exception as error:
                raise undecodable(record, error) from error
            if len(content := image_bytes(record)) <= LARGEST_MEMBER:
                return content, (image.height, image.width)
        array = to_pixels(image, record, side)
    file = io.BytesIO()
    if format == "jpg":
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
