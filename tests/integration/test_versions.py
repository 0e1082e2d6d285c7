"""Versions on a real server: given, compared from the repository alone, rolled back to, cleaned up."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from tests.contracts import CONTRACT
from tests.integration.conftest import Respaldo, RoundTrips
from tests.rig.containers import PostgresContainer

Shared = Callable[[int], PostgresContainer]

BEFORE = '''
CREATE TABLE small (id int PRIMARY KEY, name text, note text);
INSERT INTO small SELECT i, 'n' || i, E'tab\\tand\\nline' FROM generate_series(1, 100) i;
CREATE TABLE keyless (a int);
INSERT INTO keyless VALUES (1), (2);
CREATE TABLE "Ñandú ""x""" ("a b" int, "c" text, PRIMARY KEY ("c", "a b"));
INSERT INTO "Ñandú ""x""" VALUES (1, 'x'), (2, 'y');
CREATE TABLE gone (id int PRIMARY KEY);
INSERT INTO gone VALUES (1);
CREATE TABLE large (id bigint PRIMARY KEY, v text);
INSERT INTO large SELECT i, repeat(md5(i::text), 4) FROM generate_series(1, 120000) i;
CREATE VIEW seen AS SELECT id FROM small;
CREATE SEQUENCE counted;
'''
AFTER = '''
DELETE FROM small WHERE id <= 3;
UPDATE small SET note = 'changed' WHERE id BETWEEN 11 AND 15;
INSERT INTO small VALUES (1001, 'new', NULL);
INSERT INTO keyless VALUES (3);
UPDATE "Ñandú ""x""" SET "c" = 'z' WHERE "a b" = 2;
DROP TABLE gone;
CREATE TABLE fresh (id int PRIMARY KEY);
INSERT INTO fresh VALUES (1), (2);
UPDATE large SET v = 'changed' WHERE id % 40000 = 7;
DELETE FROM large WHERE id = 9;
CREATE OR REPLACE VIEW seen AS SELECT id, name FROM small;
ALTER TABLE keyless ADD COLUMN b int;
CREATE INDEX small_name ON small (name);
SELECT nextval('counted');
'''


def documents(respaldo: Respaldo, *words: str) -> Any:
    ended = respaldo.run(*words, "--json")
    assert ended.status == 0, ended.err
    CONTRACT.check(f"respaldo {words[0]} {words[1]}", json.loads(ended.out))
    return json.loads(ended.out)


@pytest.mark.parametrize("major", [13, 18])
def test_two_versions_are_compared_without_a_server(
    major: int, shared_postgres: Shared, round_trip: RoundTrips
) -> None:
    trip = round_trip(shared_postgres(major))
    trip.load(BEFORE)
    first = trip.respaldo.backup(trip.source.name, "--branch", "main", "--tag", "before", "--description", "as it was")
    trip.load(AFTER)
    second = trip.respaldo.backup(
        trip.source.name, "--branch", "main", "--version-increment", "minor", expect="incremental"
    )
    assert (first["version"], second["version"]) == ("1.0.0-main.1", "1.1.0-main.2")
    assert (first["tags"], first["description"]) == (["before"], "as it was")
    found = documents(trip.respaldo, "version", "compare", "before", "1.1.0-main.2")
    tables = {one["table"].removeprefix('"public".'): one for one in found["tables"]}
    counts = {name: (one["added"], one["removed"], one["changed"]) for name, one in tables.items()}
    assert counts == {
        '"small"': (1, 3, 5),
        '"keyless"': (None, None, None),
        '"Ñandú ""x"""': (1, 1, 0),
        '"gone"': (0, 1, 0),
        '"fresh"': (2, 0, 0),
        '"large"': (0, 1, 3),
    }
    assert (tables['"large"']["old_rows"], tables['"large"']["new_rows"]) == (120000, 119999)
    assert found["statements_differ"] is True
    schema = {name: {(one["type"], one["name"]) for one in objects} for name, objects in found["schema"].items()}
    assert ("TABLE", "fresh") in schema["added"]
    assert ("INDEX", "small_name") in schema["added"]
    assert ("TABLE", "gone") in schema["removed"]
    assert schema["altered"] == {("VIEW", "seen"), ("TABLE", "keyless")}
    same = documents(trip.respaldo, "version", "compare", "before", "before")
    assert not any(one["is_changed"] for one in same["tables"])
    assert same["schema"] == {"added": [], "removed": [], "altered": []}
    shown = trip.respaldo.run("version", "compare", "before", "latest")
    assert shown.status == 0, shown.err
    assert "+ TABLE public.fresh" in shown.out


def test_rollback_saves_what_is_there_restores_and_is_written_down(
    shared_postgres: Shared, round_trip: RoundTrips
) -> None:
    trip = round_trip(shared_postgres(15))
    trip.load("CREATE TABLE t AS SELECT 1 AS a")
    trip.respaldo.backup(trip.source.name, "--branch", "main", "--name", "good")
    trip.load("UPDATE t SET a = 2")
    # Several containers run beside this one: the backup's own is meant.
    assert trip.respaldo.run("version", "rollback", "9.9.9-main.9", "--yes").status == 10
    dry = trip.respaldo.run("version", "rollback", "1.0.0-main.1", "--dry-run", "--json")
    CONTRACT.check("respaldo version rollback", json.loads(dry.out))
    assert (dry.status, trip.source.psql("SELECT a FROM t")) == (0, "2")
    assert documents(trip.respaldo, "version", "history") == []
    ended = trip.respaldo.run("version", "rollback", "1.0.0-main.1", "--yes", "--drop-old")
    assert ended.status == 0, ended.err
    assert trip.source.psql("SELECT a FROM t") == "1"
    [one] = documents(trip.respaldo, "version", "history")
    assert (one["version"], one["name"], one["database"]) == ("1.0.0-main.1", "good", trip.source.name)
    assert trip.server.psql("SELECT a FROM t", trip.restored(one["safety_backup"])) == "2"
    again = trip.respaldo.run(
        "restore", "1.0.0-main.1", "--to", f"{trip.source.name}_by_version", "--container", trip.server.name
    )
    trip.made.append(f"{trip.source.name}_by_version")
    assert again.status == 0, again.err


def test_version_that_cannot_be_given_makes_no_backup(shared_postgres: Shared, round_trip: RoundTrips) -> None:
    trip = round_trip(shared_postgres(15))
    trip.load("CREATE TABLE t AS SELECT 1 AS a")
    server = ("--container", trip.server.name, "--database", trip.source.name)
    trip.respaldo.backup(trip.source.name, "--version", "2.0.0")
    for words in (("--version", "1.0.0"), ("--branch", "a b"), ("--tag", "../x"), ("--version", "two")):
        ended = trip.respaldo.run("backup", *server, *words)
        assert ended.status == 2, ended.err
    assert len(trip.respaldo.list()) == 1
    labels = next(trip.respaldo.repository.rglob("labels.json"))
    labels.write_bytes(b"{}")
    damaged = trip.respaldo.run("backup", *server)
    assert damaged.status == 3, damaged.err
    listed = trip.respaldo.run("list", "--json")
    assert (listed.status, len(json.loads(listed.out))) == (13, 2)
