"""Ctrl-C, SIGTERM and a closed terminal as a wish that the loop grants between two steps."""

import signal
import threading
from types import FrameType


class StopRequest:
    """Context manager; ``number`` is that of the signal that arrived, or 0. A second Ctrl-C interrupts at once.

    What whoever started the process had it ignore (nohup: SIGHUP) stays ignored. Outside the main thread Python cannot
    install handlers, and nothing is caught.
    """

    _SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

    def __init__(self) -> None:
        self.number = 0
        self._previous: dict = {}

    def __enter__(self) -> "StopRequest":
        if threading.current_thread() is threading.main_thread():
            heard = [number for number in self._SIGNALS if signal.getsignal(number) is not signal.SIG_IGN]
            self._previous = {number: signal.signal(number, self._handle) for number in heard}
        return self

    def __exit__(self, *_: object) -> None:
        self._restore()

    def _handle(self, number: int, _frame: FrameType | None) -> None:
        self.number = int(number)
        # The others may come twice: a closing terminal's from the kernel and from the shell.
        if signal.SIGINT in self._previous:
            signal.signal(signal.SIGINT, self._previous[signal.SIGINT])

    def _restore(self) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)
        self._previous = {}
