"""One line on stderr that says how fast the work goes and when it will be done."""

from __future__ import annotations

import sys
import time
from typing import TextIO

_TERMINAL_INTERVAL_S = 0.5
_LOG_INTERVAL_S = 15.0  # where stderr is a file, each report is a line of it


class Progress:
    """Counts images: `label: 1200/5000 images, 410 images/s, 9 s left`."""

    def __init__(self, label: str, total: int, stream: TextIO | None = None) -> None:
        self._label, self._total, self._stream = label, total, stream or sys.stderr
        self._done, self._start = 0, time.monotonic()
        self._interactive = self._stream.isatty()
        self._next = self._start + (0 if self._interactive else _LOG_INTERVAL_S)

    def update(self, images: int) -> None:
        """Count `images` more, and say so when it is time."""
        self._done += images
        now = time.monotonic()
        if now >= self._next and self._done < self._total:
            self._say(f"{self._rate():.0f} images/s, {(self._total - self._done) / self._rate():.0f} s left")
            self._next = now + (_TERMINAL_INTERVAL_S if self._interactive else _LOG_INTERVAL_S)

    def finish(self) -> None:
        """Say how long it took."""
        self._say(f"{self._rate():.0f} images/s, {time.monotonic() - self._start:.1f} s")
        if self._interactive:
            print(file=self._stream)

    def _rate(self) -> float:
        return max(self._done, 1) / max(time.monotonic() - self._start, 1e-9)

    def _say(self, text: str) -> None:
        line = f"{self._label}: {self._done}/{self._total} images, {text}"
        if self._interactive:
            print(f"\r{line}\x1b[K", end="", file=self._stream, flush=True)
        else:
            print(line, file=self._stream, flush=True)
