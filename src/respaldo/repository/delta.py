"""Deltas: a text as a zstd frame whose prefix is another text, as ``zstd --patch-from`` makes and reads them.

Measured on 2 cores, 32 MiB of rows, 0.5 % of them changed: 108 kB at 537 MB/s (``ldm_hash_log`` 18 in place of
``hash_log`` 18: 3.7 MB at 229 MB/s). Thread-safe; the work is done without the interpreter's lock.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from io import BytesIO

from backports import zstd
from backports.zstd import CompressionParameter, DecompressionParameter

from respaldo.language import _
from respaldo.repository.codec import LEVEL, CodecError
from respaldo.repository.format import MAX_DELTA_TEXT

MIN_PREFIX = 8
"""zstd takes no shorter prefix; a shorter one counts as none."""
_MIN_WINDOW_LOG = 26
_MAX_WINDOW_LOG = 30


def _window_log(size: int) -> int:
    """The window has to reach from the text's end back over the whole prefix: with 2^26 for two texts of 128 MiB the
    delta was 49 MB, with 2^28 0.4 MB."""
    return min(max(size.bit_length(), _MIN_WINDOW_LOG), _MAX_WINDOW_LOG)


@dataclass(frozen=True, slots=True)
class Prefix:
    """A text that deltas are made against, in the one copy that zstd keeps of it; None where it is too short."""

    size_bytes: int
    held: zstd.ZstdDict | None


def as_prefix(pieces: Iterable[bytes]) -> Prefix:
    """Take a text as it arrives; only one copy of it remains."""
    text = BytesIO()
    for piece in pieces:
        text.write(piece)
    # zstd copies what it is given. The joined text ends with this function, before a delta's own memory is taken.
    view = text.getbuffer()
    if len(view) < MIN_PREFIX:
        return Prefix(len(view), None)
    return Prefix(len(view), zstd.ZstdDict(view, is_raw=True))


def encode_delta(text: bytes, prefix: bytes | Prefix) -> bytes:
    """Return ``text`` as a frame that needs ``prefix`` to be read; both at most 512 MiB (ValueError)."""
    if isinstance(prefix, bytes):
        prefix = as_prefix([prefix])
    if max(len(text), prefix.size_bytes) > MAX_DELTA_TEXT:
        raise ValueError(f"a delta's texts have at most {MAX_DELTA_TEXT} bytes")
    options: dict[int, int] = {
        CompressionParameter.compression_level: LEVEL,
        CompressionParameter.window_log: _window_log(len(text) + prefix.size_bytes),
        CompressionParameter.hash_log: 18,
        CompressionParameter.enable_long_distance_matching: 1,
        CompressionParameter.ldm_min_match: 64,
        CompressionParameter.ldm_hash_rate_log: 6,
        CompressionParameter.checksum_flag: 1,
    }
    if prefix.held is None:
        return zstd.compress(text, options=options)
    return zstd.compress(text, options=options, zstd_dict=prefix.held.as_prefix)


def decode_delta(delta: bytes, prefix: bytes, raw_size: int) -> bytes:
    """Return the text of a delta; raise CodecError unless it is one whole frame of exactly ``raw_size`` bytes."""
    options: dict[int, int] = {DecompressionParameter.window_log_max: _MAX_WINDOW_LOG}
    if len(prefix) < MIN_PREFIX:
        frame = zstd.ZstdDecompressor(options=options)
    else:
        frame = zstd.ZstdDecompressor(zstd_dict=zstd.ZstdDict(prefix, is_raw=True).as_prefix, options=options)
    try:
        # One byte more than expected: a bomb stops there, and a frame with an empty text still reaches its end.
        text = frame.decompress(delta, max_length=raw_size + 1)
    except zstd.ZstdError as error:
        raise CodecError(_("the compressed stream is damaged: {error}").format(error=error)) from error
    if not frame.eof or frame.unused_data or len(text) != raw_size:
        raise CodecError(_("the delta is not one whole frame of {size} bytes").format(size=raw_size))
    return text
