"""The sheet of a check: one labelled thumbnail per object, and for those without one the reason."""

import io
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import matplotlib.font_manager
from PIL import Image, ImageDraw, ImageFont

from benchmark.files import write_atomically

SIDE, LABEL, GAP = 96, 24, 4  # pixels: of a thumbnail, under it, between cells
MOST_CELLS = 4096
_LETTERS = 17  # of a line of a label
_RED, _PINK = (160, 30, 30), (250, 235, 235)


@dataclass(frozen=True)
class Cell:
    """One object on the sheet."""

    label: str
    thumbnail: Path | None
    reason: str  # why there is no thumbnail; "" when there is one


def check_sheet(cells: Sequence[Cell], out: Path) -> Path:
    """Write a PNG with the first MOST_CELLS cells, about as high as wide, to `out`."""
    cells = cells[:MOST_CELLS]
    columns = max(8, round((len(cells) * 1.2) ** 0.5))
    rows = -(-len(cells) // columns)
    width, height = SIDE + GAP, SIDE + LABEL + GAP
    sheet = Image.new("RGB", (columns * width + GAP, rows * height + GAP), "white")
    pen = ImageDraw.Draw(sheet)
    font = ImageFont.truetype(matplotlib.font_manager.findfont("DejaVu Sans"), 9)
    for number, cell in enumerate(cells):
        x, y = GAP + number % columns * width, GAP + number // columns * height
        _draw(sheet, pen, font, cell, x, y)
    picture = io.BytesIO()
    sheet.save(picture, "PNG")
    write_atomically(out, picture.getvalue())
    return out


def _draw(
    sheet: Image.Image, pen: ImageDraw.ImageDraw, font: ImageFont.FreeTypeFont, cell: Cell, x: int, y: int
) -> None:
    if cell.thumbnail:
        with Image.open(cell.thumbnail) as thumbnail:
            sheet.paste(thumbnail.convert("RGB"), (x, y))
    if cell.reason:
        pen.rectangle((x, y, x + SIDE - 1, y + SIDE - 1), outline=_RED, fill=_PINK)
        pen.multiline_text((x + 3, y + 3), _folded(cell.reason, 8), font=font, fill=_RED, spacing=1)
    pen.multiline_text((x, y + SIDE), _folded(cell.label, 2), font=font, fill="black", spacing=0)


def _folded(text: str, lines: int) -> str:
    return "\n".join(textwrap.wrap(text, _LETTERS, break_on_hyphens=False)[:lines])
