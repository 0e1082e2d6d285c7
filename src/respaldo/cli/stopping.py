"""The word by which a daemon ends: told by a signal, heeded by its loop."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from queue import SimpleQueue
from types import FrameType

from respaldo.signals import hearing
from respaldo.waiting import wait_for_word


class Stop:
    """Whether to stop. Thread-safe.

    Not ``threading.Event``: it takes a lock in Python, and its own handler would wait for it (``wait_for_word``).
    """

    def __init__(self) -> None:
        self._is_told = False
        self._told: SimpleQueue[None] = SimpleQueue()

    @property
    def is_told(self) -> bool:
        """Whether it is time to stop."""
        return self._is_told

    def wait(self, seconds: float) -> None:
        """Return after so long, or as soon as it is told."""
        until_s = time.monotonic() + seconds
        while not self._is_told and (left_s := until_s - time.monotonic()) > 0:
            wait_for_word(self._told, left_s)

    @contextmanager
    def told_by_signals(self) -> Iterator[None]:
        """Have SIGTERM, Ctrl-C and SIGHUP tell it, in place of what they do otherwise."""

        def tell(number: int, frame: FrameType | None) -> None:
            self._is_told = True
            self._told.put(None)

        # One that ignores the end of its terminal, as by nohup, goes on.
        hangup = () if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN else (signal.SIGHUP,)
        with hearing((signal.SIGTERM, signal.SIGINT, *hangup), tell):
            yield
