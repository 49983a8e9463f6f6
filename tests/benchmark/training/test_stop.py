"""Signals as wishes: which are heard, and what a second one does."""

import errno
import io
import os
import signal

import pytest

from benchmark.training.log import Progress
from benchmark.training.stop import StopRequest


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_signal_is_noted_and_handlers_are_put_back(number):
    before = signal.getsignal(number)
    with StopRequest() as stop:
        signal.raise_signal(number)
        assert stop.number == number
    assert signal.getsignal(number) is before


def test_second_interrupt_is_no_wish():
    with StopRequest():
        signal.raise_signal(signal.SIGINT)
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)


def test_closing_terminal_may_hang_up_twice():
    with StopRequest() as stop:
        signal.raise_signal(signal.SIGHUP)
        signal.raise_signal(signal.SIGHUP)
        assert stop.number == signal.SIGHUP


def test_what_nohup_ignores_stays_ignored():
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with StopRequest() as stop:
            signal.raise_signal(signal.SIGHUP)
            assert stop.number == 0
        assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)


def test_progress_survives_the_terminal_that_showed_it():
    class Gone(io.StringIO):
        def write(self, _):
            raise OSError(errno.EIO, os.strerror(errno.EIO))

    progress = Progress("run", 0, 2, 8, out=Gone())
    for done in (1, 2):
        progress.step(done, "1/1", 0.5)
