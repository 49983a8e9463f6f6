"""What the pool remembers of its workers: what they died of, and how much memory they took."""

from collections import Counter
from dataclasses import dataclass, field

#: A worker that dies at one and the same step of an object so often shows that it is the object's fault. Three, since
#: workers are killed from outside, too: the second death at the same step may still be chance. A hang costs minutes.
DEATHS_ALLOWED, HANGS_ALLOWED = 3, 2
#: An object that brings workers down at ever other steps goes after so many.
DEATHS_OF_ONE_OBJECT = 12


@dataclass(frozen=True)
class Recycling:
    """When a worker that does its work well is replaced all the same, between two visits.

    Attributes:
        frames: images drawn. A new worker takes as long to start as about 50 images to draw, so this costs half a
            percent; memory is flat over tens of thousands of images (tests/performance/long_run.py), but bad drivers
            and add-ons leak, and nothing that a process has leaked outlives it.
        grown_mb: growth of its resident memory since its first visit. Between visits the last object is gone;
            what stays, within a few hundred MB, is what the allocator keeps after a large one.
    """

    frames: int = 10_000
    grown_mb: float = 1024


class Blame:
    """Counts what objects did to workers, and says when one has to be quarantined."""

    def __init__(self) -> None:
        self._deaths: Counter[tuple[str, int | None]] = Counter()
        self._hangs: Counter[str] = Counter()
        self._of: Counter[str] = Counter()

    def died(self, object_id: str, step: int | None) -> int | None:
        """A worker died while it loaded the object (`step` None) or drew sample `step`.

        Returns how often that has happened if it is too often, else None.
        """
        self._deaths[object_id, step] += 1
        self._of[object_id] += 1
        if self._deaths[object_id, step] >= DEATHS_ALLOWED:
            return self._deaths[object_id, step]
        return self._of[object_id] if self._of[object_id] >= DEATHS_OF_ONE_OBJECT else None

    def hung(self, object_id: str) -> int | None:
        """A worker hung on the object. Returns how often that has happened if it is too often, else None."""
        self._hangs[object_id] += 1
        return self._hangs[object_id] if self._hangs[object_id] >= HANGS_ALLOWED else None


@dataclass
class Memory:
    """Resident memory of the workers that took one place in the pool, one after the other.

    Attributes:
        max_mb: the largest seen, between visits.
        series: (images drawn at that place, MB, seconds since the run began), `POINTS` at most, evenly spread.
    """

    max_mb: float = 0.0
    series: list[tuple[int, float, float]] = field(default_factory=list)
    _stride: int = 1

    POINTS = 64

    def add(self, frames: int, mb: float, seconds: float) -> None:
        self.max_mb = max(self.max_mb, mb)
        if self.series and frames < self.series[-1][0] + self._stride:
            return
        self.series.append((frames, round(mb, 1), round(seconds, 1)))
        if len(self.series) > self.POINTS:
            self.series = self.series[::2]
            self._stride = (self.series[-1][0] - self.series[0][0]) // (len(self.series) - 1)
