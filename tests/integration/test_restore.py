"""A restore takes the live database's place only once it is whole; whatever fails before leaves that as it was."""

from __future__ import annotations

import json
import os
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.contracts import CONTRACT
from tests.integration.comparison import assert_description, assert_same_database, describe
from tests.integration.conftest import ROOT, Ended, Respaldo, RoundTrip, copy_of, kept_round_trip
from tests.rig.containers import PostgresContainer
from tests.rig.program import run_program
from tests.rig.variables import shell_variables

Shared = Callable[[int], PostgresContainer]
BEFORE = """
CREATE TABLE t (id serial PRIMARY KEY, v text); INSERT INTO t (v) SELECT 'ñ' || i FROM generate_series(1, 200) i;
CREATE VIEW w AS SELECT count(*) AS n FROM t; SELECT lo_from_bytea(0, 'large');
GRANT SELECT ON t TO :"ana"; ALTER DEFAULT PRIVILEGES FOR ROLE :"ana" GRANT SELECT ON TABLES TO :"ben";
"""
AFTER = "DELETE FROM t WHERE id > 10; ALTER TABLE t ADD c int DEFAULT 7; CREATE TABLE later (a int)"


def databases(trip: RoundTrip) -> list[str]:
    """Return the databases whose names begin with the source's, the source first."""
    return trip.server.psql(
        f"SELECT datname FROM pg_database WHERE starts_with(datname, '{trip.source.name}') ORDER BY length(datname)",
        "postgres",
    ).splitlines()


def old_of(trip: RoundTrip) -> str:
    """Return the name under which the replaced database is kept; it is dropped with the test."""
    names = [name for name in databases(trip) if "__old_" in name]
    assert len(names) == 1
    trip.made += names
    return names[0]


def replace(trip: RoundTrip, name: str, *words: str) -> Ended:
    return trip.respaldo.run("restore", name, "--container", trip.server.name, *words)


def run_flat(respaldo: Respaldo, *words: str, answers: str | None = None) -> Ended:
    """Run the documented command, with what a person would type as its input."""
    place = ["--dir", str(respaldo.repository), "--container", respaldo.container.name]
    done = run_program(
        ["backup_orchestrator.py", *place, *words],
        cwd=ROOT,
        env=shell_variables(RESPALDO_LANG="en"),
        answers=answers or "",
        timeout_s=200,
    )
    return Ended(status=done.returncode, out=done.stdout, err=done.stderr)


@pytest.fixture(scope="module")
def kept(shared_postgres: Shared, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RoundTrip]:
    """A database on PostgreSQL 17 with a full backup, ``first``, and a template of it beside."""
    with kept_round_trip(shared_postgres(17), tmp_path_factory.mktemp("restore")) as made:
        made.load(BEFORE)
        made.respaldo.backup(made.source.name, "--name", "first", expect="full")
        template = f"as_it_was_{made.source.name}"
        made.server.psql(f'CREATE DATABASE "{template}" TEMPLATE "{made.source.name}"', "postgres")
        made.made.append(template)
        yield made


@pytest.fixture
def trip(kept: RoundTrip, tmp_path: Path) -> RoundTrip:
    """The same for one test, which may change everything."""
    drops = "".join(f'DROP DATABASE "{name}" WITH (FORCE);' for name in databases(kept))
    drops += "".join(f'ALTER ROLE "{role}" RESET ALL;' for role in kept.roles.values())
    name = kept.source.name
    kept.server.psql(f'{drops}CREATE DATABASE "{name}" TEMPLATE "as_it_was_{name}"', "postgres")
    return copy_of(kept, tmp_path)


@contextmanager
def queried(trip: RoundTrip, statement: str) -> Iterator[list[str]]:
    """Query the source in a thread, in a new session each time, until the block ends; yield what is answered."""
    answers: list[str] = []
    done = threading.Event()
    argv = ["psql", "-XAtq", "-U", "postgres", "-d", trip.source.name, "-c", statement]

    def ask() -> None:
        while not done.is_set():
            asked = trip.server.exec(argv, check=False)
            answers.append(asked.stdout.decode().strip() or asked.stderr.decode().strip())

    thread = threading.Thread(target=ask)
    thread.start()
    try:
        yield answers
    finally:
        done.set()
        thread.join()


@pytest.mark.parametrize("flat", [False, True])
def test_restore_exchanges_the_live_database_for_the_backup_and_keeps_the_old_one(flat: bool, trip: RoundTrip) -> None:
    was = describe(trip.server, trip.source.name)
    trip.load(AFTER)
    changed = describe(trip.server, trip.source.name)
    ended = (
        run_flat(trip.respaldo, "--restore", "--restore-file", "first", "--yes")
        if flat
        else replace(trip, "first", "--yes")
    )
    assert ended.status == 0, ended.err
    assert_description(was, trip.server, trip.source.name)
    old = old_of(trip)
    assert old in ended.out
    assert_description(changed, trip.server, old)
    assert databases(trip) == [trip.source.name, old]
    if flat:
        return
    # The safety backup is of what was replaced.
    saved = [one["name"] for one in trip.respaldo.list() if one["name"].startswith("before_restore_")]
    assert_description(changed, trip.server, trip.restored(saved[0]))


def test_restore_lets_the_live_database_answer_until_the_exchange(trip: RoundTrip) -> None:
    trip.load("CREATE TABLE filler AS SELECT i, repeat(md5(i::text), 5) AS v FROM generate_series(1, 60000) i")
    trip.respaldo.backup(trip.source.name, "--name", "second")
    trip.load("DELETE FROM t WHERE id > 10")
    with queried(trip, "SELECT count(*) FROM t") as answers:
        ended = replace(trip, "second", "--yes", "--drop-old")
    assert ended.status == 0, ended.err
    assert "200" in answers, answers
    first_new = answers.index("200")
    # Old rows, then perhaps a session that the exchange ended, then new rows for ever.
    refused = [answer for answer in answers[:first_new] if answer != "10"]
    assert len(refused) <= 2, refused
    assert answers[:first_new][:-2] == ["10"] * len(answers[:first_new][:-2])
    assert set(answers[first_new:]) == {"200"}
    assert databases(trip) == [trip.source.name]


def test_restore_exchanges_under_clients_that_always_come_back(trip: RoundTrip) -> None:
    trip.load(AFTER)
    with queried(trip, "SELECT count(*), pg_sleep(60) FROM t"), queried(trip, "SELECT count(*), pg_sleep(60) FROM t"):
        ended = replace(trip, "first", "--yes", "--no-safety-backup")
        trip.server.psql(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE '%pg_sleep(60)%'"
            f" AND datname LIKE '{trip.source.name}%' AND pid <> pg_backend_pid()",
            "postgres",
        )
        for name in databases(trip):
            trip.server.psql(f'ALTER DATABASE "{name}" ALLOW_CONNECTIONS false', "postgres")
        trip.server.psql(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE '%pg_sleep(60)%'"
            f" AND datname LIKE '{trip.source.name}%' AND pid <> pg_backend_pid()",
            "postgres",
        )
    assert ended.status == 0, ended.err
    for name in databases(trip):
        trip.server.psql(f'ALTER DATABASE "{name}" ALLOW_CONNECTIONS true', "postgres")
    assert trip.source.psql("SELECT count(*) FROM t") == "200"
    assert trip.server.psql("SELECT count(*) FROM t", old_of(trip)) == "10"


def test_restore_makes_a_database_that_is_gone(trip: RoundTrip) -> None:
    was = describe(trip.server, trip.source.name)
    trip.server.psql(f'DROP DATABASE "{trip.source.name}"', "postgres")
    ended = replace(trip, "latest")
    assert ended.status == 0, ended.err
    assert_description(was, trip.server, trip.source.name)
    assert databases(trip) == [trip.source.name]


def test_restore_of_a_database_that_another_role_owns_gives_it_its_owner_and_settings_back(trip: RoundTrip) -> None:
    name = trip.source.name
    trip.load(
        f'\\set name {name}\nALTER DATABASE :"name" OWNER TO :"ana"; ALTER DATABASE :"name" SET work_mem TO \'7MB\';'
        "COMMENT ON DATABASE :\"name\" IS E'it''s \\\\'; REVOKE CONNECT ON DATABASE :\"name\" FROM PUBLIC;"
        'GRANT CREATE ON DATABASE :"name" TO :"ben" WITH GRANT OPTION;'
        'ALTER ROLE :"ben" IN DATABASE :"name" SET search_path TO a, b; ALTER DATABASE :"name" CONNECTION LIMIT 11'
    )
    trip.respaldo.backup(name, "--name", "owned")
    was = describe(trip.server, name)
    trip.load(
        f'\\set name {name}\nALTER DATABASE :"name" OWNER TO :"ben"; ALTER DATABASE :"name" RESET ALL;'
        'COMMENT ON DATABASE :"name" IS NULL; GRANT CONNECT ON DATABASE :"name" TO PUBLIC; DROP TABLE t CASCADE'
    )
    ended = replace(trip, "owned", "--yes")
    assert ended.status == 0, ended.err
    assert_description(was, trip.server, name)
    assert (
        trip.server.psql(f"SELECT pg_get_userbyid(datdba) FROM pg_database WHERE datname = '{old_of(trip)}'")
        == trip.roles["ben"]
    )


def test_restore_of_one_of_three_names_alike_touches_no_other(kept: RoundTrip, tmp_path: Path) -> None:
    server = kept.server
    respaldo = Respaldo(repository=tmp_path / "backups", container=server)
    names = ("app", "app_prod", "app-prod")
    # The very database, with the very rows; a restored one is another.
    there = "SELECT oid FROM pg_database WHERE datname = '{}'"
    try:
        for number, name in enumerate(names):
            server.psql(f'CREATE DATABASE "{name}"')
            server.psql(f"CREATE TABLE t AS SELECT {number} AS n", name)
            respaldo.backup(name, "--name", "one")
            server.psql("UPDATE t SET n = n + 10", name)
        rows = {name: (server.psql(there.format(name)), server.psql("SELECT n FROM t", name)) for name in names}
        words = ("--container", server.name, "--yes", "--drop-old", "--no-safety-backup")
        for number, name in enumerate(names):
            ended = respaldo.run("restore", "one", "--database", name, *words)
            assert ended.status == 0, ended.err
            assert server.psql(there.format(name)) != rows[name][0]
            rows[name] = (server.psql(there.format(name)), str(number))
            for other in names:
                assert (server.psql(there.format(other)), server.psql("SELECT n FROM t", other)) == rows[other]
        ended = respaldo.run("restore", "one", "--container", server.name, "--yes")
        assert ended.status == 2
        assert "app-prod" in ended.err
        found = server.psql("SELECT datname FROM pg_database WHERE datname LIKE 'app%'").split()
        assert sorted(found) == sorted(names)
    finally:
        server.psql("".join(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE);' for name in names))


def test_restore_to_a_name_that_is_taken_is_refused(trip: RoundTrip) -> None:
    was = describe(trip.server, trip.source.name)
    ended = replace(trip, "first", "--to", trip.source.name)
    assert ended.status == 30
    assert trip.source.name in ended.err
    assert_description(was, trip.server, trip.source.name)


@pytest.mark.parametrize("flat", [False, True])
def test_restore_to_another_name_leaves_the_live_database(flat: bool, trip: RoundTrip) -> None:
    was = describe(trip.server, trip.source.name)
    trip.load(AFTER)
    changed = describe(trip.server, trip.source.name)
    to = f"{trip.source.name}_beside"
    trip.made.append(to)
    words = ("--restore", "--restore-file", "backups/first.sql", "--to", to)
    ended = run_flat(trip.respaldo, *words) if flat else replace(trip, "backups/first.sql", "--to", to)
    assert ended.status == 0, ended.err
    assert_description(was, trip.server, to)
    assert_description(changed, trip.server, trip.source.name)


def test_restore_by_number_and_latest_takes_that_backup(trip: RoundTrip) -> None:
    first = describe(trip.server, trip.source.name)
    trip.load(AFTER)
    trip.respaldo.backup(trip.source.name, "--name", "second", expect="incremental")
    second = describe(trip.server, trip.source.name)
    for word, was in (("1", first), ("latest", second)):
        assert_description(was, trip.server, trip.restored(word))
    for word in ("0", "3", "-1", "nothing"):
        ended = trip.respaldo.run("restore", "--to", "x", "--container", trip.server.name, "--", word)
        assert ended.status == 10


def test_restore_in_place_needs_the_name_typed(trip: RoundTrip, monkeypatch: pytest.MonkeyPatch) -> None:
    was = describe(trip.server, trip.source.name)
    trip.load(AFTER)
    changed = describe(trip.server, trip.source.name)
    for answer in ("", f"{trip.source.name}x\n"):
        with typing(answer, monkeypatch):
            assert replace(trip, "first", "--in-place", "--yes").status == 2
    assert_description(changed, trip.server, trip.source.name)
    with typing(f"{trip.source.name}\n", monkeypatch):
        ended = replace(trip, "first", "--in-place")
    assert ended.status == 0, ended.err
    assert_description(was, trip.server, trip.source.name)
    assert databases(trip) == [trip.source.name]


@contextmanager
def typing(text: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Have these lines on standard input."""
    reading, writing = os.pipe()
    os.write(writing, text.encode())
    os.close(writing)
    with os.fdopen(reading) as pipe, monkeypatch.context() as patch:
        patch.setattr(sys, "stdin", pipe)
        yield


def test_restore_of_definitions_then_of_rows_gives_the_whole(trip: RoundTrip) -> None:
    empty = trip.restored("first", "--schema-only")
    assert trip.server.psql("SELECT count(*) FROM t", empty) == "0"
    assert trip.server.pg_dump("--schema-only", "--restrict-key=k", database=empty) == trip.source.pg_dump(
        "--schema-only", "--restrict-key=k"
    )
    ended = replace(trip, "first", "--data-only", "--to", empty)
    assert ended.status == 0, ended.err
    assert_same_database(trip.server, trip.source.name, empty)
    again = replace(trip, "first", "--data-only", "--to", empty)
    assert again.status == 30
    assert '"public"."t"' in again.err
    assert_same_database(trip.server, trip.source.name, empty)
    trip.server.psql("DROP TABLE t CASCADE", empty)
    lacking = replace(trip, "first", "--data-only", "--to", empty)
    assert lacking.status == 30
    assert '"public"."t"' in lacking.err


def test_restore_with_flags_that_contradict_each_other_is_wrong_use(trip: RoundTrip) -> None:
    before = databases(trip)
    for words in (
        ("--in-place", "--to", "x"),
        ("--schema-only", "--data-only"),
        ("--table", "t", "--in-place"),
        ("--table", "t", "--schema-only"),
        ("--table", "t", "--data-only"),
        ("--replace-table",),
        ("--map-role", "a"),
    ):
        assert replace(trip, "first", *words, "--yes").status == 2, words
    assert databases(trip) == before


def test_restore_dry_run_changes_nothing(trip: RoundTrip) -> None:
    trip.load(AFTER)
    changed = describe(trip.server, trip.source.name)
    for words in ((), ("--table", "t"), ("--data-only",), ("--in-place",)):
        ended = replace(trip, "first", *words, "--dry-run", "--json")
        assert ended.status == 0, ended.err
        document = json.loads(ended.out)
        CONTRACT.check("respaldo restore", document)
        assert (document["dry_run"], document["name"], document["database"]) == (True, "first", trip.source.name)
    assert databases(trip) == [trip.source.name]
    assert_description(changed, trip.server, trip.source.name)
    assert [one["name"] for one in trip.respaldo.list()] == ["first"]
