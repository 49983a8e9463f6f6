"""Regressors fitted on a window, against scikit-learn on the same rows."""

import numpy as np
import pytest
import torch
from sklearn.linear_model import Ridge
from torch import Tensor

from benchmark.probes import windows
from benchmark.probes.windows import Readout, Rows, Sums, penalties


def layer(count: int, width: int, seed: int = 0, mean: float = 30.0, decay: float = 3.0) -> tuple[Tensor, Tensor]:
    """Features far from zero whose directions differ by 10**decay in spread, and three targets, one of them noisy."""
    generator = torch.Generator().manual_seed(seed)
    spread = torch.logspace(0, -decay, width)
    rotation = torch.linalg.qr(torch.randn(width, width, generator=generator)).Q
    code = torch.randn(count, width, generator=generator)
    weight = torch.randn(width, 3, generator=torch.Generator().manual_seed(1))
    y = code @ weight / width**0.5 + torch.tensor([0.0, 0.0, 1.0]) * torch.randn(count, 3, generator=generator)
    return code * spread @ rotation + mean, y + torch.tensor([5.0, 0.0, -2.0])


def fitted(kind: str, x: Tensor, y: Tensor, batch: int = 100) -> Readout:
    moments = Rows() if kind == "rows" else Sums.about(x[:batch], y.shape[1])
    for start in range(0, len(x), batch):
        moments.add(x[start : start + batch], y[start : start + batch])
    return moments.solve()


def oracle(x: Tensor, y: Tensor, new: Tensor) -> np.ndarray:
    """(penalties, n, t)"""
    x, y, new = (value.double().numpy() for value in (x, y, new))
    mean_eigenvalue = ((x - x.mean(axis=0)) ** 2).sum() / x.shape[1]
    return np.stack(
        [
            Ridge(alpha=penalty * mean_eigenvalue, solver="svd").fit(x, y).predict(new)
            for penalty in penalties(x.shape[1])
        ]
    )


@pytest.mark.parametrize("kind", ["sums", "rows"])
@pytest.mark.parametrize(("count", "width"), [(1000, 40), (250, 40), (60, 130)])
def test_predictions_are_scikit_learns(kind, count, width):
    x, y = layer(count, width)
    new = layer(200, width, seed=2)[0]
    np.testing.assert_allclose(fitted(kind, x, y)(new), oracle(x, y, new), atol=1e-4)


@pytest.mark.parametrize(("kind", "count"), [("sums", 1500), ("sums", 160), ("rows", 90)])
def test_wide_layers_in_single_precision(kind, count, monkeypatch):
    """The means are 30 times the largest spread; targets have a spread of 1 to 1.4, so that 0.01 is nothing."""
    monkeypatch.setattr(windows, "WIDE", 128)
    x, y = layer(count, 128, decay=2)
    new = layer(200, 128, seed=2, decay=2)[0]
    readout = fitted(kind, x, y)
    assert (readout.weight.dtype, len(readout.weight)) == (torch.float32, 4)
    np.testing.assert_allclose(readout(new), oracle(x, y, new), atol=1e-2)


def test_layers_of_several_blocks():
    x, y = layer(700, 600)
    new = layer(50, 600, seed=2)[0]
    np.testing.assert_allclose(fitted("sums", x, y)(new), oracle(x, y, new), atol=1e-4)


@pytest.mark.parametrize("kind", ["sums", "rows"])
def test_constant_and_duplicate_features(kind):
    """What a feature that never varied would get is arbitrary, and would count as soon as it does vary."""
    x, y = layer(300, 20)
    odd = torch.cat([x, x[:, :3], torch.full((300, 2), 0.1), torch.zeros(300, 1)], dim=1)
    new = odd[:50].clone()
    new[:, 23:] += 100
    predicted = fitted(kind, odd, y)
    assert torch.equal(predicted(new), predicted(odd[:50]))
    np.testing.assert_allclose(predicted(new), oracle(odd, y, odd[:50]), atol=1e-4)


@pytest.mark.parametrize("kind", ["sums", "rows"])
def test_collapsed_layer_answers_the_mean(kind):
    x, y = torch.full((200, 30), 0.1), torch.randn(200, 3, generator=torch.Generator().manual_seed(0))
    np.testing.assert_allclose(fitted(kind, x, y)(x), y.mean(dim=0).expand(7, 200, 3), atol=1e-5)


def test_shapes_that_do_not_go_together():
    x, y = layer(100, 20)
    sums, rows, readout = Sums.about(x, 3), Rows([x], [y]), fitted("sums", x, y)
    for part in (sums, rows, readout):
        part.check(3)
        with pytest.raises(ValueError, match="expected numbers of shape"):
            part.check(4)
    sums.xx = sums.xx[:5]
    with pytest.raises(ValueError, match=r"\(20, 20\), found \(5, 20\)"):
        sums.check(3)
