"""A table that comes back with its columns in another order has the rows of its backup, wherever they are compared.

pg_dump writes a child's own columns alone: PostgreSQL puts those that a parent has too where the parent has them.
"""
# ruff: noqa: E501 - SQL is easier to read as it is

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import pytest

from tests.integration.conftest import ENDS, MAJORS, Ended, RoundTrip, kept_round_trip
from tests.rig.containers import PostgresContainer

# Three sizes are read in three ways: summed row by row, by digest in the order in which they were loaded, by ranges.
# The partitions of the enumeration load through their root, and all of them have another order than it.
SCHEMA = """
CREATE TABLE parent (a int, b text);
CREATE TABLE child (c int) INHERITS (parent);
INSERT INTO child VALUES (1, 'x', 3);
CREATE TABLE middle (c int) INHERITS (parent);
INSERT INTO middle SELECT i, repeat('m', 100), -i FROM generate_series(1, 20000) i;
CREATE TABLE large (c int) INHERITS (parent);
INSERT INTO large SELECT i, repeat('g', 900), -i FROM generate_series(1, 12000) i;
ALTER TABLE parent ADD added text DEFAULT 'd';
CREATE TABLE late_parent (a int, b text);
CREATE TABLE late (b text, a int DEFAULT 7);
INSERT INTO late VALUES ('y', 2);
ALTER TABLE late INHERIT late_parent;
ALTER TABLE child ADD PRIMARY KEY (a);
ALTER TABLE middle ADD PRIMARY KEY (a);
ALTER TABLE large ADD PRIMARY KEY (a);
ALTER TABLE late ADD PRIMARY KEY (a);
CREATE TYPE size AS ENUM ('small', 'large');
CREATE TABLE by_size (v text, s size) PARTITION BY HASH (s);
CREATE TABLE by_size_0 (s size, v text);
CREATE TABLE by_size_1 (s size, v text);
ALTER TABLE by_size ATTACH PARTITION by_size_0 FOR VALUES WITH (MODULUS 2, REMAINDER 0);
ALTER TABLE by_size ATTACH PARTITION by_size_1 FOR VALUES WITH (MODULUS 2, REMAINDER 1);
INSERT INTO by_size SELECT i::text, (enum_range(NULL::size))[1 + i % 2] FROM generate_series(1, 100) i;
"""
CHANGES = """
UPDATE child SET added = 'changed';
INSERT INTO middle VALUES (0, 'new', 5, 'last');
UPDATE large SET added = 'changed' WHERE a % 1000 = 0;
ALTER TABLE late_parent ADD added int DEFAULT 9;
"""
TABLES = ("parent", "child", "middle", "large", "late_parent", "late", "by_size")
ROWS = "SELECT count(*), md5(string_agg(h, '' ORDER BY h)) FROM (SELECT md5(to_jsonb(t)::text) AS h FROM {} t) rows;"
# How a table is read and defined differs between them; what comes after does not.
on_the_newest = pytest.mark.parametrize("trip", MAJORS[-1:], indirect=True, scope="module")


@pytest.fixture(scope="module", params=ENDS)
def trip(
    request: pytest.FixtureRequest,
    shared_postgres: Callable[[int], PostgresContainer],
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[RoundTrip]:
    """A full backup, ``first``, and an incremental, ``second``, that holds what the database is now."""
    with kept_round_trip(shared_postgres(request.param), tmp_path_factory.mktemp("columns")) as made:
        made.load(SCHEMA)
        made.respaldo.backup(made.source.name, "--name", "first", expect="full")
        made.load(CHANGES)
        made.respaldo.backup(made.source.name, "--name", "second", expect="incremental")
        yield made


def rows(trip: RoundTrip, database: str = "", tables: Iterable[str] = TABLES) -> str:
    return trip.server.psql("".join(map(ROWS.format, tables)), database or trip.source.name)


def run(trip: RoundTrip, command: str, *words: str) -> Ended:
    ended = trip.respaldo.run(command, *words, "--json")
    assert ended.status == 0, ended.err + ended.out
    return ended


def test_full_and_incremental_restore_and_are_proven(trip: RoundTrip) -> None:
    order = "SELECT string_agg(attname, ',' ORDER BY attnum) FROM pg_attribute WHERE attrelid = 'child'::regclass AND attnum > 0"
    restored = trip.restored("second")
    assert rows(trip, restored) == rows(trip)
    assert trip.source.psql(order) == "a,b,c,added"
    assert trip.server.psql(order, restored) == "a,b,added,c"
    assert trip.server.psql("SELECT count(*) FROM middle", trip.restored("first")) == "20000"
    for name in ("first", "second"):
        assert [proof["verdict"] for proof in json.loads(run(trip, "drill", name).out)] == ["proven"]


@on_the_newest
def test_rows_alone_are_restored_into_what_was_restored(trip: RoundTrip) -> None:
    empty = trip.restored("second", "--schema-only")
    run(trip, "restore", "second", "--data-only", "--to", empty, "--container", trip.server.name)
    assert rows(trip, empty) == rows(trip)


@on_the_newest
def test_tables_are_restored_beside_and_over_the_live_ones(trip: RoundTrip) -> None:
    was = rows(trip)
    tables = [word for table in TABLES if "parent" not in table for word in ("--table", table)]
    words = ("restore", "second", *tables, "--container", trip.server.name)
    beside = json.loads(run(trip, *words).out)
    assert rows(trip) == was
    for one in beside:
        if one["table"] != '"public"."by_size"':
            assert rows(trip, tables=[f"ONLY {one['restored_as']}"]) == rows(trip, tables=[f"ONLY {one['table']}"])
        trip.source.psql(f"DROP TABLE {one['restored_as']}")
    trip.source.psql("UPDATE child SET c = 0; DELETE FROM large WHERE a < 100; TRUNCATE late")
    run(trip, *words, "--replace-table", "--yes", "--no-safety-backup")
    assert rows(trip) == was


@on_the_newest
def test_backup_of_what_was_restored_is_found_the_same(trip: RoundTrip) -> None:
    trip.respaldo.backup(trip.restored("second"), "--name", "again", expect="full")
    compared = json.loads(run(trip, "version", "compare", "second", "again").out)
    assert compared["schema"] == {"added": [], "removed": [], "altered": []}
    # Nothing but a key tells which row is which: without one it depends on the order in which rows came back.
    assert {one["table"] for one in compared["tables"] if one["is_changed"]} <= {'"public"."by_size"'}


@on_the_newest
def test_file_for_other_tools_is_written(trip: RoundTrip, tmp_path: Path) -> None:
    file = tmp_path / "file.dump"
    words = ("export", "second", "--format", "dump", "--output", str(file), "--container", trip.server.name)
    ended = trip.respaldo.run(*words)
    assert ended.status == 0, ended.err
    assert file.read_bytes().startswith(b"PGDMP")
