"""What stands in a restore's way on real servers is named before anything is touched: a standby, a pooler, what is
subscribed or connected, another's database, other collations, and what the server lacks."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.integration.comparison import assert_description, describe
from tests.integration.conftest import Ended, RoundTrip, kept_round_trip
from tests.rig import engine
from tests.rig.containers import PostgresContainer, start_postgres
from tests.rig.requirements import require
from tests.rig.waiting import wait_for

IMAGE = "postgres:15"


@pytest.fixture(scope="module")
def server(docker_engine: None) -> Iterator[PostgresContainer]:
    """A server that these tests share and change: no older client than the machine's own may meet it."""
    require(IMAGE, None if engine.has_image(IMAGE) else "no such image")
    container = start_postgres(IMAGE, args=("-c", "wal_level=logical", "-c", "max_prepared_transactions=5"))
    try:
        yield container
    finally:
        container.remove()


@pytest.fixture
def trip(server: PostgresContainer, tmp_path: Path) -> Iterator[RoundTrip]:
    with kept_round_trip(server, tmp_path) as made:
        made.load("CREATE TABLE kept AS SELECT 1 AS a")
        yield made


def restore(trip: RoundTrip, *words: str) -> Ended:
    return trip.respaldo.run("restore", "first", "--container", trip.server.name, "--yes", *words)


def check_refused(trip: RoundTrip, ended: Ended, *words: str) -> None:
    """See that it was refused with all of these words, and that no database came or went."""
    assert ended.status == 30, ended.err
    assert [word for word in words if word not in ended.err] == [], ended.err
    assert "hint: " in ended.err or "sugerencia: " in ended.err
    names = f"SELECT datname FROM pg_database WHERE starts_with(datname, '{trip.source.name}')"
    assert trip.server.psql(names, "postgres") == trip.source.name


def wait_until(trip: RoundTrip, query: str) -> None:
    wait_for(lambda: trip.server.psql(query, "postgres") == "1", lambda: query, 20)


def test_restore_that_cannot_be_names_all_that_is_wrong_at_once(trip: RoundTrip) -> None:
    server = trip.server
    server.exec(["sh", "-c", "mkdir /tmp/space && chown postgres /tmp/space"], user="root")
    for name, text in (("gone.control", "default_version = '1.2'\n"), ("gone--1.2.sql", "CREATE TABLE g (a int);")):
        server.exec(["sh", "-c", f"cat > /usr/share/postgresql/15/extension/{name}"], text.encode(), user="root")
    server.psql("CREATE ROLE weak LOGIN; CREATE TABLESPACE space LOCATION '/tmp/space'; CREATE ROLE gone_role")
    trip.load("CREATE EXTENSION gone; CREATE TABLE t (a int) TABLESPACE space; ALTER TABLE t OWNER TO gone_role")
    trip.respaldo.backup(trip.source.name, "--name", "first")
    trip.load("DROP EXTENSION gone; DROP TABLE t; DROP ROLE gone_role; DROP TABLESPACE space;")
    trip.load(
        "SELECT pg_create_logical_replication_slot('slot_x', 'pgoutput');"
        "BEGIN; INSERT INTO kept VALUES (2); PREPARE TRANSACTION 'p'"
    )
    server.exec(["sh", "-c", "rm /usr/share/postgresql/15/extension/gone*"], user="root")
    was = describe(server, trip.source.name)
    ended = restore(trip, "--user", "weak")
    trip.load("ROLLBACK PREPARED 'p'; SELECT pg_drop_replication_slot('slot_x'); DROP ROLE weak")
    check_refused(trip, ended, "gone 1.2", "gone_role", "slot_x", "weak", "--globals", " 1 ", "postgres")
    assert_description(was, server, trip.source.name)


def test_database_that_is_subscribed_or_published_from_is_not_replaced(trip: RoundTrip) -> None:
    name = trip.source.name
    trip.respaldo.backup(name, "--name", "first")
    trip.server.psql(f"CREATE DATABASE {name}_sub TEMPLATE {name}", "postgres")
    trip.made.append(f"{name}_sub")
    trip.load("CREATE PUBLICATION p FOR TABLE kept; SELECT pg_create_logical_replication_slot('active_x', 'pgoutput')")
    trip.server.psql(
        f"CREATE SUBSCRIPTION sub_y CONNECTION 'host=/var/run/postgresql user=postgres dbname={name}' PUBLICATION p"
        " WITH (create_slot = false, slot_name = 'active_x', copy_data = false)",
        f"{name}_sub",
    )
    try:
        wait_until(trip, "SELECT count(*) FROM pg_replication_slots WHERE slot_name = 'active_x' AND active")
        published = restore(trip)
        # Nobody but a superuser may subscribe, but the database may be another's.
        trip.server.psql(f"CREATE ROLE maker LOGIN CREATEDB; ALTER DATABASE {name}_sub OWNER TO maker", "postgres")
        trip.server.psql("GRANT maker TO postgres", "postgres")
        trip.respaldo.backup(f"{name}_sub", "--name", "of_sub")
        words = ("--container", trip.server.name, "--yes", "--user", "maker")
        subscribed = trip.respaldo.run("restore", "of_sub", *words)
    finally:
        trip.server.psql("DROP SUBSCRIPTION sub_y", f"{name}_sub")
        trip.server.psql(f"DROP DATABASE {name}_sub WITH (FORCE); DROP ROLE IF EXISTS maker", "postgres")
    check_refused(trip, published, "active_x")
    check_refused(trip, subscribed, "sub_y")


def test_database_of_another_is_not_loaded_first_and_refused_then(trip: RoundTrip) -> None:
    trip.respaldo.backup(trip.source.name, "--name", "first")
    trip.server.psql("CREATE ROLE stranger LOGIN CREATEDB", "postgres")
    ended = restore(trip, "--user", "stranger")
    trip.server.psql("DROP ROLE stranger", "postgres")
    check_refused(trip, ended, "stranger", "postgres", trip.source.name)


def test_sessions_in_the_live_database_are_told_before_they_are_ended(trip: RoundTrip) -> None:
    trip.respaldo.backup(trip.source.name, "--name", "first")
    name = trip.source.name
    argv = ["docker", "exec", "--env", "PGAPPNAME=the_shop", trip.server.id, "psql", "-U", "postgres", "-d", name]
    with subprocess.Popen([*argv, "-c", "SELECT pg_sleep(60)"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL):
        wait_until(trip, "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'the_shop'")
        told = restore(trip, "--dry-run")
        is_there = trip.server.psql("SELECT count(*) FROM pg_stat_activity WHERE application_name = 'the_shop'")
        ended = restore(trip, "--no-safety-backup", "--drop-old")
    assert told.status == 0, told.err
    assert "the_shop" in told.err + told.out
    assert is_there == "1"
    assert ended.status == 0, ended.err


def test_collation_of_another_version_is_told_and_stops_nothing(trip: RoundTrip) -> None:
    name = trip.source.name
    trip.server.psql(f"UPDATE pg_database SET datcollversion = '2.28' WHERE datname = '{name}'", "postgres")
    trip.respaldo.backup(name, "--name", "first")
    trip.server.psql("UPDATE pg_database SET datcollversion = '2.36' WHERE datname = 'template0'", "postgres")
    try:
        ended = restore(trip, "--to", f"{name}_new", "--dry-run")
    finally:
        trip.server.psql("UPDATE pg_database SET datcollversion = NULL WHERE datname = 'template0'", "postgres")
    assert ended.status == 0, ended.err
    assert "2.28" in ended.err
    assert "2.36" in ended.err


@contextmanager
def pgbouncer(server: PostgresContainer, folder: Path, mode: str, *lines: str) -> Iterator[int]:
    """Run a pooler before the server and give its port."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    folder.chmod(0o755)
    for parent in folder.parents[:3]:
        parent.chmod(0o755)
    (folder / "users").write_text(f'"postgres" "{server.password}"\n')
    settings = ["[databases]", f"* = host={server.address()} port=5432", "[pgbouncer]", "listen_addr = 127.0.0.1"]
    settings += [f"listen_port = {port}", "auth_type = trust", f"auth_file = {folder}/users", "unix_socket_dir ="]
    (folder / "ini").write_text("\n".join([*settings, f"pool_mode = {mode}", *lines, ""]))
    # It refuses to run as root.
    argv = ["pgbouncer", "-q", *(("-u", "nobody") if os.geteuid() == 0 else ()), str(folder / "ini")]
    with subprocess.Popen(argv, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            probe = ["psql", "-h", "127.0.0.1", "-p", str(port), "-U", "postgres", "-c", "SELECT 1", "postgres"]

            def serves() -> bool:
                assert process.poll() is None
                return subprocess.run(probe, capture_output=True, check=False).returncode == 0

            wait_for(serves, lambda: "pgbouncer does not serve", 10)
            yield port
        finally:
            process.terminate()


@pytest.mark.parametrize("mode", ["session", "transaction"])
def test_pooler_in_between_is_told_with_what_to_do(mode: str, trip: RoundTrip, tmp_path: Path) -> None:
    require("pgbouncer", None if shutil.which("pgbouncer") and shutil.which("pg_dump") else "no pgbouncer or client")
    trip.respaldo.backup(trip.source.name, "--name", "first")
    folder = tmp_path / "bouncer"
    folder.mkdir()
    # As it comes it refuses what we set at the start; where a person made it let that pass, we look ourselves.
    for lines in ((), ("ignore_startup_parameters = options,extra_float_digits",)):
        with pgbouncer(trip.server, folder, mode, *lines) as port:
            words = ("--host", "127.0.0.1", "--port", str(port), "--user", "postgres", "--yes")
            ended = trip.respaldo.run("restore", "first", *words)
        check_refused(trip, ended, "pool")


def test_standby_is_named_as_one(trip: RoundTrip) -> None:
    trip.respaldo.backup(trip.source.name, "--name", "first")
    # Last: from here on the server is one, which follows nobody.
    trip.server.exec(["sh", "-c", 'touch "$PGDATA/standby.signal"'], user="postgres")
    trip.server.stop()
    trip.server.start()
    try:
        ended = restore(trip)
        beside = restore(trip, "--to", "elsewhere")
    finally:
        trip.server.psql("SELECT pg_promote()", "postgres")
    for one in (ended, beside):
        check_refused(trip, one, "réplica")
