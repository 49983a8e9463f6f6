"""The accuracy figure: its files, its panels, and that its csv holds the results."""

import csv
from itertools import product
from pathlib import Path

import pytest

from benchmark.errors import UserError
from benchmark.figures.accuracy import plot_accuracy
from benchmark.probes.accuracy import Accuracy, Classification
from benchmark.probes.results import PIXELS, TRAINED, UNTRAINED

LAYERS = ["stem", "block1", "trunk", "head1"]


def made(networks: dict[str, tuple[str, list[str]]]) -> Classification:
    """Accuracy that rises to the trunk and falls after it; on what was fitted it rises to the end."""
    places = [("birds", "train"), ("birds", "val"), ("fog", "val")]
    rows = []
    for (name, (_, layers)), (dataset, split) in product(networks.items(), places):
        for k, layer in enumerate(layers):
            top1 = 0.5 + 0.1 * k if split == "train" else 0.5 + 0.1 * k - 0.2 * (layer == "head1")
            ends = (None, None) if split == "train" else (top1 - 0.02, top1 + 0.02)
            rows.append(Accuracy(name, layer, dataset, split, top1, 0.9, *ends, 1.0, 10, 500))
    described = {n: {"role": role, "layers": layers, "weights": n} for n, (role, layers) in networks.items()}
    shown = {"images": 500, "objects": 500, "commonest": 0.1}
    info = {
        "networks": described,
        "classes": [str(k) for k in range(10)],
        "dataset": "birds",
        "fit_on": "train",
        "judged_on": [["birds", "val"], ["fog", "val"]],
        "splits": {"birds": {"train": shown, "val": shown}, "fog": {"val": shown}},
    }
    return Classification(tuple(rows), info)


def numbers(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_files_hold_the_results(tmp_path):
    found = made({"net": (TRAINED, LAYERS), "untrained": (UNTRAINED, LAYERS), "pixels": (PIXELS, ["pixels"])})
    written = plot_accuracy(found, tmp_path / "accuracy")
    assert written.png.read_bytes().startswith(b"\x89PNG") and "<svg" in written.svg.read_text()[:500]
    rows = numbers(written.csv)
    assert len(rows) == (2 * 4 + 1) * 2 + 4  # two panels, and dashed in the one of the same dataset
    for row in rows:
        theirs = found.row(row["network"], row["layer"], row["dataset"], row["split"])
        assert float(row["top1"]) == theirs.top1
        assert row["low"] == ("" if theirs.low is None else str(theirs.low))
    assert {row["panel"] for row in rows if row["dashed"] == "1"} == {"birds val"}
    stars = [(row["panel"], row["network"], row["layer"]) for row in rows if row["cut"] == "1"]
    assert stars == [("birds val", "net", "trunk"), ("fog val", "net", "trunk")]
    again = plot_accuracy(found, tmp_path / "again")
    assert again.svg.read_bytes() == written.svg.read_bytes()


def test_of_many_networks_what_was_fitted_has_a_panel_of_its_own(tmp_path):
    found = made({f"net {k}": (TRAINED, LAYERS) for k in range(5)})
    rows = numbers(plot_accuracy(found, tmp_path / "accuracy").csv)
    assert {row["panel"] for row in rows} == {"birds val", "fog val", "birds train"}
    assert not any(row["dashed"] == "1" for row in rows)


def test_nothing_but_pixels_is_no_figure(tmp_path):
    with pytest.raises(UserError, match="no network"):
        plot_accuracy(made({"pixels": (PIXELS, ["pixels"])}), tmp_path / "accuracy")
