"""How a connection is worked out from the variables of the images that people use, and what clients complain of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pytest

from respaldo.environments.base import Completed, Instance, Process, Runner
from respaldo.errors import PostgresError
from respaldo.postgres.complaints import explain
from respaldo.postgres.connection import ConnectionOverrides, resolve_connection


class FakeRunner(Runner):
    """A container with these variables and files."""

    def __init__(self, variables: Mapping[str, str], files: Mapping[str, bytes] | None = None) -> None:
        self._variables = variables
        self._files = files or {}

    @property
    def instance(self) -> Instance:
        return Instance(environment="docker", name="db", id="1")

    def variables(self) -> Mapping[str, str]:
        return self._variables

    def start(self, argv: Sequence[str], *, env: Mapping[str, str] | None = None, stdin: bool = False) -> Process:
        raise NotImplementedError

    def run(
        self,
        argv: Sequence[str],
        *,
        env: Mapping[str, str] | None = None,
        stdin: bytes | None = None,
        timeout_s: float | None = 60.0,
        limit_bytes: int = 64 << 20,
    ) -> Completed:
        assert argv[0] == "cat"
        found = self._files.get(argv[1])
        return Completed(status=0 if found is not None else 1, stdout=found or b"", stderr=b"")


FILES = {"/run/secrets/p": b"from a file\n", "/run/secrets/u": b"ana\n", "/latin": b"\xf1\n"}
CASES: dict[str, tuple[dict[str, str], dict[str, str], tuple[str, str, str | None]]] = {
    "nothing": ({}, {}, ("postgres", "postgres", None)),
    "official": (
        {"POSTGRES_USER": "ana", "POSTGRES_PASSWORD": "p", "POSTGRES_DB": "shop"},
        {},
        ("ana", "shop", "p"),
    ),
    "official without a database": ({"POSTGRES_USER": "ana"}, {}, ("ana", "ana", None)),
    "official with an empty database": ({"POSTGRES_USER": "ana", "POSTGRES_DB": ""}, {}, ("ana", "ana", None)),
    "official with files": (
        {"POSTGRES_USER_FILE": "/run/secrets/u", "POSTGRES_PASSWORD_FILE": "/run/secrets/p"},
        {},
        ("ana", "ana", "from a file"),
    ),
    "Bitnami": (
        {"POSTGRESQL_USERNAME": "ana", "POSTGRESQL_PASSWORD": "p", "POSTGRESQL_DATABASE": "shop"},
        {},
        ("ana", "shop", "p"),
    ),
    "Bitnami's superuser": (
        {"POSTGRESQL_PASSWORD": "p", "POSTGRESQL_POSTGRES_PASSWORD": "super"},
        {"user": "postgres"},
        ("postgres", "postgres", "super"),
    ),
    "Red Hat": (
        {"POSTGRESQL_USER": "ana", "POSTGRESQL_PASSWORD": "p", "POSTGRESQL_DATABASE": "shop"},
        {},
        ("ana", "shop", "p"),
    ),
    "Red Hat's superuser": (
        {"POSTGRESQL_ADMIN_PASSWORD": "super", "POSTGRESQL_DATABASE": "shop"},
        {},
        ("postgres", "shop", "super"),
    ),
    "CloudNativePG": ({"PGUSER": "postgres", "PGDATABASE": "app"}, {}, ("postgres", "app", None)),
    "what is said wins": (
        {"POSTGRES_USER": "ana", "POSTGRES_PASSWORD": "p", "POSTGRES_DB": "shop"},
        {"user": "eva", "database": "other", "password": "q"},
        ("eva", "other", "q"),
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_resolve_connection_as_the_image_means_it(case: str) -> None:
    variables, said, expected = CASES[case]
    found = resolve_connection(FakeRunner(variables, FILES), ConnectionOverrides(**said))
    assert (found.user, found.database, found.password) == expected


def test_resolve_connection_with_a_file_that_is_not_there_names_it() -> None:
    runner = FakeRunner({"POSTGRES_PASSWORD_FILE": "/none"})
    with pytest.raises(PostgresError, match="/none") as caught:
        resolve_connection(runner, ConnectionOverrides())
    assert caught.value.hint is not None


def test_resolve_connection_with_a_file_that_is_no_utf_8_does_not_fail() -> None:
    found = resolve_connection(FakeRunner({"POSTGRES_PASSWORD_FILE": "/latin"}, FILES), ConnectionOverrides())
    assert found.password


def test_environment_carries_the_password_and_turns_timeouts_off() -> None:
    connection = resolve_connection(
        FakeRunner({"PGHOST": "/sock", "PGPORT": "6432"}), ConnectionOverrides(password="x")
    )
    environment = connection.environment(database="other")
    assert (environment["PGPASSWORD"], environment["PGDATABASE"]) == ("x", "other")
    assert (environment["PGHOST"], environment["PGPORT"]) == ("/sock", "6432")
    assert "statement_timeout=0" in environment["PGOPTIONS"]


COMPLAINTS = {
    'psql: error: connection failed: FATAL:  password authentication failed for user "a"': "RESPALDO_PASSWORD",
    "psql: error: connection to server: fe_sendauth: no password supplied": "RESPALDO_PASSWORD",
    'psql: error: FATAL:  role "x" does not exist': "--user",
    'psql: error: FATAL:  database "x" does not exist': "--database",
    "psql: error: FATAL:  the database system is starting up": "",
    "psql: error: FATAL:  the database system is in recovery mode": "",
    "psql: error: FATAL:  sorry, too many clients already": "max_connections",
    "pg_dump: error: query failed: ERROR:  permission denied for table t": "pg_read_all_data",
    "ERROR:  out of shared memory": "max_locks_per_transaction",
    "ERROR:  could not extend file: No space left on device": "",
}


@pytest.mark.parametrize("text", COMPLAINTS)
def test_explain_gives_the_hint_that_gets_further(text: str) -> None:
    error = explain("psql", text.encode(), 2)
    assert error.exit_code == 30
    assert error.hint
    assert COMPLAINTS[text] in error.hint
    assert text.rpartition(":  ")[2].split(": ")[-1] in error.message


@pytest.mark.parametrize(("stderr", "status"), [(b"", 137), (b"Killed\n", 137), (b"\xff\xfe", 1), (b"\n\n", None)])
def test_explain_without_a_complaint_says_something(stderr: bytes, status: int | None) -> None:
    error = explain("pg_dump", stderr, status)
    assert "pg_dump" in error.message
    assert len(error.message.splitlines()) == 1
