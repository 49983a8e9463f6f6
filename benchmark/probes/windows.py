"""Ridge regression on the images of a window, gathered batch by batch without keeping more than is needed.

Of a layer of d features that is fitted on more than d images only sums are kept: X'X and X'Y of what a shift near the
mean was subtracted from, so that nothing cancels. With fewer images than features the rows themselves are kept and the
problem is solved in their space, where it is smaller. Unlike benchmark.probes.ridge, which is accurate to the last
digits, this is made to cost little: float32 for wide layers, and Cholesky factors for a handful of penalties.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor

# Penalties tried, as multiples of the mean eigenvalue of the centred X'X.
PENALTIES = (1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 1e-1, 1.0)

# Layers from this width on are summed in float32, which is twice as fast. Its rounding disturbs X'X by up to about 2e-5
# of the mean eigenvalue, so they do without the penalties that are not far above that.
WIDE = 1024
_WIDE_PENALTIES = tuple(penalty for penalty in PENALTIES if penalty >= 1e-3)

_BLOCK = 512  # columns of X'X formed at a time; what lies left of the blocks on the diagonal is not formed
_CONSTANT = 1e-6  # spread of a feature, as a share of its mean, below which it is taken for rounding


def penalties(width: int) -> tuple[float, ...]:
    """Those tried for a layer of ``width`` features."""
    return PENALTIES if width < WIDE else _WIDE_PENALTIES


@dataclass
class Readout:
    """Linear maps from one layer, one for each penalty: (x - centre) @ weight + offset.

    centre: (d,), weight: (p, d, t), offset: (t,).
    """

    centre: Tensor
    weight: Tensor
    offset: Tensor

    @property
    def width(self) -> int:
        return len(self.centre)

    def __call__(self, x: Tensor) -> Tensor:
        """(n, d) -> (p, n, t)"""
        return (x.to(self.centre.dtype) - self.centre) @ self.weight + self.offset

    def check(self, targets: int) -> None:
        """ValueError if the shapes do not go together."""
        d = self.width
        check_shapes((self.centre, (d,)), (self.weight, (len(penalties(d)), d, targets)), (self.offset, (targets,)))


@dataclass
class Sums:
    """What ridge needs of the images added.

    shift: (d,), subtracted from every feature. Sums over what was left: x (d,), y (t,), xx (d, d), of which only the
    blocks on and right of the diagonal are formed, and xy (d, t).
    """

    count: int
    shift: Tensor
    x: Tensor
    y: Tensor
    xx: Tensor
    xy: Tensor

    @classmethod
    def about(cls, x: Tensor, targets: int) -> Sums:
        """Sums of nothing yet, about the mean of x (n, d); with the precision that its width is given."""
        d = x.shape[1]
        zeros = _precise(x).new_zeros
        return cls(0, _precise(x).mean(dim=0), zeros(d), zeros(targets), zeros(d, d), zeros(d, targets))

    @property
    def width(self) -> int:
        return len(self.shift)

    def add(self, x: Tensor, y: Tensor) -> None:
        """x: (n, d), y: (n, t)"""
        x = _precise(x) - self.shift
        y = y.to(x.dtype)
        self.count += len(x)
        self.x += x.sum(dim=0)
        self.y += y.sum(dim=0)
        self.xy.addmm_(x.T, y)
        for start in range(0, self.width, _BLOCK):
            self.xx[start : start + _BLOCK, start:].addmm_(x[:, start : start + _BLOCK].T, x[:, start:])

    def solve(self) -> Readout:
        n, dtype = self.count, self.x.dtype
        x, y, xx = self.x.double() / n, self.y.double() / n, self.xx.double()
        for start in range(0, self.width, _BLOCK):
            stop = start + _BLOCK
            xx[stop:, start:stop] = xx[start:stop, stop:].T
        xx.addr_(x, x, alpha=-n)
        varies = _varies(xx.diagonal() / n, self.shift + x)
        xx *= torch.outer(varies, varies)
        xy = (self.xy.double() - n * torch.outer(x, y)) * varies[:, None]
        return Readout(self.shift + x.to(dtype), _path(xx, xy, self.width).to(dtype), y.to(dtype))

    def check(self, targets: int) -> None:
        """ValueError if the shapes do not go together."""
        d, t = self.width, targets
        check_shapes((self.shift, (d,)), (self.x, (d,)), (self.y, (t,)), (self.xx, (d, d)), (self.xy, (d, t)))


@dataclass
class Rows:
    """The images added, for a layer with more features than images. x: (n, d), y: (n, t) for every addition."""

    x: list[Tensor] = field(default_factory=list)
    y: list[Tensor] = field(default_factory=list)

    @property
    def width(self) -> int:
        return self.x[0].shape[1]

    def add(self, x: Tensor, y: Tensor) -> None:
        """x: (n, d), y: (n, t)"""
        self.x.append(x.clone())  # a view would keep the whole batch in memory
        self.y.append(y)

    def solve(self) -> Readout:
        x = _precise(torch.cat(self.x))
        y = torch.cat(self.y).to(x.dtype)
        centre, offset = x.mean(dim=0), y.mean(dim=0)
        x, y = x - centre, (y - offset).double()
        x *= _varies(x.square().mean(dim=0), centre)
        dual = _path((x @ x.T).double(), y, self.width)
        return Readout(centre, x.T @ dual.to(x.dtype), offset)

    def check(self, targets: int) -> None:
        """ValueError if the shapes do not go together."""
        for x, y in zip(self.x, self.y, strict=True):
            check_shapes((x, (len(x), self.width)), (y, (len(x), targets)))


def _precise(x: Tensor) -> Tensor:
    """The precision that a layer of this width is summed with."""
    return x.double() if x.shape[1] < WIDE else x.float()


def _varies(variance: Tensor, mean: Tensor) -> Tensor:
    """1 for features that vary, 0 for constant ones, whose leftovers of rounding would be fitted."""
    return (variance > (_CONSTANT * mean).square()).to(variance.dtype)


def _path(gram: Tensor, right: Tensor, width: int) -> Tensor:
    """(gram + alpha)^-1 right for every penalty: (p, *right.shape). Not finite where gram (m, m) is not.

    gram: X'X or XX', which have the same trace, of a layer of ``width`` features. For a wide one the factors are
    float32, in less than half the time, and one step of refinement makes up for it.
    """
    scale = gram.trace() / width
    scale = torch.where(scale > 0, scale, 1.0)
    solved = []
    for alpha in (penalty * scale for penalty in penalties(width)):
        if width >= WIDE:
            factor, failed = _factor(gram.float(), alpha)
            if not failed:
                first = torch.cholesky_solve(right.float(), factor).double()
                rest = right - gram @ first - alpha * first
                solved.append(first + torch.cholesky_solve(rest.float(), factor))
                continue
        solved.append(torch.cholesky_solve(right, _factor(gram.clone(), alpha)[0]))
    return torch.stack(solved)


def _factor(gram: Tensor, alpha: Tensor) -> tuple[Tensor, Tensor]:
    """The Cholesky factor of gram + alpha, which overwrites gram, and whether it failed."""
    gram.diagonal().add_(alpha)
    return torch.linalg.cholesky_ex(gram)


def check_shapes(*tensors: tuple[Tensor, tuple[int, ...]]) -> None:
    """ValueError for a tensor that is not of its shape or holds no floating-point numbers."""
    for tensor, shape in tensors:
        if tensor.shape != shape or not tensor.is_floating_point():
            raise ValueError(f"expected numbers of shape {shape}, found {tuple(tensor.shape)}")
