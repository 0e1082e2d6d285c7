"""The rows of one backup into one database, by several workers, every byte compared before it is committed."""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from functools import partial
from itertools import groupby

from respaldo.events import Listener, SegmentDone, WorkPlanned
from respaldo.operations.layout import STATEMENTS, columns_of, table_of
from respaldo.operations.rowsum import RowSum
from respaldo.operations.stretches import Stretch, StretchDigest
from respaldo.operations.workers import Workers
from respaldo.postgres.load import LoadStream
from respaldo.postgres.server import Server
from respaldo.repository.reader import BackupReader
from respaldo.repository.records import Segment, Series
from respaldo.units import MIB

# One transaction loads about this much text: small enough to share a large table among workers, large enough that
# starting psql (some 20 ms) does not show.
TASK_BYTES = 128 * MIB


_FROM = " FROM stdin;\n"


class Loading:
    """One load. ``head_of`` gives the text before a series' rows; ``is_one_transaction``: all of it or nothing;
    ``ending``: what each transaction runs before its commit. Used once.

    ``in_order``: tables that this run made, and that nobody else touches. Each is loaded by one transaction that
    empties it first: then PostgreSQL looks for room nowhere but at its end (hio.c, HEAP_INSERT_SKIP_FSM), so that the
    rows lie in the order in which they were sent; and they may be frozen, so that none is written again when it is
    read. ``stretches`` holds what they are compared with, ``sums`` what the others' rows add up to.
    """

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
        ending: str = "",
        in_order: Collection[str] = (),
        jobs: int = 1,
    ) -> None:
        self._server = server
        self._reader = reader
        self._database = database
        self._preamble = preamble
        self._listener = listen
        self._head_of = head_of
        self._is_one_transaction = is_one_transaction
        self._ending = ending.encode(errors="surrogateescape")
        self._in_order = {n for n, series in enumerate(reader.series) if series.head and table_of(series) in in_order}
        self._jobs = jobs
        self._lock = threading.Lock()
        self._orders = column_orders(reader.series)
        self.stretches: dict[str, list[Stretch]] = {}
        self.sums: dict[str, RowSum] = {}
        # In what order their columns are summed, which is not always that of the tables that are filled.
        self.columns = {
            table_of(one): sorted(columns_of(one)) if number in self._orders else columns_of(one)
            for number, one in enumerate(reader.series)
            if one.head
        }

    def run(self, segments: Iterable[Segment]) -> dict[str, RowSum]:
        """Load these segments, and return what each series' rows add up to, for comparing what arrived."""
        queue = iter(self.plan(segments))
        workers = Workers(self._jobs)
        workers.run(partial(self._work, workers, queue) for _number in range(self._jobs))
        return self.sums

    def plan(self, segments: Iterable[Segment]) -> list[list[Segment]]:
        """Return what ``load`` takes at once, the largest first, and tell how much it is."""
        chosen = list(segments)
        tables = {segment.series for segment in chosen if self._reader.series[segment.series].head}
        self._listener(WorkPlanned(tables=len(tables), size_bytes=sum(segment.raw_size for segment in chosen)))
        tasks = list(plan_tasks(self._reader, chosen, self._in_order))
        if self._is_one_transaction:
            return [[segment for task in tasks for segment in task]]
        return sorted(tasks, key=lambda task: -sum(one.raw_size for one in task))

    def load(self, workers: Workers, task: list[Segment]) -> None:
        """Load one task of ``plan``'s, to its commit."""
        with LoadStream(self._server, self._database, preamble=self._preamble) as stream:
            workers.closing(stream)
            try:
                if task[0].series in self._in_order:
                    stretches = self._send_in_order(stream, task)
                    stream.commit()
                    self.stretches[table_of(self._reader.series[task[0].series])] = stretches
                else:
                    self._send(stream, task)
                    stream.send_text(self._ending)
                    stream.commit()
            finally:
                workers.done_with(stream)

    def _work(self, workers: Workers, queue: Iterator[list[Segment]]) -> None:
        while (task := self._next(workers, queue)) is not None:
            self.load(workers, task)

    def _next(self, workers: Workers, queue: Iterator[list[Segment]]) -> list[Segment] | None:
        with self._lock:
            return None if workers.is_stopping else next(queue, None)

    def _send_in_order(self, stream: LoadStream, task: list[Segment]) -> list[Stretch]:
        """Send all of one table."""
        series = self._reader.series[task[0].series]
        head = self._head_of(series)
        if head.endswith(_FROM):
            head = f"TRUNCATE ONLY {table_of(series)};\n{head.removesuffix(_FROM)} FROM stdin WITH (FREEZE);\n"
        stream.send_text(head.encode(errors="surrogateescape"))
        digest = StretchDigest(sum(segment.rows for segment in task), self._jobs)
        for segment in task:
            self._send_segment(stream, segment, digest.feed)
            digest.end_segment(segment.rows)
            self._tell(segment)
        self._send_tail(stream, task[0].series)
        return digest.finish()

    def _send(self, stream: LoadStream, task: list[Segment]) -> None:
        current: int | None = None
        for segment in task:
            if segment.series != current:
                self._send_tail(stream, current)
                head = self._head_of(self._reader.series[segment.series])
                stream.send_text(head.encode(errors="surrogateescape"))
                current = segment.series
            rows = RowSum(self._orders.get(segment.series))
            self._send_segment(stream, segment, rows.feed)
            with self._lock:
                self.sums.setdefault(table_of(self._reader.series[segment.series]), RowSum()).add(rows)
            self._tell(segment)
        self._send_tail(stream, current)

    def _send_segment(self, stream: LoadStream, segment: Segment, told: Callable[[bytes], None]) -> None:
        """Send a segment and tell its text; both are compared with the manifest's digest before this returns."""
        frame = self._reader.open_frame(segment, told) if stream.accepts_frames else None
        if frame is not None:
            for piece in frame:
                stream.send_frame(piece)
        else:
            for text in self._reader.open_text(segment):
                told(text)
                stream.send_text(text)

    def _send_tail(self, stream: LoadStream, series: int | None) -> None:
        if series is not None:
            stream.send_text(self._reader.series[series].tail.encode())

    def _tell(self, segment: Segment) -> None:
        with self._lock:
            self._listener(
                SegmentDone(
                    table=table_of(self._reader.series[segment.series]),
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


def plan_tasks(
    reader: BackupReader, segments: Iterable[Segment], whole: Collection[int] = ()
) -> Iterator[list[Segment]]:
    """Yield what one transaction loads: runs of segments in order, each series' together.

    Statements are one task: a large object's begin and end may lie in different segments; so is each series of
    ``whole``.
    """
    ordered = sorted(segments, key=lambda segment: segment.series)
    alone = {number for number, series in enumerate(reader.series) if series.key == STATEMENTS} | set(whole)
    for _series, group in groupby((one for one in ordered if one.series in alone), key=lambda segment: segment.series):
        yield list(group)
    task: list[Segment] = []
    size_bytes = 0
    for segment in ordered:
        if segment.series in alone:
            continue
        task.append(segment)
        size_bytes += segment.raw_size
        if size_bytes >= TASK_BYTES:
            yield task
            task, size_bytes = [], 0
    if task:
        yield task
