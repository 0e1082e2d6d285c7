"""Rows that were sent one after another, by the digest of their text: a table that keeps their order gives it back."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

ORDERED_BYTES = 1 << 20
"""Tables with less text than this are cheaper summed row by row than emptied and loaded by themselves."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stretch:
    """Consecutive rows of a table: how many stand before them, how many they are, the SHA-256 of their COPY text.

    SHA-256 and not the manifest's BLAKE3: every image has ``sha256sum``, so that the rows need not be sent here.
    """

    before: int
    rows: int
    digest: str
    size_bytes: int


class StretchDigest:
    """Digests a table's text on its way in, cut into stretches that can be read back at the same time. Not thread-safe.

    ``rows``, ``count``: the table's rows, and in how many stretches about they are wanted.
    """

    def __init__(self, rows: int, count: int) -> None:
        self._share = max(1, -(-rows // max(1, count)))
        self._digest = hashlib.sha256()
        self._before, self._rows, self._size_bytes = 0, 0, 0
        self._done: list[Stretch] = []

    def feed(self, text: bytes) -> None:
        """Take the next piece."""
        self._digest.update(text)
        self._size_bytes += len(text)

    def end_segment(self, rows: int) -> None:
        """Say that a segment of so many rows has been fed to its end; a stretch may end there."""
        self._rows += rows
        if self._rows >= self._share:
            self._cut()

    def finish(self) -> list[Stretch]:
        """Return the stretches; their rows are all of the table's, in order."""
        if self._rows or not self._done:
            self._cut()
        return self._done

    def _cut(self) -> None:
        self._done.append(
            Stretch(before=self._before, rows=self._rows, digest=self._digest.hexdigest(), size_bytes=self._size_bytes)
        )
        self._before += self._rows
        self._rows, self._size_bytes, self._digest = 0, 0, hashlib.sha256()
