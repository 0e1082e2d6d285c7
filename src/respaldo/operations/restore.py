"""Restore a backup into a new database, beside whatever is there; a failure leaves no new database behind."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from functools import partial

from respaldo.errors import ProofFailedError, UsageError
from respaldo.events import Listener, PhaseStarted, SegmentDone, WorkPlanned
from respaldo.language import _
from respaldo.operations.layout import DATABASE, SCHEMA, STATEMENTS
from respaldo.operations.workers import Workers
from respaldo.postgres.database import Creation
from respaldo.postgres.load import (
    LoadStream,
    apply_settings,
    count_rows,
    create_database,
    drop_database,
    require_no_database,
    restore_section,
)
from respaldo.postgres.server import Server
from respaldo.postgres.snapshot import restore_settings
from respaldo.repository.reader import BackupReader
from respaldo.repository.records import Segment
from respaldo.units import MIB

# One transaction loads about this much text: small enough to share a large table among workers, large enough that
# starting psql (some 20 ms) does not show.
TASK_BYTES = 128 * MIB


def restore_into_new(server: Server, reader: BackupReader, database: str, *, jobs: int, listen: Listener) -> int:
    """Restore into a new database and return its rows, each table's number compared with the backup.

    Raise UsageError or PostgresError before anything is made, and whatever fails later after the new one is dropped.
    """
    stored = int(reader.manifest.server.get("version_num", "0"))
    if stored // 10000 > server.facts.major:
        raise UsageError(
            _("{name} is of PostgreSQL {stored}, this server is the older {version}").format(
                name=reader.manifest.name, stored=stored // 10000, version=server.facts.short_version
            ),
            hint=_("restore into a server of version {stored} or newer").format(stored=stored // 10000),
        )
    require_no_database(server, database)
    creation = Creation.from_record(reader.manifest.server)
    create_database(server, creation.statement(database, owner=creation.owner))
    try:
        return _fill(server, reader, database, jobs=jobs, listen=listen)
    except BaseException:
        drop_database(server, database)
        raise


def _fill(server: Server, reader: BackupReader, database: str, *, jobs: int, listen: Listener) -> int:
    listen(PhaseStarted(phase=_("definitions")))
    restore_section(server, database, reader.open_object(SCHEMA), "pre-data")
    _Load(server, reader, database, listen).run(jobs)
    listen(PhaseStarted(phase=_("indexes and constraints")))
    restore_section(server, database, reader.open_object(SCHEMA), "post-data")
    apply_settings(server, database, reader.read_object(DATABASE))
    listen(PhaseStarted(phase=_("comparing row counts")))
    return _compare(server, reader, database)


class _Load:
    """The rows of one backup, loaded by several workers, each task a transaction."""

    def __init__(self, server: Server, reader: BackupReader, database: str, listen: Listener) -> None:
        self._server = server
        self._reader = reader
        self._database = database
        self._listener = listen
        self._lock = threading.Lock()
        self._tasks = iter(sorted(plan_tasks(reader), key=lambda task: -sum(one.raw_size for one in task)))
        self._preamble = restore_settings(reader.manifest.server["database_encoding"])

    def run(self, jobs: int) -> None:
        segments = self._reader.segments
        tables = len({segment.series for segment in segments})
        self._listener(WorkPlanned(tables=tables, size_bytes=sum(segment.raw_size for segment in segments)))
        workers = Workers(jobs)
        workers.run(partial(self._work, workers) for _number in range(jobs))

    def _work(self, workers: Workers) -> None:
        while (task := self._next(workers)) is not None:
            with LoadStream(self._server, self._database, preamble=self._preamble) as stream:
                workers.closing(stream)
                try:
                    self._load(stream, task)
                    stream.commit()
                finally:
                    workers.done_with(stream)

    def _next(self, workers: Workers) -> list[Segment] | None:
        with self._lock:
            return None if workers.is_stopping else next(self._tasks, None)

    def _load(self, stream: LoadStream, task: list[Segment]) -> None:
        current: int | None = None
        for segment in task:
            series = self._reader.series[segment.series]
            if segment.series != current:
                self._send_tail(stream, current)
                stream.send_text(series.head.encode(errors="surrogateescape"))
                current = segment.series
            frame = self._reader.stored_frame(segment) if stream.accepts_frames else None
            if frame is not None:
                for piece in frame:
                    stream.send_frame(piece)
            else:
                for text in self._reader.open_text(segment):
                    stream.send_text(text)
            with self._lock:
                self._listener(
                    SegmentDone(
                        table=series.key,
                        rows=segment.rows,
                        raw_bytes=segment.raw_size,
                        stored_bytes=segment.length,
                        heap_bytes=segment.raw_size,
                    )
                )
        self._send_tail(stream, current)

    def _send_tail(self, stream: LoadStream, series: int | None) -> None:
        if series is not None:
            stream.send_text(self._reader.series[series].tail.encode())


def plan_tasks(reader: BackupReader) -> Iterator[list[Segment]]:
    """Yield what one transaction loads: runs of segments in order, each series' together.

    Statements are one task: a large object's begin and end may lie in different segments.
    """
    segments = sorted(reader.segments, key=lambda segment: segment.series)
    statements = [segment for segment in segments if reader.series[segment.series].key == STATEMENTS]
    if statements:
        yield statements
    task: list[Segment] = []
    size_bytes = 0
    for segment in segments:
        if reader.series[segment.series].key == STATEMENTS:
            continue
        task.append(segment)
        size_bytes += segment.raw_size
        if size_bytes >= TASK_BYTES:
            yield task
            task, size_bytes = [], 0
    if task:
        yield task


def _compare(server: Server, reader: BackupReader, database: str) -> int:
    """Compare every table's row count with the backup's, and return their sum."""
    expected: dict[str, int] = {}
    for segment in reader.segments:
        series = reader.series[segment.series]
        if series.head:
            # Partitions that load through their root stand under its name, some with their columns after it.
            name = series.key.split(" COPY ", 1)[0]
            expected[name] = expected.get(name, 0) + segment.rows
    found = count_rows(server, database, expected)
    wrong = [name for name, rows in expected.items() if found[name] != rows]
    if wrong:
        raise ProofFailedError(
            _("{table} has {found} rows, the backup has {expected}").format(
                table=wrong[0], found=found[wrong[0]], expected=expected[wrong[0]]
            )
        )
    return sum(expected.values())
