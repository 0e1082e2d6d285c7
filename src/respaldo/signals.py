"""Who hears of a signal."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from types import FrameType


@contextmanager
def hearing(numbers: Sequence[int], hear: Callable[[int, FrameType | None], object]) -> Iterator[None]:
    """Have ``hear`` called for each of these signals, in place of what they do otherwise; not outside of the main
    thread, which alone may change that."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.signal(number, hear) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
