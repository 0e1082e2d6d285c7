"""A daemon's loop ends by a signal, whatever the signal interrupts. A wait that it does not end is ended by the limit
of every test."""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Callable
from types import FrameType
from typing import Any

import pytest

from respaldo.cli.stopping import Stop


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_signal_ends_a_wait_and_means_what_it_did_before(number: signal.Signals) -> None:
    stop = Stop()
    before = signal.getsignal(number)
    with stop.told_by_signals():
        timer = threading.Timer(0.01, signal.pthread_kill, (threading.get_ident(), number))
        timer.start()
        stop.wait(3600)
        timer.join()
    assert stop.is_told
    assert signal.getsignal(number) is before


def test_signal_that_came_to_another_thread_ends_a_wait() -> None:
    """As one that comes just before the main thread begins to wait."""
    stop = Stop()
    with stop.told_by_signals():
        other = threading.Timer(0.05, lambda: signal.pthread_kill(threading.get_ident(), signal.SIGTERM))
        other.start()
        stop.wait(3600)
        other.join()
    assert stop.is_told


def test_wait_ends_by_itself_without_a_word() -> None:
    stop = Stop()
    stop.wait(0.001)
    assert not stop.is_told


def test_end_of_a_terminal_is_ignored_where_it_was() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with Stop().told_by_signals():
            assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)


def test_two_signals_at_any_line_of_the_wait_end_it() -> None:
    def wait(first: int) -> int:
        """Wait with a signal at the line of this number and at the next; return how many lines there were."""
        stop = Stop()
        lines = 0

        def trace(frame: FrameType, event: str, _argument: object) -> Callable[..., Any]:
            nonlocal lines
            lines += event == "line"
            if event == "line" and 0 < first <= lines < first + 2:
                signal.raise_signal(signal.SIGTERM)
            return trace

        before = sys.gettrace()
        with stop.told_by_signals():
            sys.settrace(trace)
            stop.wait(0.001)
            sys.settrace(before)
        assert stop.is_told == (0 < first <= lines)
        return lines

    for line in range(wait(0) + 1):
        wait(line)
