"""Exact multinomial logistic regression down a path of L2 penalties.

For features x_i (n, d), classes y_i of K, the objective is that of scikit-learn's LogisticRegression(C=1 / penalty) on
the features as they are, the intercept unpenalised:

    sum_i -log softmax(W'x_i + b)[y_i] + penalty / 2 |W|^2

It is minimised by L-BFGS on features centred and divided by one number (which changes the coordinates, not the
objective). Three things make that fast:

* The first guess of the inverse Hessian is the inverse of M (x) S + penalty, with S = sum_i x_i x_i' and M the mean of
  diag(p_i) - p_i p_i' at the start: the Hessian itself, were p_i independent of x_i. Its eigenvectors are those of S,
  found once for a whole path, and of M.
* Logits are linear in the step's length: the line search costs no pass over the features, so that a step costs two.
* Each penalty starts from the solution of the next stronger one.

That guess is poor where the classes of nearly all images are certain: the Hessian is then made of the few others. What
has not converged after a while goes on with the Hessian's own blocks, one a class, where memory has room for them.

Where images are no more than a few times the features, these are turned to the eigenvectors of S first: there are no
more of them than images, and what the first guess takes becomes a division.

Features and their products are float32, after a turn float64; sums over images, weights and the steps between them are
float64.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

# Penalties tried, strong to weak, as multiples of images times the mean variance of a feature: twice a decade.
RELATIVE_PENALTIES: tuple[float, ...] = tuple(10 ** (k / 2) for k in range(2, -15, -1))
PATIENCE = 4  # penalties in a row that are no better on the inner split end the path

# Estimated distance of the objective from its minimum, nats an image, at which a solution is taken.
PATH_TOLERANCE = 1e-5
TOLERANCE = 1e-11
_MOST_STEPS = 1000

_FEW = 2**25  # numbers (images x width) up to which features are turned
_MEMORY = 20  # steps that L-BFGS remembers
_RENEWED = 40  # steps after which the first guess is made anew
_MOST_BLOCKS = 2**26  # numbers in the Hessian's blocks: half a gigabyte, twice while they are decomposed
_PRICE = 4  # making them takes as long as (features / _PRICE) steps
_FARTHEST = 30.0  # that a logit moves in the first step tried: beyond, softmax is flat and slopes say nothing
_SLOPE_LEFT = 0.2  # of a direction's slope, where the line search ends
_ROWS = 16384  # of which S is summed: it guides the steps, and need not be exact
_MOST_EIGEN = 4096  # side of the matrix whose eigenvectors are found
_AT_ONCE = 2**22  # numbers (images x classes) in a temporary
_CONSTANT = 1e-12  # spread beside the mean that rounding gives


@dataclass(frozen=True)
class Scaling:
    """x -> (x - shift) / scale for features x (n, d).

    All on the CPU. shift: (d,), float32 values in float64. scale: square root of the mean variance of a feature.
    varies: (d,), False for features that are constant: they are set to 0.
    """

    shift: Tensor
    scale: float
    varies: Tensor

    @classmethod
    def of(cls, x: Tensor) -> Scaling:
        """x: (n, d), read part by part."""
        total = sum(part.double().sum(dim=0) for part in x.split(8192))
        mean = total / len(x)
        variance = sum((part.double() - mean).square().sum(dim=0) for part in x.split(8192)) / len(x)
        varies = variance.sqrt() > _CONSTANT * mean.abs()
        spread = float((variance * varies).mean().sqrt())
        return cls(mean.float().double().cpu(), spread if spread > 0 else 1.0, varies.cpu())

    def apply_(self, x: Tensor) -> Tensor:
        """In place, on float32 (n, d)."""
        shift, factor = self.shift.float().to(x.device), (self.varies / self.scale).float().to(x.device)
        for part in x.split(8192):
            part.sub_(shift).mul_(factor)
        return x


@dataclass(frozen=True)
class Readout:
    """A classifier: logits = scaling(x) @ weight + intercept.

    weight: float64 (d, K), intercept: float64 (K,), both for scaled features, on the CPU. penalty: LogisticRegression's
    1 / C on the features as they are; None where nothing was penalised. how: what the results keep of the fitting, JSON
    values. Of an exact one: loss, in nats an image without the penalty; gradient, the largest entry of the gradient of
    (objective / images), in the scaled coordinates; steps; converged; path, a row per penalty tried.
    """

    scaling: Scaling
    weight: Tensor
    intercept: Tensor
    penalty: float | None
    how: dict

    def __call__(self, x: Tensor) -> Tensor:
        """float32 (n, K) for features (n, d) as they are."""
        scaled = self.scaling.apply_(x.float().clone())
        return torch.addmm(self.intercept.float().to(x.device), scaled, self.weight.float().to(x.device))

    @property
    def plain(self) -> tuple[Tensor, Tensor]:
        """weight (d, K) and intercept (K,) for features as they are: scikit-learn's coef_.T and intercept_."""
        weight = self.weight * (self.scaling.varies / self.scaling.scale)[:, None]
        return weight, self.intercept - self.scaling.shift @ weight


class Problem:
    """The objective on n images: scaled features (n, d), labels (n,) of K classes. Any of them may be on the CPU and
    move to `device` part by part."""

    def __init__(self, x: Tensor, labels: Tensor, classes: int, device: torch.device) -> None:
        self.x, self.labels, self.classes, self.device = x, labels.to(device), classes, device

    def __len__(self) -> int:
        return len(self.x)

    @property
    def width(self) -> int:
        """d, features of an image."""
        return self.x.shape[1]

    @property
    def start(self) -> Tensor:
        """float64 (d + 1, K), weights and below them the intercept: the best without features."""
        counts = torch.bincount(self.labels, minlength=self.classes).double()
        values = torch.zeros(self.width + 1, self.classes, dtype=torch.float64, device=self.device)
        logs = counts.clamp_min(0.1).log()  # a class of which this part has no image must not be at -inf
        values[-1] = logs - logs.mean()
        return values

    def logits(self, values: Tensor) -> Tensor:
        """(n, K), of the features' type, on the device. The last row of `values` is added to every image."""
        out = torch.empty(len(self), self.classes, dtype=self.x.dtype, device=self.device)
        weight, intercept = values[:-1].to(out.dtype), values[-1].to(out.dtype)
        for rows in self.parts():
            torch.addmm(intercept, self.rows(rows), weight, out=out[rows])
        return out

    def gradient(self, logits: Tensor, values: Tensor, penalty: float) -> Tensor:
        """float64 (d + 1, K) of the objective."""
        total = penalty * values
        total[-1] = 0
        for rows in self.parts():
            missed = logits[rows].softmax(dim=1)
            missed[torch.arange(len(missed), device=self.device), self.labels[rows]] -= 1
            total[:-1] += self.rows(rows).T @ missed
            total[-1] += missed.double().sum(dim=0)
        return total

    def slope(self, logits: Tensor, change: Tensor, step: float) -> tuple[float, float]:
        """First and second derivative by `step` of the summed loss at logits + step * change."""
        first = second = torch.zeros((), dtype=torch.float64, device=self.device)
        for rows in self.parts():
            move = change[rows]
            weighted = torch.add(logits[rows], move, alpha=step).softmax(dim=1).mul_(move)
            mean = weighted.sum(dim=1).double()
            first = first + (mean - move.gather(1, self.labels[rows, None])[:, 0]).sum()
            second = second + (weighted.mul_(move).sum(dim=1).double() - mean.square()).sum()
        return first.item(), second.item()

    def spread(self, logits: Tensor) -> Tensor:
        """M, float64 (K, K): mean over images of diag(p) - p p'."""
        mean = torch.zeros(self.classes, dtype=torch.float64, device=self.device)
        products = torch.zeros(self.classes, self.classes, dtype=torch.float64, device=self.device)
        for rows in self.parts():
            p = logits[rows].softmax(dim=1)
            mean += p.double().sum(dim=0)
            products += p.T @ p
        return (torch.diag(mean) - products) / len(self)

    def judged(self, logits: Tensor) -> tuple[float, float]:
        """(share that is right, loss in nats an image)."""
        right, loss = 0, 0.0
        for rows in self.parts():
            right += int((ranks(logits[rows], self.labels[rows]) == 0).sum())
            wanted = logits[rows].log_softmax(dim=1).gather(1, self.labels[rows, None])
            loss -= wanted.double().sum().item()
        return right / len(self), loss / len(self)

    def parts(self) -> Iterator[slice]:
        """The images, in parts that are worked on at once."""
        size = max(1, min(8192, _AT_ONCE // self.classes))
        return (slice(start, min(start + size, len(self))) for start in range(0, len(self), size))

    def rows(self, rows: slice) -> Tensor:
        """Scaled features of a part, (m, d), on the device."""
        return self.x[rows].to(self.device)


def ranks(logits: Tensor, labels: Tensor) -> Tensor:
    """How many classes stand before the right one, int64 (n,); of equal logits, the first class's stands before."""
    own = logits.gather(1, labels[:, None])
    earlier = torch.arange(logits.shape[1], device=logits.device) < labels[:, None]
    return ((logits > own) | ((logits == own) & earlier)).sum(dim=1)


@dataclass(frozen=True)
class Eigen:
    """S / n of scaled features, roughly: orthonormal vectors (d, r), values (r,), and the value of what is left beside
    them; None where gradients have no part there. vectors: None for features that are turned to them."""

    vectors: Tensor | None
    values: Tensor
    rest: float | None

    @classmethod
    def of(cls, x: Tensor, device: torch.device) -> Eigen:
        """x: (n, d); rows evenly spread over it are used, and at most _MOST_EIGEN of them where d is larger."""
        most = _ROWS if x.shape[1] <= _MOST_EIGEN else _MOST_EIGEN
        some = x[:: -(-len(x) // most)].to(device)
        if some.shape[1] <= len(some):
            values, vectors = torch.linalg.eigh((some.T @ some).double() / len(some))
            return cls(vectors.to(x.dtype), values.clamp_min(0).to(x.dtype), None)
        rows = some.double()
        values, left = torch.linalg.eigh(rows @ rows.T / len(some))
        kept = values > _CONSTANT * values[-1].clamp_min(_CONSTANT)
        values = values[kept]
        vectors = rows.T @ (left[:, kept] / (len(some) * values).sqrt())
        missed = len(some) < len(x) and len(values) > 0
        return cls(vectors.to(x.dtype), values.to(x.dtype), float(values[0]) if missed else None)


class Guess:
    """The first guess of the inverse Hessian at one point of one penalty's problem."""

    def __init__(self, eigen: Eigen, spread: Tensor, images: int, penalty: float) -> None:
        values, self.turn = torch.linalg.eigh(spread)
        values = values.clamp_min(0.1 / images)
        self.eigen = eigen
        self.inner = 1 / (images * eigen.values[:, None].double() * values + penalty)  # (r, K)
        self.outer = None if eigen.rest is None else 1 / (images * eigen.rest * values + penalty)  # (K,)
        self.below = 1 / (images * values)
        # Adding the same to every class changes nothing: no step that way.
        for factors in (self.inner.T, self.outer, self.below):
            if factors is not None:
                factors[0] = 0

    def __call__(self, gradient: Tensor) -> Tensor:
        """(d + 1, K) -> (d + 1, K), both float64."""
        turned = gradient @ self.turn
        above, vectors = turned[:-1], self.eigen.vectors
        out = torch.empty_like(turned)
        if vectors is None:
            out[:-1] = above * self.inner
        else:
            above = above.to(vectors.dtype)
            parts = vectors.T @ above
            out[:-1] = vectors @ (parts * self.inner.to(vectors.dtype))
            if self.outer is not None:
                out[:-1] += (above - vectors @ parts) * self.outer.to(vectors.dtype)
        out[-1] = turned[-1] * self.below
        return out @ self.turn.T


class Blocks:
    """Another: the inverse of the Hessian's blocks of one class each. Far more work, and far nearer."""

    def __init__(self, problem: Problem, logits: Tensor, penalty: float) -> None:
        width, options = problem.width + 1, {"dtype": torch.float64, "device": problem.device}
        blocks = torch.zeros(problem.classes, width, width, **options)
        for rows in problem.parts():
            x = problem.rows(rows).double()
            x = torch.cat([x, x.new_ones(len(x), 1)], dim=1)
            p = logits[rows].double().softmax(dim=1)
            for block, weight in zip(blocks, (p - p.square()).T, strict=True):
                block.addmm_(x.T, x * weight[:, None])
        diagonals = blocks.diagonal(dim1=1, dim2=2)
        diagonals[:, :-1] += penalty
        diagonals[:, -1] += _CONSTANT * len(problem)  # the intercept of a class that is always certain
        self.factors = torch.linalg.cholesky(blocks)

    def __call__(self, gradient: Tensor) -> Tensor:
        """(d + 1, K) -> (d + 1, K), both float64."""
        # Adding the same to every class changes nothing: no step that way.
        gradient = gradient - gradient.mean(dim=1, keepdim=True)
        out = torch.cholesky_solve(gradient.T[:, :, None], self.factors)[:, :, 0].T
        return out - out.mean(dim=1, keepdim=True)


@dataclass
class Found:
    """Where a minimisation ended: values (d + 1, K), logits (n, K) there, and how."""

    values: Tensor
    logits: Tensor
    gradient: float
    steps: int
    converged: bool


def minimise(problem: Problem, penalty: float, start: Tensor, eigen: Eigen, tolerance: float) -> Found:
    """penalty: of the scaled problem. start: (d + 1, K). tolerance: as TOLERANCE."""
    values, logits = start.clone(), problem.logits(start)
    gradient = problem.gradient(logits, values, penalty)
    past: deque[tuple[Tensor, Tensor, float]] = deque(maxlen=_MEMORY)
    # Blocks are bought once the steps have cost as much: whatever comes, the work is at most about doubled.
    patience = max(_RENEWED, problem.width // _PRICE)
    has_room = problem.classes * (problem.width + 1) ** 2 <= _MOST_BLOCKS
    guess, exact, converged, steps, made = None, False, False, 0, 0
    while steps < _MOST_STEPS:
        if guess is None:
            exact, made = exact or (has_room and steps >= patience), steps
            if exact:
                guess = Blocks(problem, logits, penalty)
            else:
                guess = Guess(eigen, problem.spread(logits), len(problem), penalty)
            past.clear()
        direction = _direction(gradient, past, guess)
        down = -float((direction * gradient).sum())  # twice the distance to the minimum, were it a parabola
        change = length = 0
        if down > 2 * tolerance * len(problem):
            change = problem.logits(direction)
            length = _length(problem, logits, change, values, direction, penalty, down)
        if length == 0:  # at the minimum, as far as this guess can tell: ask one made here
            converged = 0 <= down <= 2 * tolerance * len(problem)
            if steps == made or (exact and converged):
                break
            guess = None
            continue
        step = length * direction
        values += step
        logits.add_(change, alpha=length)
        new = problem.gradient(logits, values, penalty)
        bend = float(((new - gradient) * step).sum())
        if bend > 0:
            past.append((step, new - gradient, bend))
        gradient, steps = new, steps + 1
        if steps - made == (patience if exact else _RENEWED):
            guess = None
    return Found(values, logits, float(gradient.abs().max()) / len(problem), steps, converged)


def _direction(gradient: Tensor, past: Sequence[tuple[Tensor, Tensor, float]], guess: Guess) -> Tensor:
    """L-BFGS's two loops (Nocedal and Wright, 2006, algorithm 7.4)."""
    left, shares = gradient.clone(), []
    for step, turn, bend in reversed(past):
        share = float((step * left).sum()) / bend
        left -= share * turn
        shares.append(share)
    out = guess(left)
    for (step, turn, bend), share in zip(past, reversed(shares), strict=True):
        out += (share - float((turn * out).sum()) / bend) * step
    return -out


def _length(
    problem: Problem,
    logits: Tensor,
    change: Tensor,
    values: Tensor,
    direction: Tensor,
    penalty: float,
    down: float,
) -> float:
    """How far to go: where the objective's slope, -down at the start, has nearly gone. Newton's method, kept between
    the longest step known to be too short and the shortest known to be too long; 0 if no step is found."""
    across = penalty * float((values[:-1] * direction[:-1]).sum())
    along = penalty * float(direction[:-1].square().sum())
    low, high = 0.0, float("inf")
    step = min(1.0, _FARTHEST / float(change.abs().max()))
    for _ in range(30):
        first, second = problem.slope(logits, change, step)
        first, second = first + across + step * along, second + along
        if abs(first) <= _SLOPE_LEFT * down:
            return step
        low, high = (step, high) if first < 0 else (low, step)
        newton = step - first / second if second > 0 else float("inf")
        if low < newton < high and newton < 10 * step:
            step = newton
        else:
            step = 4 * step if high == float("inf") else (low + high) / 2 if low else high / 8
    return low


def fit(
    x: Tensor, labels: Tensor, classes: int, outer: int, device: torch.device | str = "cpu"
) -> tuple[Readout, Tensor]:
    """The regression with the best penalty of the path, and its logits of all rows, float32 (n, classes) on the device.

    x: float32 (n, d), on the CPU or the device; scaled in place. labels: int64 (n,). outer: the first so many rows are
    fitted for each penalty, the others choose it by the share that is right (of equal ones by the loss); with that
    penalty, all rows are fitted.
    """
    scaling, device = Scaling.of(x), torch.device(device)
    x = scaling.apply_(x)
    turn = eigen = None
    if x.numel() <= _FEW:
        known = Eigen.of(x.double(), device)
        if known.rest is None:
            turn, eigen = known.vectors, Eigen(None, known.values, None)
            x = x.to(device).double() @ turn
    part, inner = (Problem(x[rows], labels[rows], classes, device) for rows in (slice(outer), slice(outer, None)))
    eigen, values = eigen or Eigen.of(x, device), part.start
    path: list[dict[str, float]] = []
    best, best_values = 0, values
    for relative in RELATIVE_PENALTIES:
        values = minimise(part, relative * len(x), values, eigen, PATH_TOLERANCE).values
        top1, loss = inner.judged(inner.logits(values))
        path.append({"penalty": relative * len(x) * scaling.scale**2, "top1": top1, "loss": loss})
        if len(path) == 1 or (top1, -loss) > (path[best]["top1"], -path[best]["loss"]):
            best, best_values = len(path) - 1, values
        elif len(path) - 1 - best >= PATIENCE:
            break
    whole = Problem(x, labels, classes, device)
    readout, logits = fit_one(whole, scaling, RELATIVE_PENALTIES[best] * len(x), best_values, eigen, path)
    if turn is not None:
        readout = replace(readout, weight=turn.cpu() @ readout.weight)
    return readout, logits.float()


def fit_one(
    problem: Problem, scaling: Scaling, penalty: float, start: Tensor, eigen: Eigen, path: Sequence[dict] = ()
) -> tuple[Readout, Tensor]:
    """The exact solution for one penalty, of the scaled problem, and its logits of all rows."""
    found = minimise(problem, penalty, start, eigen, TOLERANCE)
    how = {"loss": problem.judged(found.logits)[1], "gradient": found.gradient, "steps": found.steps}
    how |= {"converged": found.converged, "path": list(path)}
    weight, intercept = found.values[:-1].cpu(), found.values[-1].cpu()
    return Readout(scaling, weight, intercept, penalty * scaling.scale**2, how), found.logits
