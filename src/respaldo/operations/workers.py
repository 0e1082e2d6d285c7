"""A bounded pool of threads that take tasks from one list, and stop together at the first failure."""

from __future__ import annotations

import sys
import threading
from _thread import start_new_thread
from collections import deque
from collections.abc import Callable, Iterable
from queue import SimpleQueue
from typing import Protocol

from respaldo.waiting import wait_for_word


class Closable(Protocol):
    """Something whose ``close`` makes a thread that waits on it fail at once."""

    def close(self) -> None: ...


class Workers:
    """Runs one loop per worker. The first error of any, or an interrupt of the caller, closes what the others wait on
    and is raised from ``run`` once all have ended. Used once."""

    def __init__(self, count: int) -> None:
        self._count = count
        self._is_stopping = False
        self._lock = threading.Lock()
        self._open: set[Closable] = set()
        self._begun: set[int] = set()
        self._awaited: set[int] = set()
        self._woken: SimpleQueue[None] = SimpleQueue()
        self._failure: BaseException | None = None

    @property
    def is_stopping(self) -> bool:
        """Whether a loop should end before its next task."""
        return self._is_stopping

    def closing(self, thing: Closable) -> None:
        """Have ``thing`` closed when the workers must stop."""
        with self._lock:
            self._open.add(thing)
            late = self._is_stopping
        if late:
            thing.close()

    def done_with(self, thing: Closable) -> None:
        """Forget a thing that its owner has closed."""
        with self._lock:
            self._open.discard(thing)

    def run(self, loops: Iterable[Callable[[], None]]) -> None:
        """Run the loops to their ends, on at most as many threads at once as there are workers."""
        # Neither concurrent.futures nor threading.Thread: both take locks in Python, and an interrupt that comes then
        # leaves them taken, and a thread that waits for one for ever.
        waiting = deque(loops)
        self._awaited = set(range(min(self._count, len(waiting))))
        try:
            for number in range(len(self._awaited)):
                start_new_thread(self._work, (number, waiting))
            while self._awaited and self._failure is None:
                wait_for_word(self._woken)
        finally:
            if self._awaited:
                self._cancel()
            while self._awaited:
                wait_for_word(self._woken)
        if self._failure is not None:
            raise self._failure

    def _work(self, number: int, waiting: deque[Callable[[], None]]) -> None:
        """Run one loop after another, and keep the first failure: those after it only tell of what was closed under
        them."""
        # What debuggers and coverage set for threads, threading.Thread alone hands on.
        sys.settrace(threading.gettrace())
        with self._lock:
            if self._is_stopping:
                return
            self._begun.add(number)
        try:
            while loop := self._next(waiting):
                loop()
        except BaseException as error:  # noqa: BLE001 - it is raised from run
            with self._lock:
                if not self._is_stopping and self._failure is None:
                    self._failure = error
        finally:
            # What it is known by first: an interrupt may come as the word of it is taken.
            self._awaited.discard(number)
            self._woken.put(None)

    def _next(self, waiting: deque[Callable[[], None]]) -> Callable[[], None] | None:
        with self._lock:
            return waiting.popleft() if waiting and not self._is_stopping else None

    def _cancel(self) -> None:
        with self._lock:
            self._is_stopping = True
            # What has not begun by now never will.
            self._awaited &= self._begun
            things = list(self._open)
        for thing in things:
            thing.close()
