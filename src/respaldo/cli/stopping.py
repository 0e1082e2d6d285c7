"""The word by which a daemon ends: told by a signal, heeded by its loop."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from queue import Empty, SimpleQueue
from types import FrameType

# A signal ends no wait that has not quite begun, nor one whose thread it did not come to.
_HEEDS_S = 0.5


class Stop:
    """Whether to stop. Thread-safe.

    A signal interrupts whatever the main thread does, another signal's handler too. So nothing here takes a lock in
    Python, as ``threading.Event`` does: who waits for one that the interrupted holds, waits for ever.
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
            with suppress(Empty):
                self._told.get(timeout=min(left_s, _HEEDS_S))

    @contextmanager
    def told_by_signals(self) -> Iterator[None]:
        """Have SIGTERM, Ctrl-C and SIGHUP tell it, in place of what they do otherwise."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return

        def tell(number: int, frame: FrameType | None) -> None:
            self._is_told = True
            self._told.put(None)

        # One that ignores the end of its terminal, as by nohup, goes on.
        hangup = () if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN else (signal.SIGHUP,)
        before = {number: signal.signal(number, tell) for number in (signal.SIGTERM, signal.SIGINT, *hangup)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
