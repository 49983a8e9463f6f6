"""VICReg (Bardes et al., 2022): two views agree, every feature varies, no two features covary."""

from torch import Tensor

from benchmark import distributed
from benchmark.objectives.objective import Objective, full_precision

_EPS = 1e-4  # keeps the gradient of a constant feature's standard deviation finite; the authors' value


class VICReg(Objective):
    """Invariance, variance and covariance of two views."""

    views = 2

    def __init__(self, weights: tuple[float, float, float]) -> None:
        """weights: of the invariance, the variance and the covariance term (lambda, mu, nu)."""
        super().__init__()
        self.weights = weights

    def forward(self, outputs: Tensor, target: None = None, teacher: None = None) -> Tensor:
        """outputs (2, B, d) -> scalar"""
        return vicreg(outputs, self.weights)


def vicreg(outputs: Tensor, weights: tuple[float, float, float]) -> Tensor:
    """lambda s(Z, Z') + mu (v(Z) + v(Z')) / 2 + nu (c(Z) + c(Z')).

    outputs: (2, B, d), B >= 2 over all ranks. s is the mean over images and features of the squared difference, v the
    mean over features of how much the standard deviation sqrt(variance + 1e-4) falls short of 1, c the sum of the
    squared covariances of different features over d. s has the 1 / d and v the 1 / 2 of the authors' code, of FFCV-SSL
    and of lightly.loss.VICRegLoss, with which this agrees, but not of the paper's equations 5 and 6.

    Memory: a few matrices of d x d float32 (16 MiB each at 2048), and on N ranks everybody's outputs, 2 x BN x d.
    """
    invariance, variance, covariance = weights
    with full_precision(outputs):
        first, second = distributed.gather(outputs.float(), dim=1)
        (v1, c1), (v2, c2) = _spread(first), _spread(second)
        return invariance * (first - second).square().mean() + variance * (v1 + v2) / 2 + covariance * (c1 + c2)


def _spread(x: Tensor) -> tuple[Tensor, Tensor]:
    """(B, d) -> the variance term and the covariance term of one view"""
    centred = x - x.mean(dim=0)
    covariance = centred.T @ centred / (len(x) - 1)
    variance = covariance.diagonal()
    shortfall = (1 - (variance + _EPS).sqrt()).relu().mean()
    return shortfall, (covariance - variance.diag()).square().sum() / x.shape[1]
