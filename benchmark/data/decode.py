"""Turns encoded images into rows of a table, on all cores."""

import io
import os
import warnings
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TypeVar

import numpy as np
from PIL import Image

from benchmark.data.tars import Member
from benchmark.errors import UserError, first_line

# Endings of image files -> PIL's decoder (the only one PIL is allowed to use).
IMAGE_FORMATS = {
    "jpg": "JPEG", "jpeg": "JPEG", "png": "PNG", "webp": "WEBP", "bmp": "BMP", "tif": "TIFF", "tiff": "TIFF",
    "ppm": "PPM", "pgm": "PPM",
}  # fmt: skip

LARGEST_SIDE = 224  # to which larger photographs are scaled

_MAX_PIXELS = 1 << 26  # a header that claims more is refused before anything is decoded
_PIECE = 32  # images that a thread decodes at a time

Item = TypeVar("Item")
Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class Record:
    """One sample as stored: its labels, and its image, not decoded yet.

    where: names it in messages. latents, quaternion: None where the source has none. image: a file, or one inside a
    tar, or pixels, uint8 (H, W) or (H, W, 3). format: a key of IMAGE_FORMATS that the file must have; "" for any of
    them, as among photographs an ending may lie (ImageNet's n02105855_2933.JPEG is a PNG).
    """

    where: str
    index: int
    latents: tuple[float, ...] | None
    quaternion: tuple[float, ...] | None
    object_id: str
    category: str
    image: Path | Member | np.ndarray
    format: str = ""


def decode_all(rows: Iterable[tuple[int, Record]], images: np.ndarray, square: bool) -> None:
    """Decode each record into its row of images, uint8 (N, 3, H, W), on as many threads as this process has cores.

    square: scale and cut images of another size to the table's, if that is square; otherwise they must have it. Takes
    from `rows` only a little ahead of what is decoded. UserError for images that cannot be decoded or do not fit: the
    first by name, and how many there are.
    """

    height, width = images.shape[2:]
    side = height if square and height == width else None

    def work(piece: list[tuple[int, Record]]) -> list[UserError]:
        faults = []
        for row, record in piece:
            try:
                image = pixels(record, side)
                if image.shape[:2] != (height, width):
                    found = f"{image.shape[1]} x {image.shape[0]}"
                    raise UserError(f"{record.where}: image of {found} pixels among images of {width} x {height}")
                images[row] = image.transpose(2, 0, 1)
            except UserError as error:
                faults.append(error)
        return faults

    faults = [fault for found in side_by_side(work, _pieces(rows)) for fault in found]
    if len(faults) > 1:
        raise UserError(f"{faults[0]}; so it is with {len(faults)} images in all; gr3d pack leaves them out")
    if faults:
        raise faults[0]


def cores() -> int:
    """Those that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def side_by_side(
    work: Callable[[Item], Result], items: Iterable[Item], pool: Executor | None = None
) -> Iterator[Result]:
    """work(item) for every item, in their order, carried out by `pool`; without one, on as many threads as this process
    has cores (PIL's decoders let other threads run). Takes from `items` only a little ahead of what is done; what
    `work` raises ends it.
    """
    with nullcontext(pool) if pool else ThreadPoolExecutor(cores(), thread_name_prefix="decode") as workers:
        waiting = deque()
        try:
            for item in items:
                waiting.append(workers.submit(work, item))
                if len(waiting) > 2 * cores():
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()


def _pieces(rows: Iterable[tuple[int, Record]]) -> Iterator[list[tuple[int, Record]]]:
    rows = iter(rows)
    while piece := list(islice(rows, _PIECE)):
        yield piece


def image_size(record: Record) -> tuple[int, int]:
    """(height, width) as the image's header has it. UserError when that is unreadable or too large."""
    if isinstance(record.image, np.ndarray):
        return record.image.shape[:2]
    with opened(record) as image:
        return image.height, image.width


def pixels(record: Record, side: int | None) -> np.ndarray:
    """uint8 (H, W, 3), RGB; with `side`, of another size than that, the middle square scaled to side x side. UserError
    for an image that cannot be decoded. The size in its header is judged before a pixel is: none can explode."""
    with opened(record) as image:
        return to_pixels(image, record, side)


def to_pixels(image: Image.Image, record: Record, side: int | None) -> np.ndarray:
    """`pixels` of an image that is open."""
    try:
        if side is None or image.size == (side, side):
            return np.asarray(_rgb(image))
        # A JPEG decodes at 1/2, 1/4, 1/8 of its size in as much less time; twice the side keeps what the eye can tell.
        image.draft("RGB", (2 * side, 2 * side))
        return np.asarray(_middle(_rgb(image), side))
    except Exception as error:  # PIL's decoders raise OSError, SyntaxError, ValueError, struct.error, ...
        raise undecodable(record, error) from error


def _rgb(image: Image.Image) -> Image.Image:
    """As RGB of 8 bits. Greys of 16 bits are scaled, where PIL would make white of all above 255."""
    if image.mode == "F" or (image.mode == "I" and image.format == "TIFF"):
        raise ValueError("greys of 32 bits, of which no file says what white is; save them with 8 or 16")
    if image.mode.startswith("I"):  # of a PNG or PGM, these are 16 bits, too
        image = Image.fromarray((np.asarray(image, dtype=np.float32) / 257).round().astype(np.uint8))
    return image.convert("RGB")


def _middle(image: Image.Image, side: int) -> Image.Image:
    """The middle square, scaled to side x side pixels (antialiased bilinear)."""
    short = min(image.size)
    left, top = (image.width - short) / 2, (image.height - short) / 2
    return image.resize((side, side), Image.Resampling.BILINEAR, box=(left, top, left + short, top + short))


def opened(record: Record) -> Image.Image:
    """The image, its header read and judged. UserError when it is none, or too large."""
    try:
        if isinstance(record.image, np.ndarray):
            return Image.fromarray(record.image)
        if isinstance(record.image, Path) and record.image.exists() and not record.image.is_file():
            raise ValueError("no plain file")  # of a pipe, reading would not end
        file = io.BytesIO(record.image.read()) if isinstance(record.image, Member) else record.image
        formats = [IMAGE_FORMATS[record.format]] if record.format else sorted(set(IMAGE_FORMATS.values()))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # the limit is ours
            image = Image.open(file, formats=formats)
    except Exception as error:
        raise undecodable(record, error) from error
    if image.width * image.height > _MAX_PIXELS:
        image.close()
        raise UserError(
            f"{record.where}: image of {image.width} x {image.height} pixels, the limit is {_MAX_PIXELS} in all"
        )
    return image


def image_bytes(record: Record) -> bytes:
    """The file of an image that is no array, as it is stored."""
    return record.image.read() if isinstance(record.image, Member) else record.image.read_bytes()


def undecodable(record: Record, error: Exception) -> UserError:
    """What is said of an image that cannot be decoded."""
    return UserError(f"{record.where}: image cannot be decoded ({first_line(error)})")
