"""Reading one backup. Nothing is handed out as a backup's text before its size, rows and digest were compared."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from threading import RLock

from blake3 import blake3

from respaldo.errors import DamagedError, ObjectNotFoundError, RepositoryError, StorageError
from respaldo.language import _
from respaldo.repository.codec import CodecError, FrameReader
from respaldo.repository.delta import decode_delta
from respaldo.repository.fields import FieldError
from respaldo.repository.format import MAX_DELTA_TEXT, MAX_SEGMENTS_BYTES, SEGMENTS
from respaldo.repository.records import BackupType, Manifest, ObjectEntry, Segment, Series
from respaldo.repository.segments import SegmentTable, decode_segments
from respaldo.storage.base import Storage
from respaldo.units import MIB

READ_BYTES = 4 * MIB
"""How much of a pack is asked of the store at a time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Index:
    table: SegmentTable
    by_part: Mapping[tuple[str, str], Segment]


class BackupReader:
    """A committed backup. Thread-safe; holds nothing open. An incremental reads its base through its own reader."""

    def __init__(
        self, storage: Storage, directory: str, manifest: Manifest, open_base: Callable[[], BackupReader]
    ) -> None:
        self.manifest = manifest
        self._storage = storage
        self._directory = directory
        self._entries = {entry.name: entry for entry in manifest.objects}
        self._open_base = open_base
        self._lock = RLock()
        self._base: BackupReader | None = None
        self._index: _Index | None = None

    @property
    def series(self) -> tuple[Series, ...]:
        """Every series; ``Segment.series`` is a place in it."""
        return self._load().table.series

    @property
    def segments(self) -> tuple[Segment, ...]:
        """Every segment, in the order in which they were written."""
        return self._load().table.segments

    @property
    def base(self) -> BackupReader:
        """The base's reader. Raise DamagedError where it is missing or is another backup by now, or this is a full."""
        with self._lock:
            if self._base is None:
                if self.manifest.type is BackupType.FULL:
                    raise self._damaged(_("a full has no base"))
                self._base = self._open_base()
            return self._base

    def segment(self, series_key: str, part: str) -> Segment | None:
        """Return a segment by its series' key and its part, None where there is none."""
        return self._load().by_part.get((series_key, part))

    def read_object(self, name: str) -> bytes:
        """Read a whole object, its size and digest compared; RepositoryError where the manifest lists none such."""
        return b"".join(self.open_object(name))

    def open_object(self, name: str) -> Iterator[bytes]:
        """Yield an object in pieces; its digest is compared at the end: what came is proven only then."""
        entry = self._entry(name)
        digest = blake3()
        for piece in self._stored(name, 0, entry.size_bytes):
            digest.update(piece)
            yield piece
        if digest.hexdigest() != entry.digest:
            raise self._damaged(_("object {name} is not the one that was written").format(name=name))

    def check_objects(self) -> None:
        """See that every object is there with its size, without reading it. Raise DamagedError naming the first."""
        for name in self._entries:
            self._check_size(name)

    def check_segments(self) -> None:
        """See that the table of segments can be read. Raise DamagedError."""
        self._load()

    def verify_object(self, name: str) -> None:
        """Read an object and compare it: size on the store, digest. Raise DamagedError."""
        self._check_size(name)
        for _piece in self.open_object(name):
            pass

    def _check_size(self, name: str) -> None:
        entry = self._entry(name)
        try:
            size = self._storage.size(self._path(name))
        except ObjectNotFoundError as error:
            raise self._damaged(_("object {name} is missing").format(name=name)) from error
        if size != entry.size_bytes:
            message = _("object {name} has {size} bytes, not {expected}")
            raise self._damaged(message.format(name=name, size=size, expected=entry.size_bytes))

    def open_text(self, segment: Segment) -> Iterator[bytes]:
        """Yield a segment's text in pieces. Its size, rows and digest are compared at the end: what came is proven
        only when the iterator is exhausted. Raise DamagedError."""
        if segment.kind == "ref":
            yield from self._checked(segment, self.base.open_text(self._base_segment(segment)))
        elif segment.kind == "delta":
            yield from self._checked(segment, self._delta_text(segment))
        else:
            yield from self._checked(segment, self._frame_text(segment))

    def read_text(self, segment: Segment) -> bytes:
        """Return a segment's whole text, compared."""
        return b"".join(self.open_text(segment))

    def open_frame(self, segment: Segment, told: Callable[[bytes], None]) -> Iterator[bytes] | None:
        """Return a segment's zstd frame as it is stored, in pieces, and tell its text on the way; None for a delta.

        Size, rows and digest are compared at the end, as for ``open_text``.
        """
        if segment.kind == "ref":
            return self.base.open_frame(self._base_segment(segment), told)
        return self._told_frame(segment, told) if segment.kind == "frame" else None

    def _told_frame(self, segment: Segment, told: Callable[[bytes], None]) -> Iterator[bytes]:
        frame = FrameReader(limit=segment.raw_size)
        stored = b""

        def text() -> Iterator[bytes]:
            nonlocal stored
            for stored in self._stored(segment.pack, segment.offset, segment.length):
                yield b""
                yield from frame.feed(stored)
            frame.finish()

        for piece in self._checked(segment, text()):
            if piece:
                told(piece)
            else:
                yield stored

    def stored_frame(self, segment: Segment) -> Iterator[bytes] | None:
        """Return a segment's zstd frame as it is stored, in pieces; None for a delta. Only the frame's own checksum
        guards it: who decompresses compares size, rows and digest."""
        if segment.kind == "ref":
            return self.base.stored_frame(self._base_segment(segment))
        if segment.kind == "delta":
            return None
        return self._stored(segment.pack, segment.offset, segment.length)

    def _frame_text(self, segment: Segment) -> Iterator[bytes]:
        frame = FrameReader(limit=segment.raw_size)
        for piece in self._stored(segment.pack, segment.offset, segment.length):
            yield from frame.feed(piece)
        frame.finish()

    def _delta_text(self, segment: Segment) -> Iterator[bytes]:
        of_base = self._base_segment(segment)
        if of_base.raw_size > MAX_DELTA_TEXT:
            raise CodecError(_("the base's text is too large for a delta"))
        prefix = self.base.read_text(of_base)
        delta = b"".join(self._stored(segment.pack, segment.offset, segment.length))
        yield decode_delta(delta, prefix, segment.raw_size)

    def _checked(self, segment: Segment, pieces: Iterator[bytes]) -> Iterator[bytes]:
        digest, raw_size, rows = blake3(), 0, 0
        try:
            for piece in pieces:
                digest.update(piece)
                raw_size += len(piece)
                rows += piece.count(b"\n")
                yield piece
        except CodecError as error:
            raise self._damaged_segment(segment, str(error)) from error
        if (raw_size, rows, digest.hexdigest()) != (segment.raw_size, segment.rows, segment.digest):
            raise self._damaged_segment(segment, _("its text is not the one that was written"))

    def _base_segment(self, segment: Segment) -> Segment:
        found = self.base.segment(self.series[segment.series].key, segment.base_part)
        if found is None:
            raise self._damaged_segment(segment, _("the base has no such segment"))
        return found

    def _stored(self, name: str, offset: int, length: int) -> Iterator[bytes]:
        """Yield a range of an object."""
        path = self._path(name)
        for start in range(offset, offset + length, READ_BYTES):
            try:
                yield self._storage.get_range(path, start, min(READ_BYTES, offset + length - start))
            except ObjectNotFoundError as error:
                raise self._damaged(_("object {name} is missing").format(name=name)) from error
            except StorageError as error:
                if self._is_short(path, offset + length):
                    raise self._damaged(_("object {name} is cut short").format(name=name)) from error
                raise

    def _is_short(self, path: str, end: int) -> bool:
        try:
            return self._storage.size(path) < end
        except StorageError:
            return False  # the store itself fails: the caller raises what it said

    def _load(self) -> _Index:
        with self._lock:
            if self._index is None:
                self._index = self._read_index()
            return self._index

    def _read_index(self) -> _Index:
        if self._entry(SEGMENTS).size_bytes > MAX_SEGMENTS_BYTES:
            raise self._damaged(_("object {name} is too large").format(name=SEGMENTS))
        data = self.read_object(SEGMENTS)
        packs = {entry.name: entry.size_bytes for entry in self.manifest.objects}
        try:
            table = decode_segments(data, packs=packs, has_base=self.manifest.base is not None)
        except FieldError as error:
            reason = _("object {name}: {reason}").format(name=SEGMENTS, reason=error)
            raise self._damaged(reason) from error
        keys = [series.key for series in table.series]
        by_part = {(keys[segment.series], segment.part): segment for segment in table.segments}
        return _Index(table=table, by_part=by_part)

    def _entry(self, name: str) -> ObjectEntry:
        entry = self._entries.get(name)
        if entry is None:
            message = _("backup {backup} has no object {name}")
            raise RepositoryError(message.format(backup=self.manifest.name, name=name))
        return entry

    def _path(self, name: str) -> str:
        return f"{self._directory}/{self.manifest.prefix}{name}"

    def _damaged_segment(self, segment: Segment, reason: str) -> DamagedError:
        message = _("segment {part} of {series} in {pack}: {reason}")
        where = segment.pack or _("the base")
        key = self.series[segment.series].key
        return self._damaged(message.format(part=segment.part, series=key, pack=where, reason=reason))

    def _damaged(self, reason: str) -> DamagedError:
        return DamagedError(
            _("backup {target}/{name} is damaged: {reason}").format(
                target=self.manifest.target, name=self.manifest.name, reason=reason
            ),
            hint=_("Restore from another backup, and make a full backup soon."),
        )
