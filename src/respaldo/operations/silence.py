"""Tells that nothing arrives where something should: a paused container says so itself to nobody."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator
from types import TracebackType
from typing import Self, TypeVar

AFTER_S = 60.0
Piece = TypeVar("Piece")


class Silence:
    """Watches streams that several threads read, and calls ``tell`` from a thread of its own, once for each time that
    none of them brought anything for ``after_s`` (a minute). It ends nothing. Works inside of the ``with`` block."""

    def __init__(self, tell: Callable[[], None], *, after_s: float | None = None) -> None:
        self._tell = tell
        self._after_s = AFTER_S if after_s is None else after_s
        self._lock = threading.Lock()
        self._waiting = 0
        self._arrived = 0
        self._since_s = 0.0
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._look, name="silence", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        self._thread.join()

    def watch(self, pieces: Iterable[Piece]) -> Iterator[Piece]:
        """Yield the same pieces. Only the time counts in which somebody waits for one, not what is done with it."""
        iterator = iter(pieces)
        while True:
            self._wait()
            try:
                piece = next(iterator)
            except StopIteration:
                return
            finally:
                self._note()
            yield piece

    def _wait(self) -> None:
        with self._lock:
            if not self._waiting:
                self._since_s = time.monotonic()
            self._waiting += 1

    def _note(self) -> None:
        with self._lock:
            self._waiting -= 1
            self._arrived += 1
            self._since_s = time.monotonic()

    def _look(self) -> None:
        told = -1
        while not self._over.wait(self._after_s / 4):
            with self._lock:
                is_silent = self._waiting > 0 and time.monotonic() - self._since_s >= self._after_s
                arrived = self._arrived
            if is_silent and arrived != told:
                told = arrived
                self._tell()
