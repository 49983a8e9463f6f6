"""The ridge solver against scikit-learn, on data that breaks normal equations too."""

import numpy as np
import pytest
import torch
from sklearn.linear_model import Ridge

from benchmark.probes.ridge import RELATIVE_ALPHAS, Moments, ridge_path


def plain(rng: np.random.Generator, n: int, d: int) -> np.ndarray:
    return rng.normal(size=(n, d))


def ill_conditioned(rng: np.random.Generator, n: int, d: int) -> np.ndarray:
    """Singular values over nine decades: 10^18 in X'X, beyond float64."""
    turn = np.random.default_rng(5)
    left, right = (np.linalg.qr(turn.normal(size=(d, d)))[0] for _ in range(2))
    return rng.normal(size=(n, d)) @ (left * 10.0 ** np.linspace(0, -9, d)) @ right


def collinear(rng: np.random.Generator, n: int, d: int) -> np.ndarray:
    """Singular values over thirteen decades."""
    turn = np.random.default_rng(8)
    left, right = (np.linalg.qr(turn.normal(size=(d, d)))[0] for _ in range(2))
    return rng.normal(size=(n, d)) @ (left * 10.0 ** np.linspace(0, -13, d)) @ right


def constant(rng: np.random.Generator, n: int, d: int) -> np.ndarray:
    x = rng.normal(size=(n, d))
    x[:, :3], x[:, 5] = 7, 0
    return x


def duplicate(rng: np.random.Generator, n: int, d: int) -> np.ndarray:
    x = rng.normal(size=(n, d))
    x[:, 1] = x[:, 2] = x[:, 0]
    return x


def offset(rng: np.random.Generator, n: int, d: int) -> np.ndarray:
    return 1000 + rng.normal(size=(n, d))


def unequal_scales(rng: np.random.Generator, n: int, d: int) -> np.ndarray:
    return rng.normal(size=(n, d)) * 10.0 ** np.random.default_rng(6).uniform(-5, 5, d)


def dead(rng: np.random.Generator, n: int, d: int) -> np.ndarray:
    """As after a ReLU: half the values are zero, and some features always, or almost."""
    x = rng.normal(size=(n, d)).clip(min=0)
    x[:, : d // 3] = 0
    x[n // 2 :, d // 2] = 0
    return x


KINDS = (plain, ill_conditioned, collinear, constant, duplicate, offset, unequal_scales, dead)


def moments(x: np.ndarray, y: np.ndarray, batch: int = 37) -> Moments:
    result = Moments(x.shape[1], y.shape[1])
    for start in range(0, len(x), batch):
        rows = slice(start, start + batch)
        result.add(torch.from_numpy(x[rows]), torch.from_numpy(y[rows]))
    return result


def targets(rng: np.random.Generator, x: np.ndarray) -> np.ndarray:
    return x[:, :2] @ rng.normal(size=(2, 3)) + rng.normal(size=(len(x), 3)) + 5


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("n", "d"), [(500, 30), (60, 200), (50, 50), (400, 150), (2, 7)])
def test_predictions_and_errors_agree_with_sklearn(kind, n, d):
    rng = np.random.default_rng(0)
    x, new = kind(rng, n, d), kind(rng, 40, d)
    y, new_y = targets(rng, x), targets(rng, new)
    path, other = ridge_path(moments(x, y)), moments(new, new_y)
    alphas = torch.cat([torch.tensor([1e-6, 1e-3, 1.0, 1e4], dtype=torch.float64), path.alphas[::4]])
    path_errors = path.errors(other, alphas).numpy()
    for alpha, on_path in zip(alphas.tolist(), path_errors, strict=True):
        weight, intercept = path.solve(torch.full((3,), alpha, dtype=torch.float64))
        predicted = new @ weight.numpy() + intercept.numpy()
        reference = Ridge(alpha=alpha, solver="svd").fit(x, y)
        expected = reference.predict(new)
        np.testing.assert_allclose(predicted, expected, rtol=1e-6, atol=1e-6 * np.abs(expected).max())
        errors = ((new_y - expected) ** 2).mean(axis=0)
        np.testing.assert_allclose(on_path, errors, rtol=1e-6)
        np.testing.assert_allclose(other.error(weight, intercept).numpy(), errors, rtol=1e-6)


@pytest.mark.parametrize("kind", [torch.float16, torch.bfloat16, torch.float32])
def test_low_precision_features_are_taken_at_their_value(kind):
    rng = np.random.default_rng(9)
    x = torch.from_numpy(plain(rng, 400, 20)).to(kind)
    y = targets(rng, x.double().numpy())
    gathered = Moments(20, 3)
    gathered.add(x, torch.from_numpy(y))
    weight, _ = ridge_path(gathered).solve(torch.ones(3, dtype=torch.float64))
    reference = Ridge(alpha=1, solver="svd").fit(x.double().numpy(), y)
    np.testing.assert_allclose(weight.numpy().T, reference.coef_, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("scale", [1e-30, 1e-6, 1e6, 1e30])
def test_the_scale_of_the_features_does_not_matter(scale):
    """scikit-learn drops singular values below 1e-15 whatever the scale, so it is asked at scale 1."""
    rng = np.random.default_rng(10)
    x, new = ill_conditioned(rng, 400, 30), ill_conditioned(rng, 40, 30)
    y = targets(rng, x)
    path = ridge_path(moments(scale * x, y))
    np.testing.assert_allclose(path.alphas, scale**2 * ridge_path(moments(x, y)).alphas, rtol=1e-9)
    for alpha in (1e-6, 1.0):
        weight, intercept = path.solve(torch.full((3,), alpha * scale**2, dtype=torch.float64))
        expected = Ridge(alpha=alpha, solver="svd").fit(x, y).predict(new)
        predicted = scale * new @ weight.numpy() + intercept.numpy()
        np.testing.assert_allclose(predicted, expected, rtol=1e-6, atol=1e-6 * np.abs(expected).max())


def test_one_alpha_per_target():
    rng = np.random.default_rng(1)
    x = plain(rng, 80, 10)
    y = targets(rng, x)
    alphas = np.array([0.1, 10.0, 1000.0])
    weight, intercept = ridge_path(moments(x, y)).solve(torch.from_numpy(alphas))
    reference = Ridge(alpha=alphas, solver="svd").fit(x, y)
    np.testing.assert_allclose(weight.numpy().T, reference.coef_, rtol=1e-9)
    np.testing.assert_allclose(intercept.numpy(), reference.intercept_, rtol=1e-9)


def test_a_perfect_fit_has_an_error_of_zero_not_of_cancelled_digits():
    rng = np.random.default_rng(2)
    x = 100 + plain(rng, 200, 20)
    y = x @ rng.normal(size=(20, 3))
    gathered = moments(x, y)
    weight, intercept = ridge_path(gathered).solve(torch.full((3,), 1e-12, dtype=torch.float64))
    assert (gathered.error(weight, intercept) < 1e-22 * torch.from_numpy((y**2).mean(axis=0))).all()


@pytest.mark.parametrize("cut", [1, 60, 61, 299])
def test_merged_moments_equal_moments_in_one_go(cut):
    rng = np.random.default_rng(3)
    x = ill_conditioned(rng, 300, 60)
    y = targets(rng, x)
    whole, merged = moments(x, y), moments(x[:cut], y[:cut]).merge(moments(x[cut:], y[cut:]))
    assert merged.count == whole.count == 300
    gram, expected = merged.factor.T @ merged.factor, whole.factor.T @ whole.factor
    torch.testing.assert_close(gram, expected, rtol=1e-12, atol=1e-12 * expected.abs().max().item())
    torch.testing.assert_close(merged.variance(), torch.from_numpy(y.var(axis=0)))
    alphas = torch.full((3,), 1e-3, dtype=torch.float64)
    probe = torch.from_numpy(ill_conditioned(rng, 20, 60))
    (w1, b1), (w2, b2) = ridge_path(merged).solve(alphas), ridge_path(whole).solve(alphas)
    torch.testing.assert_close(probe @ w1 + b1, probe @ w2 + b2, rtol=1e-9, atol=1e-9)


def test_many_rows_are_condensed_on_the_way():
    rng = np.random.default_rng(4)
    x = plain(rng, 5000, 8)
    y = targets(rng, x)
    gathered = moments(x, y, batch=100)
    assert gathered.factor.shape == (12, 12)
    torch.testing.assert_close(gathered.variance(), torch.from_numpy(y.var(axis=0)))


def test_features_that_never_vary_predict_the_mean():
    """As every feature of a collapsed network; whatever penalty is chosen, rounding must not be fitted."""
    y = np.random.default_rng(7).normal(size=(300, 3))
    path = ridge_path(moments(np.full((300, 4), 3.1), y))
    assert len(path.alphas) == len(RELATIVE_ALPHAS)
    assert (path.alphas > 0).all()
    weight, intercept = path.solve(path.alphas[:3])
    predicted = torch.full((1, 4), 3.1, dtype=torch.float64) @ weight + intercept
    np.testing.assert_allclose(predicted[0].numpy(), y.mean(axis=0), rtol=1e-9)


def test_a_single_row_predicts_itself():
    gathered = moments(np.ones((1, 4)), np.array([[1.0, 2.0, 3.0]]))
    weight, intercept = ridge_path(gathered).solve(torch.ones(3, dtype=torch.float64))
    assert weight.abs().max() == 0
    np.testing.assert_allclose(intercept.numpy(), [1, 2, 3])


def test_rows_of_another_width_are_refused():
    with pytest.raises(ValueError, match="expected"):
        Moments(4, 2).add(torch.zeros(3, 5), torch.zeros(3, 2))
    with pytest.raises(ValueError, match="no rows"):
        ridge_path(Moments(4, 2))


@pytest.mark.parametrize(("batch", "d"), [(1, 12), (64, 150), (1000, 300)])
def test_the_factor_is_that_of_all_rows_however_they_come(batch, d):
    """Wider than a panel, narrower than one, and with more rows than wait."""
    x = dead(np.random.default_rng(11), 1500, d)
    gathered = moments(x, x[:, :2], batch)
    whole = np.concatenate([np.ones((1500, 1)), x, x[:, :2]], axis=1)
    factor = gathered.factor.numpy()
    assert np.array_equal(factor, np.triu(factor))
    np.testing.assert_allclose(factor.T @ factor, whole.T @ whole, rtol=1e-12, atol=1e-9)
