"""Compare two backups from the repository alone: definitions, rows and bytes by table, and which rows changed.

Definitions are compared as the backups' own ``schema.sql.zst`` writes them. Rows are matched by primary key; segments
that both backups have are skipped unread.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from respaldo.errors import DamagedError
from respaldo.events import Listener, SegmentDone, WorkPlanned
from respaldo.language import N_, _
from respaldo.operations.layout import SCHEMA_SQL, STATEMENTS, columns_of, table_of
from respaldo.operations.rowchanges import RowChanges, RowMatch, RowShape
from respaldo.postgres.database import Creation
from respaldo.postgres.definitions import Definitions, SchemaObject, by_object, parse_definitions, primary_keys
from respaldo.repository.codec import CodecError, decompress
from respaldo.repository.reader import BackupReader
from respaldo.repository.records import Segment
from respaldo.units import MIB

_LONGEST_SCRIPT = 256 * MIB
"""Four times the archive that a text is kept of; both are about as long."""

NO_KEY = N_("no primary key")
OTHER_KEY = N_("another primary key")
NO_DEFINITIONS = N_("the primary key is not known: a backup of an earlier version")
OTHER_ENCODING = N_("another encoding")


@dataclass(frozen=True, slots=True, kw_only=True)
class SchemaChanges:
    """What became of the definitions."""

    added: tuple[SchemaObject, ...]
    removed: tuple[SchemaObject, ...]
    altered: tuple[SchemaObject, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class TableComparison:
    """One table in both backups; rows None where it is not in one. ``changes`` None: its rows differ and could not be
    matched, and ``remark``, a gettext message, says why. ``*_bytes`` are those of the rows' text."""

    table: str
    old_rows: int | None
    new_rows: int | None
    old_bytes: int
    new_bytes: int
    changes: RowChanges | None = None
    remark: str = ""

    @property
    def is_changed(self) -> bool:
        return None in {self.old_rows, self.new_rows} or self.changes is None or not self.changes.are_none


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """Two backups compared. ``schema`` None: one of them was made before its text was kept. ``statements_differ``:
    sequences' values or large objects do."""

    schema: SchemaChanges | None
    tables: tuple[TableComparison, ...]
    statements_differ: bool


def compare_backups(old: BackupReader, new: BackupReader, *, listen: Listener) -> Comparison:
    """Compare two backups, of one target or of two. Raise DamagedError for what cannot be read as it was written."""
    definitions = (_definitions(old), _definitions(new))
    sides = (_Side(old), _Side(new))
    tables = [_Table(name, sides) for name in sorted({*sides[0].segments, *sides[1].segments})]
    listen(WorkPlanned(tables=len(tables), size_bytes=sum(table.size_bytes for table in tables)))
    keys = _Keys(definitions, is_same_encoding=_encoding(old) == _encoding(new))
    return Comparison(
        schema=_compare_definitions(*definitions),
        tables=tuple(table.compare(keys, listen) for table in tables),
        statements_differ=sides[0].statements != sides[1].statements,
    )


def _compare_definitions(old: Definitions | None, new: Definitions | None) -> SchemaChanges | None:
    if old is None or new is None:
        return None
    before, after = by_object(old), by_object(new)
    return SchemaChanges(
        added=tuple(sorted(after.keys() - before.keys())),
        removed=tuple(sorted(before.keys() - after.keys())),
        altered=tuple(sorted(one for one in before.keys() & after.keys() if before[one] != after[one])),
    )


def _definitions(reader: BackupReader) -> Definitions | None:
    if SCHEMA_SQL not in {entry.name for entry in reader.manifest.objects}:
        return None
    try:
        return parse_definitions(decompress(reader.read_object(SCHEMA_SQL), limit=_LONGEST_SCRIPT))
    except CodecError as error:
        raise _damaged(reader, _("object {name}: {reason}").format(name=SCHEMA_SQL, reason=error)) from error


def _encoding(reader: BackupReader) -> str:
    return Creation.from_record(reader.manifest.server).encoding


def _damaged(reader: BackupReader, reason: str) -> DamagedError:
    manifest = reader.manifest
    return DamagedError(
        _("backup {target}/{name} is damaged: {reason}").format(
            target=manifest.target, name=manifest.name, reason=reason
        ),
        hint=_("compare with another backup, and make a full backup soon"),
    )


class _Keys:
    """The primary keys that both backups agree on."""

    def __init__(self, definitions: Sequence[Definitions | None], *, is_same_encoding: bool) -> None:
        self._keys = [None if one is None else primary_keys(one) for one in definitions]
        self._is_same_encoding = is_same_encoding

    def of(self, table: str) -> tuple[tuple[str, ...], str]:
        """Return a table's key, or why its rows cannot be matched."""
        old, new = (None if keys is None else keys.get(table, ()) for keys in self._keys)
        if old is None or new is None:
            return (), NO_DEFINITIONS
        if set(old) != set(new):
            return (), OTHER_KEY
        if not self._is_same_encoding:
            return (), OTHER_ENCODING
        return old, "" if old else NO_KEY


class _Side:
    """One backup's segments by table."""

    def __init__(self, reader: BackupReader) -> None:
        self.reader = reader
        self.segments: dict[str, list[Segment]] = {}
        self.statements: Counter[str] = Counter()
        for segment in reader.segments:
            series = reader.series[segment.series]
            if series.head:
                self.segments.setdefault(table_of(series), []).append(segment)
            elif series.key == STATEMENTS:
                self.statements[segment.digest] += 1

    def identity(self, segment: Segment) -> tuple[str, str]:
        """Return what makes two segments the same rows: their columns and their text."""
        return self.reader.series[segment.series].head, segment.digest

    def without(self, table: str, common: Mapping[tuple[str, str], int]) -> list[Segment]:
        """Return a table's segments but those of ``common``, each as often as it stands there."""
        left = Counter(common)
        differing = []
        for segment in self.segments.get(table, []):
            identity = self.identity(segment)
            if left[identity] > 0:
                left[identity] -= 1
            else:
                differing.append(segment)
        return differing


class _Table:
    """What has to be read of one table: the segments of each backup that the other does not have."""

    def __init__(self, name: str, sides: tuple[_Side, _Side]) -> None:
        self._name = name
        self._sides = sides
        counts = [Counter(side.identity(segment) for segment in side.segments.get(name, [])) for side in sides]
        self._differing = [side.without(name, counts[0] & counts[1]) for side in sides]

    @property
    def size_bytes(self) -> int:
        return sum(segment.raw_size for segments in self._differing for segment in segments)

    def compare(self, keys: _Keys, listen: Listener) -> TableComparison:
        rows, sizes = [], []
        for side in self._sides:
            segments = side.segments.get(self._name)
            rows.append(None if segments is None else sum(segment.rows for segment in segments))
            sizes.append(sum(segment.raw_size for segment in segments or []))
        changes, remark = self._changes(keys, rows, listen)
        return TableComparison(
            table=self._name,
            old_rows=rows[0],
            new_rows=rows[1],
            old_bytes=sizes[0],
            new_bytes=sizes[1],
            changes=changes,
            remark=remark,
        )

    def _changes(self, keys: _Keys, rows: Sequence[int | None], listen: Listener) -> tuple[RowChanges | None, str]:
        if rows[0] is None or rows[1] is None or not all(rows):
            return RowChanges(added=rows[1] or 0, removed=rows[0] or 0), ""
        if not any(self._differing):
            return RowChanges(), ""
        key, remark = keys.of(self._name)
        common = self._common_columns()
        if remark or not set(key) <= set(common):
            return None, remark or OTHER_KEY
        with RowMatch(max(sum(segment.rows for segment in segments) for segments in self._differing)) as match:
            for is_new, (side, segments) in enumerate(zip(self._sides, self._differing, strict=True)):
                for segment in segments:
                    shape = RowShape.of(self._columns(side, segment), key=key, values=common)
                    try:
                        match.feed(self._read(side, segment, listen), shape, is_new=bool(is_new))
                    except ValueError as error:
                        raise _damaged(side.reader, f"{self._name}: {error}") from error
            return match.result(), ""

    def _common_columns(self) -> list[str]:
        """Return the columns that every segment of both backups has, sorted: what can be compared."""
        sets = [
            set(self._columns(side, segment)) for side in self._sides for segment in side.segments.get(self._name, [])
        ]
        return sorted(set.intersection(*sets)) if sets else []

    @staticmethod
    def _columns(side: _Side, segment: Segment) -> list[str]:
        return columns_of(side.reader.series[segment.series])

    def _read(self, side: _Side, segment: Segment, listen: Listener) -> Iterator[bytes]:
        yield from side.reader.open_text(segment)
        listen(
            SegmentDone(
                table=self._name,
                rows=segment.rows,
                raw_bytes=segment.raw_size,
                stored_bytes=segment.length,
                heap_bytes=segment.raw_size,
            )
        )


def changed_tables(tables: Iterable[TableComparison]) -> list[TableComparison]:
    """Return the tables whose rows are not the same in both."""
    return [table for table in tables if table.is_changed]
