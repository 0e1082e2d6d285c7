"""A new database filled from a backup: rows loaded and compared, indexes and constraints made, much of it at once."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TypeAlias

from respaldo.events import Listener, PhaseStarted
from respaldo.language import _
from respaldo.operations.layout import table_of
from respaldo.operations.loading import Loading
from respaldo.operations.rowsum import RowSum
from respaldo.operations.stretches import ORDERED_BYTES, Stretch
from respaldo.operations.verifying import Comparison, compare_rows
from respaldo.operations.workers import Workers
from respaldo.postgres.identifiers import quote_identifier
from respaldo.postgres.rowstream import digest_rows
from respaldo.postgres.server import Server
from respaldo.postgres.session import Session
from respaldo.postgres.snapshot import heap_order_settings, read_settings, restore_settings
from respaldo.postgres.tables import Table, list_tables
from respaldo.repository.reader import BackupReader
from respaldo.repository.records import Segment
from respaldo.units import MIB

# A worker more starts psql twice, which takes as long as loading and comparing about so much, each table counted for
# 64 KiB more.
_WORKER_BYTES = 4 * MIB
_TABLE_BYTES = 64 * 1024

Check: TypeAlias = Callable[[Session], None]


class Filling:
    """One database's rows. Its tables are there, empty, and nobody else uses them. Used once.

    A table of some size is loaded in the order of its text, and read back in that order as soon as it is there, by a
    digest that is made inside the instance: while others still load, and while indexes are made. Where the digest is
    another, or there is none, its rows are summed one by one here, in any order: only that decides.
    """

    def __init__(
        self, server: Server, database: str, reader: BackupReader, *, encoding: str, jobs: int, listen: Listener
    ) -> None:
        self._server = server
        self._database = database
        self._reader = reader
        self._encoding = encoding
        self._jobs = min(jobs, 1 + _work_bytes(reader) // _WORKER_BYTES)
        self._listen = listen
        self._columns: Mapping[str, Sequence[str]] = {}
        self._unlike: set[str] = set()
        self._rows = 0
        self._lock = threading.Lock()

    def run(self, finish: Callable[[Workers], None]) -> int:
        """Load everything, call ``finish`` (indexes and constraints) once it is there, compare, and return the rows.

        Raise ProofFailedError naming the tables whose rows are not those of the backup.
        """
        with self._server.open_session(self._database) as session:
            # Not in the heap's order: without its indexes the catalogue of 5 000 tables takes twenty seconds.
            session.execute(read_settings(self._encoding))
            chosen = self._choose(list_tables(session))
        loading = Loading(
            self._server,
            self._reader,
            self._database,
            preamble=restore_settings(self._encoding),
            listen=self._listen,
            in_order=chosen,
            jobs=self._jobs,
        )
        self._columns = loading.columns
        agenda = _Agenda(loading.plan(self._reader.segments))
        workers = Workers(self._jobs + 1)
        workers.closing(agenda)
        work = partial(self._work, workers, agenda, loading)
        workers.run([*(work for _number in range(self._jobs)), partial(self._finish, workers, agenda, finish)])
        rows = self._rows + (self._comparison.conclude() if self._comparison else 0)
        return rows + self._look_closer()

    _comparison: Comparison | None = None

    def _choose(self, tables: Sequence[Table]) -> list[str]:
        """Return the tables that will keep their rows' order: whole, large enough, and ours to empty."""
        sizes: dict[str, int] = {}
        series: dict[str, int] = {}
        for one in self._reader.series:
            series[table_of(one)] = series.get(table_of(one), 0) + 1
        for segment in self._reader.segments:
            key = table_of(self._reader.series[segment.series])
            sizes[key] = sizes.get(key, 0) + segment.raw_size
        return [
            table.qualified
            for table in tables
            if series.get(table.qualified) == 1
            and sizes.get(table.qualified, 0) >= ORDERED_BYTES
            and table.may_be_frozen
        ]

    def _work(self, workers: Workers, agenda: _Agenda, loading: Loading) -> None:
        session: Session | None = None
        try:
            while (step := agenda.take()) is not None:
                if isinstance(step, list):
                    loading.load(workers, step)
                    agenda.add(self._checks_of(loading, step))
                    if not agenda.end_load():
                        continue
                    step = partial(self._plan_sums, agenda, loading)
                if session is None:
                    session = self._server.open_session(self._database)
                    workers.closing(session)
                    session.execute(heap_order_settings(self._encoding))
                step(session)
        finally:
            if session is not None:
                workers.done_with(session)
                session.close()

    def _finish(self, workers: Workers, agenda: _Agenda, finish: Callable[[Workers], None]) -> None:
        if agenda.await_loads():
            self._listen(PhaseStarted(phase=_("comparing every row")))
            finish(workers)

    def _checks_of(self, loading: Loading, task: Sequence[Segment]) -> list[Check]:
        key = table_of(self._reader.series[task[0].series])
        stretches = loading.stretches.get(key, [])
        return [partial(self._check, key, stretch, stretch is stretches[-1]) for stretch in stretches]

    def _check(self, key: str, stretch: Stretch, is_last: bool, session: Session) -> None:
        """Read a stretch back. The last one goes on to the table's end: there may be no more rows."""
        columns = ", ".join(map(quote_identifier, self._columns[key]))
        end = "" if is_last else f" LIMIT {stretch.rows}"
        found = digest_rows(session, f"SELECT {columns} FROM ONLY {key}{end} OFFSET {stretch.before}")
        with self._lock:
            if found == stretch.digest:
                self._rows += stretch.rows
            else:
                self._unlike.add(key)

    def _plan_sums(self, agenda: _Agenda, loading: Loading, session: Session) -> None:
        """Once all is loaded, add what is compared row by row. The session is in the heap's order again after it."""
        heads = {series.key for series in self._reader.series if series.head}
        self._comparison = Comparison(
            self._server,
            self._database,
            {key: rows for key, rows in loading.sums.items() if key in heads},
            columns=loading.columns,
            encoding=self._encoding,
        )
        session.execute(read_settings(self._encoding))
        agenda.add([partial(_read, self._comparison, task) for task in self._comparison.plan(session)])
        session.execute(heap_order_settings(self._encoding))
        agenda.end_loads()

    def _look_closer(self) -> int:
        """Sum the rows of the tables whose digest is another, in the backup and in the database."""
        if not self._unlike:
            return 0
        expected: dict[str, RowSum] = {}
        for segment in self._reader.segments:
            key = table_of(self._reader.series[segment.series])
            if key in self._unlike:
                rows = expected.setdefault(key, RowSum())
                for text in self._reader.open_text(segment):
                    rows.feed(text)
        return compare_rows(
            self._server, self._database, expected, columns=self._columns, encoding=self._encoding, jobs=self._jobs
        )


def _work_bytes(reader: BackupReader) -> int:
    return sum(segment.raw_size for segment in reader.segments) + len(reader.series) * _TABLE_BYTES


def _read(comparison: Comparison, task: tuple[str, str, int], session: Session) -> None:
    comparison.read(session, task)


class _Agenda:
    """What is to be done next: loads first, then what they made possible. Thread-safe."""

    def __init__(self, loads: Sequence[list[Segment]]) -> None:
        self._loads = deque(loads)
        self._checks: deque[Check] = deque()
        self._loading = len(loads)
        self._is_loaded = not loads
        self._is_closed = False
        self._changed = threading.Condition()

    def take(self) -> list[Segment] | Check | None:
        """Return the next step, waiting where a load may yet bring one; None where nothing is left, or all stops."""
        with self._changed:
            while not self._is_closed:
                if self._loads:
                    return self._loads.popleft()
                if self._checks:
                    return self._checks.popleft()
                if self._is_loaded:
                    break
                self._changed.wait()
            return None

    def add(self, checks: Sequence[Check]) -> None:
        """Add what has become possible."""
        with self._changed:
            self._checks.extend(checks)
            self._changed.notify_all()

    def end_load(self) -> bool:
        """Count a load as done; True for the last."""
        with self._changed:
            self._loading -= 1
            return not self._loading

    def end_loads(self) -> None:
        """Say that all is loaded and no check will be added any more."""
        with self._changed:
            self._is_loaded = True
            self._changed.notify_all()

    def await_loads(self) -> bool:
        """Wait until all is loaded; False where all stops before."""
        with self._changed:
            self._changed.wait_for(lambda: self._is_loaded or self._is_closed)
            return not self._is_closed

    def close(self) -> None:
        """Wake everybody: it is over."""
        with self._changed:
            self._is_closed = True
            self._changed.notify_all()
