"""A bounded pool of threads that take tasks from one list, and stop together at the first failure."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from typing import Protocol


class Closable(Protocol):
    """Something whose ``close`` makes a thread that waits on it fail at once."""

    def close(self) -> None: ...


class Workers:
    """Runs one loop per worker. The first error of any, or an interrupt of the caller, closes what the others wait on
    and is raised from ``run`` once all have ended. Used once."""

    def __init__(self, count: int) -> None:
        self._count = count
        self._stop = threading.Event()
        self._lock = threading.Lock()
        self._open: set[Closable] = set()
        self._failure: BaseException | None = None

    @property
    def is_stopping(self) -> bool:
        """Whether a loop should end before its next task."""
        return self._stop.is_set()

    def closing(self, thing: Closable) -> None:
        """Have ``thing`` closed when the workers must stop."""
        with self._lock:
            self._open.add(thing)
            late = self._stop.is_set()
        if late:
            thing.close()

    def done_with(self, thing: Closable) -> None:
        """Forget a thing that its owner has closed."""
        with self._lock:
            self._open.discard(thing)

    def run(self, loops: Iterable[Callable[[], None]]) -> None:
        """Run the loops to their ends, each in a thread of its own."""
        with ThreadPoolExecutor(max_workers=self._count, thread_name_prefix="respaldo") as pool:
            try:
                # An interrupt may come between two of them: leaving the pool would wait for those begun to their ends.
                futures = [pool.submit(self._guard, loop) for loop in loops]
                if wait(futures, return_when=FIRST_EXCEPTION).not_done:
                    self._cancel()
            except BaseException:
                self._cancel()
                raise
        if self._failure is not None:
            raise self._failure

    def _guard(self, loop: Callable[[], None]) -> None:
        """Run a loop, and keep the first failure: those after it only tell of what was closed under them."""
        if self._stop.is_set():
            return
        try:
            loop()
        except BaseException as error:
            with self._lock:
                if not self._stop.is_set() and self._failure is None:
                    self._failure = error
            raise

    def _cancel(self) -> None:
        with self._lock:
            self._stop.set()
            things = list(self._open)
        for thing in things:
            thing.close()
