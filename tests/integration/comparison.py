"""Whether two databases are the same: definitions, rows, sequences, large objects, privileges, settings."""

from __future__ import annotations

import difflib
from pathlib import Path

from tests.rig.containers import PostgresContainer, without_timeouts

SQL = Path(__file__).parent / "sql"
_STATE = (SQL / "catalog.sql").read_bytes() + (SQL / "contents.sql").read_bytes()


def assert_same_database(
    server: PostgresContainer, source: str, restored: str, *, other_server: PostgresContainer | None = None
) -> None:
    """Fail with what differs, if anything does. ``other_server``: where ``restored`` is, if elsewhere."""
    there = other_server or server
    for what in (_describe_definitions, _describe_state):
        _assert_same_lines(what(server, source), what(there, restored))


def assert_description(description: tuple[list[bytes], list[bytes]], server: PostgresContainer, restored: str) -> None:
    """Fail where a database is not what ``describe`` described."""
    for was, now in zip(description, describe(server, restored), strict=True):
        _assert_same_lines(was, now)


def describe(server: PostgresContainer, database: str) -> tuple[list[bytes], list[bytes]]:
    """Describe a database as it is now, for ``assert_description`` after it has changed."""
    return _describe_definitions(server, database), _describe_state(server, database)


def _describe_definitions(server: PostgresContainer, database: str) -> list[bytes]:
    text = server.pg_dump("--schema-only", database=database)
    return [line for line in text.split(b"\n") if not line.startswith((b"-- Dumped", b"\\restrict", b"\\unrestrict"))]


def _describe_state(server: PostgresContainer, database: str) -> list[bytes]:
    """What the catalogues say of it, then its rows and sequences."""
    # The database's own settings must neither cut the comparison short nor change how it reads.
    options = f"{without_timeouts(server)} -c standard_conforming_strings=on -c default_transaction_read_only=off"
    options += " -c quote_all_identifiers=off"
    lines = server.run_sql(_STATE, database, options=options).split(b"\n")
    # Which temporary schema a session has is chance.
    return [line for line in lines if b"pg_temp" not in line]


def _assert_same_lines(source: list[bytes], restored: list[bytes]) -> None:
    if source == restored:
        return
    was, found = ([line.decode(errors="backslashreplace")[:400] for line in side] for side in (source, restored))
    differences = list(difflib.unified_diff(was, found, "source", "restored", n=0, lineterm=""))
    raise AssertionError("the restored database differs:\n" + "\n".join(differences[:40]))
