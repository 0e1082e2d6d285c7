"""A table's sum is the same in any order and in any pieces, and another for any other rows."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import assume, given
from hypothesis import strategies as st

from respaldo.operations.rowsum import RowSum

ROWS = st.lists(st.binary(max_size=6).map(lambda row: row.replace(b"\n", b"")), max_size=12)


def add(pieces: list[bytes]) -> RowSum:
    rows = RowSum()
    for piece in pieces:
        rows.feed(piece)
    return rows


def text_of(rows: list[bytes]) -> bytes:
    return b"".join(row + b"\n" for row in rows)


@given(rows=ROWS, places=st.lists(st.integers(0, 90), max_size=6))
def test_sum_depends_on_neither_order_nor_pieces(rows: list[bytes], places: list[int]) -> None:
    whole = add([text_of(rows)])
    mixed = sorted(rows, key=lambda row: row[::-1])
    text = text_of(mixed)
    ends = sorted({place % (len(text) + 1) for place in places} | {0, len(text)})
    pieces = [text[start:end] for start, end in pairwise(ends)]
    assert add(pieces).total == whole.total
    assert add(pieces).is_whole
    assert whole.rows == len(rows)


@given(first=ROWS, second=ROWS)
def test_sum_of_parts_is_that_of_the_whole(first: list[bytes], second: list[bytes]) -> None:
    total = add([text_of(first)])
    total.add(add([text_of(second)]))
    assert total.total == add([text_of(first + second)]).total


@given(first=ROWS, second=ROWS)
def test_sum_of_other_rows_is_another(first: list[bytes], second: list[bytes]) -> None:
    assume(sorted(first) != sorted(second))
    assert add([text_of(first)]).total != add([text_of(second)]).total


def test_sum_tells_a_row_doubled_or_cut() -> None:
    assert add([b"a\nb\n"]).total != add([b"a\na\nb\n"]).total
    assert add([b"a\na\n"]).total != add([b"b\nb\n"]).total
    assert not add([b"a\nb"]).is_whole
