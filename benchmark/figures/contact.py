"""A contact sheet: what the images of a dataset look like, one object per row."""

from pathlib import Path

import numpy as np
from PIL import Image

from benchmark.data.table import ImageTable, load_table

_GAP = 2  # pixels between images


def contact_sheet(data: Path, out: Path, split: str = "train", rows: int = 8, columns: int = 12) -> Path:
    """Write a picture of up to `rows` objects of `split`, each with its first `columns` images, to `out` (.png, .jpg).

    Objects are taken evenly over the sorted ids, so that every family has its chance. Raises UserError as `load_table`.
    """
    table = load_table(data, split)
    chosen = _evenly(sorted(set(table.object_ids)), rows)
    sheet = _sheet(table, chosen, columns)
    out.parent.mkdir(parents=True, exist_ok=True)
    sheet.save(out, **({"quality": 88} if out.suffix == ".jpg" else {}))
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
