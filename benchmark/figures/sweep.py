"""Figure 8: what each latent does. One object; in every row one latent changes, the others are held."""

import math
import tempfile
import textwrap
from collections.abc import Callable
from pathlib import Path

from benchmark.data.table import LATENT_NAMES, ImageTable, load_table
from benchmark.figures.style import Written, figure_style, new_figure, write_figure

_LABELS = {
    "yaw": "yaw",
    "pitch": "pitch",
    "roll": "roll",
    "floor_hue": "floor hue",
    "spot_theta": "spot θ\n(from above)",
    "spot_phi": "spot φ\n(around)",
    "spot_hue": "spot hue",
}
_HUES = ("floor_hue", "spot_hue")
_CELL = 0.95  # inches
_LABEL = 1.3


def plot_sweep(out: Path, name: str, columns: int, draw: Callable[[Path], None]) -> Written:
    """Draw out.png, out.svg and out.csv (the value behind every image).

    Args:
        out: path without ending.
        name: the object's, for the title.
        columns: images per row.
        draw: renders a dataset into the folder it is given: in split `train`, sample row * columns + column shows the
            column-th value of the row-th latent.

    Raises UserError if the figure cannot be written, and what `draw` raises.
    """
    with tempfile.TemporaryDirectory(prefix="gr3d-") as scratch:
        draw(Path(scratch) / "data")
        table = load_table(Path(scratch) / "data", "train")
    with figure_style():
        width = _LABEL + columns * _CELL
        figure = new_figure(width, len(LATENT_NAMES) * (_CELL + 0.17) + 0.75)
        figure.get_layout_engine().set(w_pad=0.06)
        title = textwrap.fill(f"{name}: one latent a row, the others held", int(width * 7))
        figure.suptitle(title, fontsize=12, fontweight="bold")
        axes = figure.subplots(len(LATENT_NAMES), columns, squeeze=False)
        for index, axis in enumerate(axes.flat):
            row, column = divmod(index, columns)
            latent = LATENT_NAMES[row]
            axis.imshow(table.images[index].permute(1, 2, 0).numpy(), interpolation="antialiased")
            axis.set_xticks([])
            axis.set_yticks([])
            axis.grid(False)
            axis.spines[:].set_visible(False)
            axis.set_xlabel(written(latent, float(table.latents[index, row])), fontsize=8, labelpad=2)
            if column == 0:
                axis.set_ylabel(label(table, row, columns), rotation=0, ha="right", va="center", labelpad=8)
        figure.supxlabel(textwrap.fill(f"Held: {held(table, columns)}", int(width * 13)), fontsize=8)
        return write_figure(figure, out, numbers(table, columns))


def label(table: ImageTable, row: int, columns: int) -> str:
    """A row's name over its first and last value."""
    latent, values = LATENT_NAMES[row], table.latents[row * columns : (row + 1) * columns, row].tolist()
    unit = " turn" if latent in _HUES else ""
    return f"{_LABELS[latent]}\n{written(latent, values[0])} to {written(latent, values[-1])}{unit}"


def written(latent: str, value: float) -> str:
    """A value in the unit that is shown: degrees, or a share of the turn of hues."""
    return f"{value:.2f}" if latent in _HUES else f"{math.degrees(value) + 0.0:.0f}°"


def held(table: ImageTable, columns: int) -> str:
    """The values of the latents in the rows in which they do not change."""
    elsewhere = [float(table.latents[0 if row else columns, row]) for row in range(len(LATENT_NAMES))]
    names = (_LABELS[latent].partition("\n")[0] for latent in LATENT_NAMES)
    pairs = zip(names, LATENT_NAMES, elsewhere, strict=True)
    return ", ".join(f"{name} {written(latent, value)}" for name, latent, value in pairs)


def numbers(table: ImageTable, columns: int) -> list[dict[str, object]]:
    """One line for each image: where it stands and its seven latents."""
    return [
        {
            "row": LATENT_NAMES[index // columns],
            "column": index % columns,
            **dict(zip(LATENT_NAMES, latents, strict=True)),
        }
        for index, latents in enumerate(table.latents.tolist())
    ]
