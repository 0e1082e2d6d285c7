"""One consistent view of a database for many sessions: the coordinator that exports it and keeps it alive.

Locks come before the snapshot. TRUNCATE and a rewriting ALTER TABLE are not MVCC-safe (PostgreSQL 18, 13.6): a table
truncated between snapshot and lock would read as empty. In a REPEATABLE READ transaction LOCK takes no snapshot, so
what is locked first cannot change in a way that the snapshot does not see.
"""

from __future__ import annotations

from types import TracebackType
from typing import Self

from respaldo.errors import PostgresError
from respaldo.language import _
from respaldo.postgres.server import Server
from respaldo.postgres.session import Session
from respaldo.postgres.tables import Table, list_tables, require_readable

_ATTEMPTS = 5
_LOCK_NOT_AVAILABLE = "55P03"
# Undefined table, invalid schema name: dropped since they were listed.
_GONE = {"42P01", "3F000"}
_LOCKS_PER_STATEMENT = 500

_HOLDERS = """
SELECT pg_catalog.format('%I.%I', n.nspname, c.relname) AS name, l.pid,
       coalesce(nullif(a.application_name, ''), a.usename, '?') AS who
  FROM pg_catalog.pg_locks l
  JOIN pg_catalog.pg_class c ON c.oid = l.relation
  JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
  LEFT JOIN pg_catalog.pg_stat_activity a ON a.pid = l.pid
 WHERE l.mode = 'AccessExclusiveLock' AND l.granted AND c.relkind IN ('r', 'p') AND n.nspname !~ '^pg_'
   AND l.database = (SELECT oid FROM pg_catalog.pg_database WHERE datname = pg_catalog.current_database())
 ORDER BY 1 LIMIT 5"""


_TIMEOUTS = "SET statement_timeout = 0;\nSET lock_timeout = 0;\nSET idle_in_transaction_session_timeout = 0;\n"
_PLAIN = "SET standard_conforming_strings = on;\nSELECT pg_catalog.set_config('search_path', '', false);\n"


def read_settings(encoding: str) -> str:
    """Return what pg_dump's own connection sets before it reads (pg_dump.c, setup_connection), and three of ours.

    A role's or a database's settings must not change what is written. Ours: plans that keep the heap's order, and
    range scans wherever a range is asked for.
    """
    return (
        f"{_TIMEOUTS}{_PLAIN}SET client_encoding = '{encoding}';\n"
        "SET DateStyle = ISO;\nSET IntervalStyle = POSTGRES;\nSET extra_float_digits = 3;\nSET bytea_output = hex;\n"
        "SET xmloption = content;\nSET row_security = off;\nSET synchronize_seqscans = off;\n"
        # As the tools are told (dump.py): a regclass is written with the quotes that they give it.
        "SET quote_all_identifiers = on;\n"
        "SET max_parallel_workers_per_gather = 0;\nSET enable_seqscan = off;\nSET jit = off;\n"
        "SET enable_indexscan = on;\nSET enable_indexonlyscan = on;\nSET enable_bitmapscan = on;\n"
    )


def heap_order_settings(encoding: str) -> str:
    """Return ``read_settings`` for whole tables: their rows come as they lie there, whatever indexes they have."""
    return (
        f"{read_settings(encoding)}SET enable_seqscan = on;\nSET enable_indexscan = off;\n"
        "SET enable_indexonlyscan = off;\nSET enable_bitmapscan = off;\n"
    )


def restore_settings(encoding: str) -> str:
    """Return what a script of rows in this encoding must set before them, as pg_dump's own scripts do; for any server
    from version 13."""
    return (
        f"{_TIMEOUTS}{_PLAIN}SET client_encoding = '{encoding}';\nSET check_function_bodies = false;\n"
        "SET xmloption = content;\nSET client_min_messages = warning;\nSET row_security = off;\n"
    )


class Snapshot:
    """A snapshot held by a session of its own until the ``with`` block ends.

    ``tables`` is what it sees. Each of them is locked against being dropped, truncated or altered meanwhile.
    ``session`` answers questions about the database as the snapshot sees it; rows are read by others.
    """

    def __init__(self, server: Server, *, lock_timeout_s: int) -> None:
        self._server = server
        self._lock_timeout_s = lock_timeout_s
        self.session, self.identifier, self.tables = self._take()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.session.close()

    def open_reader(self) -> Session:
        """Return a new session that reads under this snapshot, set as pg_dump would set it."""
        session = self._server.open_session()
        session.execute(
            "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY;\n"
            f"SET TRANSACTION SNAPSHOT '{self.identifier}';\n" + read_settings(self._server.facts.encoding)
        )
        return session

    def finish(self) -> None:
        """See that the snapshot was held to the end; raise PostgresError where its session was ended."""
        self.session.execute("COMMIT;")

    def _take(self) -> tuple[Session, str, list[Table]]:
        """List, lock what there is, export, and look again: until nothing changed in between."""
        for _attempt in range(_ATTEMPTS):
            session = self._server.open_session()
            try:
                known = self._list(session)
                require_readable(known, self._server.facts)
                taken = self._export(session, known)
            except BaseException:
                session.close()
                raise
            if taken is not None:
                return session, *taken
            session.close()
        raise PostgresError(
            _("tables were created, dropped or rewritten at each of {count} attempts to take a snapshot").format(
                count=_ATTEMPTS
            ),
            hint=_("run the backup when no schema change is running"),
        )

    def _list(self, session: Session) -> list[Table]:
        """Return the tables as they are now. To read a table's size takes a lock too, and may wait no longer."""
        session.execute(f"SET lock_timeout = '{self._lock_timeout_s}s';")
        try:
            return list_tables(session)
        except PostgresError as error:
            if error.sqlstate == _LOCK_NOT_AVAILABLE:
                raise self._blocked() from error
            raise

    def _export(self, session: Session, known: list[Table]) -> tuple[str, list[Table]] | None:
        """Return the exported snapshot and what it sees; None where that is not what was locked."""
        lockable = [table.qualified for table in known if table.is_lockable]
        try:
            session.execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY;")
            for start in range(0, len(lockable), _LOCKS_PER_STATEMENT):
                names = ", ".join(f"ONLY {name}" for name in lockable[start : start + _LOCKS_PER_STATEMENT])
                session.execute(f"LOCK TABLE {names} IN ACCESS SHARE MODE;")
            identifier = str(session.value("SELECT pg_catalog.pg_export_snapshot() AS s"))
            seen = list_tables(session)
            session.execute("SET LOCAL lock_timeout = 0;")
        except PostgresError as error:
            if error.sqlstate == _LOCK_NOT_AVAILABLE:
                raise self._blocked() from error
            if error.sqlstate not in _GONE:
                raise
            return None
        locked = {(table.oid, table.qualified) for table in known if table.is_lockable}
        changed = any(table.is_rewritten for table in seen) or any(
            (table.oid, table.qualified) not in locked for table in seen if table.is_lockable
        )
        return None if changed else (identifier, seen)

    def _blocked(self) -> PostgresError:
        with self._server.open_session() as session:
            holders = [_("{name} (process {pid}, {who})").format(**row) for row in session.query(_HOLDERS)]
        return PostgresError(
            _("waited {seconds} s for a lock that another session holds: {holders}").format(
                seconds=self._lock_timeout_s, holders=", ".join(holders) or _("it has ended by now")
            ),
            hint=_("let that session finish, or end it with pg_terminate_backend(PID), and run the backup again"),
        )
