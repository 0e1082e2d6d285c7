"""What arrived in a database, compared with what its backup holds: every row of every table."""

from __future__ import annotations

import threading
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

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
    encoding: str,
    jobs: int,
    summed_by_name: Collection[str] = (),
) -> int:
    """Read every table back and compare its rows with what was loaded; return the number of rows.

    ``summed_by_name``: the tables whose rows were summed with their columns sorted by name.

    Raise ProofFailedError naming the tables that differ. A table of an extension is left out: the extension's own
    script put rows there too.
    """
    return _Comparison(server, database, expected, encoding, summed_by_name).run(jobs)


class _Comparison:
    """What the workers of one comparison share. Used once."""

    def __init__(
        self,
        server: Server,
        database: str,
        expected: Mapping[str, RowSum],
        encoding: str,
        summed_by_name: Collection[str],
    ) -> None:
        self._server = server
        self._database = database
        self._expected = expected
        self._settings = read_settings(encoding, server.facts.version_num)
        self._encoding = encoding
        self._summed_by_name = summed_by_name
        self._roots: dict[int, int] = {}
        self._found: dict[str, RowSum] = {}
        self._lock = threading.Lock()

    def run(self, jobs: int) -> int:
        with self._server.open_session(self._database) as session:
            # Names as the backup holds them: in the database's own encoding.
            session.execute(self._settings)
            tables = {table.qualified: table for table in list_tables(session)}
            self._roots = {row["oid"]: row["root"] for row in session.query(_PARTITIONS)}
        chosen = [table for key, table in tables.items() if key in self._expected and not table.is_of_extension]
        tasks = iter(sorted(self._plan(chosen), key=lambda task: -task[2]))
        workers = Workers(jobs)
        workers.run(partial(self._work, workers, tasks) for _number in range(jobs))
        differences = []
        for key, expected in self._expected.items():
            table = tables.get(key)
            if table is not None and table.is_of_extension:
                continue
            found = self._found.get(key, RowSum())
            if table is None or found.total != expected.total:
                differences.append(Difference(table=key, expected_rows=expected.rows, found_rows=found.rows))
        if differences:
            raise ProofFailedError("\n".join(map(str, differences[:_SHOWN])))
        return sum(rows.rows for rows in self._found.values())

    def _plan(self, tables: list[Table]) -> Iterator[tuple[str, str, int]]:
        """Yield what is read at once: the table, the query, and about its size."""
        for table in tables:
            is_by_name = table.qualified in self._summed_by_name
            names = sorted(table.columns) if is_by_name else table.columns
            columns = ", ".join(map(quote_identifier, names))
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

    def _work(self, workers: Workers, tasks: Iterator[tuple[str, str, int]]) -> None:
        session: Session | None = None
        try:
            while (task := self._next(workers, tasks)) is not None:
                if session is None:
                    session = self._server.open_session(self._database)
                    workers.closing(session)
                    session.execute(self._settings)
                key, query, size_bytes = task
                rows = RowSum()
                for piece in RowStream(session, query, is_large=size_bytes >= MIB):
                    rows.feed(piece.text)
                with self._lock:
                    self._found.setdefault(key, RowSum()).add(rows)
        finally:
            if session is not None:
                workers.done_with(session)
                session.close()

    def _next(self, workers: Workers, tasks: Iterator[tuple[str, str, int]]) -> tuple[str, str, int] | None:
        with self._lock:
            return None if workers.is_stopping else next(tasks, None)
