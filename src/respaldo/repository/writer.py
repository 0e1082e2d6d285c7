"""Writing one backup. Nothing of it exists for a reader until ``commit`` has put the manifest, the very last object."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Sequence
from threading import Lock
from types import TracebackType
from typing import Self

from respaldo.clock import Clock
from respaldo.errors import ObjectExistsError, ObjectNotFoundError, RepositoryError, RespaldoError, UsageError
from respaldo.language import _
from respaldo.repository.format import MANIFEST, MAX_MANIFEST_BYTES, SEGMENTS, is_digest, is_object_name
from respaldo.repository.lock import Lease
from respaldo.repository.manifest import decode_manifest, encode_manifest
from respaldo.repository.pack import ObjectSink, PackWriter
from respaldo.repository.reader import BackupReader
from respaldo.repository.records import (
    BackupFacts,
    BackupType,
    Manifest,
    ObjectEntry,
    Segment,
    Series,
    TargetPath,
    Totals,
)
from respaldo.repository.segments import encode_segments
from respaldo.storage.base import Storage


class BackupWriter:
    """A backup in the making. Thread-safe, but for each of its packs. Leaving the ``with`` block without ``commit``
    removes everything written."""

    def __init__(
        self,
        storage: Storage,
        clock: Clock,
        directory: str,
        *,
        target: TargetPath,
        name: str,
        type: BackupType,
        base: BackupReader | None,
        lease: Lease,
        replaced: Manifest | None,
        preamble: str,
        remove_replaced: Callable[[Manifest], None],
    ) -> None:
        self.target = target
        self.name = name
        self.type = type
        self.uid = secrets.token_hex(16)
        self.object_prefix = f"r{self.uid[:8]}-" if replaced else ""
        self._storage = storage
        self._clock = clock
        self._directory = directory
        self._base = base
        self._lease = lease
        self._replaced = replaced
        self._preamble = preamble
        self._remove_replaced = remove_replaced
        self._lock = Lock()
        self._series: list[Series] = []
        self._series_ids: dict[str, int] = {}
        self._segments: list[Segment] = []
        self._parts: set[tuple[int, str]] = set()
        self._entries: dict[str, ObjectEntry] = {}
        self._opened: set[str] = set()
        self._packs: list[PackWriter] = []
        self._committing = False
        self._ended = False

    def add_series(self, series: Series) -> int:
        """Return the id that segments of ``series`` are written under; the same for the same series again."""
        with self._lock:
            known = self._series_ids.setdefault(series.key, len(self._series))
            if known == len(self._series):
                self._series.append(series)
            elif self._series[known] != series:
                raise ValueError(f"series {series.key} has another head or tail already")
            return known

    def get_series(self, series: int) -> Series:
        """Return a series by its id."""
        with self._lock:
            return self._series[series]

    def new_pack(self) -> PackWriter:
        """Return a pack writer for one worker; ``commit`` closes it."""
        with self._lock:
            pack = PackWriter(self, len(self._packs), plain_sql=self.type is BackupType.FULL, preamble=self._preamble)
            self._packs.append(pack)
            return pack

    def put_object(self, name: str, data: bytes) -> None:
        """Write a whole object beside the packs."""
        with self.open_object(name) as sink:
            sink.write(data)
            sink.commit()

    def open_object(self, name: str) -> ObjectSink:
        """Begin an object beside the packs; it belongs to the backup once its sink is committed."""
        if not is_object_name(name):
            raise ValueError(f"{name} cannot be the name of an object")
        with self._lock:
            if self._ended or name in self._opened:
                raise ValueError(f"{name} is written already, or the backup has ended")
            self._opened.add(name)
        return ObjectSink(name, self._storage.open_writer(self._path(name)), self._add_entry)

    def add_ref(self, series: int, part: str, *, base_part: str, raw_size: int, rows: int, digest: str) -> None:
        """Record that a segment is the base's segment ``base_part`` of the same series key; ValueError if it is not."""
        segment = Segment(
            series=series, part=part, kind="ref", raw_size=raw_size, rows=rows, digest=digest, base_part=base_part
        )
        self.add_segment(segment)

    def add_segment(self, segment: Segment) -> None:
        """Record a segment; packs and ``add_ref`` call this."""
        key = self.get_series(segment.series).key
        if not is_digest(segment.digest) or segment.raw_size < 0 or segment.rows < 0:
            raise ValueError(f"segment {segment.part} of {key} has no digest, or a size below 0")
        if segment.kind != "frame":
            found = self._base.segment(key, segment.base_part) if self._base else None
            if found is None:
                raise ValueError(f"the base has no segment {segment.base_part} of {key}")
            same = (found.digest, found.raw_size, found.rows) == (segment.digest, segment.raw_size, segment.rows)
            if segment.kind == "ref" and not same:
                raise ValueError(f"segment {segment.part} of {key} is not the base's {segment.base_part}")
        with self._lock:
            if (segment.series, segment.part) in self._parts:
                raise ValueError(f"segment {segment.part} of {key} is written already")
            self._parts.add((segment.series, segment.part))
            self._segments.append(segment)

    def commit(self, facts: BackupFacts) -> Manifest:
        """Make the backup exist: packs, segments table, and last the manifest. Every worker has ended before.

        Raise LockedError where the lease was lost, UsageError where the name came into use meanwhile.
        """
        for pack in self._packs:
            pack.close()
        self.put_object(SEGMENTS, encode_segments(self._series, self._segments))
        manifest = self._manifest(facts)
        self._check_stored(manifest.objects)
        self._lease.check()
        path = f"{self._directory}/{MANIFEST}"
        data = encode_manifest(manifest)
        self._committing = True
        if self._replaced is None:
            self._put_new(path, data)
        else:
            self._storage.put(path, data)
        self._ended = True
        if self._replaced is not None:
            self._remove_replaced(manifest)
        return manifest

    def abort(self) -> None:
        """Remove everything written. Harmless after ``commit`` and when repeated."""
        if self._ended:
            return
        self._ended = True
        for pack in self._packs:
            pack.abort()
        if self._committing and self._is_committed():
            return
        for name in sorted(self._opened):
            self._storage.delete(self._path(name))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.abort()

    def _manifest(self, facts: BackupFacts) -> Manifest:
        return Manifest(
            name=self.name,
            uid=self.uid,
            type=self.type,
            base=self._base.manifest.name if self._base else None,
            base_uid=self._base.manifest.uid if self._base else None,
            prefix=self.object_prefix,
            target=self.target,
            started=facts.started,
            finished=self._clock.now(),
            environment=facts.environment,
            tool_version=facts.tool_version,
            decision=facts.decision,
            server=dict(facts.server),
            totals=self._totals(facts.tables),
            objects=tuple(sorted(self._entries.values(), key=lambda entry: entry.name)),
            warnings=tuple(facts.warnings),
        )

    def _totals(self, tables: int) -> Totals:
        return Totals(
            tables=tables,
            rows=sum(segment.rows for segment in self._segments if self._series[segment.series].head),
            raw_bytes=sum(segment.raw_size for segment in self._segments),
            stored_bytes=sum(entry.size_bytes for entry in self._entries.values()),
            segments=len(self._segments),
            refs=sum(segment.kind == "ref" for segment in self._segments),
            deltas=sum(segment.kind == "delta" for segment in self._segments),
        )

    def _check_stored(self, entries: Sequence[ObjectEntry]) -> None:
        """Compare what the store has with what was written: a sweep by hand, or a full disk, may have come between."""
        sizes = {stored.name: stored.size_bytes for stored in self._storage.list(self._directory)}
        for entry in entries:
            if sizes.get(self._path(entry.name)) != entry.size_bytes:
                message = _("object {name} of backup {backup} vanished, or changed, while the backup was made")
                raise RepositoryError(message.format(name=entry.name, backup=self.name))
        if self._replaced is None and f"{self._directory}/{MANIFEST}" in sizes:
            raise UsageError(_("a backup named {name} exists already").format(name=self.name))

    def _put_new(self, path: str, data: bytes) -> None:
        try:
            self._storage.put_if_absent(path, data)
        except ObjectExistsError as error:
            raise UsageError(_("a backup named {name} exists already").format(name=self.name)) from error

    def _is_committed(self) -> bool:
        """Tell whether the manifest is this backup's although writing it raised: then its objects must stay."""
        try:
            data = self._storage.get(f"{self._directory}/{MANIFEST}", limit_bytes=MAX_MANIFEST_BYTES)
            return decode_manifest(data, target=self.target, name=self.name).uid == self.uid
        except ObjectNotFoundError:
            return False
        except RespaldoError:
            return True  # nobody knows: what is left over is swept by a later run

    def _add_entry(self, entry: ObjectEntry) -> None:
        with self._lock:
            self._entries[entry.name] = entry

    def _path(self, name: str) -> str:
        return f"{self._directory}/{self.object_prefix}{name}"
