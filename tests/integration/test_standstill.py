"""Rows that come into tables which are there fire no trigger and no rule, not even those that act always; each of them is
afterwards as it was."""
# ruff: noqa: E501 - SQL is easier to read as it is

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.integration.comparison import assert_description, assert_same_database, describe
from tests.integration.conftest import ENDS, RoundTrip, RoundTrips
from tests.rig.containers import PostgresContainer

Shared = Callable[[int], PostgresContainer]
# Partitions of an enumeration load through their root. One state stands against its parent's in each direction.
SCHEMA = """
CREATE TABLE noise (what text);
CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN INSERT INTO public.noise VALUES (TG_NAME); RETURN coalesce(new, old); END';
CREATE TABLE t (id int PRIMARY KEY, v text);
CREATE TRIGGER always BEFORE INSERT OR DELETE ON t FOR EACH ROW EXECUTE FUNCTION note();
CREATE TRIGGER "a ""replica"" ñ" AFTER INSERT OR DELETE ON t EXECUTE FUNCTION note();
CREATE CONSTRAINT TRIGGER deferred AFTER INSERT OR DELETE ON t DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION note();
CREATE TRIGGER usual AFTER INSERT ON t EXECUTE FUNCTION note();
CREATE TRIGGER never AFTER INSERT ON t EXECUTE FUNCTION note();
CREATE RULE always AS ON INSERT TO t DO ALSO INSERT INTO noise VALUES ('rule');
CREATE RULE instead AS ON DELETE TO t DO INSTEAD INSERT INTO noise VALUES ('instead');
CREATE TYPE size AS ENUM ('small', 'large');
CREATE TABLE parted (id int, s size) PARTITION BY HASH (s);
CREATE TABLE parted_0 PARTITION OF parted FOR VALUES WITH (MODULUS 2, REMAINDER 0);
CREATE TABLE parted_1 PARTITION OF parted FOR VALUES WITH (MODULUS 2, REMAINDER 1);
CREATE TRIGGER of_root AFTER INSERT OR DELETE ON parted FOR EACH ROW EXECUTE FUNCTION note();
CREATE TRIGGER of_leaf BEFORE INSERT OR DELETE ON parted_1 FOR EACH ROW EXECUTE FUNCTION note();
CREATE TABLE child (parent int REFERENCES t ON DELETE CASCADE);
INSERT INTO t SELECT i, 'v' || i FROM generate_series(1, 20) i;
INSERT INTO parted SELECT i, (enum_range(NULL::size))[1 + i % 2] FROM generate_series(1, 20) i;
INSERT INTO child SELECT id FROM t;
ALTER TABLE t ENABLE ALWAYS TRIGGER always, ENABLE REPLICA TRIGGER "a ""replica"" ñ", ENABLE ALWAYS TRIGGER deferred, DISABLE TRIGGER never;
ALTER TABLE t ENABLE ALWAYS RULE always, ENABLE REPLICA RULE instead;
ALTER TABLE parted ENABLE ALWAYS TRIGGER of_root;
ALTER TABLE parted_0 ENABLE TRIGGER of_root;
ALTER TABLE parted_1 ENABLE REPLICA TRIGGER of_root, ENABLE ALWAYS TRIGGER of_leaf;
TRUNCATE noise;
"""
STATES = """
SELECT tgrelid::regclass, tgname, tgenabled FROM pg_trigger WHERE NOT tgisinternal OR tgparentid <> 0
UNION ALL SELECT ev_class::regclass, rulename, ev_enabled FROM pg_rewrite WHERE ev_class = 't'::regclass ORDER BY 1, 2"""


@pytest.fixture(params=ENDS)
def trip(request: pytest.FixtureRequest, shared_postgres: Shared, round_trip: RoundTrips) -> RoundTrip:
    made = round_trip(shared_postgres(request.param))
    made.load(SCHEMA)
    made.respaldo.backup(made.source.name, "--name", "first")
    return made


def test_table_over_the_live_one_fires_nothing(trip: RoundTrip) -> None:
    was, states = describe(trip.server, trip.source.name), trip.source.psql(STATES)
    trip.source.psql("SET session_replication_role = replica; UPDATE t SET v = 'changed'; UPDATE parted SET id = 0")
    words = ("--table", "t", "--table", "parted", "--replace-table", "--yes", "--no-safety-backup")
    ended = trip.respaldo.run("restore", "first", "--container", trip.server.name, *words)
    assert ended.status == 0, ended.err
    assert trip.source.psql("SELECT * FROM noise") == ""
    assert trip.source.psql(STATES) == states
    assert_description(was, trip.server, trip.source.name)


def test_table_that_cannot_be_replaced_keeps_its_triggers(trip: RoundTrip) -> None:
    trip.source.psql("ALTER TABLE t ADD CONSTRAINT new CHECK (v <> 'v7') NOT VALID")
    was, states = describe(trip.server, trip.source.name), trip.source.psql(STATES)
    words = ("--table", "t", "--replace-table", "--yes", "--no-safety-backup")
    ended = trip.respaldo.run("restore", "first", "--container", trip.server.name, *words)
    assert ended.status == 30, ended.err
    assert trip.source.psql(STATES) == states
    assert_description(was, trip.server, trip.source.name)


def test_rows_alone_fire_nothing(trip: RoundTrip) -> None:
    empty = trip.restored("first", "--schema-only")
    states = trip.server.psql(STATES, empty)
    ended = trip.respaldo.run("restore", "first", "--data-only", "--to", empty, "--container", trip.server.name)
    assert ended.status == 0, ended.err
    assert trip.server.psql("SELECT * FROM noise", empty) == ""
    assert trip.server.psql(STATES, empty) == states
    assert_same_database(trip.server, trip.source.name, empty)


def test_rows_alone_come_into_tables_of_any_name_in_any_encoding(
    shared_postgres: Shared, round_trip: RoundTrips
) -> None:
    trip = round_trip(shared_postgres(17), options="ENCODING 'LATIN1' LOCALE 'C' TEMPLATE template0")
    trip.load(SCHEMA + 'ALTER TABLE t RENAME TO "tábla"')
    trip.respaldo.backup(trip.source.name, "--name", "first")
    empty = trip.restored("first", "--schema-only")
    ended = trip.respaldo.run("restore", "first", "--data-only", "--to", empty, "--container", trip.server.name)
    assert ended.status == 0, ended.err
    assert_same_database(trip.server, trip.source.name, empty)
