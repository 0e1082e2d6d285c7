"""pg_dump's plain text, split at its COPY statements without ever being held whole.

A script of ``pg_dump --section=data`` is statements, and blocks of rows between ``COPY … FROM stdin;`` and ``\\.``.
A row that looks like either is data: within a block only a line that is exactly ``\\.`` ends it (COPY escapes every
backslash of a value), and outside of one only a whole statement, read with its quotes, begins it.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from respaldo.errors import PostgresError
from respaldo.language import _
from respaldo.units import MIB

# pg_dump is always asked to quote them all (dump.py).
_IDENTIFIER = rb'"((?:[^"]|"")+)"'
_COPY = re.compile(rb"COPY " + _IDENTIFIER + rb"\." + _IDENTIFIER + rb" (?:\(.*\) )? ?FROM stdin;\n", re.DOTALL)
# Either a line to leave out (blank, a comment, psql's \\restrict), or a statement up to the semicolon that ends its
# line outside of quotes. Anything else is a statement that has not arrived whole. The outer group is not possessive:
# Python before 3.11.5 then finds no match at all (CPython gh-106052), and Debian 12 has 3.11.2.
_STATEMENT = re.compile(
    rb"""(?: (?P<left_out> \n | --[^\n]*+\n | \\(?:un)?restrict[^\n]*+\n )
        | (?: [^;'"\n-]++ | -(?!-) | \n | '[^']*+(?:''[^']*+)*+' | "[^"]*+(?:""[^"]*+)*+" | ;(?!\n) )+ ;\n )""",
    re.VERBOSE,
)
_END = b"\\.\n"


@dataclass(frozen=True, slots=True)
class RowsBegin:
    """A COPY statement: rows of this table follow. ``head`` is the statement with its newline."""

    schema: str
    name: str
    head: bytes


@dataclass(frozen=True, slots=True)
class RowsEnd:
    """The table's rows are complete."""


@dataclass(frozen=True, slots=True)
class Rows:
    """Whole rows, each with its newline."""

    text: bytes


@dataclass(frozen=True, slots=True)
class Statements:
    """Whole statements that are no COPY."""

    text: bytes


Part = RowsBegin | Rows | RowsEnd | Statements


def split_script(pieces: Iterable[bytes]) -> Iterator[Part]:
    """Yield the parts of a data script in order. Raise PostgresError where it ends inside one."""
    buffer = b""
    held: list[bytes] = []
    in_rows = False
    for piece in pieces:
        held.append(piece)
        # Of a row in many pieces each is looked at once.
        if in_rows and b"\n" not in piece:
            continue
        buffer = b"".join(held)
        while True:
            if in_rows:
                part, buffer, in_rows = _take_rows(buffer)
                if part is not None:
                    yield part
                if in_rows:
                    break
                yield RowsEnd()
            else:
                text, begin, buffer = _take_statements(buffer)
                if text:
                    yield Statements(text)
                if begin is None:
                    break
                yield begin
                in_rows = True
        held = [buffer]
    if in_rows or buffer.strip():
        raise PostgresError(_("pg_dump's text ends in the middle of a statement or of a table's rows"))


def _take_rows(buffer: bytes) -> tuple[Rows | None, bytes, bool]:
    """Return the whole rows at the buffer's start, the rest of it, and whether more rows follow."""
    if buffer.startswith(_END):
        return None, buffer[len(_END) :], False
    end = buffer.find(b"\n" + _END)
    if end >= 0:
        return Rows(buffer[: end + 1]), buffer[end + 1 + len(_END) :], False
    # A line may be the first half of the end mark.
    whole = buffer.rfind(b"\n") + 1
    return (Rows(buffer[:whole]) if whole else None), buffer[whole:], True


def _take_statements(buffer: bytes) -> tuple[bytes, RowsBegin | None, bytes]:
    """Return the whole statements at the buffer's start, the COPY that follows them if one does, and the rest."""
    position = 0
    text = bytearray()
    while match := _STATEMENT.match(buffer, position):
        statement = match[0]
        position = match.end()
        copy = _COPY.fullmatch(statement)
        if copy:
            begin = RowsBegin(_unquote(copy[1]), _unquote(copy[2]), statement)
            return bytes(text), begin, buffer[position:]
        if match["left_out"] is None:
            text += statement
    return bytes(text), None, buffer[position:]


def _unquote(quoted: bytes) -> str:
    return quoted.replace(b'""', b'"').decode(errors="surrogateescape")


class TextCutter:
    """Cuts a long text into segments at rows that its content chooses, so that a row inserted or removed near its
    beginning moves the cuts near it and no others. No row is ever cut: one past the maximum makes a longer segment."""

    MINIMUM = 16 * MIB
    MAXIMUM = 48 * MIB
    # After the minimum one row in so many is a cut: on average 100 KiB later for rows of 100 bytes.
    ONE_IN = 1024

    def __init__(self) -> None:
        self._held = bytearray()

    def feed(self, text: bytes) -> Iterator[bytes]:
        """Take the next piece, cut anywhere; yield the segments that it completes."""
        self._held += text
        while len(self._held) > self.MAXIMUM and (end := self._find_cut()):
            yield self._cut(end)

    def finish(self) -> Iterator[bytes]:
        """Yield what is left, if anything."""
        while self._held:
            yield self._cut(self._find_cut() or len(self._held))

    def _cut(self, end: int) -> bytes:
        segment = bytes(memoryview(self._held)[:end])
        del self._held[:end]
        return segment

    def _find_cut(self) -> int:
        """Return where the next segment ends, or 0 where the row that it ends with is not there to its end."""
        held = self._held
        end = held.find(b"\n", self.MINIMUM) + 1
        while 0 < end < self.MAXIMUM:
            start, end = end, held.find(b"\n", end) + 1
            if zlib.crc32(memoryview(held)[start:end]) % self.ONE_IN == 0:
                break
        return end
