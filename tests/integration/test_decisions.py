"""Full or incremental, as the command line decides and says it."""

from __future__ import annotations

from collections.abc import Callable

from tests.conftest import ContainerFactory
from tests.integration.comparison import assert_same_database
from tests.integration.conftest import Respaldo, RoundTrips
from tests.rig.containers import PostgresContainer
from tests.rig.engine import docker

Shared = Callable[[int], PostgresContainer]
TABLE = "CREATE TABLE t AS SELECT i, repeat(md5(i::text), 8) AS v FROM generate_series(1, 40000) i"


def test_backup_first_full_then_five_incrementals_then_full(shared_postgres: Shared, round_trip: RoundTrips) -> None:
    trip = round_trip(shared_postgres(15))
    trip.load(TABLE)
    base = trip.respaldo.backup(trip.source.name, expect="full")
    assert base["decision"]["code"] == "no-full"
    for number in range(5):
        trip.load(f"UPDATE t SET v = 'changed' WHERE i = {number}")
        # Pinned: retention keeps one backup a day otherwise.
        document = trip.respaldo.backup(trip.source.name, "--pin", expect="incremental")
        assert (document["base"], document["decision"]["code"]) == (base["name"], "full-is-fresh")
    last = trip.respaldo.backup(trip.source.name, expect="full")
    assert last["decision"]["code"] == "too-many-incrementals"
    assert "5" in last["decision"]["text"]


def test_backup_type_full_is_full_and_incremental_without_a_full_is_a_full_that_says_why(
    shared_postgres: Shared, round_trip: RoundTrips
) -> None:
    trip = round_trip(shared_postgres(15))
    trip.load(TABLE)
    container = ("--container", trip.server.name, "--database", trip.source.name)
    ended = trip.respaldo.run_apart("backup", *container, "--type", "incremental")
    assert ended.status == 0, ended.err
    assert "no full backup yet" in ended.err or "todavía no hay" in ended.err, ended.err
    (first,) = trip.respaldo.list()
    assert (first["type"], first["decision"]["code"]) == ("full", "no-full")
    assert trip.respaldo.backup(trip.source.name, "--type", "full", expect="full")["decision"]["code"] == "asked"
    asked = trip.respaldo.backup(trip.source.name, "--type", "incremental", expect="incremental")
    assert asked["decision"]["code"] == "asked"
    restored = f"{trip.source.name}_apart"
    trip.made.append(restored)
    ended = trip.respaldo.run_apart("restore", asked["name"], "--to", restored, *container)
    assert ended.status == 0, ended.err
    assert_same_database(trip.server, trip.source.name, restored)


def test_backup_of_the_database_on_another_server_of_that_name_is_full(
    postgres_container: ContainerFactory, round_trip: RoundTrips
) -> None:
    first = postgres_container(15)
    trip = round_trip(first)
    trip.load(TABLE)
    trip.respaldo.backup(trip.source.name, expect="full")
    docker("rename", first.name, f"{first.name}-before")
    second = postgres_container(15, name=first.name)
    second.psql(f'CREATE DATABASE "{trip.source.name}"')
    again = Respaldo(repository=trip.respaldo.repository, container=second)
    document = again.backup(trip.source.name, "--type", "incremental", expect="full")
    assert document["decision"]["code"] == "server-changed"


def test_incremental_of_an_unchanged_database_stores_next_to_nothing(
    shared_postgres: Shared, round_trip: RoundTrips
) -> None:
    trip = round_trip(shared_postgres(18))
    trip.load(TABLE)
    full = trip.respaldo.backup(trip.source.name, expect="full")
    same = trip.respaldo.backup(trip.source.name, expect="incremental")
    assert same["stored_bytes"] < 40_000 < full["stored_bytes"]
    assert_same_database(trip.server, trip.source.name, trip.restored(same["name"]))


def test_lost_manifest_of_the_base_is_warned_of_and_brought_back_after_the_next_backup(
    shared_postgres: Shared, round_trip: RoundTrips
) -> None:
    trip = round_trip(shared_postgres(15))
    trip.load(TABLE)
    base = trip.respaldo.backup(trip.source.name, expect="full")
    trip.load("UPDATE t SET v = 'changed' WHERE i = 7")
    trip.respaldo.backup(trip.source.name, "--name", "last_good", expect="incremental")
    (manifest,) = trip.respaldo.repository.rglob(f"{base['name']}/manifest.json")
    document = manifest.read_bytes()
    manifest.unlink()
    ended = trip.respaldo.run(
        "backup", "--container", trip.respaldo.container.name, "--database", trip.source.name, "--json"
    )
    assert ended.status == 0, ended.err
    assert base["name"] in ended.err
    assert "last_good" in ended.err
    manifest.write_bytes(document)
    assert trip.respaldo.run("check").status == 0
    assert trip.restored("last_good")
