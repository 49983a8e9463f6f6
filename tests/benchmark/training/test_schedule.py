"""Order, rates and random streams as functions of seed and step."""

from itertools import pairwise

import numpy as np
import pytest

from benchmark.training.schedule import ema_momentum, epoch_order, learning_rate, view_rng


def test_learning_rate_warms_up_and_falls_as_a_cosine():
    rates = [learning_rate(step, 100, 2.0, 0.1) for step in range(100)]
    assert rates[:10] == pytest.approx([0.2 * (i + 1) for i in range(10)])
    assert rates[10] == pytest.approx(2.0)
    assert rates[55] == pytest.approx(1.0, rel=2e-3)
    assert all(later < earlier for earlier, later in pairwise(rates[10:]))
    assert 0.002 < rates[99] < 0.004


def test_no_warm_up_and_nothing_but_warm_up():
    assert learning_rate(0, 10, 1.0, 0.0) == 1.0
    assert learning_rate(9, 10, 1.0, 1.0) == 1.0


def test_teachers_momentum_rises_from_the_base_to_one():
    values = [ema_momentum(step, 100, 0.9) for step in range(101)]
    assert values[0] == pytest.approx(0.9)
    assert values[50] == pytest.approx(0.95)
    assert values[100] == 1.0
    assert all(later > earlier for earlier, later in pairwise(values))


def test_an_epoch_visits_every_image_once_in_its_own_order():
    orders = [epoch_order(seed, epoch, 50) for seed in (0, 1) for epoch in (0, 1)]
    for order in orders:
        assert sorted(order) == list(range(50))
    assert len({tuple(order) for order in orders}) == 4
    assert np.array_equal(orders[1], epoch_order(0, 1, 50))


def test_steps_draw_different_augmentations():
    draws = {view_rng(seed, step).random() for seed in range(3) for step in range(3)}
    assert len(draws) == 9
    assert view_rng(2, 1).random() in draws
