"""A script of pg_restore's is read object by object, and what stands within quotes is a part of its object."""

from __future__ import annotations

import pytest

from respaldo.postgres.definitions import parse_definitions

HEAD = "--\n-- PostgreSQL database dump\n--\n\n\\restrict Ab1\n\nSET statement_timeout = 0;\n"
HEAD += "SELECT pg_catalog.set_config('search_path', '', false);\n\n"
FUNCTION = 'CREATE FUNCTION "public"."f"() RETURNS "text"\n    LANGUAGE "sql"\n    AS $$\n{body}\n$$;'
COMMENT = 'COMMENT ON FUNCTION "public"."f"() IS \'{body}\';'
TITLE = "Name: {name}; Type: FUNCTION; Schema: public; Owner: ana"


def entry(name: str, text: str) -> str:
    return f"--\n-- {TITLE.format(name=name)}\n--\n\nSET default_tablespace = '';\n\n{text}\n\n\n"


@pytest.mark.parametrize("text", [FUNCTION, COMMENT])
def test_line_within_quotes_belongs_to_its_object(text: str) -> None:
    bodies = ("a", "a\n-- b", "a\n-- c", "a\nSET b;", "a\n\n", "a\x85b", f"a\n--\n-- {TITLE.format(name='g')}\n--\n")
    found: set[tuple[str, str]] = set()
    for body in bodies:
        written = text.format(body=body)
        read = parse_definitions((HEAD + entry("f", written) + entry("h", "SELECT 1;")).encode())
        assert set(read) == {(TITLE.format(name="f"), written), (TITLE.format(name="h"), "SELECT 1;")}
        found.update(read)
    assert len(found) == len(bodies) + 1


def test_settings_and_remarks_between_objects_do_not_count() -> None:
    one = HEAD + entry("f", "SELECT 1;\n\nSELECT 2;")
    other = f"-- other\n{entry('f', 'SELECT 1;' + chr(10) + 'SELECT 2;')}\\unrestrict Ab1\n\n-- complete\n"
    assert parse_definitions(one.encode()) == parse_definitions(other.encode())
    assert parse_definitions(HEAD.encode()) == {}
