"""A contact sheet: what the images of a dataset look like, one object per row."""

import io
from pathlib import Path

import numpy as np
from PIL import Image

from benchmark.data.table import ImageTable, load_table
from benchmark.errors import UserError
from benchmark.files import write_atomically

_FORMATS = {".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG", ".webp": "WEBP"}
_GAP = 2  # pixels between images
_ENOUGH = 1000  # images to choose from: a dataset need not fit into memory


def contact_sheet(data: Path, out: Path, split: str = "train", rows: int = 8, columns: int = 12) -> Path:
    """Write a picture of up to `rows` objects of `split`, each with its first `columns` images, to `out`.

    Objects are taken evenly over the sorted ids in the first shards, so that every family has its chance. Raises
    UserError as `load_table`, for an `out` that ends in none of .png, .jpg, .jpeg and .webp, and when it cannot be
    written.
    """
    format = _FORMATS.get(out.suffix.lower())
    if format is None:
        raise UserError(f"--out {out}: name a picture that ends in one of {', '.join(_FORMATS)}", exit_code=2)
    table = load_table(data, split, most=_ENOUGH)
    chosen = _evenly(sorted(set(table.object_ids)), rows)
    picture = io.BytesIO()
    try:
        _sheet(table, chosen, columns).save(picture, format, quality=88)
    except (OSError, ValueError) as error:  # larger than the format allows
        raise UserError(f"--out {out}: cannot be encoded as {format} ({error}); use .png", exit_code=2) from error
    write_atomically(out, picture.getvalue())
    return out


def _evenly(names: list[str], count: int) -> list[str]:
    picks = np.linspace(0, len(names) - 1, min(count, len(names))).round().astype(int)
    return [names[i] for i in picks]


def _sheet(table: ImageTable, objects: list[str], columns: int) -> Image.Image:
    side = table.images.shape[-1]
    step = side + _GAP
    sheet = np.full((len(objects) * step + _GAP, columns * step + _GAP, 3), 255, dtype=np.uint8)
    images = table.images.permute(0, 2, 3, 1).numpy()
    ids = np.array(table.object_ids)
    for row, name in enumerate(objects):
        for column, index in enumerate(np.flatnonzero(ids == name)[:columns]):
            y, x = _GAP + row * step, _GAP + column * step
            sheet[y : y + side, x : x + side] = images[index]
    return Image.fromarray(sheet)
