"""What each step does, as a pure function of the seed and the step, so that a resumed run repeats nothing and skips
nothing."""

import math

import numpy as np

SCHEDULES = ("cosine", "constant", "cyclic", "step")

_ORDER, _VIEWS, _TORCH, _POSITIVES = 1, 2, 3, 4  # streams of random numbers that must not share draws

_FINAL_LR = 1e-3  # the cosine ends at this share of the peak, as in the authors' code
_FIRST_CYCLIC = 1e-4  # the triangle begins at this share of the peak, as in FFCV's ImageNet recipe
_STEPS, _STEP_RATIO = 3, 0.1  # as torch's ImageNet example: a tenth every 30 of 90 epochs


def learning_rate(step: int, steps: int, peak: float, warmup: float, schedule: str = "cosine") -> float:
    """Rate of step 0 ... steps - 1 under a schedule of SCHEDULES.

    "cosine": linear over the first ``warmup`` share of the steps, then half a cosine down to a thousandth. "constant":
    the same rise, then the peak. "step": the same rise, then the peak, and a tenth of what it was after each third of
    all steps. "cyclic": one triangle, which rises from nearly 0 to the peak at the share ``warmup`` and falls to 0
    (ffcv-imagenet's get_cyclic_lr with its lr_peak_epoch at ``warmup`` times the epochs).
    """
    if schedule == "cyclic":
        return peak * _triangle(step / steps, warmup)
    warm = round(warmup * steps)
    if step < warm:
        return peak * (step + 1) / warm
    if schedule == "constant":
        return peak
    if schedule == "step":
        return peak * _STEP_RATIO ** (_STEPS * step // steps)
    done = (step - warm) / max(1, steps - warm)
    return peak * (_FINAL_LR + (1 - _FINAL_LR) * 0.5 * (1 + math.cos(math.pi * done)))


def _triangle(done: float, top: float) -> float:
    """Height in (0, 1] at the share ``done`` < 1 of a triangle whose top is at ``top``."""
    if done < top:
        return _FIRST_CYCLIC + (1 - _FIRST_CYCLIC) * done / top
    return (1 - done) / (1 - top)


def ema_momentum(step: int, steps: int, base: float) -> float:
    """Share of its old weights that BYOL's teacher keeps at step 0 ... steps - 1: half a cosine from ``base`` towards 1
    (Grill et al., 2020, section 3.2)."""
    return 1 - (1 - base) * 0.5 * (1 + math.cos(math.pi * step / steps))


def epoch_order(seed: int, epoch: int, count: int) -> np.ndarray:
    """int64 (count,), the order in which an epoch visits the images."""
    return np.random.default_rng((seed, _ORDER, epoch)).permutation(count)


class EpochOrder:
    """Which images each step has: every epoch's own order, cut into whole batches; what is left of one epoch is in
    another one's batches."""

    def __init__(self, seed: int, count: int, batch: int) -> None:
        self.seed, self.count, self.batch = seed, count, batch
        self._known: tuple[int, np.ndarray] = (-1, np.empty(0))

    def rows(self, step: int) -> np.ndarray:
        """int64 (batch,)"""
        epoch, position = divmod(step, self.count // self.batch)
        if self._known[0] != epoch:
            self._known = epoch, epoch_order(self.seed, epoch, self.count)
        start = position * self.batch
        return self._known[1][start : start + self.batch]


def batch_seed(seed: int, step: int) -> tuple[int, int, int]:
    """What step 0 ... draws its augmentations from: a seed for numpy.random.default_rng."""
    return seed, _VIEWS, step


def view_rng(seed: int, step: int) -> np.random.Generator:
    """Source of a step's augmentations."""
    return np.random.default_rng(batch_seed(seed, step))


def positive_rng(seed: int, step: int) -> np.random.Generator:
    """Source of which images a step's second views show, where they are not those of the first."""
    return np.random.default_rng((seed, _POSITIVES, step))


def torch_seed(seed: int, step: int, rank: int) -> int:
    """What torch's own generators start a step from (dropout; nothing else draws from them)."""
    return int(np.random.default_rng((seed, _TORCH, step, rank)).integers(2**63))


def shares(batch: int, accumulate: int, rank: int, ranks: int) -> list[slice]:
    """Which of a step's ``batch`` images this rank runs: one slice for each of ``accumulate`` parts.

    A part is a run of batch / accumulate images, cut into one run for each rank.
    """
    share = batch // (accumulate * ranks)
    return [slice(start, start + share) for start in range(rank * share, batch, share * ranks)]
