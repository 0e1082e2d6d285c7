"""pg_dump's data script as segments: each table's rows a series, everything else one series of statements."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from respaldo.operations.layout import COPY_END, STATEMENTS, variant_key
from respaldo.operations.segments import SegmentStore, Stored
from respaldo.postgres.copytext import Rows, RowsBegin, RowsEnd, Statements, TextCutter, split_script
from respaldo.postgres.identifiers import qualify
from respaldo.repository.records import Series
from respaldo.repository.writer import BackupWriter


@dataclass(slots=True)
class _Open:
    """A series whose text is arriving."""

    series: int
    key: str
    cutter: TextCutter = field(default_factory=TextCutter)
    stored: list[Stored] = field(default_factory=list)


class ScriptStore:
    """Stores one data script through one worker's store. ``told`` hears of each table, with what it took."""

    def __init__(self, writer: BackupWriter, store: SegmentStore, told: Callable[[str, Stored], None]) -> None:
        self._writer = writer
        self._store = store
        self._told = told
        self._parts: dict[int, int] = {}
        self._heads: dict[str, bytes] = {}

    def store(self, pieces: Iterable[bytes]) -> None:
        """Store the script to its end; of rows and statements at most 48 MiB are held at a time, or one longer row."""
        statements: _Open | None = None
        rows: _Open | None = None
        for part in split_script(pieces):
            if isinstance(part, Statements):
                statements = statements or self._open(STATEMENTS, b"")
                self._feed(statements, part.text)
            elif isinstance(part, RowsBegin):
                if statements is not None:
                    self._finish(statements)
                    statements = None
                rows = self._open(self._key(part), part.head)
            elif isinstance(part, Rows) and rows is not None:
                self._feed(rows, part.text)
            elif isinstance(part, RowsEnd) and rows is not None:
                self._finish(rows)
                self._told(rows.key, _sum(rows.stored))
                rows = None
        if statements is not None:
            self._finish(statements)

    def _open(self, key: str, head: bytes) -> _Open:
        text = head.decode(errors="surrogateescape")
        series = self._writer.add_series(Series(key=key, head=text, tail=COPY_END if head else ""))
        return _Open(series, key)

    def _key(self, begin: RowsBegin) -> str:
        """Return the series' key. Partitions that load through their root share its name, not always its columns."""
        key = qualify(begin.schema, begin.name)
        first = self._heads.setdefault(key, begin.head)
        return key if first == begin.head else variant_key(key, begin.head.decode(errors="surrogateescape"))

    def _feed(self, to: _Open, text: bytes) -> None:
        for segment in to.cutter.feed(text):
            self._put(to, segment)

    def _finish(self, to: _Open) -> None:
        for segment in to.cutter.finish():
            self._put(to, segment)
        if not to.stored:
            self._put(to, b"")

    def _put(self, to: _Open, text: bytes) -> None:
        number = self._parts.get(to.series, 0)
        self._parts[to.series] = number + 1
        to.stored.append(self._store.store_text(to.series, to.key, f"s{number}", text))


def _sum(stored: Iterable[Stored]) -> Stored:
    pieces = list(stored)
    return Stored(
        rows=sum(piece.rows for piece in pieces),
        raw_bytes=sum(piece.raw_bytes for piece in pieces),
        stored_bytes=sum(piece.stored_bytes for piece in pieces),
    )
