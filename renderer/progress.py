"""What a run says as it goes: one line, drawn over itself on a terminal, written anew every half minute in a log."""

import shutil
import sys
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import TextIO

#: The rate is that of so many last seconds, and of at least so many images: the time left follows what happens now.
WINDOW_SECONDS, WINDOW_IMAGES = 60.0, 20
TERMINAL_SECONDS, LOG_SECONDS = 1.0, 30.0


@dataclass(frozen=True)
class Standing:
    """Where a run stands.

    Attributes:
        asked: samples asked for.
        done: those of them whose image is there, drawn by this run or before.
        left: images that this run has yet to draw.
        quarantined: objects that cannot be used.
    """

    asked: int
    done: int
    left: int
    quarantined: int

    @property
    def skipped(self) -> int:
        """Samples that will never have an image, since their object is quarantined."""
        return self.asked - self.done - self.left


class Progress:
    """Measures the rate of a run and writes its lines. `clock` and `stream` are for tests."""

    def __init__(self, stream: TextIO | None = None, clock: Callable[[], float] = time.monotonic) -> None:
        self.stream, self.clock = stream or sys.stderr, clock
        self.drawing_since: float | None = None
        self.rendered = 0
        self._window: deque[float] = deque()  # when the last images came, after `_window_start`
        self._window_start = 0.0
        self._shown = float("-inf")
        self._on_screen = 0  # characters of the line under the cursor

    def ready(self) -> None:
        """Blender has started: rates count from here."""
        if self.drawing_since is None:
            self.drawing_since = self._window_start = self.clock()

    def image(self, index: int) -> None:
        """The image of sample `index` is there."""
        self.rendered += 1
        self._window.append(self.clock())

    def show(self, standing: Standing, last: bool = False) -> None:
        """Write the line if it is time to; `last`: in any case, with the rate of the whole run."""
        now, tty = self.clock(), self.stream.isatty()
        if not last and now - self._shown < (TERMINAL_SECONDS if tty else LOG_SECONDS):
            return
        self._shown = now
        text = line(standing, self.mean_rate() if last else self.rate(), self.drawing_since is not None, last)
        if not tty:
            print(text, file=self.stream, flush=True)
            return
        text = text[: shutil.get_terminal_size().columns - 1]
        print("\r" + text.ljust(self._on_screen), end="\n" if last else "", file=self.stream, flush=True)
        self._on_screen = 0 if last else len(text)

    def say(self, text: str) -> None:
        """Write a line of its own."""
        erase = "\r" + " " * self._on_screen + "\r" if self._on_screen else ""
        self._on_screen = 0
        print(erase + text, file=self.stream, flush=True)

    def rate(self) -> float:
        """Images a second in the last minute, or over the last images where they are few."""
        now = self.clock()
        while len(self._window) > WINDOW_IMAGES and self._window[0] < now - WINDOW_SECONDS:
            self._window_start = self._window.popleft()
        return len(self._window) / max(now - self._window_start, 1e-9)

    def mean_rate(self) -> float:
        """Images a second since Blender had started."""
        return self.rendered / max(self.clock() - (self.drawing_since or 0.0), 1e-9)


def line(standing: Standing, rate: float, started: bool, last: bool) -> str:
    """Images there of those asked for, rate, time left, and what was quarantined."""
    share = standing.done / standing.asked if standing.asked else 1.0
    parts = [f"{standing.done:,} of {standing.asked:,} images ({share:.1%})"]
    if last:
        parts.append(f"{speed(rate)} while drawing")
    elif started:
        parts += [speed(rate), f"{duration(standing.left / rate if rate else float('inf'))} left"]
    else:
        parts.append("Blender starts")
    if standing.quarantined:
        parts.append(f"{standing.quarantined:,} objects quarantined ({standing.skipped:,} images skipped)")
    return ", ".join(parts)


def speed(rate: float) -> str:
    """A rate in images a second, to three digits."""
    return f"{rate:.{max(0, min(3, 2 - int(f'{rate:e}'.partition('e')[2])))}f} images/s" if rate else "0 images/s"


def duration(seconds: float) -> str:
    """Hours, minutes and seconds: "3:05:07"."""
    if seconds == float("inf"):
        return "unknown time"
    hours, rest = divmod(round(seconds), 3600)
    return f"{hours}:{rest // 60:02d}:{rest % 60:02d}"
