"""How one segment's text becomes stored bytes: a frame as it came, a ref to the base, or a delta against it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from io import BytesIO
from itertools import chain

from backports import zstd
from blake3 import blake3

from respaldo.errors import StreamCutError
from respaldo.language import _
from respaldo.postgres.copytext import TextCutter
from respaldo.postgres.rowstream import Piece, RowStream
from respaldo.repository.codec import compress
from respaldo.repository.delta import as_prefix, encode_delta
from respaldo.repository.pack import PackWriter
from respaldo.repository.reader import BackupReader
from respaldo.repository.records import Segment
from respaldo.repository.writer import BackupWriter
from respaldo.units import MIB

# A text is held whole only to be compared with its base. Past this it is stored as it streams, without a delta (which
# can be made of 512 MiB at most): a table of large values, whose ranges cannot be made small enough.
HELD_BYTES = 96 * MIB


@dataclass(frozen=True, slots=True, kw_only=True)
class Stored:
    """What became of a segment: its rows, its text's bytes, the bytes it took."""

    rows: int
    raw_bytes: int
    stored_bytes: int


class BaseIndex:
    """The segments of a base, by part or, where a text was cut elsewhere, by digest. Thread-safe: never changes."""

    def __init__(self, reader: BackupReader) -> None:
        self.reader = reader
        keys = [series.key for series in reader.series]
        self._by_digest = {(keys[segment.series], segment.digest): segment for segment in reader.segments}

    def same_text(self, key: str, part: str, digest: str) -> Segment | None:
        """Return a segment of the series with this very text, the one of this part if it has it."""
        segment = self.reader.segment(key, part)
        return segment if segment and segment.digest == digest else self._by_digest.get((key, digest))

    def parts(self) -> Iterator[tuple[str, str]]:
        """Yield each segment's series key and part."""
        series = self.reader.series
        return ((series[segment.series].key, segment.part) for segment in self.reader.segments)

    def same_part(self, key: str, part: str) -> Segment | None:
        return self.reader.segment(key, part)


class SegmentStore:
    """One worker's way into a backup. Not thread-safe."""

    def __init__(self, writer: BackupWriter, base: BaseIndex | None) -> None:
        self._writer = writer
        self._pack: PackWriter = writer.new_pack()
        self._base = base

    def has_base(self, key: str, part: str) -> bool:
        """Tell whether the base has this very part, so that a ref or a delta is to be expected."""
        return self._base is not None and self._base.same_part(key, part) is not None

    def store_rows(self, series: int, key: str, part: str, rows: RowStream, stream: Iterator[Piece]) -> Stored:
        """Store a stream's pieces as one segment of as many rows as the server says that it sent: the frame's own
        checksum and the status of every process prove it whole, and lines are dear to count here."""
        if not self.has_base(key, part):
            return self._stream(series, part, stream, rows)
        # BytesIO hands its bytes out without a copy: each copy of a text less is felt in the memory taken.
        text, frame, is_whole = BytesIO(), BytesIO(), True
        for piece in stream:
            text.write(piece.text)
            frame.write(piece.stored or b"")
            if text.tell() > HELD_BYTES:
                is_whole = False
                break
        if not is_whole:
            held = Piece(frame.getvalue() or None, text.getvalue())
            return self._stream(series, part, chain([held], stream), rows)
        held_text, held_frame = text.getvalue(), frame.getvalue()
        del text, frame
        return self.store_text(series, key, part, held_text, rows=rows.rows, frame=held_frame)

    def store_cut(self, series: int, key: str, texts: Iterable[bytes]) -> Iterator[Stored]:
        """Store a text that cannot be read by ranges as the segments that its content chooses; an empty one too."""
        cutter = TextCutter()
        segments = (segment for text in texts for segment in cutter.feed(text))
        count = 0
        for segment in chain(segments, cutter.finish()):
            yield self.store_text(series, key, f"s{count}", segment)
            count += 1
        if count == 0:
            yield self.store_text(series, key, "s0", b"")

    def store_text(
        self, series: int, key: str, part: str, text: bytes, *, rows: int | None = None, frame: bytes = b""
    ) -> Stored:
        """Store a text that is held whole, of as many rows as it has lines unless ``rows`` says it; ``frame`` is the
        same, compressed, where it came so."""
        digest, raw_size = blake3(text).hexdigest(), len(text)
        rows = text.count(b"\n") if rows is None else rows
        if self._base is not None:
            same = self._base.same_text(key, part, digest)
            if same is not None:
                self._writer.add_ref(series, part, base_part=same.part, raw_size=raw_size, rows=rows, digest=digest)
                return Stored(rows=rows, raw_bytes=raw_size, stored_bytes=0)
        frame = frame or compress(text)
        of_base = self._base.same_part(key, part) if self._base else None
        if self._base is not None and of_base is not None and max(raw_size, of_base.raw_size) <= HELD_BYTES:
            delta = encode_delta(text, as_prefix(self._base.reader.open_text(of_base)))
            if len(delta) < len(frame):
                self._pack.add_delta(
                    series, part, delta, base_part=of_base.part, raw_size=raw_size, rows=rows, digest=digest
                )
                return Stored(rows=rows, raw_bytes=raw_size, stored_bytes=len(delta))
        self._pack.add_frame(series, part, frame, raw_size=raw_size, rows=rows, digest=digest)
        return Stored(rows=rows, raw_bytes=raw_size, stored_bytes=len(frame))

    def _stream(self, series: int, part: str, pieces: Iterator[Piece], counted: RowStream) -> Stored:
        """Store a frame while it arrives; a text that nothing compressed is compressed here."""
        digest, raw_bytes, stored_bytes = blake3(), 0, 0
        compressor: zstd.ZstdCompressor | None = None
        with self._pack.open_segment(series, part) as sink:
            for piece in pieces:
                digest.update(piece.text)
                raw_bytes += len(piece.text)
                data = piece.stored
                if data is None:
                    compressor = compressor or _new_compressor()
                    data = compressor.compress(piece.text)
                if data:
                    sink.write(data)
                    stored_bytes += len(data)
            if compressor is not None:
                data = compressor.flush()
                sink.write(data)
                stored_bytes += len(data)
            if stored_bytes == 0:
                raise StreamCutError(_("the stream ended before its trailer"))
            sink.finish(raw_size=raw_bytes, rows=counted.rows, digest=digest.hexdigest())
        return Stored(rows=counted.rows, raw_bytes=raw_bytes, stored_bytes=stored_bytes)


def _new_compressor() -> zstd.ZstdCompressor:
    parameter = zstd.CompressionParameter
    return zstd.ZstdCompressor(options={parameter.compression_level: 3, parameter.checksum_flag: 1})
