"""One look for all figures, and how they are written: the same numbers give the same bytes."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import matplotlib
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from benchmark.errors import UserError
from benchmark.files import write_atomically

# Okabe and Ito's colours, which the colour-blind tell apart, in an order that alternates dark and light so
# that a grey print does too; each comes with a marker of its own.
CURVES: tuple[tuple[str, str], ...] = (
    ("#0072B2", "o"),
    ("#E69F00", "s"),
    ("#007A5E", "^"),
    ("#CC79A7", "D"),
    ("#8C2D04", "v"),
    ("#56B4E9", "P"),
    ("#000000", "X"),
)
CONTROL = "#8A8A8A"
SHADE = "#F0F0F0"

_PARAMETERS = {
    "font.family": "DejaVu Sans",  # ships with matplotlib: the same metrics everywhere
    "font.size": 9.5,
    "axes.titlesize": 10.5,
    "axes.titleweight": "bold",
    "axes.labelsize": 9.5,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.grid.axis": "y",
    "axes.axisbelow": True,
    "grid.color": "#DDDDDD",
    "grid.linewidth": 0.7,
    "xtick.labelsize": 9,
    "ytick.labelsize": 9,
    "legend.frameon": False,
    "savefig.facecolor": "white",
    "svg.hashsalt": "gr3d",  # element ids come from it, not from chance
}


@dataclass(frozen=True)
class Written:
    """The files of one figure."""

    png: Path
    svg: Path
    csv: Path


@contextmanager
def figure_style() -> Iterator[None]:
    """matplotlib's defaults plus ours, whatever the user's matplotlibrc says."""
    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(_PARAMETERS)
        yield


def new_figure(width: float, height: float) -> Figure:
    """A figure of width x height inches, free of pyplot and of any display."""
    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def write_figure(figure: Figure, out: Path, numbers: Sequence[Mapping[str, object]], dpi: int = 160) -> Written:
    """Write out.png, out.svg and out.csv (`numbers`, one or more rows of the same keys). Call inside
    `figure_style`.

    out: path without ending; its folder is made. UserError if it cannot be written or names no file.
    """
    if out.name in ("", ".."):
        raise UserError(f"--out {out}: names no figure; add a name without ending, as in {out / 'figure'}", exit_code=2)
    written = Written(*(out.with_name(f"{out.name}.{ending}") for ending in ("png", "svg", "csv")))
    figure.draw_without_rendering()
    figure.set_layout_engine("none")  # laid out once, so that both files look the same
    for path, metadata in ((written.png, {"Software": None}), (written.svg, {"Date": None})):
        data = io.BytesIO()
        figure.savefig(data, format=path.suffix[1:], dpi=dpi, metadata=metadata)
        write_atomically(path, data.getvalue())
    text = io.StringIO()
    writer = csv.DictWriter(text, list(numbers[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(numbers)
    write_atomically(written.csv, text.getvalue().encode())
    return written
