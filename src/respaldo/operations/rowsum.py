"""A sum over rows that their order does not change: two tables with the same rows have the same."""

from __future__ import annotations

from collections.abc import Sequence


class RowSum:
    """Rows of COPY's text format, fed in any pieces. Compare only sums of one process: Python's hash of bytes
    (SipHash, 64 bits) is keyed anew in each. Not thread-safe.

    ``order``: the places of a row's columns in the order that they are summed in, where that is not the text's own.
    """

    __slots__ = ("_order", "_sum", "_tail", "rows")

    def __init__(self, order: Sequence[int] | None = None) -> None:
        self.rows = 0
        self._order = order
        self._sum = 0
        self._tail = b""

    def feed(self, text: bytes) -> None:
        """Take the next piece."""
        lines = (self._tail + text).split(b"\n")
        self._tail = lines.pop()
        self.rows += len(lines)
        if self._order is not None:
            # A tab inside a value is written as a backslash and a t.
            rows = (line.split(b"\t") for line in lines)
            lines = [b"\t".join([row[place] for place in self._order]) for row in rows]
        self._sum += sum(map(hash, lines))

    def add(self, other: RowSum) -> None:
        """Add the rows of another part of the same table; both must have ended at a row's end."""
        self.rows += other.rows
        self._sum += other._sum

    @property
    def is_whole(self) -> bool:
        """Whether what was fed ends at a row's end."""
        return not self._tail

    @property
    def total(self) -> tuple[int, int]:
        """What is compared."""
        return self.rows, self._sum
