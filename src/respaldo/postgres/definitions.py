"""A database's definitions as pg_dump writes them, object by object, so that two databases can be compared."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TypeAlias

from respaldo.postgres.archive import whole_script
from respaldo.postgres.copytext import Statements, split_script
from respaldo.postgres.dump import dump_data, dump_schema
from respaldo.postgres.server import Server
from respaldo.postgres.session import Session
from respaldo.postgres.statements import split_bare_statements
from respaldo.postgres.tables import list_tables

_ENTRY = re.compile(r"^--\n-- (Name: .*)\n--\n", re.MULTILINE)
# What the session is told before; which objects of one name stand first depends on their oids, and so does this.
_SESSION = ("SET ", "SELECT pg_catalog.set_config")

_INHERITS = "\nINHERITS ("
_TITLE = re.compile(
    r"Name: (?P<name>.*); Type: (?P<type>[^;]*); Schema: (?P<schema>.*?); Owner: (?P<owner>.*)", re.DOTALL
)
_QUOTED = r'"(?:[^"]|"")+"'
# pg_dump's dumpConstraint(): one statement, every name quoted; PostgreSQL 18 may add WITHOUT OVERLAPS to the last.
_PRIMARY_KEY = re.compile(
    rf"ALTER TABLE (?:ONLY )?(?P<table>{_QUOTED}\.{_QUOTED})\s+ADD CONSTRAINT {_QUOTED} PRIMARY KEY "
    rf"\((?P<columns>{_QUOTED}(?:, {_QUOTED})*)(?: WITHOUT OVERLAPS)?\)"
)

Definitions: TypeAlias = Mapping[tuple[str, str], int]
"""Objects with how often each stands there: what it is (its entry's comment), and its statements."""


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class SchemaObject:
    """One object of a schema, as pg_dump names it; ``schema`` is ``-`` for what lies in none."""

    type: str
    schema: str
    name: str


def by_object(definitions: Definitions) -> dict[SchemaObject, Counter[tuple[str, str]]]:
    """Return what each object is: its owner and its statements."""
    found: dict[SchemaObject, Counter[tuple[str, str]]] = {}
    for (title, body), count in definitions.items():
        match = _TITLE.fullmatch(title)
        one, owner = SchemaObject(type="", schema="-", name=title), ""
        if match is not None:
            one = SchemaObject(type=match["type"], schema=match["schema"], name=match["name"])
            owner = match["owner"]
        found.setdefault(one, Counter())[owner, body] += count
    return found


def primary_keys(definitions: Definitions) -> dict[str, tuple[str, ...]]:
    """Return the columns of each table's primary key, in its order, by the table's qualified name."""
    found = {}
    for title, body in definitions:
        if "; Type: CONSTRAINT; " not in title:
            continue  # a function's body may hold such a statement too
        for match in _PRIMARY_KEY.finditer(body):
            names = re.findall(_QUOTED, match["columns"])
            found[match["table"]] = tuple(name[1:-1].replace('""', '"') for name in names)
    return found


def stored_definitions(server: Server, archive: bytes) -> Counter[tuple[str, str]]:
    """Return an archive's objects: what each is (its entry's comment), and its statements."""
    return parse_definitions(whole_script(server, archive))


def parse_definitions(script: bytes) -> Counter[tuple[str, str]]:
    """Return the same of a script that pg_restore has written."""
    return Counter(_entries(script.decode(errors="surrogateescape")))


def live_definitions(server: Server) -> Counter[tuple[str, str]]:
    """Return the same of the database that the server is seen from."""
    archive = b"".join(piece.text for piece in dump_schema(server, None, lock_timeout_s=30))
    return stored_definitions(server, archive)


def live_statements(server: Server, session: Session) -> Counter[bytes]:
    """Return what pg_dump's data script holds beside rows: sequences' values, large objects."""
    tables = [table for table in list_tables(session) if table.kind == "r"]
    stream = dump_data(server, None, excluded=tables, lock_timeout_s=30)
    parts = split_script(piece.text for piece in stream)
    return count_statements(part.text for part in parts if isinstance(part, Statements))


def count_statements(texts: Iterator[bytes]) -> Counter[bytes]:
    """Return the lines of data statements with how often each stands there; settings left out."""
    found: Counter[bytes] = Counter()
    rest = b""
    for text in texts:
        *lines, rest = (rest + text).split(b"\n")
        found.update(line for line in lines if line and not line.startswith((b"SET ", b"SELECT pg_catalog.set_config")))
    return found


def _entries(script: str) -> Iterator[tuple[str, str]]:
    title = ""
    body: list[str] = []
    for before, statement in split_bare_statements(script):
        for following in _ENTRY.findall(before):
            if title:
                yield title, _join(body)
            title, body = following, []
        if statement and not statement.startswith(_SESSION):
            body.append(statement)
    if title:
        yield title, _join(body)


def _join(statements: list[str]) -> str:
    """Return an object's statements as one text; that of a child with its lines sorted: PostgreSQL puts a column that a
    parent has too where the parent has it, so that one attached later comes back with its columns in another order."""
    text = "\n".join(statements)
    return "\n".join(sorted(line.removesuffix(",") for line in text.split("\n"))) if _INHERITS in text else text
