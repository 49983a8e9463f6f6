"""The exact regression against scikit-learn's, on data that is easy, separable, rank-deficient, badly scaled."""

from itertools import pairwise

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression

from benchmark.probes import logistic
from benchmark.probes.logistic import Eigen, Problem, Readout, Scaling, fit, fit_one, ranks

CPU = torch.device("cpu")


def exactly(x: torch.Tensor, labels: torch.Tensor, classes: int, relative: float) -> tuple[Readout, torch.Tensor]:
    """The solution for one penalty, `relative` as in RELATIVE_PENALTIES, from nothing."""
    scaling = Scaling.of(x)
    scaled = scaling.apply_(x.clone())
    problem = Problem(scaled, labels, classes, CPU)
    return fit_one(problem, scaling, relative * len(x), problem.start, Eigen.of(scaled, CPU))


def theirs(x: torch.Tensor, labels: torch.Tensor, penalty: float) -> LogisticRegression:
    model = LogisticRegression(C=1 / penalty, tol=1e-10, max_iter=20_000, solver="newton-cholesky")
    return model.fit(x.double().numpy(), labels.numpy())


def noisy(n: int = 300, d: int = 20, classes: int = 4) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(n, d, generator=generator)
    logits = x[:, :classes] * 2 + torch.randn(n, classes, generator=generator)
    return x, logits.argmax(dim=1)


def separable() -> tuple[torch.Tensor, torch.Tensor]:
    x, labels = noisy()
    return 0.1 * x + 5 * torch.nn.functional.one_hot(labels, x.shape[1]), labels


def constant() -> tuple[torch.Tensor, torch.Tensor]:
    x, labels = noisy()
    return torch.cat([x, torch.full((len(x), 3), 7.3), torch.zeros(len(x), 2), x[:, :2]], dim=1), labels


def wide() -> tuple[torch.Tensor, torch.Tensor]:
    return noisy(60, 100)


def lone() -> tuple[torch.Tensor, torch.Tensor]:
    """A class of a single image."""
    x, labels = noisy()
    labels[labels == 3] = 2
    labels[17] = 3
    return x, labels


def scaled() -> tuple[torch.Tensor, torch.Tensor]:
    """Deviations over four decades, and means far from 0."""
    x, labels = noisy()
    return x * torch.logspace(-2, 2, x.shape[1]) + 30, labels


@pytest.mark.parametrize("data", [noisy, separable, constant, wide, lone, scaled])
@pytest.mark.parametrize("relative", [1e-1, 1e-3, 1e-5])
def test_probabilities_are_those_of_sklearn(data, relative):
    x, labels = data()
    found, logits = exactly(x, labels, 4, relative)
    assert found.how["converged"]
    peer = theirs(x, labels, found.penalty)
    expected = peer.predict_proba(x.double().numpy())
    for ours in (found(x), logits):
        assert np.abs(ours.double().softmax(dim=1).numpy() - expected).max() < 1e-4
    weight, intercept = found.plain
    plainly = (x.double() @ weight + intercept).softmax(dim=1).numpy()
    assert np.abs(plainly - expected).max() < 1e-4


def test_objective_is_that_of_sklearn():
    x, labels = noisy()
    found, _ = exactly(x, labels, 4, 1e-2)
    peer = theirs(x, labels, found.penalty)

    def objective(weight, intercept):
        logits = x.double() @ torch.as_tensor(weight) + torch.as_tensor(intercept)
        loss = torch.nn.functional.cross_entropy(logits, labels, reduction="sum")
        return float(loss + found.penalty / 2 * torch.as_tensor(weight).square().sum())

    assert objective(*found.plain) == pytest.approx(objective(peer.coef_.T, peer.intercept_), rel=1e-8)
    assert found.how["gradient"] < 1e-5
    expected = torch.nn.functional.cross_entropy(found(x).double(), labels).item()
    assert found.how["loss"] == pytest.approx(expected, rel=1e-5)


def test_more_features_than_eigenvectors_are_sought_for(monkeypatch):
    """Where S is only known from some rows, the rest is still minimised over."""
    monkeypatch.setattr(logistic, "_MOST_EIGEN", 40)
    x, labels = noisy(120, 60)
    found, logits = exactly(x, labels, 4, 1e-3)
    expected = theirs(x, labels, found.penalty).predict_proba(x.double().numpy())
    assert np.abs(logits.double().softmax(dim=1).numpy() - expected).max() < 1e-4


def nearly_certain() -> tuple[torch.Tensor, torch.Tensor]:
    """Features of many widths that a classifier nearly fits, against some wrong labels: what a network makes of its own
    training images."""
    generator = torch.Generator().manual_seed(0)
    n, d, classes = 1000, 48, 6
    widths = torch.arange(1, d + 1) ** -1.0
    labels = torch.randint(classes, (n,), generator=generator)
    x = 2 * (torch.randn(classes, d, generator=generator) * widths)[labels]
    x += torch.randn(n, d, generator=generator) * widths
    wrong = torch.rand(n, generator=generator) < 0.05
    labels[wrong] = torch.randint(classes, (n,), generator=generator)[wrong]
    turned = x @ torch.linalg.qr(torch.randn(d, d, generator=generator))[0]
    return turned.relu(), labels


def test_labels_that_are_nearly_certain_do_not_take_long(monkeypatch):
    x, labels = nearly_certain()
    found, logits = exactly(x.double(), labels, 6, 1e-7)
    assert found.how["converged"] and found.how["steps"] < 100
    expected = theirs(x, labels, found.penalty).predict_proba(x.double().numpy())
    assert np.abs(logits.softmax(dim=1).numpy() - expected).max() < 1e-4
    monkeypatch.setattr(logistic, "_MOST_BLOCKS", 0)
    slowly, _ = exactly(x.double(), labels, 6, 1e-7)
    assert slowly.how["steps"] > 2 * found.how["steps"]


def test_penalty_is_the_best_on_the_inner_part_and_all_rows_are_fitted():
    x, labels = noisy(400)
    outer = 320
    found, logits = fit(x.clone(), labels, 4, outer)
    path = found.how["path"]
    chosen = next(row for row in path if row["penalty"] == found.penalty)
    assert all((row["top1"], -row["loss"]) <= (chosen["top1"], -chosen["loss"]) for row in path)
    for row in path[::3]:
        peer = theirs(x[:outer], labels[:outer], row["penalty"])
        assert peer.score(x[outer:].numpy(), labels[outer:].numpy()) == pytest.approx(row["top1"], abs=1.01 / 80)
    expected = theirs(x, labels, found.penalty).predict_proba(x.double().numpy())
    assert np.abs(logits.double().softmax(dim=1).numpy() - expected).max() < 1e-4
    ratios = [before["penalty"] / after["penalty"] for before, after in pairwise(path)]
    assert ratios == pytest.approx([10**0.5] * len(ratios))


def test_features_that_say_nothing_give_the_shares_of_the_classes():
    labels = torch.tensor([0] * 30 + [1] * 10)
    found, logits = fit(torch.full((40, 5), 0.1), labels, 2, 32)
    expected = torch.tensor([0.75, 0.25]).expand(40, 2)
    assert torch.allclose(logits.softmax(dim=1), expected, atol=1e-4)
    assert torch.allclose(found(torch.rand(40, 5)).softmax(dim=1), expected, atol=1e-4)


def test_scale_of_the_features_does_not_matter():
    x, labels = noisy()
    one, logits = fit(x.clone(), labels, 4, 240)
    other, again = fit(1024 * x, labels, 4, 240)
    assert torch.allclose(logits, again, atol=1e-3)
    assert other.penalty == pytest.approx(1024**2 * one.penalty)


def test_ranks_count_ties_by_the_order_of_the_classes():
    logits = torch.tensor([[0.0, 0.0, 0.0], [3.0, 1.0, 2.0], [1.0, 2.0, 2.0]])
    assert [ranks(logits, torch.full((3,), k)).tolist() for k in range(3)] == [[0, 0, 2], [1, 2, 0], [2, 1, 1]]
