"""Scripts of unknown origin: SQL passes as it is, commands of psql's do not, however they are hidden."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from respaldo.errors import UsageError
from respaldo.postgres.safescript import SafeScript

DUMP = rb"""--
-- PostgreSQL database dump
--

\restrict aKey

-- Dumped from database version 15.20 (Debian)
-- Dumped by pg_dump version 17.6

SET standard_conforming_strings = on;
CREATE DATABASE shop WITH TEMPLATE = template0 ENCODING = 'UTF8';
ALTER DATABASE shop OWNER TO postgres;
\connect shop
COMMENT ON DATABASE shop IS 'first line;
second \! line';
GRANT CONNECT ON DATABASE shop TO ana;
ALTER ROLE ana IN DATABASE shop SET work_mem TO '7MB';
CREATE FUNCTION f() RETURNS text LANGUAGE plpgsql AS $_$ BEGIN RETURN '\! id'; END $_$;
CREATE FUNCTION g(a int) RETURNS int LANGUAGE sql BEGIN ATOMIC
 SELECT CASE WHEN $1 > 0 THEN 1 ELSE 2 END;
 SELECT (a + 1);
END;
CREATE RULE r AS ON INSERT TO t DO INSTEAD (SELECT 1; SELECT 2);
COPY public.t (id, "a \! (b") FROM stdin;
1	\\! id
2	\N
\! id
\.


SELECT E'\'\\ \! id', 'C:\dir\', "a \! b", $$ \! $$, $tag$ $$ \! $tag$; -- \! id
/* \! id /* nested */ \! id */
--
-- PostgreSQL database dump complete
--

\unrestrict aKey
"""
PASSED = [
    b"SET standard",
    b"CREATE FUNCTION f",
    b"END;",
    b"CREATE RULE",
    b"COPY public.t",
    b"\\! id\n\\.\n",
    b"SELECT E'",
]
DROPPED = [b"restrict", b"DATABASE", b"second", b"\\connect"]


def read(text: bytes) -> tuple[bytes, SafeScript]:
    script = SafeScript([text])
    return b"".join(script), script


def split(text: bytes, places: Sequence[int]) -> list[bytes]:
    ends = sorted({place % (len(text) + 1) for place in places} | {0, len(text)})
    return [text[start:end] for start, end in pairwise(ends)]


def test_dump_passes_without_what_concerns_the_database_as_a_whole() -> None:
    passed, script = read(DUMP)
    assert [part for part in PASSED if part not in passed] == []
    assert [part for part in DROPPED if part in passed] == []
    assert (script.major, script.is_of_pg_dump, script.has_trailer, script.is_whole) == (15, True, True, True)
    assert script.databases == [b"shop"]


@given(places=st.lists(st.integers(0, len(DUMP)), max_size=30))
def test_dump_in_any_pieces_passes_the_same(places: list[int]) -> None:
    script = SafeScript(split(DUMP, places))
    passed = b"".join(script)
    assert passed == read(DUMP)[0]
    assert (script.statements, script.is_whole, script.lines) == (
        read(DUMP)[1].statements, True, DUMP.count(b"\n"),
    )  # fmt: skip


LEXEMES = [
    b"'", b'"', b"\\", b"\\'", b"E'", b"e'", b"$$", b"$a$", b"$1", b"--", b"/*", b"*/", b";", b"(", b")", b"\n", b"\r",
    b" ", b"COPY t FROM stdin;\n", b"\\.\n", b"COPY", b"stdin", b"a", b"1", b"E", b"CREATE FUNCTION", b"BEGIN", b"CASE",
    b"END", b"\\! id", b"\xc3\xa9", b"\0", b"DROP DATABASE x", b"\\connect x\n",
]  # fmt: skip


TEXTS = st.lists(st.sampled_from(LEXEMES), max_size=25).map(b"".join)


@given(text=TEXTS, places=st.lists(st.integers(0, 200), max_size=8))
def test_any_text_in_any_pieces_has_the_same_outcome(text: bytes, places: list[int]) -> None:
    def outcome(pieces: list[bytes]) -> object:
        script = SafeScript(pieces)
        try:
            return b"".join(script), script.statements, script.is_whole
        except UsageError as error:
            return error.message

    assert outcome(split(text, places)) == outcome([text])


@given(text=TEXTS)
def test_any_text_that_passes_passes_unchanged_a_second_time(text: bytes) -> None:
    try:
        passed, _script = read(text)
    except UsageError:
        return
    assert passed.count(b"\n") >= text.count(b"\n")
    assert read(passed)[0] == passed


@pytest.mark.parametrize(
    "text",
    [
        b"\\! id\n",
        b"  \\! id\n",
        b"SELECT 1; \\! id\n",
        b"SELECT 1 \\g | id\n",
        b"SELECT 1\\; SELECT 2;\n",
        b"\\copy t from program 'id'\n",
        b"\\i /etc/passwd\n",
        b"\\ir x\n",
        b"\\o |id\n",
        b"\\set x `id`\n",
        b"\\connectx\n",
        b"SELECT 'a\\'; \\! id\n",
        b"SELECT E'a\\\\'; \\! id\n",
        b"SELECT $a$ $b$ $a$; \\! id\n",
        b"SELECT a$$; \\! id $$;\n",
        b"/* /* */ */ \\! id\n",
        b"-- a comment\n\\! id\n",
        b"-- a comment that a carriage return ends\r\\! id\n",
        b"COPY t FROM stdin;\n1\n\\.\n\\! id\n",
        b"COPY t TO stdout;\n\\! id\n",
        b"COPY (SELECT a FROM stdin) TO stdout;\n\\! id\n\\.\n",
        b"COPY t TO stdout WITH (NULL 'FROM stdin');\n\\! id\n\\.\n",
        b'COPY "x FROM stdin" TO stdout;\n\\! id\n\\.\n',
        b"SELECT (1; COPY t FROM stdin;\n\\! id\n\\.\n",
        b"CREATE FUNCTION f() RETURNS int BEGIN ATOMIC SELECT 1;\nCOPY t FROM stdin;\n\\! id\n\\.\n",
        b'CREATE "x" OR REPLACE PROCEDURE f() BEGIN ATOMIC SELECT 1;\nCOPY t FROM stdin;\n\\! id\n\\.\n',
        b"COPY t FROM stdin;\n\\.\r\r\n'\n\\.\n\\! id '\n",
        b"COPY t FROM stdin; SELECT '\n\\.\n\\! id';\n",
        b"SELECT 1$$ ' $$ \\! id ';\n",
        b"SELECT $1$$ ' $$ \\! id ';\n",
        b"SELECT 1E'\\' , ' \\! id ';\n",
        b"SELECT E'a'\n'\\' , ' \\! id ';\n",
        b"SELECT E'a' -- remark\n  '\\' , ' \\! id ';\n",
        b"SELECT 1 \0 '\n\\! id ';\n",
        b"\xff\xfe\\\0!\0\n\0",
    ],
)
def test_command_of_psql_is_refused_however_it_is_hidden(text: bytes) -> None:
    with pytest.raises(UsageError, match=r"l(ine|ínea) \d"):
        read(text)


@pytest.mark.parametrize(
    "text",
    [
        b"SELECT 1e5, 1.5, .5, 0x1F, 1_000, 1.5e-3, $1;\n",
        b"SELECT '1'::int4, date'2020-01-01', float8'1', a$b$c, \"x\"\"\\y\";\n",
        b"SELECT E'a'\n'b\\'c \\! ';\n",
        b"SELECT E'it''s \\! ' || 'x';\n",
        b"SELECT array[1:2], :'x', a::text;\r\n",
        b'CREATE TABLE begin ("end" int, case_id int);\nCOPY begin FROM stdin;\n\\N\n\\.\n',
        b"CREATE PROCEDURE p() BEGIN ATOMIC SELECT CASE 1 WHEN 2 THEN 3 END; END;\nCOPY t FROM stdin;\n\\N\n\\.\n",
        b"copy t from stdin with (format csv);\r\n\\x\r\n\\.\r\nSELECT 1;\r\n",
        b"COPY t (" + b", ".join(b"column_number_%d" % n for n in range(1600)) + b") FROM stdin;\n\\N\n\\.\n",
    ],
)
def test_sql_passes_unchanged(text: bytes) -> None:
    passed, script = read(text)
    assert passed == text
    assert script.is_whole


def test_byte_order_mark_does_not_hide_that_the_dump_is_one() -> None:
    passed, script = read(b"\xef\xbb\xbf-- PostgreSQL database dump\nSELECT 1;\n")
    assert passed.startswith(b"-- ")
    assert script.is_of_pg_dump
    assert not script.has_trailer


@pytest.mark.parametrize(
    "statement",
    [
        b"DROP DATABASE shop;",
        b"CREATE DATABASE shop\n  TEMPLATE template0;",
        b"ALTER DATABASE \"shop\" SET my.own TO 'a;\nb';",
        b"COMMENT ON DATABASE shop IS E'\\';\n';",
        b"REVOKE CONNECT,TEMPORARY ON DATABASE shop FROM PUBLIC;",
        b'ALTER ROLE "a b" IN DATABASE shop SET search_path TO x;',
        b"SECURITY LABEL FOR x ON DATABASE shop IS 'y';",
    ],
)
def test_statement_about_a_database_is_left_out_whole(statement: bytes) -> None:
    passed, script = read(b"SELECT 1;\n" + statement + b"\nSELECT 2;\n")
    # Its lines stay as blank ones.
    assert passed == b"SELECT 1;\n" + b"\n" * (statement.count(b"\n") + 1) + b"SELECT 2;\n"
    assert script.is_whole


def test_dump_of_a_cluster_is_refused() -> None:
    for text in (b"--\n-- PostgreSQL database cluster dump\n--\n", b"\\connect a\nSELECT 1;\n\\connect b\n"):
        with pytest.raises(UsageError, match=r"dump of several|volcado de varias"):
            read(text)


@pytest.mark.parametrize("end", range(1, len(DUMP), 7))
def test_dump_cut_anywhere_before_its_trailer_is_not_whole(end: int) -> None:
    try:
        _passed, script = read(DUMP[:end])
    except UsageError:
        return  # half of a \\restrict line
    is_taken = script.is_whole and (not script.is_of_pg_dump or script.has_trailer) and script.statements
    assert bool(is_taken) == (b"dump complete" in DUMP[:end])
