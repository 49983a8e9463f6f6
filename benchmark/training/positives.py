"""Which image the second view shows: the first one's own, another of its class, or one of its neighbours.

The three kinds of positive pairs of the paper's section 4 (Figures 6 and 12). Which image it is, is drawn anew in every
step; augmented are all of them alike.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from benchmark.data.table import ImageTable
from benchmark.errors import UserError
from benchmark.objectives.objective import numbered

AUGMENTATION, CLASS = "augmentation", "class"
NEIGHBOURS = "neighbours "  # and the digest of their file's content, so that a run is not resumed with others

#: (int64 (B,) of the first views' images, source of chance) -> int64 (B,) of the second views'
Partners = Callable[[np.ndarray, np.random.Generator], np.ndarray]


def check_positives(positives: str, objective: str, views: int) -> None:
    """UserError (wrong usage) for a kind that there is not, or an objective whose views it does not concern."""
    if positives not in (AUGMENTATION, CLASS) and not positives.startswith(NEIGHBOURS):
        raise UserError(
            f"--positives {positives}: neither {AUGMENTATION} nor {CLASS}, nor a file; make one with gr3d neighbours",
            exit_code=2,
        )
    if positives != AUGMENTATION and views < 2:
        raise UserError(f"--positives: {objective} shows one view of an image; choose an objective that pairs two", 2)


def partners(positives: str, table: ImageTable, neighbours: np.ndarray | None) -> Partners | None:
    """How the second views' images are drawn; None where they are the first views' own.

    neighbours: int64 (N, k), needed where ``positives`` are neighbours. UserError when there is but one class.
    """
    if positives == AUGMENTATION:
        return None
    return SameClass(table.categories) if positives == CLASS else Neighbouring(neighbours)


class SameClass:
    """Another image of the same class, each as likely as the others; of a class of one image, that one."""

    def __init__(self, categories: list[str]) -> None:
        number = numbered(categories).numpy()
        count = np.bincount(number)
        if len(count) < 2:
            raise UserError(
                f"--positives {CLASS}: all training images are of one class ({categories[0]}), so all would be alike; "
                "choose another dataset or other positives",
                exit_code=2,
            )
        self._sorted = np.argsort(number, kind="stable")  # the images, class by class
        self._count, self._start = count[number], (np.cumsum(count) - count)[number]
        self._place = np.empty_like(self._sorted)  # of an image within its class
        self._place[self._sorted] = np.arange(len(number))
        self._place -= self._start

    def __call__(self, rows: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        count = self._count[rows]
        further = 1 + rng.integers(np.maximum(count - 1, 1))  # round the class, never all the way
        return self._sorted[self._start[rows] + (self._place[rows] + further) % count]


class Neighbouring:
    """One of an image's neighbours, each as likely as the others."""

    def __init__(self, places: np.ndarray) -> None:
        """places: int64 (N, k)."""
        self._places = places

    def __call__(self, rows: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        return self._places[rows, rng.integers(self._places.shape[1], size=len(rows))]
