"""zstd frames: whole and streamed. Every frame made here has a content size and a content checksum.

Reading is bounded: a frame never yields more than its reader was told to expect.
"""

from __future__ import annotations

from collections.abc import Iterator

from backports import zstd
from backports.zstd import CompressionParameter

from respaldo.language import _
from respaldo.units import MIB

LEVEL = 3
PIECE_BYTES = MIB
"""How much text a reader hands out at a time."""


class CodecError(ValueError):
    """Bytes that are no zstd frame, not a whole one, or one of another size; who reads says of which object."""


def compress(text: bytes | memoryview, level: int = LEVEL) -> bytes:
    """Return ``text`` as one frame."""
    options: dict[int, int] = {CompressionParameter.compression_level: level, CompressionParameter.checksum_flag: 1}
    return zstd.compress(text, options=options)


def decompress(frame: bytes, *, limit: int) -> bytes:
    """Return the text of one whole frame; raise CodecError past ``limit`` bytes of it, or where anything follows."""
    reader = FrameReader(limit=limit)
    text = b"".join(reader.feed(frame))
    reader.finish()
    return text


class FrameReader:
    """Compressed bytes of one frame in, text out, in pieces of at most 1 MiB. Used by one thread at a time."""

    def __init__(self, *, limit: int | None = None) -> None:
        self._frame = zstd.ZstdDecompressor()
        self._limit = limit
        self.raw_size = 0

    @property
    def eof(self) -> bool:
        """Whether the frame's last byte has been read."""
        return self._frame.eof

    @property
    def unused_data(self) -> bytes:
        """What followed the frame in the bytes fed."""
        return self._frame.unused_data

    def feed(self, data: bytes) -> Iterator[bytes]:
        """Yield the text that ``data`` completes. Raise CodecError for bytes that are no frame, or exceed the limit.

        Bytes after the frame's end are left in ``unused_data``; feeding more of them is a CodecError.
        """
        if self._frame.eof:
            if data:
                raise CodecError(_("bytes follow the frame"))
            return
        while True:
            try:
                piece = self._frame.decompress(data, max_length=PIECE_BYTES)
            except zstd.ZstdError as error:
                raise CodecError(_("the compressed stream is damaged: {error}").format(error=error)) from error
            data = b""
            self.raw_size += len(piece)
            if self._limit is not None and self.raw_size > self._limit:
                raise CodecError(_("the text is longer than {limit} bytes").format(limit=self._limit))
            if piece:
                yield piece
            if self._frame.eof or self._frame.needs_input:
                return

    def finish(self) -> None:
        """Raise CodecError unless the frame has ended and nothing followed it."""
        if not self._frame.eof:
            raise CodecError(_("the frame is cut short"))
        if self._frame.unused_data:
            raise CodecError(_("bytes follow the frame"))
