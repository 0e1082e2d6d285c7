"""Unpackers and the trailer that proves a stream: pieces of any size, bombs, damage, and every possible cut."""

from __future__ import annotations

import gzip
from collections.abc import Callable, Iterator
from functools import partial
from itertools import pairwise

import pytest
from backports import zstd
from hypothesis import given
from hypothesis import strategies as st

from respaldo.errors import StreamCutError
from respaldo.postgres.rowstream import Piece, read_pieces
from respaldo.postgres.unpack import make_unpacker

MARK = "respaldo-0123456789abcdef"
PACK: dict[str, Callable[[bytes], bytes]] = {
    "zstd": zstd.compress,
    "gzip": partial(gzip.compress, compresslevel=1),
    "cat": bytes,
}
TEXT = b"1\tone\n2\ttwo\n" * 50


def reader(data: bytes, size: int) -> Callable[[], bytes]:
    pieces: Iterator[bytes] = iter([data[start : start + size] for start in range(0, len(data), size)])
    return lambda: next(pieces, b"")


def read_all(read: Callable[[], bytes], compressor: str) -> tuple[bytes, bytes, str]:
    stream = read_pieces(read, compressor, MARK)
    text, stored = bytearray(), bytearray()
    while True:
        try:
            piece: Piece = next(stream)
        except StopIteration as ended:
            return bytes(text), bytes(stored), ended.value
        text += piece.text
        stored += piece.stored or b""


@pytest.mark.parametrize("compressor", PACK)
@given(text=st.binary(max_size=400), size=st.integers(1, 60))
def test_read_pieces_in_pieces_of_any_size_gives_text_frame_and_trailer(
    compressor: str, text: bytes, size: int
) -> None:
    frame = PACK[compressor](text)
    found = read_all(reader(frame + f"{MARK} 17\n".encode(), size), compressor)
    assert found == (text, frame if compressor == "zstd" else b"", "17")


@pytest.mark.parametrize("compressor", PACK)
@pytest.mark.parametrize("size", [1, 7, 100_000])
def test_read_pieces_cut_at_any_byte_is_refused(compressor: str, size: int) -> None:
    whole = PACK[compressor](TEXT) + f"{MARK} 100\n".encode()
    for end in range(len(whole)):
        with pytest.raises(StreamCutError):
            read_all(reader(whole[:end], size), compressor)


@pytest.mark.parametrize("compressor", ["zstd", "gzip"])
@pytest.mark.parametrize("trailer", [b"other 5\n", b"\n\n\nother\n", b"x" * 10_000, b"x" * 10_000 + b"\n"])
def test_read_pieces_with_another_trailer_is_refused(compressor: str, trailer: bytes) -> None:
    with pytest.raises(StreamCutError):
        read_all(reader(PACK[compressor](TEXT) + trailer, 512), compressor)


@pytest.mark.parametrize("compressor", ["zstd", "gzip"])
def test_read_pieces_with_a_changed_byte_is_refused(compressor: str) -> None:
    packed = (
        gzip.compress(TEXT)
        if compressor == "gzip"
        else zstd.compress(TEXT, options={zstd.CompressionParameter.checksum_flag: 1})
    )
    whole = packed + f"{MARK} 100\n".encode()
    for place in range(10, len(packed)):
        changed = bytearray(whole)
        changed[place] ^= 0x40
        try:
            text, _stored, trailer = read_all(reader(bytes(changed), 512), compressor)
        except StreamCutError:
            continue
        assert (text, trailer) == (TEXT, "100")


@pytest.mark.parametrize("compressor", ["zstd", "gzip"])
def test_unpacker_of_a_bomb_gives_pieces_of_at_most_4_mib(compressor: str) -> None:
    bomb = PACK[compressor](bytes(100 << 20))
    unpacker = make_unpacker(compressor, MARK)
    sizes = [len(text) for text in unpacker.feed(bomb)]
    assert sum(sizes) == 100 << 20
    assert max(sizes) <= 4 << 20
    assert unpacker.is_done


@given(before=st.binary(max_size=80), after=st.binary(max_size=30), cuts=st.lists(st.integers(0, 140), max_size=6))
def test_plain_unpacker_finds_the_mark_however_it_is_split(before: bytes, after: bytes, cuts: list[int]) -> None:
    whole = before + MARK.encode() + after
    places = sorted({0, len(whole), *(cut for cut in cuts if cut < len(whole))})
    unpacker = make_unpacker("cat", MARK)
    text = bytearray()
    rest = b""
    for start, end in pairwise(places):
        if unpacker.is_done:
            rest += whole[start:end]
        else:
            text += b"".join(unpacker.feed(whole[start:end]))
    assert unpacker.is_done
    assert bytes(text) == before
    assert unpacker.rest + rest == MARK.encode() + after


@pytest.mark.parametrize("compressor", PACK)
@pytest.mark.parametrize("size", [0, 1, (4 << 20) - 1, 4 << 20, 13 << 20])
def test_unpacker_of_a_text_that_compresses_well_ends_where_it_ends(size: int, compressor: str) -> None:
    text = b"x" * size
    frame = PACK[compressor](text)
    stream = frame + MARK.encode() + b" 5\n"
    # Where a second piece of the stream begins, counted from the frame's end.
    for cut in (-1, 0, 3, 20):
        unpacker = make_unpacker(compressor, MARK)
        found = b"".join(unpacker.feed(stream[: len(frame) + cut]))
        rest = stream[len(frame) + cut :]
        if not unpacker.is_done:
            found += b"".join(unpacker.feed(rest))
            rest = b""
        assert unpacker.is_done, cut
        assert found == text, cut
        assert unpacker.rest + rest == MARK.encode() + b" 5\n", cut
