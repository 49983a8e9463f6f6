"""Figures 6 and 12: the gap of trunk and head, its sign, and what is said of it."""

import csv
from dataclasses import replace

import pytest

from benchmark.errors import UserError
from benchmark.figures.alignment import Reading, judge, plot_accuracies, plot_gaps

READINGS = [
    Reading("augmentation", "fashion", (0.80, 0.84), (0.60, 0.60), (0.17, 0.26)),
    Reading("augmentation", "objects", (0.50, 0.52), (0.40, 0.40), (0.05, 0.15)),
    Reading("neighbours", "fashion", (0.80, 0.82), (0.76, 0.76), (0.02, 0.08)),
    Reading("neighbours", "objects", (0.50, 0.50), (0.46, 0.44), (-0.01, 0.08)),
    Reading("class", "fashion", (0.88, 0.88), (0.90, 0.92), (-0.06, -0.01)),
    Reading("class", "objects", (0.40, 0.40), (0.38, 0.38), (0.01, 0.03)),
]


@pytest.mark.parametrize("plot", [plot_gaps, plot_accuracies])
def test_pictures_and_numbers(tmp_path, plot):
    written = plot(READINGS, tmp_path / "figure")
    assert written.png.stat().st_size > 5000 and written.svg.stat().st_size > 5000
    rows = {(row["positives"], row["task"]): row for row in csv.DictReader(written.csv.open())}
    assert len(rows) == 6
    row = rows["augmentation", "fashion"]
    assert float(row["trunk_minus_head"]) == pytest.approx(0.22)
    assert float(row["trunk_minus_head_deviation"]) == pytest.approx(0.04 / 2**0.5)
    assert float(rows["class", "fashion"]["trunk_minus_head"]) == pytest.approx(-0.03)
    with pytest.raises(UserError, match="no task"):
        plot([], tmp_path / "none")


def test_claims_hold_on_the_papers_pattern_and_not_on_another():
    verdicts = judge(READINGS, own=["fashion"])
    assert all(verdict.held for verdict in verdicts)
    assert "augmentation: fashion +22.0%, objects +11.0%" in verdicts[0].evidence
    assert "class: fashion -3.0%" in verdicts[1].evidence
    assert "neighbours 5.0%" in verdicts[2].evidence
    kinds = {"augmentation": "class", "class": "augmentation", "neighbours": "neighbours"}
    swapped = [replace(reading, positives=kinds[reading.positives]) for reading in READINGS]
    assert [verdict.held for verdict in judge(swapped, own=["fashion"])] == [False, False, None]
    kinds = {"augmentation": "neighbours", "class": "class", "neighbours": "augmentation"}
    swapped = [replace(reading, positives=kinds[reading.positives]) for reading in READINGS]
    assert judge(swapped, own=["fashion"])[2].held is False
    wide = [replace(reading, between=(-0.5, 0.5)) for reading in READINGS]
    assert [verdict.held for verdict in judge(wide, own=["fashion"])] == [None, None, None]
