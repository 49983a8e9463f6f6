"""The number beside Figure 7: its plot, its table, and what it says of the paper."""

import csv
import math

import pytest
from PIL import Image

from benchmark.figures.kept import Compared, agreement, judge, plot_kept, table_of
from benchmark.probes.targets import FACTORS
from benchmark.rcdm.kept import CATEGORY, Kept

LAYERS = ("trunk", "head1", "head2", "head3")


def found(augmentation: float, by_class: float, agree: bool = True) -> dict[str, list[Compared]]:
    """Losses that grow by so much a layer; the regressors' errors grow with them, or fall."""
    return {
        name: [
            Compared(
                Kept(layer, factor, lost := 0.1 + slope * place, lost - 0.02, lost + 0.02, 0.5, 1.0, 0.1),
                None if factor == CATEGORY else (lost / 2 if agree else 1 - lost / 2),
            )
            for place, layer in enumerate(LAYERS)
            for factor in (*FACTORS, CATEGORY)
        ]
        for name, slope in (("augmentation", augmentation), ("class", by_class))
    }


def test_plot_table_and_csv_hold_every_number(tmp_path):
    all_ = found(0.2, 0.01)
    written = plot_kept(all_, tmp_path / "kept")
    Image.open(written.png).verify()
    with written.csv.open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 2 * len(LAYERS) * (len(FACTORS) + 1)
    last = next(row for row in rows if (row["pairs"], row["layer"], row["factor"]) == ("class", "head3", "spot_theta"))
    assert float(last["lost"]) == pytest.approx(0.13) and float(last["regressor_nmse"]) == pytest.approx(0.065)
    lines = table_of(all_).splitlines()
    assert lines[4].startswith("| augmentation | head3 | 0.70 (0.68 to 0.72) [0.35] |")
    assert len(lines) == 4 + 2 * len(LAYERS)


@pytest.mark.parametrize(
    ("augmentation", "by_class", "agree", "held"),
    [
        (0.2, 0.01, True, [True, True, True]),
        (0.2, 0.25, True, [True, False, True]),
        (0.0, 0.0, False, [None, None, None]),
        (-0.03, 0.0, False, [False, False, False]),
        (0.2, 0.01, False, [True, True, False]),
    ],
)
def test_claims_are_held_against_the_numbers(augmentation, by_class, agree, held):
    verdicts = judge(found(augmentation, by_class, agree))
    assert [verdict.held for verdict in verdicts] == held
    assert "spot hue: trunk 0.10 (0.08 to 0.12), head3" in verdicts[0].evidence


def test_what_the_reader_does_not_see_takes_no_part(tmp_path):
    """A loss that is not defined is NaN: drawn as a gap, left out of the correlation."""
    all_ = found(0.2, 0.01)
    first = all_["class"][0]
    all_["class"][0] = Compared(Kept("trunk", FACTORS[0], *[math.nan] * 3, 0.5, 0.4, 0.5), first.error)
    assert agreement(all_) == pytest.approx(1.0)
    Image.open(plot_kept(all_, tmp_path / "kept").png).verify()
