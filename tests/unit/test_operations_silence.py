"""Streams that bring nothing: it is told, once each time, and nothing else comes of it."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from respaldo.operations.silence import Silence

AFTER_S = 0.1
WITHIN_S = 60


def test_each_silence_is_told_once_and_the_pieces_are_the_same() -> None:
    told = threading.Semaphore(0)

    def silent_twice() -> Iterator[int]:
        for number in range(3):
            yield number
            if number < 2:
                assert told.acquire(timeout=WITHIN_S)
                # Of the same silence nothing more is said, however long it lasts.
                assert not told.acquire(timeout=3 * AFTER_S)

    with Silence(told.release, after_s=AFTER_S) as silence:
        assert list(silence.watch(silent_twice())) == [0, 1, 2]


def test_streams_that_are_silent_together_are_told_of_once() -> None:
    told, go_on = threading.Semaphore(0), threading.Event()

    def silent(number: int) -> Iterator[int]:
        assert go_on.wait(WITHIN_S)
        yield number

    with Silence(told.release, after_s=AFTER_S) as silence, ThreadPoolExecutor(4) as pool:
        found = pool.map(lambda number: list(silence.watch(silent(number))), range(4))
        assert told.acquire(timeout=WITHIN_S)
        assert not told.acquire(timeout=3 * AFTER_S)
        go_on.set()
        assert list(found) == [[0], [1], [2], [3]]


def test_what_is_done_with_a_piece_is_no_silence_and_errors_pass() -> None:
    told = threading.Event()

    def broken() -> Iterator[int]:
        yield 1
        raise ConnectionError

    with Silence(told.set, after_s=AFTER_S) as silence:
        pieces = silence.watch(broken())
        assert next(pieces) == 1
        assert not told.wait(3 * AFTER_S)
        with pytest.raises(ConnectionError):
            next(pieces)
