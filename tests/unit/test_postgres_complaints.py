"""What PostgreSQL's clients say, and whether it tells of the server's own state or of what it was asked to do."""

from __future__ import annotations

import pytest

from respaldo.postgres.archive import failed_statements
from respaldo.postgres.complaints import explain

WENT = "server closed the connection unexpectedly\n\tThis probably means the server terminated abnormally\n"
LOST = "connection to server was lost\n"


@pytest.mark.parametrize(
    ("said", "state"),
    [
        ('psql:<stdin>:3: ERROR:  53100: could not extend file "base/5/1": No space left on device', "53100"),
        ("psql:<stdin>:3: FEHLER:  53200: Speicher aufgebraucht\nDETAIL:  Failed on request.", "53200"),
        ('pg_restore: error: could not execute query: ERROR:  could not write "x": No space left on device', "53100"),
        ("cat: write error: No space left on device\nerror: the archive arrived cut", "53100"),
        ('psql: error: connection to server on socket "/s" failed: FATAL:  sorry, too many clients already', "53300"),
        ("psql: error: FATAL:  remaining connection slots are reserved for roles with SUPERUSER", "53300"),
        ("psql:<stdin>:9: server closed the connection unexpectedly\n\tThis probably means", "08006"),
        ("psql: error: FATAL:  the database system is in recovery mode", "57P03"),
    ],
)
def test_complaint_about_the_server_s_own_state_is_known_as_one(said: str, state: str) -> None:
    error = explain("psql", said.encode())
    assert (error.sqlstate, error.tells_of_server) == (state, True)


@pytest.mark.parametrize(
    "said",
    [
        "psql:<stdin>:3: ERROR:  23505: duplicate key value\nDETAIL:  Key (a)=(No space left on device",
        "ERROR:  could not create unique index\nDETAIL:  Key (a)=x: out of memory\nCommand was: out of memory",
        'psql: error: FATAL:  database "the database system" does not exist',
        'pg_restore: error: could not execute query: ERROR:  relation "out of memory" does not exist',
    ],
)
def test_such_words_in_the_user_s_own_rows_and_statements_are_none(said: str) -> None:
    assert not explain("pg_restore", said.encode()).tells_of_server


@pytest.mark.parametrize(
    ("said", "told"),
    [
        (f"FATAL:  57P01: terminating connection\nLOCATION:  postgres.c:3320\n{WENT}{LOST}", "terminating connection"),
        (f"COPY data transfer failed: {WENT}{WENT}{LOST}", "server closed the connection unexpectedly"),
        ('pg_dump: error: query failed: ERROR:  snapshot "00000003-1" does not exist', 'snapshot "00000003-1" does'),
        ('pg_dump: error: query failed: ERROR:  invalid snapshot identifier: "0000-1"', "invalid snapshot identifier"),
        ("pg_dump: error: query failed: server closed the connection unexpectedly\n\tThis", "query failed: server"),
    ],
)
def test_lost_session_is_told_in_the_server_s_words_with_a_hint(said: str, told: str) -> None:
    error = explain("psql", said.encode())
    assert told in str(error)
    assert error.hint


@pytest.mark.parametrize("timeout", ["transaction timeout", "idle-session timeout", "idle-in-transaction timeout"])
def test_session_that_a_timeout_ended_says_where_to_raise_it(timeout: str) -> None:
    error = explain("psql", f"FATAL:  57P05: terminating connection due to {timeout}\n{WENT}{LOST}".encode())
    assert timeout in error.message
    assert "límite de tiempo demasiado corto" in str(error.hint)


def test_function_that_is_not_found_without_a_search_path_says_how_to_give_it_one() -> None:
    error = explain(
        "psql", b"psql:<stdin>:9: ERROR:  42883: function aux(text) does not exist\nCONTEXT:  COPY t, line 1"
    )
    assert "ALTER FUNCTION" in str(error.hint)


def test_statements_that_failed_are_told_apart() -> None:
    said = (
        "pg_restore: error: could not execute query: ERROR:  a\nCommand was: CREATE b\n"
        "pg_restore: error: could not execute query: ERROR:  c\nCommand was: CREATE d\n"
    )
    assert [(one.command, one.error) for one in failed_statements(said)] == [
        ("CREATE b", "ERROR:  a"),
        ("CREATE d", "ERROR:  c"),
    ]
