"""Everything but rows that a restored database must share with its backup: definitions, sequences, large objects,
settings, indexes that are whole. Rows are compared where they are loaded (verifying.py)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

from respaldo.errors import PostgresError
from respaldo.language import _
from respaldo.operations.layout import DATABASE, SCHEMA, STATEMENTS
from respaldo.postgres.database import read_settings_script
from respaldo.postgres.definitions import count_statements, live_definitions, live_statements, stored_definitions
from respaldo.postgres.server import Server
from respaldo.postgres.session import Session
from respaldo.postgres.standstill import settings_without_event_triggers
from respaldo.postgres.statements import split_statements
from respaldo.repository.reader import BackupReader

_SHOWN = 20
_SHOWN_BYTES = 200

_INVALID = """
SELECT pg_catalog.format('%I.%I', n.nspname, c.relname) AS name FROM pg_catalog.pg_index i
  JOIN pg_catalog.pg_class c ON c.oid = i.indexrelid JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
 WHERE NOT (i.indisvalid AND i.indisready)"""

_BTREES = """
SELECT c.oid::int8 AS oid, pg_catalog.format('%I.%I', n.nspname, c.relname) AS name FROM pg_catalog.pg_index i
  JOIN pg_catalog.pg_class c ON c.oid = i.indexrelid JOIN pg_catalog.pg_am a ON a.oid = c.relam
  JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
 WHERE a.amname = 'btree' AND c.relkind = 'i' AND i.indisvalid AND c.relpersistence <> 't' AND n.nspname !~ '^pg_'"""


def find_differences(server: Server, reader: BackupReader) -> list[str]:
    """Return, in words, what differs between the database that the server is seen from and its backup."""
    return list(_differences(server, reader))[:_SHOWN]


def _differences(server: Server, reader: BackupReader) -> Iterator[str]:
    stored = stored_definitions(server, reader.read_object(SCHEMA))
    yield from _compare_definitions(stored, live_definitions(server))
    # One session for all that needs one: each is a process that starts in the instance.
    with server.open_session() as session:
        live = live_statements(server, session)
        yield from _compare_statements(count_statements(_stored_statements(reader)), live)
        settings = reader.read_object(DATABASE).decode(errors="surrogateescape")
        if not are_same_settings(settings, read_settings_script(session)):
            yield _("the database's own settings, comment or privileges differ")
        for row in session.query(_INVALID):
            yield _("index {name} is not valid").format(name=row["name"])
        yield from check_indexes(server, session)


def are_same_settings(one: str, other: str) -> bool:
    """Tell whether two settings scripts set the same. The order does not count: settings of different roles came in
    any, and a privilege that two have granted is granted once by a restore."""
    first, second = ({statement.strip() for statement in split_statements(script)} for script in (one, other))
    return first == second


def can_check_indexes(server: Server, session: Session) -> bool:
    """Tell whether the image has ``amcheck`` and this role may use it."""
    available = "SELECT count(*) AS n FROM pg_catalog.pg_available_extensions WHERE name = 'amcheck'"
    return server.facts.is_superuser and bool(session.value(available))


def check_indexes(server: Server, session: Session) -> Iterator[str]:
    """Yield each B-tree index that is damaged or lacks rows of its table, by ``amcheck`` where the image has it.

    The first that is damaged ends the session; others follow it then.
    """
    if not can_check_indexes(server, session):
        return
    quiet = settings_without_event_triggers(server)
    remove = f"{quiet}DROP EXTENSION amcheck;\nDROP SCHEMA respaldo_amcheck;"
    session.execute(f"{quiet}CREATE SCHEMA respaldo_amcheck;\nCREATE EXTENSION amcheck SCHEMA respaldo_amcheck;")
    unchecked = iter(list(session.query(_BTREES)))
    damaged = _find_damaged(session, unchecked)
    if damaged is None:
        session.execute(remove)
        return
    try:
        while damaged is not None:
            yield damaged
            with server.open_session() as another:
                damaged = _find_damaged(another, unchecked)
    finally:
        with server.open_session() as another:
            another.execute(remove)


def _find_damaged(session: Session, unchecked: Iterator[Mapping[str, Any]]) -> str | None:
    """Check indexes until one is damaged, and say so: the error ends the session."""
    for index in unchecked:
        check = f"respaldo_amcheck.bt_index_check({index['oid']}::pg_catalog.oid::regclass, true)"
        try:
            session.execute(f"SELECT {check};")
        except PostgresError as error:
            if error.tells_of_server:
                raise
            return _("index {name} is damaged: {reason}").format(name=index["name"], reason=error.message)
    return None


def _stored_statements(reader: BackupReader) -> Iterator[bytes]:
    for segment in reader.segments:
        if reader.series[segment.series].key == STATEMENTS:
            yield from reader.open_text(segment)


def _compare_definitions(stored: Mapping[tuple[str, str], int], live: Mapping[tuple[str, str], int]) -> Iterator[str]:
    missing, extra = Counter(stored) - Counter(live), Counter(live) - Counter(stored)
    altered = {title for title, _body in missing} & {title for title, _body in extra}
    for title in sorted(altered):
        yield _("definition differs: {object}").format(object=title)
    for title, _body in sorted(missing):
        if title not in altered:
            yield _("definition is missing: {object}").format(object=title)
    for title, _body in sorted(extra):
        if title not in altered:
            yield _("definition is not in the backup: {object}").format(object=title)


def _compare_statements(stored: Counter[bytes], live: Counter[bytes]) -> Iterator[str]:
    for line in sorted(stored - live):
        yield _("sequence or large object differs: {statement}").format(
            statement=line[:_SHOWN_BYTES].decode(errors="replace")
        )
    for line in sorted(live - stored):
        yield _("sequence or large object is not in the backup: {statement}").format(
            statement=line[:_SHOWN_BYTES].decode(errors="replace")
        )
