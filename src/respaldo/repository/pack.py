"""Writing packs: objects of many zstd frames, each streamed to the store as it comes.

A full's packs are plain SQL in order (``cat data-*.sql.zst | zstd -d``): a series' segments stand between its head
and its tail, each of these a frame of its own, and again in every pack that the series goes on in.
"""

from __future__ import annotations

from collections.abc import Callable
from types import TracebackType
from typing import Protocol, Self

from blake3 import blake3

from respaldo.repository.codec import compress
from respaldo.repository.format import MAX_DELTA_TEXT, PACK_BYTES
from respaldo.repository.records import ObjectEntry, Segment, SegmentKind, Series
from respaldo.storage.base import ObjectWriter


class PackOwner(Protocol):
    """What a pack needs of the backup it belongs to. Thread-safe."""

    def open_object(self, name: str) -> ObjectSink: ...

    def get_series(self, series: int) -> Series: ...

    def add_segment(self, segment: Segment) -> None: ...


class ObjectSink:
    """One object of a backup, sized and digested while it is streamed. Used by one thread at a time.

    Leaving the ``with`` block without ``commit`` discards it.
    """

    def __init__(self, name: str, writer: ObjectWriter, committed: Callable[[ObjectEntry], None]) -> None:
        self.name = name
        self.size_bytes = 0
        self._writer = writer
        self._digest = blake3()
        self._committed = committed

    def write(self, data: bytes | memoryview) -> None:
        """Append to the object."""
        self._writer.write(data)
        self._digest.update(data)
        self.size_bytes += len(data)

    def commit(self) -> None:
        """Make the object durable, and the backup's manifest list it."""
        self._writer.commit()
        self._committed(ObjectEntry(name=self.name, size_bytes=self.size_bytes, digest=self._digest.hexdigest()))

    def abort(self) -> None:
        """Discard what was written. Harmless after ``commit`` and when repeated."""
        self._writer.abort()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.abort()


class SegmentSink:
    """One segment's frame in the making. Leaving the ``with`` block without ``finish`` spoils the whole backup:
    bytes that are part of no frame cannot be taken back out of a pack, so its ``commit`` will refuse."""

    def __init__(self, pack: PackWriter, series: int, part: str) -> None:
        self._pack = pack
        self._series = series
        self._part = part
        self._written = False

    def write(self, compressed: bytes | memoryview) -> None:
        """Append to the frame."""
        self._pack.write(compressed)
        self._written = self._written or len(compressed) > 0

    def finish(self, *, raw_size: int, rows: int, digest: str) -> None:
        """End the frame and record what its text is."""
        if not self._written:
            raise ValueError("a segment's frame has at least one byte")
        self._pack.end_segment(
            self._series, self._part, "frame", raw_size=raw_size, rows=rows, digest=digest, base_part=""
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        return


class PackWriter:
    """One worker's packs, one after the other. Not thread-safe: one writer a worker. The backup closes it."""

    def __init__(
        self, owner: PackOwner, number: int, *, plain_sql: bool, preamble: str = "", pack_bytes: int = PACK_BYTES
    ) -> None:
        self._owner = owner
        self._number = number
        self._plain_sql = plain_sql
        self._preamble = preamble
        self._pack_bytes = pack_bytes
        self._count = 0
        self._object: ObjectSink | None = None
        self._series: int | None = None
        self._start: int | None = None
        self._closed = False

    def open_segment(self, series: int, part: str) -> SegmentSink:
        """Begin a segment whose frame arrives in pieces."""
        self._begin(series)
        return SegmentSink(self, series, part)

    def add_frame(self, series: int, part: str, frame: bytes, *, raw_size: int, rows: int, digest: str) -> None:
        """Append a segment whose frame is at hand."""
        with self.open_segment(series, part) as sink:
            sink.write(frame)
            sink.finish(raw_size=raw_size, rows=rows, digest=digest)

    def add_delta(
        self, series: int, part: str, delta: bytes, *, base_part: str, raw_size: int, rows: int, digest: str
    ) -> None:
        """Append a segment as a delta against the base's segment ``base_part`` of the same series key."""
        if self._plain_sql or raw_size > MAX_DELTA_TEXT:
            raise ValueError("a delta is part of an incremental, and of at most 512 MiB of text")
        self._begin(series)
        self.write(delta)
        self.end_segment(series, part, "delta", raw_size=raw_size, rows=rows, digest=digest, base_part=base_part)

    def close(self) -> None:
        """End the last pack durably. Repeatable. Raise ValueError while a segment is unfinished."""
        self._check_whole()
        self._closed = True
        self._end_object()

    def abort(self) -> None:
        """Discard the pack in the making. Repeatable."""
        self._closed = True
        if self._object is not None:
            self._object.abort()
            self._object = None

    def write(self, data: bytes | memoryview) -> None:
        """Append to the segment that is open; only its sink calls this."""
        if self._object is None or self._start is None:
            raise ValueError("no segment is open")
        self._object.write(data)

    def end_segment(
        self, series: int, part: str, kind: SegmentKind, *, raw_size: int, rows: int, digest: str, base_part: str
    ) -> None:
        """Record the segment that is open; only its sink calls this."""
        if self._object is None or self._start is None:
            raise ValueError("no segment is open")
        self._owner.add_segment(
            Segment(
                series=series,
                part=part,
                kind=kind,
                pack=self._object.name,
                offset=self._start,
                length=self._object.size_bytes - self._start,
                raw_size=raw_size,
                rows=rows,
                digest=digest,
                base_part=base_part,
            )
        )
        self._start = None

    def _begin(self, series: int) -> None:
        """Roll over to a new pack if it is time, and put the text between two series."""
        self._check_whole()
        if self._closed:
            raise ValueError("the pack is closed")
        if self._object is not None and self._object.size_bytes >= self._pack_bytes:
            self._end_object()
        if self._series is not None and self._series != series:
            self._end_series()
        pack = self._object or self._open_object()
        if self._series is None:
            self._series = series
            self._write_text(pack, self._owner.get_series(series).head)
        self._start = pack.size_bytes

    def _open_object(self) -> ObjectSink:
        ending = "sql.zst" if self._plain_sql else "pack"
        self._object = self._owner.open_object(f"data-{self._number:02d}-{self._count:03d}.{ending}")
        self._count += 1
        if self._count == 1:
            self._write_text(self._object, self._preamble)
        return self._object

    def _end_series(self) -> None:
        if self._series is not None and self._object is not None:
            self._write_text(self._object, self._owner.get_series(self._series).tail)
        self._series = None

    def _end_object(self) -> None:
        self._end_series()
        if self._object is not None:
            self._object.commit()
            self._object = None

    def _write_text(self, pack: ObjectSink, text: str) -> None:
        if self._plain_sql and text:
            pack.write(compress(text.encode(errors="surrogateescape")))

    def _check_whole(self) -> None:
        if self._start is not None:
            raise ValueError("a segment of the pack was begun and not finished")
