"""Frames and deltas: every text comes back, nothing else does."""

from __future__ import annotations

import random
import subprocess
import tracemalloc
from contextlib import suppress
from functools import partial
from pathlib import Path

import pytest
from backports import zstd
from hypothesis import given, settings
from hypothesis import strategies as st

from respaldo.repository.codec import CodecError, FrameReader, compress, decompress
from respaldo.repository.delta import decode_delta, encode_delta
from tests.unit.languages import raise_in_each

TEXTS = st.binary(max_size=5000) | st.lists(st.sampled_from([b"1\tab\n", b"2\tcd\n"]), max_size=800).map(b"".join)


@given(TEXTS)
def test_compress_is_undone(text: bytes) -> None:
    assert decompress(compress(text), limit=len(text)) == text


@given(TEXTS, st.integers(min_value=1, max_value=700))
def test_frame_fed_in_pieces_gives_the_text(text: bytes, step: int) -> None:
    frame = compress(text)
    reader = FrameReader(limit=len(text))
    got = b"".join(piece for at in range(0, len(frame), step) for piece in reader.feed(frame[at : at + step]))
    reader.finish()
    assert got == text
    assert reader.eof
    assert reader.raw_size == len(text)


def test_frame_reader_knows_what_follows() -> None:
    reader = FrameReader()
    assert b"".join(reader.feed(compress(b"x") + b"rest")) == b"x"
    assert reader.unused_data == b"rest"
    with pytest.raises(CodecError):
        reader.finish()
    with pytest.raises(CodecError):
        list(reader.feed(b"more"))


@pytest.mark.parametrize("bad", [b"", b"not zstd", compress(b"x" * 100)[:-1], compress(b"x") + b"y"])
def test_what_is_no_whole_frame_is_refused(bad: bytes) -> None:
    with pytest.raises(CodecError):
        decompress(bad, limit=1000)


def test_words_of_the_library_stand_behind_ours() -> None:
    raise_in_each(CodecError, partial(decompress, b"not zstd", limit=10), "Zstandard")


def test_bomb_stops_at_the_limit() -> None:
    bomb = compress(bytes(64 * 1024 * 1024))
    reader = FrameReader(limit=3 * 1024 * 1024)
    got: list[bytes] = []
    with pytest.raises(CodecError):
        got.extend(reader.feed(bomb))
    assert sum(map(len, got)) <= 3 * 1024 * 1024
    tracemalloc.start()
    try:
        with pytest.raises(CodecError):
            decode_delta(bomb, b"", 1000)
        assert tracemalloc.get_traced_memory()[1] < 3 * 1024 * 1024
    finally:
        tracemalloc.stop()


@given(TEXTS, TEXTS)
def test_delta_is_undone(text: bytes, prefix: bytes) -> None:
    assert decode_delta(encode_delta(text, prefix), prefix, len(text)) == text


@settings(max_examples=5)
@given(st.integers(), st.binary(max_size=20))
def test_delta_of_a_text_far_larger_than_its_prefix_is_undone(seed: int, prefix: bytes) -> None:
    text = random.Random(seed).randbytes(3_000_000) + prefix
    assert decode_delta(encode_delta(text, prefix), prefix, len(text)) == text


def test_delta_of_scattered_changes_is_small() -> None:
    source = random.Random(7)
    rows = [
        b"%d\tname %d\t%s\n" % (i, source.randrange(10**6), source.randbytes(40).hex().encode()) for i in range(80_000)
    ]
    base = b"".join(rows)
    for _change in range(100):
        place = source.randrange(len(rows))
        rows[place] = b"%d\tother\t%s\n" % (place, source.randbytes(40).hex().encode())
    text = b"".join(rows)
    delta = encode_delta(text, base)
    assert len(delta) < len(text) // 200
    assert decode_delta(delta, base, len(text)) == text


@pytest.mark.parametrize(("size", "prefix"), [(99, b"prefix" * 9), (101, b"prefix" * 9), (100, b"another prefix" * 9)])
def test_delta_of_another_size_or_prefix_is_refused(size: int, prefix: bytes) -> None:
    text = (b"prefix" * 20)[:100]
    delta = encode_delta(text, b"prefix" * 9)
    assert decode_delta(delta, b"prefix" * 9, 100) == text
    with pytest.raises(CodecError):
        decode_delta(delta, prefix, size)


@pytest.mark.parametrize("prefix", [b"", b"row of the base\n" * 3])
def test_delta_that_is_cut_longer_or_flipped_gives_no_other_text(prefix: bytes) -> None:
    text = b"".join(b"%d\trow of the base\n" % number for number in range(20))
    delta = encode_delta(text, prefix)
    for bad in (b"", delta[:-1], delta[:-4], delta + b"\0", delta + delta):
        raise_in_each(CodecError, partial(decode_delta, bad, prefix, len(text)), len(text))
    raise_in_each(CodecError, partial(decode_delta, b"not even a frame", prefix, len(text)), "Zstandard")
    for place in range(len(delta)):
        bad = delta[:place] + bytes([delta[place] ^ 0x40]) + delta[place + 1 :]
        # zstd ignores one reserved bit of a header: then the text is right.
        with suppress(CodecError):
            assert decode_delta(bad, prefix, len(text)) == text


@pytest.mark.parametrize("prefix", [b"", b"row of the base\n"])
def test_delta_with_the_window_of_the_largest_texts_is_read(prefix: bytes) -> None:
    # zstd reads by itself no more than 2^27 bytes back, a delta of 512 MiB against 512 MiB needs 2^30.
    maker = zstd.ZstdCompressor(options={zstd.CompressionParameter.window_log: 30})
    delta = maker.compress(b"row\n" * 9) + maker.flush()
    assert decode_delta(delta, prefix, 36) == b"row\n" * 9


def test_delta_is_read_by_zstd_alone(tmp_path: Path) -> None:
    base, text = b"row of the base\n" * 1000, b"row of the base\n" * 500 + b"another row\n"
    (tmp_path / "base").write_bytes(base)
    done = subprocess.run(
        ["zstd", "-d", "-c", f"--patch-from={tmp_path / 'base'}"],
        input=encode_delta(text, base),
        capture_output=True,
        check=True,
    )
    assert done.stdout == text
