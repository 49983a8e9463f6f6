"""Pictures of what diffusion models draw: a row a layer, the conditioning image first (Figure 7)."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from pathlib import Path

from matplotlib.figure import Figure
from torch import Tensor

from benchmark.figures.style import Written, figure_style, new_figure, write_figure
from benchmark.files import write_atomically
from benchmark.rcdm.sample import Samples

MOST = 8  # images in a picture

_CELL = 0.72  # inches
_LABEL = 1.1
_TITLE = 0.4
_GAP = 0.25  # between blocks, as a share of a cell


def plot_samples(drawn: Samples, out: Path) -> Path:
    """Write out, a .png: for each of up to MOST conditioning images a block of rows, a layer each, last layer first.
    UserError when it cannot be written."""
    rows = min(MOST, len(drawn.images))
    order = list(reversed(drawn.of))
    height = rows * (len(order) + _GAP) * _CELL
    columns = 1 + next(iter(drawn.of.values())).shape[1]
    with figure_style():
        figure = new_figure(_LABEL + columns * _CELL, height)
        blocks = figure.subfigures(rows, 1, squeeze=False)[:, 0]
        for image, block in enumerate(blocks):
            draw_block(block, drawn.images[image], {layer: drawn.of[layer][image] for layer in order})
        data = io.BytesIO()
        figure.savefig(data, format="png", dpi=130, metadata={"Software": None})
    write_atomically(out, data.getvalue())
    return out


def plot_side_by_side(
    drawn: Mapping[str, Samples],
    shown: Sequence[int],
    layers: Sequence[str],
    out: Path,
    numbers: Sequence[Mapping[str, object]],
) -> Written:
    """Figure 7: a column for each network of ``drawn``, in it a block for each image of ``shown``; rows are ``layers``,
    the last one above. numbers: for out.csv, beside out.png and out.svg. UserError as `write_figure`."""
    columns = 1 + next(iter(drawn.values())).of[layers[0]].shape[1]
    width = len(drawn) * (columns * _CELL + _LABEL)
    with figure_style():
        figure = new_figure(width, len(shown) * (len(layers) + _GAP) * _CELL + _TITLE)
        panels = figure.subfigures(1, len(drawn), squeeze=False)[0]
        for panel, (name, samples) in zip(panels, drawn.items(), strict=True):
            panel.suptitle(f"pairs by {name}", fontsize=11, fontweight="bold")
            for image, block in zip(shown, panel.subfigures(len(shown), 1, squeeze=False)[:, 0], strict=True):
                rows = {layer: samples.of[layer][image] for layer in reversed(layers)}
                draw_block(block, samples.images[image], rows)
        return write_figure(figure, out, numbers)


def draw_block(figure: Figure, image: Tensor, rows: Mapping[str | None, Tensor]) -> None:
    """One conditioning image and its samples: image uint8 (3, H, W); rows: {layer: uint8 (K, 3, S, S)}, from above."""
    columns = 1 + next(iter(rows.values())).shape[0]
    axes = figure.subplots(len(rows), columns, squeeze=False, gridspec_kw={"wspace": 0.04, "hspace": 0.04})
    for row, (layer, samples) in enumerate(rows.items()):
        for column, picture in enumerate([image, *samples]):
            axis = axes[row, column]
            axis.set_xticks([])
            axis.set_yticks([])
            axis.grid(False)
            axis.spines[:].set_visible(column == 0 and layer is not None)
            axis.spines[:].set_color("#C00000")  # as the paper's red line, between what is given and what is drawn
            if column or layer is not None:
                axis.imshow(picture.permute(1, 2, 0).numpy(), interpolation="nearest")
        axes[row, 0].set_ylabel(layer or "nothing", rotation=0, ha="right", va="center", labelpad=6)
