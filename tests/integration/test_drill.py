"""Drills: what is proven, what each kind of difference is called, disasters, and what is left behind."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from respaldo.clock import SystemClock
from respaldo.environments.base import InstanceQuery
from respaldo.environments.docker import DockerEnvironment
from respaldo.operations.equality import find_differences
from respaldo.postgres.connection import ConnectionOverrides
from respaldo.postgres.server import connect
from respaldo.process import identify_process
from respaldo.repository.records import TargetPath
from respaldo.repository.repository import Repository
from respaldo.storage.directory import DirectoryStorage
from tests.conftest import DatabaseFactory
from tests.contracts import CONTRACT
from tests.integration.conftest import ROOT, Respaldo, RoundTrip, RoundTrips, copy_of, kept_round_trip
from tests.rig.containers import PostgresContainer
from tests.rig.engine import docker

CONTENT = """
CREATE TABLE parent (id int PRIMARY KEY, name text NOT NULL);
CREATE TABLE child (id serial PRIMARY KEY, parent_id int NOT NULL REFERENCES parent, note text);
CREATE INDEX child_note ON child (note);
INSERT INTO parent SELECT i, 'name ' || i FROM generate_series(1, 2000) i;
INSERT INTO child (parent_id, note) SELECT i, 'note ' || i FROM generate_series(1, 2000) i;
ALTER TABLE child ADD CONSTRAINT short CHECK (length(note) < 100);
GRANT SELECT ON parent TO :"ana";
COMMENT ON TABLE parent IS 'the parents';
SELECT lo_from_bytea(77, 'large object');
CREATE POLICY mine ON parent USING (id < 1000);
ALTER TABLE parent ENABLE ROW LEVEL SECURITY;
CREATE TABLE parted (id int, at date) PARTITION BY RANGE (id);
CREATE TABLE parted_1 PARTITION OF parted FOR VALUES FROM (0) TO (100);
INSERT INTO parted SELECT i, '2026-01-01' FROM generate_series(1, 99) i;
CREATE EXTENSION pg_trgm;
CREATE INDEX trigrams ON parent USING gin (name gin_trgm_ops);
"""


@pytest.fixture(scope="module")
def kept(
    shared_postgres: Callable[[int], PostgresContainer], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[RoundTrip]:
    """A database with one full backup, which the tests leave as they are."""
    with kept_round_trip(shared_postgres(15), tmp_path_factory.mktemp("drill")) as made:
        made.load(CONTENT)
        made.respaldo.backup(made.source.name, expect="full")
        yield made


@pytest.fixture
def trip(kept: RoundTrip, tmp_path: Path) -> RoundTrip:
    """The same with a repository of the test's own."""
    return copy_of(kept, tmp_path)


@pytest.fixture(scope="module")
def restored(kept: RoundTrip) -> str:
    """The kept backup, restored: what the copies are made of that a test changes."""
    name = kept.restored("latest")
    assert differences(kept, name) == []
    return name


def differences(trip: RoundTrip, database: str) -> list[str]:
    """Compare a database with the newest backup, as a drill does."""
    reader = Repository.open(DirectoryStorage(trip.respaldo.repository), SystemClock()).reader(
        TargetPath(instance=trip.server.name, database=trip.source.name), trip.respaldo.list()[-1]["name"]
    )
    environment = DockerEnvironment()
    try:
        runner = environment.open(environment.find(InstanceQuery(name=trip.server.name))[0])
        return find_differences(connect(runner, ConnectionOverrides(database=database)), reader)
    finally:
        environment.close()


def drills() -> str:
    return docker("ps", "--all", "--quiet", "--no-trunc", "--filter", "label=respaldo.drill").decode().strip()


def test_full_and_incremental_are_proven_in_the_source_s_own_image(trip: RoundTrip) -> None:
    (full,) = trip.respaldo.list()
    trip.load("UPDATE parent SET name = 'changed' WHERE id < 10; SELECT setval('child_id_seq', 9000);")
    trip.respaldo.backup(trip.source.name, expect="incremental")
    for name in (full["name"], "latest"):
        ended = trip.respaldo.run("drill", name, "--json")
        assert ended.status == 0, ended.err + ended.out
        CONTRACT.check("respaldo drill", json.loads(ended.out))
        proof = json.loads(ended.out)[0]
        assert proof["verdict"] == "proven"
        assert {"start", "restore", "compare"} <= proof["seconds"].keys()
    assert [one["proof"]["verdict"] for one in trip.respaldo.list()] == ["proven", "proven"]
    assert drills() == ""
    assert trip.respaldo.run("drill", "--due", "1", "--json").out.strip() == "[]"


def test_settings_of_several_roles_and_grants_of_several_grantors_are_proven(
    shared_postgres: Callable[[int], PostgresContainer], round_trip: RoundTrips
) -> None:
    trip = round_trip(shared_postgres(15))
    trip.load(
        f"\\set database {trip.source.name}\n"
        "ALTER DATABASE :\"database\" SET work_mem = '5MB';"
        "ALTER DATABASE :\"database\" SET statement_timeout = '5min';"
        'ALTER ROLE :"ben" IN DATABASE :"database" SET work_mem = \'6MB\';'
        'ALTER ROLE :"ben" IN DATABASE :"database" SET statement_timeout = \'6min\';'
        'ALTER ROLE :"ana" IN DATABASE :"database" SET app.text = E\'one\\nALTER ROLE "ben" SUPERUSER; --\';'
        "ALTER DATABASE :\"database\" SET work_mem = '7MB';"
        'GRANT CREATE ON DATABASE :"database" TO :"ana" WITH GRANT OPTION;'
        'SET SESSION AUTHORIZATION :"ana"; GRANT CREATE ON DATABASE :"database" TO :"ben"; RESET SESSION AUTHORIZATION;'
        'GRANT CREATE, TEMPORARY ON DATABASE :"database" TO PUBLIC; GRANT CREATE ON DATABASE :"database" TO :"ben";'
    )
    trip.respaldo.backup(trip.source.name)
    ended = trip.respaldo.run("drill", "latest", "--json")
    assert ended.status == 0, ended.err + ended.out
    assert json.loads(ended.out)[0]["verdict"] == "proven"


@pytest.mark.parametrize("disaster", ["volume", "table-drop", "scramble", "index-corruption"])
def test_disaster_is_noticed_and_recovered_from(disaster: str, trip: RoundTrip) -> None:
    ended = trip.respaldo.run("drill", "latest", "--disaster", disaster, "--json")
    assert ended.status == 0, ended.err + ended.out
    assert json.loads(ended.out)[0]["seconds"]["disaster"] > 0
    assert drills() == ""
    recovery = json.loads(trip.respaldo.run("rto", "--json").out)
    CONTRACT.check("respaldo rto", recovery)
    assert [(group["disaster"], group["count"]) for group in recovery["groups"]] == [(disaster, 1)]


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ("SELECT setval('child_id_seq', 5)", "child_id_seq"),
        ('REVOKE SELECT ON parent FROM :"ana"', "parent"),
        ("DROP INDEX child_note", "child_note"),
        ("ALTER TABLE child DROP CONSTRAINT short", "child"),
        ("ALTER TABLE child DROP CONSTRAINT short, ADD CONSTRAINT short CHECK (length(note) < 100) NOT VALID", "short"),
        ("COMMENT ON TABLE parent IS 'others'", "parent"),
        ("ALTER TABLE parent DISABLE ROW LEVEL SECURITY", "parent"),
        ('ALTER TABLE parent OWNER TO :"ana"', "parent"),
        ("SELECT lo_put(77, 0, 'X')", "lowrite"),
        ("SELECT lo_unlink(77)", "77"),
        ("CREATE TABLE extra (a int)", "extra"),
        ("UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'child_note'::regclass", "child_note"),
        ("DROP EXTENSION pg_trgm CASCADE", "pg_trgm"),
        ('ALTER ROLE :"ana" IN DATABASE :"database" SET work_mem = \'6MB\'', "ajustes"),
        ('REVOKE TEMPORARY ON DATABASE :"database" FROM PUBLIC', "permisos"),
    ],
)
def test_difference_of_each_kind_is_found(
    change: str, named: str, kept: RoundTrip, restored: str, fresh_database: DatabaseFactory
) -> None:
    """The comparison that proves a restore, against a restored database in which one thing was changed by hand."""
    copy = fresh_database(server=kept.server, options=f'TEMPLATE "{restored}"')
    for name, role in {**kept.roles, "database": copy.name}.items():
        change = change.replace(f':"{name}"', f'"{role}"')
    copy.psql(change)
    found = differences(kept, copy.name)
    assert any(named in finding for finding in found), found


def test_backup_whose_bytes_are_damaged_fails_and_the_next_one_is_full(trip: RoundTrip) -> None:
    pack = next(trip.respaldo.repository.rglob("data-*.sql.zst"))
    data = bytearray(pack.read_bytes())
    data[len(data) // 2] ^= 1
    pack.write_bytes(data)
    ended = trip.respaldo.run("drill", "--json")
    assert ended.status == 50
    assert json.loads(ended.out)[0]["verdict"] == "failed"
    assert drills() == ""
    trip.respaldo.backup(trip.source.name, expect="full")


def test_backup_whose_source_is_gone_and_whose_image_is_unknown_is_inconclusive(
    postgres_container: Callable[..., PostgresContainer], tmp_path: Path
) -> None:
    docker("tag", "postgres:15", "respaldo-test/gone:1")
    there = postgres_container(15, image="respaldo-test/gone:1")
    there.psql("CREATE TABLE t AS SELECT 1 AS a")
    respaldo = Respaldo(repository=tmp_path / "repository", container=there)
    respaldo.backup("postgres")
    there.remove()
    docker("rmi", "respaldo-test/gone:1")
    ended = respaldo.run("drill", "latest", "--json")
    assert ended.status == 50
    assert json.loads(ended.out)[0]["verdict"] == "inconclusive"


def test_container_of_a_drill_on_another_machine_is_left_alone(trip: RoundTrip) -> None:
    dead = json.dumps({"host": "h", "boot": "b", "pid_namespace": "n", "pid": 1, "started": "0"})
    label = f"respaldo.owner={dead}"
    other = docker("create", "--label", "respaldo.drill=true", "--label", label, trip.server.image).decode().strip()
    try:
        assert trip.respaldo.run("drill").status == 0
        assert drills() == other
    finally:
        docker("rm", "--volumes", other)


def test_container_that_a_drill_killed_at_any_step_left_is_removed_by_the_next(trip: RoundTrip) -> None:
    command = [sys.executable, "-m", "respaldo", "--repository", str(trip.respaldo.repository), "drill"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src")}
    for has_come_so_far in (is_created, is_restoring):
        with subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as drill:
            deadline = time.monotonic() + 60
            while drill.poll() is None and not has_come_so_far():
                assert time.monotonic() < deadline
                time.sleep(0.05)
            assert drill.poll() is None
            drill.kill()
    assert drills() != ""
    assert trip.respaldo.run("drill").status == 0
    assert drills() == ""


def is_created() -> bool:
    return drills() != ""


def is_restoring() -> bool:
    """Tell whether a drill's container has the database that is restored into."""
    listing = ["psql", "-U", "postgres", "-Atc", "SELECT datname FROM pg_database"]
    containers = drills().split()
    seen = [subprocess.run(["docker", "exec", one, *listing], capture_output=True, check=False) for one in containers]
    return any(b"respaldo_drill" in done.stdout for done in seen)


def test_what_one_drill_removes_is_waited_for_by_another_that_would(
    postgres_container: Callable[..., PostgresContainer],
) -> None:
    owner = identify_process()
    dead = json.dumps(asdict(replace(owner, started=f"{owner.started}0")))
    postgres_container(15, run_args=("--label", "respaldo.drill=true", "--label", f"respaldo.owner={dead}"))
    environment = DockerEnvironment()
    try:
        with ThreadPoolExecutor(8) as pool:
            removed = list(pool.map(lambda _number: environment.remove_leftovers(), range(8)))
    finally:
        environment.close()
    assert sum(removed) >= 1
    assert drills() == ""


def test_every_database_of_an_instance_is_backed_up_and_one_s_failure_stops_no_other(
    postgres_container: Callable[..., PostgresContainer], tmp_path: Path
) -> None:
    server = postgres_container(15)
    for name in ("one", "two", "three"):
        server.psql(f"CREATE DATABASE {name}", "postgres")
        server.psql("CREATE TABLE t AS SELECT 1 AS a", name)
    server.psql("ALTER DATABASE two CONNECTION LIMIT 0; CREATE ROLE small LOGIN", "postgres")
    server.psql("GRANT pg_read_all_data TO small", "postgres")
    respaldo = Respaldo(repository=tmp_path / "repository", container=server)
    ended = respaldo.run("backup", "--all-databases", "--container", server.name, "--user", "small", "--json")
    assert ended.status == 1
    outcomes = {one["database"]: one["error"] for one in json.loads(ended.out)}
    assert outcomes["one"] is None
    assert outcomes["three"] is None
    assert outcomes["two"]
    assert "two" in ended.err
