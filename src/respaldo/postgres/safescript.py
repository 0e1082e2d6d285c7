"""SQL scripts of unknown origin, read line by line: what psql would do beside running SQL does not pass.

psql takes a backslash anywhere outside of quotes for a command of its own, ``\\!`` among them. The lexical rules are
those of psql (psqlscan.l of PostgreSQL 13 to 18) and of its COPY blocks; where versions read a token differently, the
script is refused.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from enum import Enum

from respaldo.errors import UsageError
from respaldo.language import _

# A word takes the dollars in it along; a word that ends at a quote tells what kind of string begins.
_TOKEN = re.compile(
    rb"""(?P<word>[A-Za-z_\x80-\xff][A-Za-z0-9_$\x80-\xff]*)
    | (?P<number>0[xXoObB][0-9A-Fa-f_]+|[0-9][0-9_]*(?:\.[0-9_]*)?(?:[eE][+-]?[0-9_]+)?|\$[0-9]+)
    | (?P<other>['"();\\] | \$(?:[A-Za-z_\x80-\xff][A-Za-z0-9_\x80-\xff]*)?\$ | --[^\r\n]* | /\*)""",
    re.VERBOSE,
)
_IN_WORD = re.compile(rb"[A-Za-z0-9_$\x80-\xff]")
_BETWEEN_STRINGS = re.compile(rb"(?:[ \t\n\r\f\v]|--[^\r\n]*)*")
# Only the names and one list of columns stand before FROM: a query in parentheses may read from a table ``stdin``.
_COPY = re.compile(rb"\s*COPY\s[^();]*(?:\([^()]*\)\s*)?FROM\s+stdin\b[^;]*\Z", re.IGNORECASE)
_COPY_START = re.compile(rb"\s*COPY\b", re.IGNORECASE)
# Statements about a database as a whole: which one is restored into, and what is set on it, is decided elsewhere.
_DATABASE = re.compile(
    rb"\s*(?:(?:CREATE|DROP|ALTER|COMMENT\s+ON)\s+DATABASE\b|(?:GRANT|REVOKE|SECURITY\s+LABEL)\s[^;']*?\sON\s+DATABASE\s"
    rb'|ALTER\s+ROLE\s+(?:"[^"]*"|[^\s";]+)+\s+IN\s+DATABASE\s)',
    re.IGNORECASE,
)
_VERSION = re.compile(rb"-- Dumped from database version (\d+)")
_TRAILER = re.compile(rb"-- PostgreSQL database dump complete")
_HEADER = re.compile(rb"-- PostgreSQL database dump\b")
_CLUSTER = re.compile(rb"-- PostgreSQL database cluster dump\b")
_IGNORED = (b"\\restrict", b"\\unrestrict")
_CONNECT = (b"\\connect", b"\\c")
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_HEAD_BYTES = 200
# A COPY statement is kept whole: 1600 columns of 63 bytes fit.
_COPY_BYTES = 1 << 18
# psql counts BEGIN … END, and reads over semicolons between them, in these statements only, by their first words.
_ROUTINES = {
    (b"create", b"function"),
    (b"create", b"procedure"),
    (b"create", b"or", b"replace", b"function"),
    (b"create", b"or", b"replace", b"procedure"),
}


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
        self._words: list[bytes] = []
        self._parentheses = 0
        self._blocks = 0
        self._after_escaped = False
        self._line_ended = False
        self._is_dropping = False
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
        if self.lines == 0 and lines:
            lines[0] = lines[0].removeprefix(_BYTE_ORDER_MARK)
        for line in lines:
            self.lines += 1
            if b"\0" in line:
                raise self._refusal(_("line {number} holds a zero byte: this is no SQL script"))
            if self._state is _State.ROWS:
                if line in {b"\\.\n", b"\\.\r\n", b"\\."}:
                    self._state = _State.TEXT
                kept.append(line)
            else:
                # Every line stays one, so that psql's line numbers are the script's.
                kept.append(line if self._is_kept(line) else b"\n")
        return b"".join(kept)

    def _is_kept(self, line: bytes) -> bool:
        if self._is_between_statements:
            command = line.split(maxsplit=1)[0] if line.strip() else b""
            if command in _IGNORED:
                return False
            if command in _CONNECT:
                self._connect(line)
                return False
            if command == b"--":
                self._note(line)
            self._is_dropping = _DATABASE.match(line) is not None
        self._scan(line)
        if not self._is_dropping:
            return True
        self._is_dropping = not self._is_between_statements
        return False

    @property
    def _is_between_statements(self) -> bool:
        return self._state is _State.TEXT and not self._head.strip()

    def _scan(self, line: bytes) -> None:
        position = 0
        while position < len(line):
            if self._state is not _State.TEXT:
                position = self._scan_inside(line, position)
            elif self._after_escaped:
                position = self._scan_between_strings(line, position)
            else:
                position = self._scan_text(line, position)

    def _scan_text(self, line: bytes, position: int) -> int:
        match = _TOKEN.search(line, position)
        if match is None:
            self._collect(line[position:])
            return len(line)
        self._collect(line[position : match.start()])
        if match["word"] is not None:
            return self._scan_word(line, match[0], match.end())
        if match["number"] is not None:
            # 1a, 1E'…', $1$$: one token or two, as the version has it.
            if _IN_WORD.match(line, match.end()):
                raise self._refusal(_("line {number} cannot be read without doubt near {command}"), match[0])
            self._collect(match[0])
            return match.end()
        return self._scan_other(line, match[0], match.start(), match.end())

    def _scan_word(self, line: bytes, word: bytes, end: int) -> int:
        self._collect(word)
        if word in {b"e", b"E"} and line[end : end + 1] == b"'":
            self._state = _State.ESCAPED
            return end + 1
        if len(self._words) < 4:
            self._words.append(word.lower())
        if self._parentheses == 0 and self._is_routine:
            self._count_block(word.lower())
        return end

    @property
    def _is_routine(self) -> bool:
        return tuple(self._words[:2]) in _ROUTINES or tuple(self._words) in _ROUTINES

    def _count_block(self, word: bytes) -> None:
        if word == b"begin" or (word == b"case" and self._blocks):
            self._blocks += 1
        elif word == b"end" and self._blocks:
            self._blocks -= 1

    def _scan_other(self, line: bytes, token: bytes, start: int, end: int) -> int:
        if token == b"\\":
            raise self._refusal(
                _("line {number} holds a command of psql's, which is not run: {command}"), line[start:].split()[0]
            )
        if token.startswith(b"--"):
            return end
        if token == b";" and self._parentheses == 0 and self._blocks == 0:
            return self._end_statement(line, end)
        if token == b"/*":
            self._collect(b" ")
            self._state, self._depth = _State.COMMENT, 1
            return end
        self._collect(token)
        if token == b"(":
            self._parentheses += 1
        elif token == b")":
            self._parentheses = max(0, self._parentheses - 1)
        elif token in {b"'", b'"'}:
            self._state = _State(token)
        elif token.startswith(b"$"):
            self._state, self._tag = _State.DOLLAR, token
        return end

    def _scan_between_strings(self, line: bytes, position: int) -> int:
        """Return where the text goes on after an escaped string: a quote on a later line continues the string."""
        match = _BETWEEN_STRINGS.match(line, position)
        end = match.end() if match else position
        self._line_ended = self._line_ended or b"\n" in line[position:end] or b"\r" in line[position:end]
        if end == len(line):
            return end
        self._after_escaped = False
        if self._line_ended and line[end : end + 1] == b"'":
            self._state = _State.ESCAPED
            return end + 1
        return end

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
                    end = position + match.end()
                    self._after_escaped = line[end : end + 1] != b"'"
                    self._line_ended = False
                    if self._after_escaped:
                        self._state = _State.TEXT
                        return end
                    return end + 1
            return len(line)
        closing = self._tag if self._state is _State.DOLLAR else self._state.value
        found = line.find(closing, position)
        if found < 0:
            return len(line)
        self._state = _State.TEXT
        return found + len(closing)

    def _collect(self, text: bytes) -> None:
        """Keep the beginning of the statement, which tells what it is."""
        limit = _COPY_BYTES if _COPY_START.match(self._head) else _HEAD_BYTES
        if len(self._head) < limit:
            self._head = (self._head + text).lstrip()

    def _end_statement(self, line: bytes, position: int) -> int:
        self.statements += 1
        is_copy = _COPY.match(self._head)
        self._head = b""
        self._words.clear()
        if not is_copy:
            return position
        if line[position:].strip():
            # psql takes the rows first and this afterwards.
            raise self._refusal(_("line {number} cannot be read without doubt near {command}"), line[position:].strip())
        self._state = _State.ROWS
        return len(line)

    def _connect(self, line: bytes) -> None:
        name = line.split(maxsplit=1)[1:] or [b""]
        if name[0].strip() not in self.databases:
            self.databases.append(name[0].strip())
        if len(self.databases) > 1:
            self._refuse_several()

    def _refuse_several(self) -> None:
        raise UsageError(
            _("line {number} goes on in another database: this is a dump of several").format(number=self.lines),
            hint=_("dump each database by itself with pg_dump, and restore those"),
        )

    def _refusal(self, text: str, command: bytes = b"") -> UsageError:
        return UsageError(
            text.format(number=self.lines, command=command.decode(errors="replace")[:80]),
            hint=_("remove that line if the script may do without it"),
        )

    def _note(self, line: bytes) -> None:
        version = _VERSION.match(line)
        if version:
            self.major = int(version[1])
        if _CLUSTER.match(line):
            self._refuse_several()
        self.has_trailer = self.has_trailer or _TRAILER.match(line) is not None
        self.is_of_pg_dump = self.is_of_pg_dump or _HEADER.match(line) is not None
