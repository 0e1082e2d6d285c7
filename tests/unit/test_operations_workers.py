"""Workers: the first failure wins, what the others wait on is closed, and an interrupt does the same."""

from __future__ import annotations

import os
import random
import signal
import threading
from collections.abc import Callable

import pytest

from respaldo.operations.workers import Workers


class Waited:
    """Something that a loop waits on until it is closed, and then fails, as a stream does."""

    def __init__(self) -> None:
        self.is_closed = threading.Event()

    def close(self) -> None:
        self.is_closed.set()

    def wait(self) -> None:
        assert self.is_closed.wait(10)
        raise ConnectionError("closed")


def test_workers_run_every_loop() -> None:
    done: list[int] = []
    Workers(3).run(lambda number=number: done.append(number) for number in range(3))  # type: ignore[misc]
    assert sorted(done) == [0, 1, 2]


def test_workers_raise_the_first_failure_and_close_what_the_others_wait_on() -> None:
    workers = Workers(2)
    waited = Waited()
    is_waiting = threading.Event()

    def wait() -> None:
        workers.closing(waited)
        is_waiting.set()
        waited.wait()

    def fail() -> None:
        assert is_waiting.wait(10)
        raise ValueError("first")

    with pytest.raises(ValueError, match="first"):
        workers.run([wait, fail])
    assert waited.is_closed.is_set()
    assert workers.is_stopping


def test_workers_close_at_once_what_is_registered_late() -> None:
    workers = Workers(1)
    other = Waited()

    def fail() -> None:
        raise ValueError("early")

    def late() -> None:
        pytest.fail("a loop began after a failure")

    with pytest.raises(ValueError, match="early"):
        workers.run([fail, late])
    workers.closing(other)
    assert other.is_closed.is_set() == workers.is_stopping


def test_workers_close_nothing_that_its_owner_is_done_with() -> None:
    workers = Workers(2)
    done, waited = Waited(), Waited()
    is_waiting = threading.Event()

    def wait() -> None:
        workers.closing(done)
        workers.done_with(done)
        workers.closing(waited)
        is_waiting.set()
        waited.wait()

    def fail() -> None:
        assert is_waiting.wait(10)
        raise ValueError

    with pytest.raises(ValueError):
        workers.run([wait, fail])
    assert not done.is_closed.is_set()


def interrupt_all() -> None:
    os.kill(os.getpid(), signal.SIGINT)


def interrupt_another_thread() -> None:
    """As one that comes just before the main thread begins to wait, and so does not end the wait."""
    signal.pthread_kill(threading.get_ident(), signal.SIGINT)


@pytest.mark.parametrize("interrupt", [interrupt_all, interrupt_another_thread])
def test_workers_interrupted_while_they_run_close_and_end(interrupt: Callable[[], None]) -> None:
    workers = Workers(1)
    waited = Waited()

    def wait() -> None:
        workers.closing(waited)
        interrupt()
        waited.wait()

    with pytest.raises(KeyboardInterrupt):
        workers.run([wait])
    assert waited.is_closed.is_set()


def test_workers_interrupted_at_any_moment_close_and_end() -> None:
    is_interruptible = False

    def interrupt(_number: int, _frame: object) -> None:
        if is_interruptible:
            raise KeyboardInterrupt

    def is_interrupted_after(delay_s: float) -> bool:
        nonlocal is_interruptible
        workers = Workers(2)
        running: set[int] = set()

        def loop(number: int) -> None:
            running.add(number)
            waited = Waited()
            workers.closing(waited)
            waited.is_closed.wait(0.0002)
            workers.done_with(waited)
            running.discard(number)

        # A hang is told by the signal of the alarm, so this takes another.
        timer = threading.Timer(delay_s, signal.pthread_kill, (threading.get_ident(), signal.SIGUSR1))
        timer.start()
        is_interrupted = False
        try:
            is_interruptible = True
            workers.run([lambda: loop(1), lambda: loop(2)])
        except KeyboardInterrupt:
            is_interrupted = True
        is_interruptible = False
        assert not running
        timer.join()
        return is_interrupted

    chance = random.Random(20261126)
    before = signal.signal(signal.SIGUSR1, interrupt)
    try:
        interrupted = sum(is_interrupted_after(chance.uniform(0, 0.0006)) for _time in range(1000))
    finally:
        signal.signal(signal.SIGUSR1, before)
    assert interrupted > 10
