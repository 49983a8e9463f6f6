"""The intervals against a bootstrap done by hand on the images, and their coverage on data whose truth is known."""

import numpy as np
import torch

from benchmark.probes.bootstrap import DRAWS, LEVEL, SEED, intervals, object_sums
from benchmark.probes.targets import FACTORS, target_slices

COLUMNS = sum(columns.stop - columns.start for columns in target_slices().values())


def made(rng: np.random.Generator, objects: int, views: int, noises: list[float]) -> tuple:
    """Names, targets (N, t), and per layer the squared error of every image: objects differ in how hard they are."""
    names = [f"object {k % objects}" for k in range(objects * views)]
    y = rng.uniform(-1, 1, size=(len(names), COLUMNS))
    hard = rng.uniform(0.5, 1.5, size=objects)[[k % objects for k in range(len(names))], None]
    return names, torch.from_numpy(y), [torch.from_numpy((s * hard * rng.normal(size=y.shape)) ** 2) for s in noises]


def found(names: list[str], y: torch.Tensor, squares: list[torch.Tensor]):
    sums = object_sums(names, y)
    per_object = [torch.zeros_like(sums.targets).index_add_(0, sums.object_of, s) for s in squares]
    return sums, intervals(sums, per_object)


def test_same_as_drawing_the_images_of_objects_by_hand():
    rng = np.random.default_rng(0)
    names, y, squares = made(rng, 7, 5, [0.3, 0.4])
    names = names[:-3]  # objects with fewer images than others
    y, squares = y[:-3], [s[:-3] for s in squares]
    sums, spans = found(names, y, squares)
    torch.testing.assert_close(sums.variance, y.var(dim=0, correction=0))
    counts = np.random.Generator(np.random.PCG64(SEED)).multinomial(7, np.full(7, 1 / 7), size=DRAWS)
    order = sorted(set(names))
    errors = np.empty((2, DRAWS, 12))
    for draw, count in enumerate(counts):
        rows = [
            k
            for name, times in zip(order, count, strict=True)
            for k in np.flatnonzero(np.array(names) == name).tolist() * times
        ]
        for layer in (0, 1):
            nmse = squares[layer].numpy()[rows].mean(axis=0) / y.numpy()[rows].var(axis=0)
            by_target = {name: nmse[columns].mean() for name, columns in target_slices().items()}
            errors[layer, draw] = [*by_target.values(), np.mean([by_target[factor] for factor in FACTORS])]
    tails = [(1 - LEVEL) / 2, (1 + LEVEL) / 2]
    low, high = np.quantile(errors, tails, axis=1)
    np.testing.assert_allclose(spans.low, low, rtol=1e-9)
    np.testing.assert_allclose(spans.high, high, rtol=1e-9)
    low, high = np.quantile(errors[1] - errors[0], tails, axis=0)
    np.testing.assert_allclose(spans.gap[:, 1, 0], low, rtol=1e-9)
    np.testing.assert_allclose(-spans.gap[:, 0, 1], high, rtol=1e-9)
    assert (spans.gap.diagonal(dim1=1, dim2=2) == 0).all()


def test_intervals_hold_the_truth_about_as_often_as_they_say():
    """Truth: the error over very many objects. 95 % intervals from 40 objects, 60 times over."""
    rng = np.random.default_rng(1)
    truth = np.array([0.3, 0.5]) ** 2 * (1 + 1 / 12) * 3
    inside, apart = [], []
    for _ in range(60):
        _, spans = found(*made(rng, 40, 6, [0.3, 0.5]))
        inside.append(((spans.low[:, -1].numpy() < truth) & (truth < spans.high[:, -1].numpy())).mean())
        apart.append(-spans.gap[-1, 0, 1] > 0.48 > spans.gap[-1, 1, 0])
    assert 0.85 < np.mean(inside) <= 1
    assert np.mean(apart) > 0.85
    assert (spans.high - spans.low)[:, -1].max() < 0.4


def test_a_difference_is_paired():
    """Two layers with the same error on each object up to a constant differ for certain, however uncertain each is."""
    names, y, squares = made(np.random.default_rng(2), 10, 4, [0.5])
    _, spans = found(names, y, [squares[0], squares[0] * 1.01])
    assert (spans.gap[:, 1, 0] > 0).all()
    assert (spans.low[1] < spans.high[0]).all()


def test_few_objects():
    names, y, squares = made(np.random.default_rng(3), 2, 1, [0.5])
    assert found(["one"] * 2, y, squares)[1] is None
    _, spans = found(names, y, squares)
    assert spans.low.isfinite().all() and spans.high.isfinite().all() and spans.gap.isfinite().all()


def test_many_objects_are_drawn_in_parts(monkeypatch):
    objects = 800
    names, y, squares = made(np.random.default_rng(4), objects, 1, [0.5])
    whole = found(names, y, squares)[1]
    monkeypatch.setattr("benchmark.probes.bootstrap._AT_ONCE", 7 * objects)
    parts = found(names, y, squares)[1]
    torch.testing.assert_close(parts.low, whole.low)
    torch.testing.assert_close(parts.gap, whole.gap)
