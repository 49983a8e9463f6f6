"""Exact ridge regression from one pass over the data.

Ridge needs the features X (n, d) and targets Y (n, t) only through the triangular factor of A = [1, X, Y]:
with A = QR, R holds the counts, the means and every centred second moment (R'R = A'A), and two factors merge
by factoring one on top of the other. We keep R and not the sums X'X, X'Y themselves because forming X'X
squares the condition number: from R, every penalty alpha > 0 is solved, and every mean squared error
evaluated, as accurately as by an SVD of the data, for about twice the arithmetic.

With R = [[r00, r0x, r0y], [0, Rx, Rxy], [0, 0, Ry]] the means are r0x / r00 and r0y / r00, and the centred
problem min ||Xw - y||^2 + alpha ||w||^2 (intercept unpenalised, alpha as in scikit-learn's Ridge) is the one
of [Rx; 0] against [Rxy; Ry], whatever n and d: R has min(n, 1 + d + t) rows.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

# Penalties tried, as multiples of the mean eigenvalue of the centred X'X: twice a decade.
RELATIVE_ALPHAS: tuple[float, ...] = tuple(10 ** (k / 2) for k in range(-16, 13))

# Spread beside the mean below which a feature is constant: far above float64's rounding, far below float32's
# last digit.
_CONSTANT = 1e-12

# A factorisation of b new rows reads and writes the factor once, so b should be large beside its side; the cap bounds
# the memory waiting.
_MOST_ROWS_WAITING = 8192

# Columns per step of a factorisation: wide enough for fast matrix products, narrow beside b.
_PANEL = 128


class Moments:
    """Everything a ridge regression of `targets` columns on `features` columns needs to know of the rows
    added so far."""

    def __init__(self, features: int, targets: int, device: torch.device | str = "cpu") -> None:
        """device: where the rows are, and where they are factored."""
        self.features = features
        self.targets = targets
        self.count = 0
        self._factor = torch.zeros(0, 1 + features + targets, dtype=torch.float64, device=device)
        self._waiting: list[tuple[Tensor, Tensor]] = []
        self._rows_waiting = 0

    def add(self, x: Tensor, y: Tensor) -> None:
        """Add rows: x (n, features), y (n, targets), finite, any float type."""
        if x.shape != (len(x), self.features) or y.shape != (len(x), self.targets):
            raise ValueError(f"expected (n, {self.features}) and (n, {self.targets}), got {x.shape} and {y.shape}")
        self.count += len(x)
        self._waiting.append((x, y))
        self._rows_waiting += len(x)
        if self._rows_waiting >= min(2 * (1 + self.features + self.targets), _MOST_ROWS_WAITING):
            self._factor_waiting()

    @property
    def factor(self) -> Tensor:
        """R, float64 (min(count, 1 + features + targets), 1 + features + targets)."""
        if self._waiting:
            self._factor_waiting()
        return self._factor

    def merge(self, other: Moments) -> Moments:
        """The moments of the rows of both; neither is changed."""
        merged = Moments(self.features, self.targets, self._factor.device)
        merged.count = self.count + other.count
        merged._factor = _stacked(self.factor.clone(), other.factor.clone())
        return merged

    def variance(self) -> Tensor:
        """Variance of each target, float64 (targets,), divided by count."""
        return self.factor[1:, 1 + self.features :].square().sum(dim=0) / self.count

    def error(self, weight: Tensor, intercept: Tensor) -> Tensor:
        """Mean squared error (targets,) of the prediction x @ weight + intercept on these rows.

        weight (features, targets), intercept (targets,). The norm of R [-intercept; -weight; 1]: a sum of
        squares, without the cancellation of y'y - 2 w'X'y + w'X'Xw.
        """
        r = self.factor
        ones, x, y = r[:, :1], r[:, 1 : 1 + self.features], r[:, 1 + self.features :]
        return (y - x @ weight - ones * intercept).square().sum(dim=0) / self.count

    def _factor_waiting(self) -> None:
        width = 1 + self.features + self.targets
        rows = self._factor.new_empty(self._rows_waiting, width)
        start = 0
        for x, y in self._waiting:
            part = rows[start : (start := start + len(x))]
            part[:, 0], part[:, 1 : 1 + self.features], part[:, 1 + self.features :] = 1, x, y
        self._waiting, self._rows_waiting = [], 0  # freed before the factorisation takes its own memory
        self._factor = _stacked(self._factor, rows)


def _stacked(factor: Tensor, rows: Tensor) -> Tensor:
    """The triangular factor of `factor`, itself one, on top of `rows` (b, m); both are overwritten."""
    if len(factor) < factor.shape[1]:
        return torch.linalg.qr(torch.cat([factor, rows]), mode="r").R
    _absorb(factor, rows)
    return factor


def _absorb(factor: Tensor, rows: Tensor) -> None:
    """Householder's factorisation of `factor` (m, m), upper triangular, on top of `rows` (b, m), in place.

    A reflector of column k touches row k of the factor and the new rows, no others: going by panels of columns, the
    zeros below the diagonal cost nothing (2 b m^2 operations where a plain factorisation takes 2 (b + 2m/3) m^2), and
    nearly all of it is matrix products. This is LAPACK's tpqrt, for both kinds of device.
    """
    for start in range(0, len(factor), _PANEL):
        panel, rest = slice(start, start + _PANEL), slice(start + _PANEL, None)
        reflected, tau = torch.geqrf(torch.cat([factor[panel, panel], rows[:, panel]]))
        factor[panel, panel] = reflected[: len(tau)].triu()
        # The panel's Q is I - V T V' with V = [I; v]; the inverse of T follows from V and the reflectors' scales tau.
        # A tau of 0, of a column that is zero already, stands for no reflection: T's row there is zero.
        v = reflected[len(tau) :]
        inverse = (v.T @ v).triu(1) + torch.diag(torch.where(tau == 0, torch.finfo(tau.dtype).max, 1 / tau))
        change = factor[panel, rest] + v.T @ rows[:, rest]
        change = torch.linalg.solve_triangular(inverse.T, change, upper=False)
        factor[panel, rest] -= change
        rows[:, rest].addmm_(v, change, alpha=-1)


@dataclass(frozen=True)
class RidgePath:
    """The ridge solutions of one `Moments` for every alpha > 0: centred features = U diag(singular)
    directions."""

    singular: Tensor  # (r,)
    directions: Tensor  # (r, d), orthonormal rows
    projected: Tensor  # (r, t): U' y
    mean_x: Tensor  # (d,)
    mean_y: Tensor  # (t,)

    @property
    def alphas(self) -> Tensor:
        """The path tried, (a,), increasing: RELATIVE_ALPHAS times the mean eigenvalue of the centred X'X."""
        mean_eigenvalue = self.singular.square().sum() / len(self.mean_x)
        scale = mean_eigenvalue if mean_eigenvalue > 0 else torch.ones_like(mean_eigenvalue)
        return scale * scale.new_tensor(RELATIVE_ALPHAS)

    def solve(self, alphas: Tensor) -> tuple[Tensor, Tensor]:
        """weight (d, t) and intercept (t,) for one alpha > 0 per target, alphas (t,)."""
        weight = self.directions.T @ self._shrunk(alphas)
        return weight, self.mean_y - self.mean_x @ weight

    def errors(self, moments: Moments, alphas: Tensor) -> Tensor:
        """Mean squared error on the rows of `moments` for every alpha of the path, alphas (a,): (a, t)."""
        r = moments.factor
        ones, y = r[:, :1], r[:, 1 + moments.features :]
        x = (r[:, 1 : 1 + moments.features] - ones * self.mean_x) @ self.directions.T
        centred = y - ones * self.mean_y
        return torch.stack(
            [(centred - x @ self._shrunk(alpha)).square().sum(dim=0) / moments.count for alpha in alphas]
        )

    def _shrunk(self, alphas: Tensor) -> Tensor:
        """Solutions in the basis of `directions`, (r, t)."""
        singular = self.singular[:, None]
        return singular / (singular.square() + alphas) * self.projected


def ridge_path(moments: Moments) -> RidgePath:
    """All ridge solutions for the rows of `moments` (one or more) through one SVD of their factor."""
    if moments.count == 0:
        raise ValueError("no rows to fit")
    r, d = moments.factor, moments.features
    means = r[0, 1:] / r[0, 0]
    x = r[1:, 1 : 1 + d]
    # A feature that never varies leaves rounding here. In a collapsed layer that is all there is, and would
    # be fitted.
    x = x * (x.norm(dim=0) > _CONSTANT * r[0, 1 : 1 + d].abs())
    u, singular, directions = torch.linalg.svd(x, full_matrices=False)
    return RidgePath(singular, directions, u.T @ r[1:, 1 + d :], means[:d], means[d:])
