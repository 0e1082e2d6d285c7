"""Names and literals as SQL text."""

from __future__ import annotations

import re

_QUALIFIED = re.compile(r'"((?:[^"]|"")+)"\."((?:[^"]|"")+)"')


def quote_identifier(name: str) -> str:
    """Return a name as a quoted identifier, whatever it holds."""
    return '"' + name.replace('"', '""') + '"'


def quote_literal(value: str) -> str:
    """Return a value as a literal, for a session with ``standard_conforming_strings = on``."""
    return "'" + value.replace("'", "''") + "'"


def conninfo(database: str) -> str:
    """Return a database's name as a client's ``--dbname`` takes it: one with ``=`` in it, or that begins as a URI,
    would be read as a whole connection string (PostgreSQL 18, app-pgrestore)."""
    return "dbname='" + database.replace("\\", "\\\\").replace("'", "\\'") + "'"


def qualify(schema: str, name: str) -> str:
    """Return ``"schema"."name"``."""
    return f"{quote_identifier(schema)}.{quote_identifier(name)}"


def unqualify(qualified: str) -> tuple[str, str]:
    """Return schema and name of what ``qualify`` wrote; ValueError for anything else."""
    match = _QUALIFIED.match(qualified)
    if match is None:
        raise ValueError(f"not a qualified name: {qualified}")
    return match[1].replace('""', '"'), match[2].replace('""', '"')


def relation_pattern(schema: str, name: str) -> str:
    """Return a pattern for pg_dump's switches that matches this one relation and no other.

    Inside double quotes ``*``, ``?`` and ``|`` are themselves (PostgreSQL 18, app-psql, Patterns).
    """
    return qualify(schema, name)
