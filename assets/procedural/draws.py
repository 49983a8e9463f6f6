"""Random choices of the generators: the same on every machine and with every numpy version."""

import colorsys
import hashlib
from collections.abc import Sequence
from typing import TypeVar

import numpy as np

Option = TypeVar("Option")
Colour = tuple[float, float, float]

DARKEST, BRIGHTEST = 0.15, 0.85
"""Channels stay inside: darker or brighter paint would hide the hue of the light that falls on it."""

RUBBER: Colour = (0.17, 0.17, 0.19)
STEEL: Colour = (0.58, 0.60, 0.63)
DARK_STEEL: Colour = (0.32, 0.33, 0.36)
GLASS: Colour = (0.38, 0.52, 0.60)
CREAM: Colour = (0.84, 0.81, 0.74)

_DIFFERENT = 0.34
"""Least distance in RGB between two colours of one palette."""


class Draws:
    """A stream of choices that is a pure function of (family, number).

    Takes raw 64-bit words from Philox, whose stream numpy never changes, and none of numpy's distributions, whose
    algorithms may change between versions.
    """

    def __init__(self, family: str, number: int) -> None:
        key = hashlib.sha256(f"gr3d procedural/{family}/{number}".encode()).digest()[:16]
        self._bits = np.random.Philox(key=int.from_bytes(key, "little"))

    def uniform(self, low: float, high: float) -> float:
        """A number in [low, high)."""
        return low + (high - low) * (int(self._bits.random_raw()) >> 11) * 2.0**-53

    def integer(self, low: int, high: int) -> int:
        """An integer in low..high, both included."""
        return low + int(self.uniform(0, high - low + 1))

    def chance(self, probability: float = 0.5) -> bool:
        return self.uniform(0, 1) < probability

    def choice(self, options: Sequence[Option]) -> Option:
        return options[self.integer(0, len(options) - 1)]

    def palette(self, count: int, *taken: Colour) -> list[Colour]:
        """`count` sRGB colours that differ clearly from each other and from `taken`."""
        chosen: list[Colour] = []
        needed = _DIFFERENT
        while len(chosen) < count:
            colour = self._colour()
            if all(_distance(colour, other) >= needed for other in (*taken, *chosen)):
                chosen.append(colour)
            else:
                needed *= 0.98  # the more colours are taken, the fewer are left: always ends
        return chosen

    def _colour(self) -> Colour:
        hue, saturation = self.uniform(0, 1), self.uniform(0.1, 0.95)
        return _inside(colorsys.hsv_to_rgb(hue, saturation, self.uniform(0.32, 0.86)))


def _inside(colour: Colour) -> Colour:
    red, green, blue = (round(min(max(channel, DARKEST), BRIGHTEST), 4) for channel in colour)
    return red, green, blue


def _distance(one: Colour, other: Colour) -> float:
    return sum((a - b) ** 2 for a, b in zip(one, other, strict=True)) ** 0.5
