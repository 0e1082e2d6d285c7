"""pg_dump's data script split at its COPY statements, and long texts cut where their content says."""

from __future__ import annotations

import random
from collections.abc import Iterable
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from respaldo.errors import PostgresError
from respaldo.postgres.copytext import Rows, RowsBegin, RowsEnd, Statements, TextCutter, split_script
from respaldo.units import MIB

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


def test_split_script_tells_rows_from_statements() -> None:
    begins = [name for kind, name, _text in WHOLE if kind == "begin"]
    assert begins == ["public/a; b", "odd\nname/t", "public/none", "public/last"]
    rows = [text for kind, _name, text in WHOLE if kind == "rows"]
    assert rows[0].count(b"\n") == 4
    assert rows[1:] == [b"\n\n", b"1\n"]
    statements = b"".join(text for kind, _name, text in WHOLE if kind == "statements")
    assert statements.splitlines()[0] == b"SET statement_timeout = 0;"
    assert statements.count(b";\n") == 5
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


def _cut(text: bytes, size: int = 1 << 20) -> list[bytes]:
    cutter = TextCutter()
    segments: list[bytes] = []
    for start in range(0, len(text), size):
        end = start + size
        # Whole rows are fed.
        segments += cutter.feed(text[text.rfind(b"\n", 0, start) + 1 : text.rfind(b"\n", 0, end) + 1])
    return [*segments, *cutter.finish()]


@pytest.fixture(scope="module")
def long_text() -> bytes:
    source = random.Random(5)
    return b"".join(b"%d\t%032x\n" % (number, source.getrandbits(128)) for number in range(3_600_000))


def test_text_cutter_loses_nothing_and_bounds_its_segments(long_text: bytes) -> None:
    segments = _cut(long_text)
    assert b"".join(segments) == long_text
    assert len(segments) > 5
    assert all(segment.endswith(b"\n") for segment in segments)
    assert all(TextCutter.MINIMUM <= len(segment) <= TextCutter.MAXIMUM for segment in segments[:-1])


def test_text_cutter_after_an_insertion_near_the_start_moves_few_cuts(long_text: bytes) -> None:
    before = _cut(long_text)
    after = _cut(b"0\tinserted\n" + long_text)
    assert len(set(before) - set(after)) <= 2


def test_text_cutter_cuts_alike_however_it_is_fed(long_text: bytes) -> None:
    text = long_text[: 60 * MIB]
    text = text[: text.rfind(b"\n") + 1]
    assert _cut(text, 100_000) == _cut(text, 7 * MIB)


def test_text_cutter_of_one_row_past_the_maximum_keeps_it_whole() -> None:
    row = b"x" * (TextCutter.MAXIMUM + 10) + b"\n"
    cutter = TextCutter()
    assert [*cutter.feed(row), *cutter.finish()] == [row]


def test_text_cutter_of_nothing_gives_nothing() -> None:
    assert list(TextCutter().finish()) == []
