"""SQL scripts of unknown origin, read line by line: what psql would do beside running SQL does not pass.

psql takes a backslash anywhere outside of quotes for a command of its own, ``\\!`` among them. The lexical rules are
those of PostgreSQL 18, 4.1, and of psql's COPY blocks.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from enum import Enum

from respaldo.errors import UsageError
from respaldo.language import _

_TOKEN = re.compile(rb"""['";\\] | \$(?:[A-Za-z_\x80-\xff][A-Za-z0-9_\x80-\xff]*)?\$ | -- | /\*""", re.VERBOSE)
_COPY_START = re.compile(rb"\s*COPY\b", re.IGNORECASE)
_COPY_END = re.compile(rb"FROM\s+stdin\b[^;]*;\s*$", re.IGNORECASE)
_DATABASE = re.compile(rb"\s*(?:CREATE|DROP|ALTER|COMMENT\s+ON)\s+DATABASE\b", re.IGNORECASE)
_VERSION = re.compile(rb"-- Dumped from database version (\d+)")
_TRAILER = re.compile(rb"-- PostgreSQL database (?:cluster )?dump complete")
_HEADER = re.compile(rb"-- PostgreSQL database (?:cluster )?dump\b")
_IGNORED = (b"\\restrict", b"\\unrestrict")
_CONNECT = (b"\\connect", b"\\c")
_HEAD_BYTES = 200


class _State(Enum):
    TEXT = b""
    QUOTE = b"'"
    ESCAPED = b"E'"
    IDENTIFIER = b'"'
    DOLLAR = b"$"
    COMMENT = b"/*"
    ROWS = b"COPY"


class SafeScript:
    """One script, iterated once: yields what may be sent to psql. What is known of it afterwards stands in its fields.

    Raise UsageError, with the line's number, at a command of psql's that is more than a dump's own.
    """

    def __init__(self, pieces: Iterable[bytes]) -> None:
        self._pieces = pieces
        self._state = _State.TEXT
        self._tag = b""
        self._depth = 0
        self._head = b""
        self._tail = b""
        self.lines = 0
        self.statements = 0
        self.major: int | None = None
        self.is_of_pg_dump = False
        self.has_trailer = False
        self.databases: list[bytes] = []

    @property
    def is_whole(self) -> bool:
        """Whether it ended between two statements."""
        return self._state is _State.TEXT and not self._head.strip()

    def __iter__(self) -> Iterator[bytes]:
        rest = b""
        for piece in self._pieces:
            *lines, rest = (rest + piece).split(b"\n")
            yield self._pass([line + b"\n" for line in lines])
        if rest:
            yield self._pass([rest])

    def _pass(self, lines: list[bytes]) -> bytes:
        kept = []
        for line in lines:
            self.lines += 1
            if self._state is _State.ROWS:
                if line.rstrip(b"\r\n") == b"\\.":
                    self._state = _State.TEXT
                kept.append(line)
            elif self._is_kept(line):
                kept.append(line)
        return b"".join(kept)

    def _is_kept(self, line: bytes) -> bool:
        if self._state is _State.TEXT and not self._head.strip():
            command = line.split(maxsplit=1)[0] if line.strip() else b""
            if command in _IGNORED:
                return False
            if command in _CONNECT:
                self._connect(line)
                return False
            if command == b"--":
                self._note(line)
            if _DATABASE.match(line) and line.rstrip().endswith(b";"):
                return False  # which database it is restored into is decided elsewhere
        self._scan(line)
        return True

    def _scan(self, line: bytes) -> None:
        position = 0
        while position < len(line):
            if self._state is _State.TEXT:
                position = self._scan_text(line, position)
            else:
                position = self._scan_inside(line, position)

    def _scan_text(self, line: bytes, position: int) -> int:
        match = _TOKEN.search(line, position)
        end = match.start() if match else len(line)
        self._collect(line[position:end])
        if match is None:
            return len(line)
        token = match[0]
        if token == b"\\":
            raise UsageError(
                _("line {number} holds a command of psql's, which is not run: {command}").format(
                    number=self.lines, command=line[match.start() :].split()[0].decode(errors="replace")
                ),
                hint=_("remove that line if the script may do without it"),
            )
        if token == b"--":
            return len(line)
        if token == b";":
            return self._end_statement(line, match.end())
        self._collect(token)
        if token == b"'":
            before = line[:end]
            is_escaped = re.search(rb"(?<![A-Za-z0-9_$\x80-\xff])[eE]\Z", before) is not None
            self._state = _State.ESCAPED if is_escaped else _State.QUOTE
        elif token == b'"':
            self._state = _State.IDENTIFIER
        elif token == b"/*":
            self._state, self._depth = _State.COMMENT, 1
        elif end and re.match(rb"[A-Za-z0-9_$\x80-\xff]", line[end - 1 : end]):
            return end + 1  # a dollar inside an identifier
        else:
            self._state, self._tag = _State.DOLLAR, token
        return match.end()

    def _scan_inside(self, line: bytes, position: int) -> int:
        """Return where the quote or comment that is open ends in this line, or the line's end."""
        if self._state is _State.COMMENT:
            for match in re.finditer(rb"/\*|\*/", line[position:]):
                self._depth += 1 if match[0] == b"/*" else -1
                if self._depth == 0:
                    self._state = _State.TEXT
                    return position + match.end()
            return len(line)
        if self._state is _State.ESCAPED:
            # A backslash takes the next character with it; a doubled quote is two strings, which is the same.
            for match in re.finditer(rb"\\.|'", line[position:], re.DOTALL):
                if match[0] == b"'":
                    self._state = _State.TEXT
                    return position + match.end()
            return len(line)
        closing = self._tag if self._state is _State.DOLLAR else self._state.value
        found = line.find(closing, position)
        if found < 0:
            return len(line)
        self._state = _State.TEXT
        return found + len(closing)

    def _collect(self, text: bytes) -> None:
        """Keep the beginning and the end of the statement, which tell what it is."""
        if len(self._head) < _HEAD_BYTES:
            self._head = (self._head + text).lstrip()
        self._tail = (self._tail + text)[-_HEAD_BYTES:]

    def _end_statement(self, line: bytes, position: int) -> int:
        self.statements += 1
        is_copy = _COPY_START.match(self._head) and _COPY_END.search(self._tail + b";")
        self._head = self._tail = b""
        if is_copy and not line[position:].strip():
            self._state = _State.ROWS
            return len(line)
        return position

    def _connect(self, line: bytes) -> None:
        name = line.split(maxsplit=1)[1:] or [b""]
        if name[0].strip() not in self.databases:
            self.databases.append(name[0].strip())
        if len(self.databases) > 1:
            raise UsageError(
                _("line {number} goes on in another database: this is a dump of several").format(number=self.lines),
                hint=_("dump each database by itself with pg_dump, and restore those"),
            )

    def _note(self, line: bytes) -> None:
        version = _VERSION.match(line)
        if version:
            self.major = int(version[1])
        self.has_trailer = self.has_trailer or _TRAILER.match(line) is not None
        self.is_of_pg_dump = self.is_of_pg_dump or _HEADER.match(line) is not None
