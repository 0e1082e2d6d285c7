"""Single tables come back beside the live ones or over them; everything else stays, and nothing else is read."""
# ruff: noqa: E501 - SQL and the lines that are expected of it are easier to read as they are

from __future__ import annotations

import json
from collections.abc import Callable, Iterator

import pytest

from respaldo.clock import SystemClock
from respaldo.environments.base import InstanceQuery
from respaldo.environments.detect import choose
from respaldo.environments.docker import DockerEnvironment
from respaldo.operations.tables import choose_tables, restore_tables
from respaldo.postgres.connection import ConnectionOverrides
from respaldo.postgres.server import connect
from respaldo.repository.repository import Repository
from respaldo.storage.directory import DirectoryStorage
from tests.contracts import CONTRACT
from tests.integration.comparison import assert_description, describe
from tests.integration.conftest import Ended, RoundTrip, RoundTrips
from tests.rig.containers import PostgresContainer

Shared = Callable[[int], PostgresContainer]
SCHEMA = r'''
CREATE TABLE customers (id serial PRIMARY KEY, name text NOT NULL UNIQUE);
CREATE TABLE orders (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, customer int REFERENCES customers ON DELETE CASCADE,
  amount numeric CHECK (amount > 0), doubled numeric GENERATED ALWAYS AS (amount * 2) STORED);
INSERT INTO customers (name) SELECT 'c' || i FROM generate_series(1, 20) i;
INSERT INTO orders (customer, amount) SELECT i, i FROM generate_series(1, 20) i;
CREATE SCHEMA "Otra Ñ";
CREATE TABLE "Otra Ñ"."Ta""b'la.x" ("Col ""ñ""" text DEFAULT 'Ta"b''la', b int); INSERT INTO "Otra Ñ"."Ta""b'la.x" VALUES (E'\\.\n', 1);
CREATE TABLE "customers.old" AS SELECT 7 AS a; CREATE TABLE "a[1]*" AS SELECT 8 AS a; CREATE TABLE a1 AS SELECT 9 AS a;
CREATE TABLE mentions (v text DEFAULT 'public.mentions', lines text DEFAULT E'x\n-- y\nSET z;\n\nw',
  w text CHECK (w <> 'public.mentions')); INSERT INTO mentions (w) VALUES ('x');
CREATE TABLE parted (id int, at date) PARTITION BY RANGE (at);
CREATE TABLE parted_2024 PARTITION OF parted FOR VALUES FROM ('2024-01-01') TO ('2025-01-01');
CREATE TABLE parted_2025 PARTITION OF parted FOR VALUES FROM ('2025-01-01') TO ('2026-01-01');
INSERT INTO parted VALUES (1, '2024-05-05'), (2, '2025-05-05');
CREATE TYPE mood AS ENUM ('sad', 'ok', 'happy'); CREATE TABLE hashed (id mood, v text) PARTITION BY HASH (id);
CREATE TABLE hashed_0 PARTITION OF hashed FOR VALUES WITH (modulus 2, remainder 0);
CREATE TABLE hashed_1 (v text, id mood); ALTER TABLE hashed ATTACH PARTITION hashed_1 FOR VALUES WITH (modulus 2, remainder 1);
INSERT INTO hashed SELECT m, m || i::text FROM generate_series(1, 20) i, unnest(enum_range(NULL::mood)) m;
CREATE UNLOGGED TABLE unlogged AS SELECT 1 AS a; CREATE TABLE empty (a int);
'''


@pytest.fixture(scope="module")
def backed_up(
    shared_postgres: Shared, tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest
) -> Iterator[RoundTrip]:
    """One database for this module; each test leaves it as it was, apart from what it restored."""
    from tests.integration.conftest import Respaldo
    from tests.rig.database import database_on

    server = shared_postgres(17)
    respaldo = Respaldo(repository=tmp_path_factory.mktemp("tables") / "backups", container=server)
    with database_on(server) as database:
        database.psql(SCHEMA)
        respaldo.backup(database.name, "--name", "first")
        yield RoundTrip(respaldo=respaldo, source=database, roles={})


def restore(trip: RoundTrip, *words: str) -> Ended:
    return trip.respaldo.run("restore", "first", "--container", trip.server.name, "--json", *words)


def names_of(ended: Ended) -> dict[str, str]:
    assert ended.status == 0, ended.err
    document = json.loads(ended.out)
    CONTRACT.check("respaldo restore", document)
    return {one["table"]: one["restored_as"] for one in document}


@pytest.mark.parametrize(
    ("pattern", "tables"),
    [
        ("customers", ['"public"."customers"']),
        ("public.orders", ['"public"."orders"']),
        ("Otra Ñ.Ta\"b'la.x", ['"Otra Ñ"."Ta""b\'la.x"']),
        ("customers.old", ['"public"."customers.old"']),
        ("a[1]*", ['"public"."a[1]*"']),
        ("mentions", ['"public"."mentions"']),
        ("parted_*", ['"public"."parted_2024"', '"public"."parted_2025"']),
        ("parted_202?", ['"public"."parted_2024"', '"public"."parted_2025"']),
        ("empty", ['"public"."empty"']),
    ],
)
def test_table_restored_beside_has_the_backup_s_rows_and_leaves_all_else(
    pattern: str, tables: list[str], backed_up: RoundTrip
) -> None:
    was = describe(backed_up.server, backed_up.source.name)
    restored = names_of(restore(backed_up, "--table", pattern))
    assert sorted(restored) == tables
    for table, name in restored.items():
        assert "__restored_20" in name
        rows = "SELECT coalesce(json_agg(t ORDER BY t::text), '[]') FROM {} t"
        assert backed_up.source.psql(rows.format(name)) == backed_up.source.psql(rows.format(table))
        backed_up.source.psql(f"DROP TABLE {name}")
    assert_description(was, backed_up.server, backed_up.source.name)


def test_table_restored_beside_has_a_default_of_several_lines_to_the_letter(backed_up: RoundTrip) -> None:
    (name,) = names_of(restore(backed_up, "--table", "mentions")).values()
    default = "SELECT pg_get_expr(adbin, adrelid) FROM pg_attrdef WHERE adnum = 2 AND adrelid = '{}'::regclass"
    was, now = (backed_up.source.psql(default.format(one)) for one in ("mentions", name))
    backed_up.source.psql(f"DROP TABLE {name}")
    assert "SET z;" in was
    assert now == was


def test_table_whose_partitions_load_through_it_is_restored_as_one_and_over_the_live_one(backed_up: RoundTrip) -> None:
    was = describe(backed_up.server, backed_up.source.name)
    for name in names_of(restore(backed_up, "--table", "hashed")).values():
        assert backed_up.source.psql(f"SELECT id, count(*), count(DISTINCT v) FROM {name} GROUP BY id ORDER BY id") == (
            "sad|20|20\nok|20|20\nhappy|20|20"
        )
        backed_up.source.psql(f"DROP TABLE {name}")
    assert_description(was, backed_up.server, backed_up.source.name)
    backed_up.source.psql("DELETE FROM hashed WHERE id = 'ok'; UPDATE hashed SET v = 'changed'")
    names_of(restore(backed_up, "--table", "hashed", "--replace-table", "--yes", "--no-safety-backup"))
    counts = "SELECT id, count(*), count(DISTINCT v) FROM hashed GROUP BY id ORDER BY id"
    assert backed_up.source.psql(counts) == "sad|20|20\nok|20|20\nhappy|20|20"


def test_table_that_is_not_there_is_wrong_use_and_names_those_that_are(backed_up: RoundTrip) -> None:
    ended = restore(backed_up, "--table", "custom")
    assert ended.status == 2
    assert "public.customers" in ended.err


def test_table_whose_name_is_in_no_utf_8_is_refused_with_the_way_out(
    shared_postgres: Shared, round_trip: RoundTrips
) -> None:
    trip = round_trip(shared_postgres(17), options="ENCODING 'LATIN1' LOCALE 'C' TEMPLATE template0")
    trip.load(
        'SET client_encoding = UTF8; CREATE TABLE "año" AS SELECT 1 AS a; CREATE TABLE plain AS SELECT text \'ñandú\' AS "niño"'
    )
    trip.respaldo.backup(trip.source.name, "--name", "first")
    unknown = restore(trip, "--table", "none")
    assert "plain" in unknown.err
    assert "\\udc" not in unknown.err
    ended = restore(trip, "--table", "a?o")
    assert ended.status == 2
    assert "--to" in ended.err
    (name,) = names_of(restore(trip, "--table", "plain")).values()
    assert trip.source.psql(f"SELECT md5(t::text) = (SELECT md5(p::text) FROM plain p) FROM {name} t") == "t"


def test_table_over_the_live_one_brings_rows_and_numbers_back(backed_up: RoundTrip) -> None:
    was = describe(backed_up.server, backed_up.source.name)
    backed_up.source.psql(
        "UPDATE orders SET amount = amount + 1; DELETE FROM orders WHERE id < 5; DELETE FROM customers WHERE id > 18"
    )
    names_of(restore(backed_up, "--table", "orders", "--table", "customers", "--replace-table", "--yes"))
    assert_description(was, backed_up.server, backed_up.source.name)
    # What was replaced is in a backup of its own.
    safety = [one["name"] for one in backed_up.respaldo.list() if one["name"].startswith("before_restore_")][-1]
    ended = backed_up.respaldo.run(
        "restore", safety, "--container", backed_up.server.name, "--json", "--table", "customers"
    )
    (name,) = names_of(ended).values()
    assert backed_up.source.psql(f"SELECT count(*), max(id) FROM {name}") == "18|18"
    backed_up.source.psql(f"DROP TABLE {name}")


def test_table_over_an_emptied_one_whose_numbers_began_anew_gives_out_no_number_twice(backed_up: RoundTrip) -> None:
    was = describe(backed_up.server, backed_up.source.name)
    backed_up.source.psql("TRUNCATE customers, orders RESTART IDENTITY")
    names_of(
        restore(
            backed_up, "--table", "orders", "--table", "customers", "--replace-table", "--yes", "--no-safety-backup"
        )
    )
    backed_up.source.psql(
        "INSERT INTO customers (name) VALUES ('new'); INSERT INTO orders (customer, amount) VALUES (1, 1)"
    )
    backed_up.source.psql(
        "DELETE FROM orders WHERE id > 20; DELETE FROM customers WHERE id > 20;"
        "SELECT setval('customers_id_seq', 20), setval('orders_id_seq', 20)"
    )
    assert_description(was, backed_up.server, backed_up.source.name)


@pytest.mark.parametrize(
    ("change", "undo", "table", "named"),
    [
        # Would dangle: an order of a customer that the backup does not have; an order's customer that is gone now.
        (
            "INSERT INTO customers VALUES (99, 'x'); INSERT INTO orders (customer, amount) VALUES (99, 1)",
            "DELETE FROM customers WHERE id = 99; SELECT setval('orders_id_seq', 20)",
            "customers",
            "orders",
        ),
        ("ALTER TABLE mentions RENAME v TO other", "ALTER TABLE mentions RENAME other TO v", "mentions", "v"),
        (
            "ALTER TABLE mentions ADD CONSTRAINT c CHECK (w <> 'x') NOT VALID",
            "ALTER TABLE mentions DROP CONSTRAINT c",
            "mentions",
            "c",
        ),
    ],
)
def test_table_that_does_not_fit_any_more_is_refused_with_nothing_changed(
    change: str, undo: str, table: str, named: str, backed_up: RoundTrip
) -> None:
    backed_up.source.psql(change)
    was = describe(backed_up.server, backed_up.source.name)
    ended = restore(backed_up, "--table", table, "--replace-table", "--yes")
    assert ended.status == 30
    assert named in ended.err
    assert_description(was, backed_up.server, backed_up.source.name)
    backed_up.source.psql(undo)


def test_table_over_a_partition_replaces_that_one_alone(backed_up: RoundTrip) -> None:
    was = describe(backed_up.server, backed_up.source.name)
    backed_up.source.psql("UPDATE parted SET id = 77 WHERE at < '2025-01-01'")
    names_of(restore(backed_up, "--table", "parted_2024", "--replace-table", "--yes", "--no-safety-backup"))
    assert_description(was, backed_up.server, backed_up.source.name)


class CountingStorage(DirectoryStorage):
    """Counts the bytes that are read of packs."""

    packs_bytes = 0

    def get_range(self, name: str, offset: int, length: int) -> bytes:
        data = super().get_range(name, offset, length)
        if name.rsplit("/", 1)[-1].startswith("data-"):
            self.packs_bytes += len(data)
        return data


def test_table_restored_alone_reads_its_own_segments_and_no_more(
    shared_postgres: Shared, round_trip: RoundTrips
) -> None:
    trip = round_trip(shared_postgres(17))
    for name in ("before", "wanted", "zafter"):
        trip.load(f"CREATE TABLE {name} AS SELECT i, md5(i::text || '{name}') AS v FROM generate_series(1, 30000) i")
    trip.respaldo.backup(trip.source.name, "--name", "first")
    storage = CountingStorage(trip.respaldo.repository)
    repository = Repository.open(storage, SystemClock())
    reader = repository.reader(repository.targets()[0], "first")
    environment = DockerEnvironment()
    instance = choose(environment, InstanceQuery(name=trip.server.name))
    server = connect(environment.open(instance), ConnectionOverrides(), any_database=True)
    tables = choose_tables(reader, ["wanted"])
    stored = sum(one.length for one in reader.segments if reader.series[one.series] in tables)
    before = storage.packs_bytes
    restored = restore_tables(
        server, reader, trip.source.name, tables, over=False, jobs=2, clock=SystemClock(), listen=lambda event: None
    )
    assert restored[0].rows == 30000
    assert 0 < storage.packs_bytes - before <= stored * 1.05
