"""The rows of one backup into one database, by several workers, every byte compared before it is committed."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial

from respaldo.events import Listener, SegmentDone, WorkPlanned
from respaldo.operations.layout import STATEMENTS, columns_of, table_of
from respaldo.operations.rowsum import RowSum
from respaldo.operations.workers import Workers
from respaldo.postgres.load import LoadStream
from respaldo.postgres.server import Server
from respaldo.repository.reader import BackupReader
from respaldo.repository.records import Segment, Series
from respaldo.units import MIB

# One transaction loads about this much text: small enough to share a large table among workers, large enough that
# starting psql (some 20 ms) does not show.
TASK_BYTES = 128 * MIB


class Loading:
    """One load. ``head_of`` gives the text before a series' rows; ``is_one_transaction``: all of it or nothing. Used
    once."""

    def __init__(
        self,
        server: Server,
        reader: BackupReader,
        database: str,
        *,
        preamble: str,
        listen: Listener,
        head_of: Callable[[Series], str] = lambda series: series.head,
        is_one_transaction: bool = False,
    ) -> None:
        self._server = server
        self._reader = reader
        self._database = database
        self._preamble = preamble
        self._listener = listen
        self._head_of = head_of
        self._is_one_transaction = is_one_transaction
        self._lock = threading.Lock()
        self._orders = column_orders(reader.series)
        self.sums: dict[str, RowSum] = {}
        # The tables whose rows are summed with their columns sorted by name.
        self.summed_by_name = {table_of(reader.series[number]) for number in self._orders}

    def run(self, segments: Iterable[Segment], *, jobs: int) -> dict[str, RowSum]:
        """Load these segments, and return what each series' rows add up to, for comparing what arrived."""
        chosen = list(segments)
        tables = {segment.series for segment in chosen if self._reader.series[segment.series].head}
        self._listener(WorkPlanned(tables=len(tables), size_bytes=sum(segment.raw_size for segment in chosen)))
        tasks = sorted(plan_tasks(self._reader, chosen), key=lambda task: -sum(one.raw_size for one in task))
        if self._is_one_transaction:
            tasks = [[segment for task in tasks for segment in task]]
        queue = iter(tasks)
        workers = Workers(jobs)
        workers.run(partial(self._work, workers, queue) for _number in range(min(jobs, max(1, len(tasks)))))
        return self.sums

    def _work(self, workers: Workers, queue: Iterator[list[Segment]]) -> None:
        while (task := self._next(workers, queue)) is not None:
            with LoadStream(self._server, self._database, preamble=self._preamble) as stream:
                workers.closing(stream)
                try:
                    self._load(stream, task)
                    stream.commit()
                finally:
                    workers.done_with(stream)

    def _next(self, workers: Workers, queue: Iterator[list[Segment]]) -> list[Segment] | None:
        with self._lock:
            return None if workers.is_stopping else next(queue, None)

    def _load(self, stream: LoadStream, task: list[Segment]) -> None:
        current: int | None = None
        for segment in task:
            if segment.series != current:
                self._send_tail(stream, current)
                head = self._head_of(self._reader.series[segment.series])
                stream.send_text(head.encode(errors="surrogateescape"))
                current = segment.series
            rows = RowSum(self._orders.get(segment.series))
            frame = self._reader.open_frame(segment, rows.feed) if stream.accepts_frames else None
            if frame is not None:
                for piece in frame:
                    stream.send_frame(piece)
            else:
                for text in self._reader.open_text(segment):
                    rows.feed(text)
                    stream.send_text(text)
            self._told(segment, rows)
        self._send_tail(stream, current)

    def _send_tail(self, stream: LoadStream, series: int | None) -> None:
        if series is not None:
            stream.send_text(self._reader.series[series].tail.encode())

    def _told(self, segment: Segment, rows: RowSum) -> None:
        key = table_of(self._reader.series[segment.series])
        with self._lock:
            self.sums.setdefault(key, RowSum()).add(rows)
            self._listener(
                SegmentDone(
                    table=key,
                    rows=segment.rows,
                    raw_bytes=segment.raw_size,
                    stored_bytes=segment.length,
                    heap_bytes=segment.raw_size,
                )
            )


def column_orders(series: Sequence[Series]) -> dict[int, list[int]]:
    """Return, for the series of tables that were written with their columns in several orders (partitions that load
    through their root), the places of the columns sorted by name."""
    several = {table_of(one) for one in series if table_of(one) != one.key}
    orders = {}
    for number, one in enumerate(series):
        if table_of(one) in several:
            columns = columns_of(one)
            orders[number] = sorted(range(len(columns)), key=columns.__getitem__)
    return orders


def plan_tasks(reader: BackupReader, segments: Iterable[Segment]) -> Iterator[list[Segment]]:
    """Yield what one transaction loads: runs of segments in order, each series' together.

    Statements are one task: a large object's begin and end may lie in different segments.
    """
    ordered = sorted(segments, key=lambda segment: segment.series)
    statements = [segment for segment in ordered if reader.series[segment.series].key == STATEMENTS]
    if statements:
        yield statements
    task: list[Segment] = []
    size_bytes = 0
    for segment in ordered:
        if reader.series[segment.series].key == STATEMENTS:
            continue
        task.append(segment)
        size_bytes += segment.raw_size
        if size_bytes >= TASK_BYTES:
            yield task
            task, size_bytes = [], 0
    if task:
        yield task
