"""Order, rates and random streams as functions of seed and step."""

from itertools import pairwise

import numpy as np
import pytest
import torch

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


def test_constant_stays_at_the_peak_after_the_warm_up():
    assert [learning_rate(step, 10, 2.0, 0.2, "constant") for step in range(10)] == [1.0] + [2.0] * 9
    assert {learning_rate(step, 10, 1e-4, 0.0, "constant") for step in range(10)} == {1e-4}


def test_step_falls_to_a_tenth_after_each_third():
    """As torch's ImageNet example has it: after 30 and 60 of 90 epochs."""
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.1)
    theirs = torch.optim.lr_scheduler.StepLR(optimizer, step_size=30, gamma=0.1)
    for step in range(90):
        assert learning_rate(step, 90, 0.1, 0.0, "step") == pytest.approx(theirs.get_last_lr()[0])
        optimizer.step()
        theirs.step()
    assert learning_rate(0, 90, 0.1, 0.1, "step") == pytest.approx(0.1 / 9)


@pytest.mark.parametrize(("epochs", "peak_epoch"), [(16, 2), (100, 2), (5, 1)])
def test_cyclic_is_ffcvs_triangle(epochs, peak_epoch):
    """Its lines run from (0, 1e-4) to (peak_epoch, 1) to (epochs, 0), in epochs and shares of the peak."""
    per_epoch = 7
    steps = epochs * per_epoch
    ours = [learning_rate(step, steps, 1.7, peak_epoch / epochs, "cyclic") for step in range(steps)]
    corners = [0, peak_epoch, epochs], [1.7e-4, 1.7, 0]
    assert ours == pytest.approx(np.interp(np.arange(steps) / per_epoch, *corners))
    assert 0 < ours[-1] < ours[-2]


def test_cyclic_without_rise_or_without_fall():
    assert learning_rate(0, 10, 1.0, 0.0, "cyclic") == 1.0
    assert learning_rate(9, 10, 1.0, 1.0, "cyclic") == pytest.approx(0.9, rel=1e-4)


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
