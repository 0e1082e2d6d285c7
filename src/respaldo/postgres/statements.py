"""SQL text, cut where statements end: at semicolons outside of quotes and comments.

For what pg_dump's family and this program write, with ``standard_conforming_strings = on``. A stream of pg_dump's data
is split by copytext.py, a script of unknown origin by safescript.py.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from respaldo.errors import PostgresError
from respaldo.language import _

# A letter is also every character past ASCII: told by what of ASCII is none, a class that is compiled at once.
_INSIDE = r"[^\x00-#%-/:-@\[-^`{-\x7f]"
_TAG = r"(?:[^\x00-@\[-^`{-\x7f][^\x00-/:-@\[-^`{-\x7f]*)?"

#: A quoted name, and what else a semicolon in it ends nothing: literals, dollar quotes, comments.
IDENTIFIER = r'"[^"]*(?:""[^"]*)*"'
QUOTED = (
    rf"(?<!{_INSIDE})[eE]'[^'\\]*(?:(?:\\.|'')[^'\\]*)*'|'[^']*(?:''[^']*)*'"
    rf"|(?<!{_INSIDE})\$(?P<tag>{_TAG})\$.*?\$(?P=tag)\$|--[^\r\n]*|/\*(?:(?!/\*|\*/).)*\*/"
)
_MARK = re.compile(
    rf"{QUOTED}|{IDENTIFIER}|(?P<end>;)|(?P<open>(?<!{_INSIDE})[eE]'|['\"]|/\*|(?<!{_INSIDE})\${_TAG}\$)", re.DOTALL
)
_BEFORE = re.compile(r"(?:\s|--[^\r\n]*|\\(?:un)?restrict [^\r\n]*)*")


def split_statements(text: str) -> Iterator[str]:
    """Yield each statement with its semicolon and all that stands before it; last, what follows the last one.

    Raise PostgresError where a quote or a comment is not closed, or is a comment within a comment.
    """
    start = 0
    for mark in _MARK.finditer(text):
        if mark["open"]:
            raise PostgresError(
                _("a text of SQL ends within quotes or a comment; it begins: {text}").format(
                    text=ascii(text[start:].lstrip()[:60])
                )
            )
        if mark["end"]:
            yield text[start : mark.end()]
            start = mark.end()
    yield text[start:]


def split_bare_statements(text: str) -> Iterator[tuple[str, str]]:
    """Yield each statement after what stands before it: blank lines, comments, psql's ``\\restrict``; last, what
    follows the last one, where the statement is empty if that is all there is."""
    for piece in split_statements(text):
        before = _BEFORE.match(piece)
        start = before.end() if before else 0
        yield piece[:start], piece[start:]
