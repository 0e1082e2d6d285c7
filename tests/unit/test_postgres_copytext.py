"""pg_dump's data script split at its COPY statements, and long texts cut where their content says."""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator, Sequence
from itertools import accumulate, pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from respaldo.errors import PostgresError
from respaldo.postgres.copytext import Rows, RowsBegin, RowsEnd, Statements, TextCutter, split_script
from tests.unit.languages import say_in_each

SCRIPT = b"""--
-- PostgreSQL database dump
--

\\restrict aB3

SET statement_timeout = 0;
SELECT pg_catalog.set_config('search_path', '', false);

COPY "public"."a; b" ("id", "x"".y") FROM stdin;
1\tCOPY "public"."t" ("id") FROM stdin;
2\t\\\\.
3\t-- no comment
\\\\.\tit's
\\.


COPY "odd
name"."t" ("id") FROM stdin;
\\.

COPY "public"."none"  FROM stdin;


\\.

COPY "we""ird"."t""x" ("a") FROM stdin;

\\.
SELECT pg_catalog.setval('"public"."s;\n"', 5, true);
SELECT pg_catalog.lowrite(0, '\\x3b0a');
-- COPY "public"."x" ("id") FROM stdin;
COPY "public"."last" ("id") FROM stdin;
1
\\.

\\unrestrict aB3

"""


def parts_of(pieces: Iterable[bytes]) -> list[tuple[str, str, bytes]]:
    """Return what was found, with neighbours of one kind joined: how a text was split over pieces must not show."""
    found: list[tuple[str, str, bytes]] = []
    for part in split_script(pieces):
        if isinstance(part, RowsBegin):
            found.append(("begin", f"{part.schema}/{part.name}", part.head))
        elif isinstance(part, RowsEnd):
            found.append(("end", "", b""))
        else:
            kind = "rows" if isinstance(part, Rows) else "statements"
            assert isinstance(part, Rows | Statements)
            if found and found[-1][0] == kind:
                found[-1] = (kind, "", found[-1][2] + part.text)
            else:
                found.append((kind, "", part.text))
    return found


WHOLE = parts_of([SCRIPT])


def message_of(script: bytes) -> str:
    with pytest.raises(PostgresError) as caught:
        parts_of([script])
    return caught.value.message


def test_split_script_tells_rows_from_statements() -> None:
    begins = [name for kind, name, _text in WHOLE if kind == "begin"]
    assert begins == ["public/a; b", "odd\nname/t", "public/none", 'we"ird/t"x', "public/last"]
    rows = [text for kind, _name, text in WHOLE if kind == "rows"]
    assert rows[0].count(b"\n") == 4
    assert rows[1:] == [b"\n\n", b"\n", b"1\n"]
    statements = b"".join(text for kind, _name, text in WHOLE if kind == "statements")
    assert statements.splitlines()[0] == b"SET statement_timeout = 0;"
    assert statements.count(b";\n") == 5
    assert b"\nSELECT pg_catalog.setval(" in statements
    assert b"restrict" not in statements
    assert b"--" not in statements


@pytest.mark.parametrize("size", [1, 2, 3, 5, 17, 64])
def test_split_script_in_pieces_of_one_size_gives_the_same(size: int) -> None:
    assert parts_of(SCRIPT[start : start + size] for start in range(0, len(SCRIPT), size)) == WHOLE


@given(cuts=st.lists(st.integers(0, len(SCRIPT)), max_size=12))
def test_split_script_in_any_pieces_gives_the_same(cuts: list[int]) -> None:
    places = [0, *sorted(cuts), len(SCRIPT)]
    assert parts_of(SCRIPT[start:end] for start, end in pairwise(places)) == WHOLE


_CELL = st.sampled_from([b"\\\\.", b"\\N", b"COPY a.b FROM stdin;", b"--", b"'", b'"', b";", b"", b"\\\\", b"."])


@given(rows=st.lists(st.lists(_CELL, min_size=1, max_size=3), max_size=6), size=st.integers(1, 20))
def test_split_script_leaves_rows_as_they_are(rows: list[list[bytes]], size: int) -> None:
    text = b"".join(b"\t".join(cells) + b"\n" for cells in rows)
    script = b'COPY "s"."t" ("a") FROM stdin;\n' + text + b"\\.\n\nSELECT 1;\n"
    found = parts_of(script[start : start + size] for start in range(0, len(script), size))
    assert b"".join(part for kind, _name, part in found if kind == "rows") == text
    assert found[-1] == ("statements", "", b"SELECT 1;\n")


def test_split_script_hands_rows_on_as_they_come_whole() -> None:
    """A table may be larger than the memory: only the row that has not come to its end is held."""
    arrived: list[bytes] = []

    def arriving() -> Iterator[bytes]:
        for piece in (b'COPY "s"."t" ("a") FROM stdin;\n1\n2', b"2\n3\n4", b"4\n\\", b".\n"):
            arrived.append(piece)
            yield piece

    given = [(len(arrived), part.text) for part in split_script(arriving()) if isinstance(part, Rows)]
    assert given == [(1, b"1\n"), (2, b"22\n3\n"), (3, b"44\n")]


def test_split_script_of_nothing_is_nothing() -> None:
    assert parts_of([]) == []


def test_split_script_looks_at_each_piece_of_a_huge_row_once() -> None:
    """Looked at anew with every piece, this row would take minutes."""
    pieces = [b'COPY "s"."t" ("a") FROM stdin;\n', *[b"x" * 16_384] * 4096, b"\n\\.\n"]
    _begin, rows, _end = split_script(pieces)
    assert isinstance(rows, Rows)
    assert len(rows.text) == 16_384 * 4096 + 1


def test_split_script_keeps_names_of_any_encoding() -> None:
    name = "año".encode("latin-1")
    begin = next(split_script([b'COPY "%s"."t" ("a") FROM stdin;\n\\.\n' % name]))
    assert isinstance(begin, RowsBegin)
    assert begin.schema.encode(errors="surrogateescape") == name


@pytest.mark.parametrize(
    "script",
    [
        b'COPY "a"."b" ("c") FROM stdin;\n1\n',
        b'COPY "a"."b" ("c") FROM stdin;\n1\n\\.',
        b"SELECT 1",
        b"SELECT 'a;\n",
        b'COPY "a"."b" ("c") FROM std',
    ],
)
def test_split_script_that_ends_inside_something_is_refused(script: bytes) -> None:
    with pytest.raises(PostgresError):
        parts_of([script])


def test_split_script_that_is_cut_says_whose_text_it_is() -> None:
    for text in say_in_each(lambda: message_of(b"SELECT 1")).values():
        assert "pg_dump" in text


class SmallCutter(TextCutter):
    """The same by smaller numbers: some hundred rows are as good as millions."""

    MINIMUM = 160
    MAXIMUM = 480
    ONE_IN = 8


class NeverCutter(SmallCutter):
    """No row is chosen."""

    ONE_IN = 1 << 40


def cut(text: bytes, *, places: Sequence[int] = (), cutter: type[TextCutter] = SmallCutter) -> list[bytes]:
    """Return the segments of a text that is fed in pieces which end at these places."""
    made = cutter()
    segments = [one for start, end in pairwise([0, *places, len(text)]) for one in made.feed(text[start:end])]
    return [*segments, *made.finish()]


def text_of(sizes: Sequence[int], seed: int = 5) -> bytes:
    source = random.Random(seed)
    return b"".join(source.randbytes(size).replace(b"\n", b".") + b"\n" for size in sizes)


@given(
    sizes=st.lists(st.integers(0, 30) | st.integers(0, 700), max_size=80),
    seed=st.integers(0, 99),
    places=st.lists(st.integers(0, 3000), max_size=6).map(sorted),
    cutter=st.sampled_from([SmallCutter, NeverCutter]),
)
def test_text_cutter_in_any_pieces_cuts_alike_and_never_a_row(
    sizes: list[int], seed: int, places: list[int], cutter: type[TextCutter]
) -> None:
    text = text_of(sizes, seed)
    segments = cut(text, places=[min(place, len(text)) for place in places], cutter=cutter)
    assert segments == cut(text, cutter=cutter)
    assert b"".join(segments) == text
    assert all(segment.endswith(b"\n") for segment in segments)
    assert all(len(segment) > cutter.MINIMUM for segment in segments[:-1])
    # Past the maximum goes the last row at most.
    assert all(segment.rfind(b"\n", 0, -1) + 1 < cutter.MAXIMUM for segment in segments)


def test_text_cutter_where_no_row_is_chosen_cuts_at_the_maximum() -> None:
    row = b"12345678\n" + b"abcdef\n"
    assert set(map(len, cut(row * 300, cutter=NeverCutter))) == {NeverCutter.MAXIMUM}


def test_text_cutter_chooses_rows_by_what_they_hold() -> None:
    before = text_of([20] * 2000)
    segments = cut(before)
    assert SmallCutter.MINIMUM < len(before) / len(segments) < SmallCutter.MAXIMUM
    assert len(set(segments) - set(cut(b"inserted\n" + before))) <= 3


def test_text_cutter_of_a_text_that_grew_at_its_end_cuts_what_was_there_as_before() -> None:
    text = text_of([20] * 2000)
    whole = list(accumulate(map(len, cut(text))))
    for place in range(0, len(text), 21 * 37):
        before = list(accumulate(map(len, cut(text[:place]))))
        assert before[:-1] == [end for end in whole if end < place]


def test_text_cutter_of_a_text_that_ends_within_a_row_loses_nothing() -> None:
    text = text_of([20] * 50) + b"x"
    assert b"".join(cut(text)) == text
    assert cut(b"x" * 1000) == [b"x" * 1000]


def test_text_cutter_of_nothing_gives_nothing() -> None:
    assert list(TextCutter().finish()) == []
    assert cut(b"x" * SmallCutter.MINIMUM) == [b"x" * SmallCutter.MINIMUM]
