"""Figures 5 and 13: rank correlation as scipy has it, and every number in the picture's csv."""

import csv
import math

import numpy as np
import pytest
from scipy.stats import spearmanr

from benchmark.errors import UserError
from benchmark.figures.correlation import Trial, between, correlation, judge, plot_grid, plot_scatter, spearman

TRIALS = [
    Trial("simclr", "temperature", 0.1, (0.80, 0.82), (0.60, 0.62)),
    Trial("simclr", "temperature", 0.5, (0.81, 0.81), (0.30, 0.34)),
    Trial("simclr", "lr", 1e-3, (0.79, 0.81), (0.50, 0.54)),
    Trial("byol", "ema", 0.9, (0.70, 0.70), (0.10, 0.10)),
    Trial("byol", "ema", 0.99, (0.75, 0.75), (0.40, 0.40)),
    Trial("byol", "lr", 1e-3, (0.76, 0.76), (0.45, 0.45)),
]


@pytest.mark.parametrize("seed", range(5))
def test_spearman_is_scipys(seed):
    rng = np.random.default_rng(seed)
    x, y = rng.integers(0, 6, 12).tolist(), rng.random(12).tolist()  # with ties, and without
    for a, b in ((x, y), (y, x), (x, x), (y, [-value for value in y])):
        assert spearman(a, b) == pytest.approx(spearmanr(a, b).statistic)


def test_intervals_hold_the_true_rank_correlation_nineteen_times_of_twenty():
    rng, rho, inside = np.random.default_rng(0), 0.7, 0
    truth = 6 / math.pi * math.asin(rho / 2)  # of two normal variables
    for _ in range(1000):
        x, noise = rng.standard_normal((2, 20))
        low, high = between(spearman(x.tolist(), (rho * x + math.sqrt(1 - rho**2) * noise).tolist()), 20)
        inside += low <= truth <= high
    assert 930 <= inside <= 975
    assert between(0.9, 3) == between(math.nan, 30) == (-1.0, 1.0) and between(1.0, 30)[0] > 0.99


def test_spearman_of_nothing_that_varies():
    assert math.isnan(spearman([1.0, 1.0, 1.0], [1.0, 2.0, 3.0])) and math.isnan(spearman([1.0], [2.0]))


def test_correlation_is_of_the_means_over_seeds():
    assert correlation(TRIALS, "byol") == 1
    assert correlation(TRIALS, "simclr") == pytest.approx(spearmanr([0.81, 0.81, 0.80], [0.61, 0.32, 0.52]).statistic)


@pytest.mark.parametrize("plot", [plot_scatter, plot_grid])
def test_pictures_and_numbers(tmp_path, plot):
    written = plot(TRIALS, tmp_path / "figure")
    assert written.png.stat().st_size > 5000 and written.svg.stat().st_size > 5000
    rows = list(csv.DictReader(written.csv.open()))
    assert len(rows) == len(TRIALS)
    assert (rows[0]["objective"], rows[0]["option"], rows[0]["seeds"]) == ("simclr", "temperature", "2")
    assert float(rows[0]["trunk"]) == pytest.approx(0.81)
    assert float(rows[0]["trunk_deviation"]) == pytest.approx(np.std([0.80, 0.82], ddof=1))
    with pytest.raises(UserError, match="no setting"):
        plot([], tmp_path / "none")


def test_verdicts_say_what_the_numbers_say():
    simclr, byol, alike = judge(TRIALS)
    assert simclr.held and "trunk 80.0% to 81.0%, head 32.0% to 61.0%, 3 settings" in simclr.evidence
    assert byol.held
    assert alike.held is None and "byol 1.00 (-1.00 to 1.00)" in alike.evidence  # three settings say nothing
    rising, falling = (
        [Trial("byol", "lr", n, (0.1 + 0.01 * n,), (0.5 + sign * 0.01 * n,)) for n in range(12)] for sign in (1, -1)
    )
    assert judge(rising)[-1].held is False and judge(falling)[-1].held is True
    assert judge([*rising, *TRIALS[:3]])[-1].held is None
    flat = [Trial("vicreg", "lr", value, (0.1 * value,), (0.5,)) for value in (1, 2, 3)]
    assert not judge(flat)[0].held
