"""Figure 8 as a picture: seven rows, their labels, and the numbers beside it."""

import csv

import numpy as np
from PIL import Image

from benchmark.data.table import LATENT_NAMES, load_table
from benchmark.figures import sweep


def test_picture_and_numbers(write_dataset, tmp_path):
    written = sweep.plot_sweep(tmp_path / "figure8", "a chair", 4, lambda folder: write_dataset(folder, count=28))
    with written.csv.open(newline="") as file:
        lines = list(csv.DictReader(file))
    assert [(line["row"], line["column"]) for line in lines] == [(n, str(c)) for n in LATENT_NAMES for c in range(4)]
    picture = np.asarray(Image.open(written.png).convert("L"))
    assert picture.shape[0] > 1000 and picture.shape[1] > 700
    rows_with_ink = (picture < 250).any(axis=1)
    bands = np.flatnonzero(np.diff(rows_with_ink.astype(int)) == 1)
    assert len(bands) >= 7  # title, and images apart from each other
    assert written.svg.read_text().count("<image") == 28


def test_same_images_same_bytes(write_dataset, tmp_path):
    one, other = (
        sweep.plot_sweep(tmp_path / name, "a chair", 2, lambda folder: write_dataset(folder, count=14))
        for name in ("one", "other")
    )
    for path in ("png", "svg", "csv"):
        assert getattr(one, path).read_bytes() == getattr(other, path).read_bytes()


def test_labels_have_units(write_dataset, tmp_path):
    table = load_table(write_dataset(tmp_path / "data", count=14), "train")
    table.latents[0, 0], table.latents[1, 0] = -np.pi / 2, np.pi / 2
    assert sweep.label(table, 0, 2) == "yaw\n-90° to 90°"
    table.latents[6, 3], table.latents[7, 3] = 0, 0.5
    assert sweep.label(table, 3, 2) == "floor hue\n0.00 to 0.50 turn"
    table.latents[0, 3] = 0.6
    assert "yaw" in sweep.held(table, 2) and "floor hue 0.60" in sweep.held(table, 2)
