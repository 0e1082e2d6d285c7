"""What arrived in a database, compared with what its backup holds: every row of every table."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from respaldo.errors import ProofFailedError
from respaldo.language import _
from respaldo.operations.rowsum import RowSum
from respaldo.operations.workers import Workers
from respaldo.postgres.identifiers import quote_identifier
from respaldo.postgres.ranges import is_read_by_ranges, plan_ranges
from respaldo.postgres.rowstream import RowStream
from respaldo.postgres.server import Server
from respaldo.postgres.session import Session
from respaldo.postgres.snapshot import read_settings
from respaldo.postgres.tables import Table, list_tables
from respaldo.units import MIB

_SHOWN = 5
_PARTITIONS = """
SELECT c.oid::int8 AS oid, pg_catalog.pg_partition_root(c.oid)::pg_catalog.oid::int8 AS root
  FROM pg_catalog.pg_class c WHERE c.relispartition AND c.relkind = 'r'"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """A table that is not what the backup says: the rows expected and found; equal numbers mean other contents."""

    table: str
    expected_rows: int
    found_rows: int

    def __str__(self) -> str:
        if self.expected_rows == self.found_rows:
            return _("{table}: its rows are not those of the backup").format(table=self.table)
        return _("{table}: {found} rows, the backup has {expected}").format(
            table=self.table, found=self.found_rows, expected=self.expected_rows
        )


def compare_rows(
    server: Server,
    database: str,
    expected: Mapping[str, RowSum],
    *,
    columns: Mapping[str, Sequence[str]],
    encoding: str,
    jobs: int,
) -> int:
    """Read every table back and compare its rows with what was loaded; return the number of rows.

    ``columns``: those of each table, in the order in which its rows were summed. A table that is restored may have them
    in another: pg_dump writes an inherited column where its parent has it, wherever it stood in the child.

    Raise ProofFailedError naming the tables that differ. A table of an extension is left out: the extension's own
    script put rows there too.
    """
    comparison = Comparison(server, database, expected, columns=columns, encoding=encoding)
    with comparison.open_session() as session:
        tasks = iter(comparison.plan(session))
    lock = threading.Lock()
    workers = Workers(jobs)

    def take() -> tuple[str, str, int] | None:
        with lock:
            return None if workers.is_stopping else next(tasks, None)

    def work() -> None:
        if (task := take()) is None:
            return
        with comparison.open_session() as session:
            workers.closing(session)
            try:
                while task is not None:
                    comparison.read(session, task)
                    task = take()
            finally:
                workers.done_with(session)

    workers.run(work for _number in range(jobs))
    return comparison.conclude()


class Comparison:
    """Tables read back, whose rows may lie in any order: ``plan``, then ``read`` every task of it, from any threads,
    then ``conclude``. Used once. The arguments are those of ``compare_rows``."""

    def __init__(
        self,
        server: Server,
        database: str,
        expected: Mapping[str, RowSum],
        *,
        columns: Mapping[str, Sequence[str]],
        encoding: str,
    ) -> None:
        self._server = server
        self._database = database
        self._expected = expected
        self._settings = read_settings(encoding)
        self._encoding = encoding
        self._columns = columns
        self._tables: dict[str, Table] = {}
        self._roots: dict[int, int] = {}
        self._found: dict[str, RowSum] = {}
        self._lock = threading.Lock()

    def plan(self, session: Session) -> list[tuple[str, str, int]]:
        """Return what is read at once, the largest first: the table, the query, and about its size. The session has
        the settings of ``open_session``."""
        # Names as the backup holds them: in the database's own encoding.
        self._tables = {table.qualified: table for table in list_tables(session)}
        self._roots = {row["oid"]: row["root"] for row in session.query(_PARTITIONS)}
        chosen = [
            replace(table, columns=self._columns[key])
            for key, table in self._tables.items()
            if key in self._expected and not table.is_of_extension
        ]
        return sorted(self._plan(chosen), key=lambda task: -task[2])

    def open_session(self) -> Session:
        """Return a session that writes rows as the backup holds them."""
        session = self._server.open_session(self._database)
        session.execute(self._settings)
        return session

    def read(self, session: Session, task: tuple[str, str, int]) -> None:
        """Read one task of ``plan``'s, in a session with the settings of ``open_session``."""
        key, query, size_bytes = task
        rows = RowSum()
        for piece in RowStream(session, query, is_large=size_bytes >= MIB):
            rows.feed(piece.text)
        with self._lock:
            self._found.setdefault(key, RowSum()).add(rows)

    def conclude(self) -> int:
        """Return the rows found; raise ProofFailedError naming the tables that differ."""
        differences = []
        for key, expected in self._expected.items():
            table = self._tables.get(key)
            if table is not None and table.is_of_extension:
                continue
            found = self._found.get(key, RowSum())
            if table is None or found.total != expected.total:
                differences.append(Difference(table=key, expected_rows=expected.rows, found_rows=found.rows))
        if differences:
            raise ProofFailedError("\n".join(map(str, differences[:_SHOWN])))
        return sum(rows.rows for rows in self._found.values())

    def _plan(self, tables: list[Table]) -> Iterator[tuple[str, str, int]]:
        for table in tables:
            columns = ", ".join(map(quote_identifier, table.columns))
            if is_read_by_ranges(table, encoding=self._encoding):
                for item in plan_ranges(
                    table,
                    block_size=self._server.facts.block_size,
                    has_range_scans=self._server.facts.has_range_scans,
                ):
                    yield table.qualified, item.query, item.size_bytes
            else:
                yield table.qualified, f"SELECT {columns} FROM {self._source(table, tables)}", table.size_bytes

    def _source(self, table: Table, tables: Sequence[Table]) -> str:
        """Return what follows FROM. Partitions that load through their root are compared there, the others by
        themselves: one tree may hold both."""
        if table.kind != "p":
            return f"ONLY {table.qualified}"
        others = [str(leaf.oid) for leaf in tables if self._roots.get(leaf.oid) == table.oid]
        return f"{table.qualified} WHERE tableoid <> ALL ('{{{','.join(others)}}}'::pg_catalog.oid[])"
