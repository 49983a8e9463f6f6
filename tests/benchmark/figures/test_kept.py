"""The number beside Figure 7: its plot, its table, and what it says of the paper."""

import csv
import math
from dataclasses import replace

import pytest
import torch
from PIL import Image

from benchmark.figures.kept import Compared, agreement, agreement_ends, judge, plot_kept, table_of
from benchmark.probes.targets import FACTORS
from benchmark.rcdm.kept import CATEGORY, Kept, Share

LAYERS = ("trunk", "head1", "head2", "head3")
NOISE = torch.randn(2000, generator=torch.Generator().manual_seed(0)).double() / 100


def share(value: float, sign: int = 1) -> Share:
    """Known to 0.02; shares of one sign err together, as those of one draw of objects do."""
    return Share(value, value - 0.02, value + 0.02, value + sign * NOISE)


def found(augmentation: float, by_class: float, agree: bool = True) -> dict[str, list[Compared]]:
    """Losses that grow by so much a layer; the regressors' errors grow with them, or fall."""
    return {
        name: [
            Compared(
                Kept(layer, factor, share(lost, -1 if place else 1), share(1.0), share(lost), 0.5, 1.0, 1.0, 0.1),
                None if factor == CATEGORY else (lost / 2 if agree else 1 - lost / 2),
            )
            for place, layer in enumerate(LAYERS)
            for factor in (*FACTORS, CATEGORY)
            for lost in (0.1 + slope * place,)
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
    assert lines[-1].startswith("| class | trunk | 1.00 (0.98 to 1.02); 0.10 (0.08 to 0.12) |")
    assert len(lines) == 2 * (4 + 2 * len(LAYERS)) + 1


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


def test_a_claim_is_held_against_both_kinds_of_samples_that_know_nothing():
    """Less varied samples at one layer, as the control tells them, are no factor that is kept there."""
    all_ = found(0.2, 0.01)
    for place, one in enumerate(all_["augmentation"]):
        all_["augmentation"][place] = replace(one, kept=replace(one.kept, lost_of_others=share(1.0)))
    assert [verdict.held for verdict in judge(all_)][:2] == [None, None]


def test_what_the_reader_does_not_see_takes_no_part(tmp_path):
    """An open number is drawn as a cross, and left out of the correlation, whatever it is."""
    all_ = found(0.2, 0.01)
    for place, value in ((0, math.nan), (1, 30.0)):
        one = all_["class"][place]
        lost = replace(share(value), low=math.nan, high=math.nan)
        all_["class"][place] = Compared(replace(one.kept, lost=lost), one.error)
    assert agreement(all_) == pytest.approx(1.0)
    assert "over 38 pairs" in judge(all_)[2].evidence
    Image.open(plot_kept(all_, tmp_path / "kept").png).verify()
    unseen = replace(share(1.0), low=math.nan, high=math.nan)
    all_["class"] = [Compared(replace(one.kept, lost=unseen), one.error) for one in all_["class"]]
    assert "over 20 pairs" in judge(all_)[2].evidence
    Image.open(plot_kept(all_, tmp_path / "all").png).verify()


def test_the_correlations_interval_is_that_of_the_numbers_it_is_of():
    """Pairs known well: a short one. Of pairs that are noise it spans 0."""
    all_ = found(0.2, 0.15)
    low, high = agreement_ends(all_)
    assert 0.9 < low <= high <= 1.0
    noise = torch.Generator().manual_seed(1)
    for name in all_:
        for place, one in enumerate(all_[name]):
            lost = Share(0.5, 0.0, 1.0, 0.5 + torch.randn(2000, generator=noise).double())
            all_[name][place] = Compared(replace(one.kept, lost=lost), one.error)
    low, high = agreement_ends(all_)
    assert low < -0.2 and high > 0.2
