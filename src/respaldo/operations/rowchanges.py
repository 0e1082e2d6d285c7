"""Rows of two texts matched by their key: how many were added, removed, changed. Memory is bounded, whatever their
number: what is kept of a row is 28 bytes, in temporary files that are matched one after the other."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from hashlib import blake2b
from types import TracebackType
from typing import IO, Self

ROWS_AT_ONCE = 200_000
"""Rows of one side that are matched at a time: some 40 MB of memory."""
_MOST_PARTS = 200
_HELD_BYTES = 64 * 1024
_KEY_BYTES, _ROW_BYTES = 16, 12
_RECORD_BYTES = _KEY_BYTES + _ROW_BYTES


@dataclass(frozen=True, slots=True, kw_only=True)
class RowChanges:
    """Rows by their key: only in the new text, only in the old one, in both with other values."""

    added: int = 0
    removed: int = 0
    changed: int = 0

    @property
    def are_none(self) -> bool:
        return not (self.added or self.removed or self.changed)


@dataclass(frozen=True, slots=True)
class RowShape:
    """Where a row of COPY's text holds the key and the values that are compared. A tab inside a value is written as a
    backslash and a t, so each tab stands between two."""

    columns: int
    key: tuple[int, ...]
    values: tuple[int, ...]

    @classmethod
    def of(cls, columns: Sequence[str], *, key: Iterable[str], values: Iterable[str]) -> Self:
        """Return the shape of rows with these columns; the same key and values in the same order fit together."""
        return cls(len(columns), tuple(map(columns.index, key)), tuple(map(columns.index, values)))


class RowMatch:
    """Two sides of rows; ``feed`` each, then ``result``. Not thread-safe; leaving the ``with`` block removes the
    temporary files."""

    def __init__(self, rows: int) -> None:
        """``rows``: about how many the larger side has."""
        parts = min(_MOST_PARTS, max(1, -(-rows // ROWS_AT_ONCE)))
        self._stack = ExitStack()
        self._sides: tuple[list[IO[bytes]], list[IO[bytes]]] = ([], [])
        for side in self._sides:
            for _number in range(parts):
                held = tempfile.SpooledTemporaryFile(max_size=_HELD_BYTES)  # noqa: SIM115 - the stack closes it
                side.append(self._stack.enter_context(held))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    def feed(self, text: Iterable[bytes], shape: RowShape, *, is_new: bool) -> None:
        """Take rows of one side. Raise ValueError for a row that has other columns than its shape."""
        files = self._sides[is_new]
        parts = len(files)
        for line in _lines(text):
            values = line.split(b"\t")
            if len(values) != shape.columns:
                raise ValueError(f"a row has {len(values)} columns, not {shape.columns}")
            key = blake2b(b"\t".join([values[place] for place in shape.key]), digest_size=_KEY_BYTES).digest()
            row = blake2b(b"\t".join([values[place] for place in shape.values]), digest_size=_ROW_BYTES).digest()
            files[int.from_bytes(key[:4], "big") % parts].write(key + row)

    def result(self) -> RowChanges:
        """Match what was fed."""
        added = removed = changed = 0
        for old, new in zip(*self._sides, strict=True):
            before = dict(_records(old))
            for key, row in _records(new):
                was = before.pop(key, None)
                if was is None:
                    added += 1
                elif was != row:
                    changed += 1
            removed += len(before)
        return RowChanges(added=added, removed=removed, changed=changed)


def _lines(text: Iterable[bytes]) -> Iterator[bytes]:
    rest = b""
    for piece in text:
        *lines, rest = (rest + piece).split(b"\n")
        yield from lines
    if rest:
        yield rest


def _records(file: IO[bytes]) -> Iterator[tuple[bytes, bytes]]:
    file.seek(0)
    while block := file.read(_RECORD_BYTES * 4096):
        for start in range(0, len(block), _RECORD_BYTES):
            yield block[start : start + _KEY_BYTES], block[start + _KEY_BYTES : start + _RECORD_BYTES]
