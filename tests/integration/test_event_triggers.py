"""Event triggers come back last: nothing that a restore does fires them, so that the rows stay those of the backup."""
# ruff: noqa: E501 - SQL is easier to read as it is

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from tests.integration.comparison import assert_same_database
from tests.integration.conftest import MAJORS, RoundTrip, RoundTrips
from tests.integration.test_drill_local import Local
from tests.rig.containers import PostgresContainer
from tests.rig.database import database_on
from tests.rig.embedded import EmbeddedPostgres

Shared = Callable[[int], PostgresContainer]
VIEWS = """
CREATE TABLE t AS SELECT generate_series(1, 10) AS i; CREATE INDEX ON t (i); COMMENT ON TABLE t IS 'commented';
CREATE MATERIALIZED VIEW mv AS SELECT count(*) AS n FROM t;
CREATE MATERIALIZED VIEW mv2 AS SELECT n + 1 AS n FROM mv;
CREATE MATERIALIZED VIEW mv3 AS SELECT n + 1 AS n FROM mv2;
"""
ROWS = 10
# The attaching of indexes is a pass of its own.
PARTITIONS = """
CREATE TABLE root (id int PRIMARY KEY) PARTITION BY RANGE (id);
CREATE TABLE leaf PARTITION OF root DEFAULT;
"""
TRIGGERS = """
CREATE TABLE evlog (id serial, tag text);
CREATE FUNCTION note() RETURNS event_trigger LANGUAGE plpgsql AS 'BEGIN INSERT INTO public.evlog (tag) VALUES (tg_tag); END';
CREATE EVENT TRIGGER ended ON ddl_command_end EXECUTE FUNCTION note();
CREATE EVENT TRIGGER started ON ddl_command_start EXECUTE FUNCTION note();
CREATE EVENT TRIGGER dropped ON sql_drop EXECUTE FUNCTION note();
CREATE EVENT TRIGGER asleep ON ddl_command_end EXECUTE FUNCTION note();
ALTER EVENT TRIGGER ended ENABLE ALWAYS;
ALTER EVENT TRIGGER asleep DISABLE;
COMMENT ON EVENT TRIGGER ended IS 'an event trigger';
CREATE TABLE noted ();
"""
NOTED = "SELECT count(*) FROM evlog"
NAMES = "SELECT evtname, evtenabled, obj_description(oid) FROM pg_event_trigger ORDER BY 1"


def prepared(round_trips: RoundTrips, server: PostgresContainer, content: str) -> RoundTrip:
    trip = round_trips(server)
    trip.load(content + TRIGGERS)
    # Set by statements that event triggers do not hear.
    trip.load(
        f'ALTER DATABASE "{trip.source.name}" SET work_mem = \'5MB\'; ALTER DATABASE "{trip.source.name}" CONNECTION LIMIT 20;'
        f'COMMENT ON DATABASE "{trip.source.name}" IS \'a database\'; GRANT TEMPORARY ON DATABASE "{trip.source.name}" TO :"ana"'
    )
    trip.respaldo.backup(trip.source.name, "--name", "first")
    return trip


# Each way on each version, each content on each version and in each way.
@pytest.mark.parametrize(
    ("major", "words", "content"),
    [
        (MAJORS[0], (), VIEWS + PARTITIONS),
        (MAJORS[0], ("--map-role", "nobody=nobody"), VIEWS),
        (MAJORS[-1], (), VIEWS),
        (MAJORS[-1], ("--map-role", "nobody=nobody"), VIEWS + PARTITIONS),
    ],
)
def test_event_triggers_come_back_and_have_written_nothing(
    major: int, words: Sequence[str], content: str, shared_postgres: Shared, round_trip: RoundTrips
) -> None:
    trip = prepared(round_trip, shared_postgres(major), content)
    was = trip.source.psql(NOTED)
    restored = trip.restored("first", *words)
    assert trip.server.psql(NOTED, restored) == was
    assert_same_database(trip.server, trip.source.name, restored)
    before = int(trip.server.psql(NOTED, restored))
    trip.server.psql("CREATE TABLE noted_too ()", restored)
    assert int(trip.server.psql(NOTED, restored)) == before + 2


def test_definitions_alone_come_with_event_triggers(shared_postgres: Shared, round_trip: RoundTrips) -> None:
    trip = prepared(round_trip, shared_postgres(17), VIEWS)
    restored = trip.restored("first", "--schema-only")
    assert trip.server.psql(NAMES, restored) == trip.source.psql(NAMES)
    assert trip.server.psql(NOTED, restored) == "0"


def test_trigger_on_login_is_not_fired(shared_postgres: Shared, round_trip: RoundTrips) -> None:
    trip = round_trip(shared_postgres(18))
    trip.load(VIEWS + TRIGGERS + "CREATE EVENT TRIGGER entered ON login EXECUTE FUNCTION note()")
    made = trip.respaldo.backup(trip.source.name, "--name", "first")
    restored = trip.restored("first")
    ask = ["psql", "-XAtq", "-U", trip.server.user, "-d", restored, "-c", NOTED]
    found = trip.server.exec(ask, environment={"PGOPTIONS": "-c event_triggers=off"})
    assert int(found.stdout) + ROWS == made["rows"]


def test_script_for_other_tools_makes_event_triggers_last(
    shared_postgres: Shared, round_trip: RoundTrips, tmp_path: Path
) -> None:
    trip = prepared(round_trip, shared_postgres(17), VIEWS)
    file = tmp_path / "file.sql"
    ended = trip.respaldo.run("export", "first", "--format=sql", f"--output={file}", "--container", trip.server.name)
    assert ended.status == 0, ended.err
    loaded = f"{trip.source.name}_loaded"
    trip.made.append(loaded)
    trip.server.psql(f'CREATE DATABASE "{loaded}" TEMPLATE template0', "postgres")
    trip.server.psql(file.read_text(), loaded)
    assert trip.server.psql(NOTED, loaded) == trip.source.psql(NOTED)
    assert trip.server.psql(NAMES, loaded) == trip.source.psql(NAMES)


def test_directory_of_pg_dump_s_makes_event_triggers_last(embedded_postgres: EmbeddedPostgres, tmp_path: Path) -> None:
    with database_on(embedded_postgres, options="") as source:
        source.psql(VIEWS + PARTITIONS + TRIGGERS)
        dump = str(tmp_path / "dump")
        embedded_postgres.exec(["pg_dump", "--format=directory", f"--file={dump}", source.name])
        local = Local(server=embedded_postgres, repository=tmp_path / "repository", database=source.name)
        restored = f"{source.name}_restored"
        ended = local.run("restore", dump, "--to", restored, *local.place, "--jobs", "2", "--yes")
        try:
            assert ended.returncode == 0, ended.stderr
            assert embedded_postgres.psql(NOTED, restored) == source.psql(NOTED)
            assert embedded_postgres.psql(NAMES, restored) == source.psql(NAMES)
        finally:
            embedded_postgres.psql(f'DROP DATABASE "{restored}"')


def test_restored_copy_is_proven(shared_postgres: Shared, round_trip: RoundTrips) -> None:
    trip = prepared(round_trip, shared_postgres(17), VIEWS + PARTITIONS)
    ended = trip.respaldo.run("drill", "first", "--json")
    assert ended.status == 0, ended.err + ended.out
    assert [proof["verdict"] for proof in json.loads(ended.out)] == ["proven"]
