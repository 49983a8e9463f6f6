"""Turns encoded images into rows of a table, on all cores."""

import io
import os
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
from PIL import Image

from benchmark.errors import UserError

# Endings of image files -> PIL's decoder (the only one PIL is allowed to use).
IMAGE_FORMATS = {"jpg": "JPEG", "jpeg": "JPEG", "png": "PNG", "webp": "WEBP"}

_MAX_SIDE = 4096  # a header that claims more is refused before anything is decoded
_PIECE = 32  # images that a thread decodes at a time


@dataclass(frozen=True)
class Record:
    """One sample as stored: its labels, and its image still encoded.

    where: names it in messages. latents, quaternion: None where the source has none. image: an image file's bytes, its
    path, or None where they were not kept. format: a key of IMAGE_FORMATS.
    """

    where: str
    index: int
    latents: tuple[float, ...] | None
    quaternion: tuple[float, ...] | None
    object_id: str
    category: str
    image: bytes | Path | None
    format: str


def decode_all(rows: Iterable[tuple[int, Record]], images: np.ndarray, square: bool) -> None:
    """Decode each record into its row of images, uint8 (N, 3, H, W), on as many threads as this process has cores.

    square: scale and cut images of another size to the table's; otherwise they must have it. Takes from `rows` only a
    little ahead of what is decoded. UserError, naming the first record concerned, for an image that cannot be decoded
    or does not fit.
    """

    def work(piece: list[tuple[int, Record]]) -> None:
        for row, record in piece:
            images[row] = _decode(record, images.shape[2:], square).transpose(2, 0, 1)

    threads = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    pool = ThreadPoolExecutor(threads, thread_name_prefix="decode")  # PIL's decoders let other threads run
    try:
        waiting = deque()
        for piece in _pieces(rows):
            waiting.append(pool.submit(work, piece))
            if len(waiting) > 2 * threads:
                waiting.popleft().result()
        for future in waiting:
            future.result()
    finally:
        pool.shutdown(cancel_futures=True)


def _pieces(rows: Iterable[tuple[int, Record]]) -> Iterator[list[tuple[int, Record]]]:
    rows = iter(rows)
    while piece := list(islice(rows, _PIECE)):
        yield piece


def image_size(record: Record) -> tuple[int, int]:
    """(height, width) as the image's header has it. UserError when that is unreadable or too large."""
    with _opened(record) as image:
        return image.height, image.width


def _decode(record: Record, size: tuple[int, int], square: bool) -> np.ndarray:
    """uint8 (*size, 3). The size in the header is judged before a pixel is decoded, so that none can explode."""
    with _opened(record) as image:
        try:
            if (image.height, image.width) == tuple(size):
                return np.asarray(image.convert("RGB"))
            if square:
                return np.asarray(_middle(image.convert("RGB"), size[0]))
        except Exception as error:  # PIL's decoders raise OSError, SyntaxError, ValueError, struct.error, ...
            raise _undecodable(record, error) from error
        raise UserError(
            f"{record.where}: image of {image.width} x {image.height} pixels among images of {size[1]} x {size[0]}"
        )


def _middle(image: Image.Image, side: int) -> Image.Image:
    """The middle square, scaled to side x side pixels (antialiased bilinear)."""
    short = min(image.size)
    left, top = (image.width - short) / 2, (image.height - short) / 2
    return image.resize((side, side), Image.Resampling.BILINEAR, box=(left, top, left + short, top + short))


def _opened(record: Record) -> Image.Image:
    try:
        file = io.BytesIO(record.image) if isinstance(record.image, bytes) else record.image
        image = Image.open(file, formats=[IMAGE_FORMATS[record.format]])
    except Exception as error:
        raise _undecodable(record, error) from error
    if max(image.size) > _MAX_SIDE:
        image.close()
        raise UserError(f"{record.where}: image of {image.width} x {image.height} pixels, the limit is {_MAX_SIDE}")
    return image


def _undecodable(record: Record, error: Exception) -> UserError:
    return UserError(f"{record.where}: image cannot be decoded ({first_line(error)})")


def first_line(error: Exception) -> str:
    """What an error says, in one line."""
    return (str(error) or type(error).__name__).splitlines()[0]
