"""A backup with a subscription: what a restore, a drill or an export makes of it comes away again by itself, no other
restore is stopped by what one left, and no slot on another server is touched."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.conftest import Ended, Respaldo
from tests.rig import engine
from tests.rig.containers import PostgresContainer, start_postgres
from tests.rig.requirements import require

# Dead, and alive: one whose publisher there is no way to, and one that has a worker and a slot of another database's.
SUBSCRIBED = """
CREATE SUBSCRIPTION "to Nowhere" CONNECTION 'dbname=nowhere host=/nowhere' PUBLICATION p
WITH (connect = false, slot_name = NONE);
CREATE TABLE t AS SELECT n FROM generate_series(1, 100) n;
"""
LIVELY = """CREATE SUBSCRIPTION lively CONNECTION 'host=/var/run/postgresql user=postgres dbname=published'
PUBLICATION p WITH (create_slot = false, slot_name = 'kept', copy_data = false)"""
LEFT = "shop__restoring_20260102_030405"
DATABASES = "SELECT datname FROM pg_database ORDER BY 1"


@pytest.fixture(scope="module")
def server(docker_engine: None) -> Iterator[PostgresContainer]:
    """A server with a database that publishes, one that subscribes, and one that has nothing to do with either."""
    image = "postgres:18"
    require(image, None if engine.has_image(image) else "no such image")
    container = start_postgres(image, args=("-c", "wal_level=logical", "-c", "max_prepared_transactions=5"))
    try:
        for name in ("published", "subscribed", "other"):
            container.psql(f"CREATE DATABASE {name}", "postgres")
        container.psql("CREATE PUBLICATION p FOR ALL TABLES", "published")
        container.psql("SELECT pg_create_logical_replication_slot('kept', 'pgoutput')", "published")
        container.psql(SUBSCRIBED, "subscribed")
        container.psql("CREATE TABLE t AS SELECT 1 AS a", "other")
        yield container
    finally:
        container.remove()


@pytest.fixture(scope="module")
def respaldo(server: PostgresContainer, tmp_path_factory: pytest.TempPathFactory) -> Respaldo:
    made = Respaldo(repository=tmp_path_factory.mktemp("subscriptions"), container=server)
    for database in ("subscribed", "other"):
        made.backup(database, "--name", database)
    return made


def restore(respaldo: Respaldo, name: str, to: str) -> Ended:
    return respaldo.run("restore", name, "--to", to, "--container", respaldo.container.name)


def test_leftover_with_subscriptions_is_dropped_by_the_next_restore_of_another(respaldo: Respaldo) -> None:
    server = respaldo.container
    before = server.psql(DATABASES, "postgres")
    server.psql(f"CREATE DATABASE {LEFT}", "postgres")
    server.psql(SUBSCRIBED, LEFT)
    server.psql(LIVELY, LEFT)
    ended = restore(respaldo, "other", "copy")
    assert ended.status == 0, ended.err
    assert LEFT in ended.err
    server.psql("DROP DATABASE copy", "postgres")
    assert server.psql(DATABASES, "postgres") == before
    assert server.psql("SELECT slot_name FROM pg_replication_slots", "postgres") == "kept"


def test_leftover_that_cannot_be_dropped_is_warned_of_and_stops_no_restore(respaldo: Respaldo) -> None:
    server = respaldo.container
    server.psql(f"CREATE DATABASE {LEFT}", "postgres")
    server.psql("BEGIN; CREATE TABLE x (); PREPARE TRANSACTION 'held'", LEFT)
    try:
        ended = restore(respaldo, "other", "copy")
        assert ended.status == 0, ended.err
        assert f"{LEFT}, " in ended.err
        assert "prepared transaction" in ended.err
    finally:
        server.psql("ROLLBACK PREPARED 'held'", LEFT)
        server.psql(f"DROP DATABASE IF EXISTS copy; DROP DATABASE {LEFT}", "postgres")


@pytest.mark.parametrize("form", ["dump", "directory"])
def test_export_of_a_subscribed_database_leaves_no_database(form: str, respaldo: Respaldo, tmp_path: Path) -> None:
    server = respaldo.container
    before = server.psql(DATABASES, "postgres")
    path = tmp_path / "out"
    ended = respaldo.run("export", "subscribed", "--format", form, "-o", str(path), "--container", server.name)
    assert ended.status == 0, ended.err
    assert server.psql(DATABASES, "postgres") == before
    assert path.stat().st_size > 0


def test_export_that_was_killed_left_what_fleets_leave_out_and_restores_drop(respaldo: Respaldo) -> None:
    """By the name that an export gives; the lock on it went with the run."""
    server = respaldo.container
    server.psql("CREATE DATABASE export__restoring_20260102_030405", "postgres")
    server.psql(SUBSCRIBED, "export__restoring_20260102_030405")
    words = ("backup", "--all-databases", "--container", server.name, "--json")
    ended = respaldo.run(*words)
    assert ended.status == 0, ended.err
    assert {one["database"] for one in json.loads(ended.out)} == {"published", "subscribed", "other"}
    assert restore(respaldo, "other", "copy").status == 0
    server.psql("DROP DATABASE copy", "postgres")
    assert "export" not in server.psql(DATABASES, "postgres")


def test_drill_with_a_disaster_recovers_a_subscribed_database(respaldo: Respaldo) -> None:
    ended = respaldo.run("drill", "subscribed", "--disaster", "table-drop", "--json")
    assert ended.status == 0, ended.out + ended.err


def test_database_of_a_person_keeps_its_subscriptions(respaldo: Respaldo) -> None:
    """What a restore would replace is not what it made."""
    server = respaldo.container
    ended = respaldo.run("restore", "subscribed", "--in-place", "--yes", "--container", server.name)
    assert ended.status == 30
    assert "to Nowhere" in ended.err
    assert server.psql("SELECT subname FROM pg_subscription", "postgres") == "to Nowhere"
