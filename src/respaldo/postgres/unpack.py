"""Decompression of what the instance's compressor wrote, one self-delimiting frame at a time."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from typing import Protocol

from backports import zstd

from respaldo.errors import StreamCutError
from respaldo.language import _

_PIECE_BYTES = 4 << 20


class Unpacker(Protocol):
    """Takes compressed bytes, gives text; both codecs carry a checksum that is verified at ``is_done``."""

    @property
    def is_done(self) -> bool: ...

    @property
    def rest(self) -> bytes:
        """The bytes after the frame's end."""

    def feed(self, data: bytes) -> Iterator[bytes]:
        """Yield the text of these bytes in pieces of at most 4 MiB, however well it was compressed."""


class ZstdUnpacker:
    """One zstd frame (RFC 8878)."""

    def __init__(self) -> None:
        self._decompressor = zstd.ZstdDecompressor()

    @property
    def is_done(self) -> bool:
        return self._decompressor.eof

    @property
    def rest(self) -> bytes:
        return self._decompressor.unused_data

    def feed(self, data: bytes) -> Iterator[bytes]:
        try:
            yield self._decompressor.decompress(data, _PIECE_BYTES)
            while not self._decompressor.eof and not self._decompressor.needs_input:
                yield self._decompressor.decompress(b"", _PIECE_BYTES)
        except zstd.ZstdError as error:
            raise StreamCutError(_("the compressed stream is damaged: {error}").format(error=error)) from error


class GzipUnpacker:
    """One gzip member (RFC 1952)."""

    def __init__(self) -> None:
        self._decompressor = zlib.decompressobj(zlib.MAX_WBITS | 16)

    @property
    def is_done(self) -> bool:
        return self._decompressor.eof

    @property
    def rest(self) -> bytes:
        return self._decompressor.unused_data

    def feed(self, data: bytes) -> Iterator[bytes]:
        try:
            # At the end of the member zlib keeps what follows as a tail too, and would be fed with it for ever.
            while data and not self._decompressor.eof:
                yield self._decompressor.decompress(data, _PIECE_BYTES)
                data = self._decompressor.unconsumed_tail
        except zlib.error as error:
            raise StreamCutError(_("the compressed stream is damaged: {error}").format(error=error)) from error


class PlainUnpacker:
    """Text that nothing compressed: it ends where an unpredictable mark stands."""

    def __init__(self, mark: bytes) -> None:
        self._mark = mark
        self._held = b""
        self._rest: bytes | None = None

    @property
    def is_done(self) -> bool:
        return self._rest is not None

    @property
    def rest(self) -> bytes:
        return self._rest or b""

    def feed(self, data: bytes) -> Iterator[bytes]:
        data = self._held + data
        start = data.find(self._mark)
        if start >= 0:
            self._held, self._rest = b"", data[start:]
            yield data[:start]
            return
        keep = min(len(data), len(self._mark) - 1)
        self._held = data[len(data) - keep :]
        yield data[: len(data) - keep]


def make_unpacker(compressor: str, mark: str) -> Unpacker:
    """Return the unpacker for what ``Tools.compressor`` writes."""
    if compressor == "zstd":
        return ZstdUnpacker()
    return GzipUnpacker() if compressor == "gzip" else PlainUnpacker(mark.encode())
