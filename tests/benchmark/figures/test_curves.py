"""Curves over layers: what is marked, what is written, what is judged."""

import csv

from PIL import Image

from benchmark.figures.curves import Curve, Panel, plot_curves, table
from benchmark.figures.judging import compare
from benchmark.probes.accuracy import Accuracy, Classification, Margins

LAYERS = ("trunk", "head1", "head2")


def shown(values, name="one", control=False):
    return Curve(name, LAYERS, values, tuple(v - 1 for v in values), tuple(v + 1 for v in values), control)


def test_files_and_the_best_of_every_curve(tmp_path):
    panels = [Panel("a", (shown((50.0, 70.0, 60.0)), shown((90.0, 1.0, 1.0), "grey", control=True)))]
    written = plot_curves(panels, tmp_path / "figure", "Title", "bars")
    Image.open(written.png).verify()
    assert written.svg.stat().st_size > 1000
    with written.csv.open() as file:
        rows = {(row["curve"], row["layer"]): row for row in csv.DictReader(file)}
    assert [key for key, row in rows.items() if row["best"] == "1"] == [("one", "head1")]
    assert float(rows["one", "trunk"]["percent"]) == 50 and float(rows["one", "trunk"]["high"]) == 51
    before = written.png.read_bytes()
    assert plot_curves(panels, tmp_path / "figure", "Title", "bars").png.read_bytes() == before


def test_lowest_is_best_where_errors_are_drawn():
    lines = table([Panel("errors", (shown((50.0, 70.0, 60.0)),))], lowest=True).splitlines()
    assert "| trunk | **50.0 ±1.0** |" in lines and "| head1 | 70.0 ±1.0 |" in lines


def found(trunk, head, low):
    """A network of two layers on one split; low: lower ends of the error at [a] less that at [b]."""
    rows = tuple(
        Accuracy("simclr", layer, "data", split, top1, 1.0, top1 - 0.01, top1 + 0.01, 1.0, 10, 100)
        for split in ("train", "val")
        for layer, top1 in (("trunk", trunk), ("head1", head))
    )
    networks = {"simclr": {"role": "trained", "layers": ["trunk", "head1"]}}
    return Classification(rows, {"networks": networks}, (Margins("simclr", "data", "val", low),))


def test_a_layer_is_better_only_where_the_whole_interval_says_so():
    place = ("data", "val")
    clear, words = compare(found(0.8, 0.7, ((0.0, -0.13), (0.06, 0.0))), "simclr", "trunk", "head1", place)
    assert clear and words == "trunk 80.0 %, head1 70.0 %: +10.0 points (95 % interval +6.0 to +13.0)"
    unsure, words = compare(found(0.71, 0.7, ((0.0, -0.04), (-0.02, 0.0))), "simclr", "trunk", "head1", place)
    assert unsure is None and "-2.0 to +4.0" in words
    worse, _ = compare(found(0.8, 0.7, ((0.0, -0.13), (0.06, 0.0))), "simclr", "head1", "trunk", place)
    assert worse is False
