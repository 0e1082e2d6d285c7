"""A sum over rows that their order does not change: two tables with the same rows have the same."""

from __future__ import annotations


class RowSum:
    """Rows of COPY's text format, fed in any pieces. Compare only sums of one process: Python's hash of bytes
    (SipHash, 64 bits) is keyed anew in each. Not thread-safe."""

    __slots__ = ("_sum", "_tail", "rows")

    def __init__(self) -> None:
        self.rows = 0
        self._sum = 0
        self._tail = b""

    def feed(self, text: bytes) -> None:
        """Take the next piece."""
        lines = (self._tail + text).split(b"\n")
        self._tail = lines.pop()
        self.rows += len(lines)
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
