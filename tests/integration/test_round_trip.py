"""A database backed up, changed, backed up again and restored is the database it was: on every version."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.conftest import ContainerFactory
from tests.integration.comparison import assert_same_database
from tests.integration.conftest import ENDS, RoundTrips
from tests.rig.containers import PostgresContainer, major_of

Shared = Callable[[int], PostgresContainer]

# Each of them would change what is written, or stop the reading, were it not for what every session sets first.
SETTINGS = {
    "DateStyle": "'SQL, DMY'",
    "IntervalStyle": "sql_standard",
    "extra_float_digits": "-15",
    "bytea_output": "escape",
    "default_transaction_read_only": "on",
    "default_transaction_isolation": "serializable",
    "statement_timeout": "'1ms'",
    "lock_timeout": "'1ms'",
    "idle_in_transaction_session_timeout": "'1ms'",
    "search_path": "nowhere, 'with space', '$user'",
    "row_security": "off",
    "client_encoding": "LATIN1",
    "standard_conforming_strings": "off",
    "quote_all_identifiers": "on",
    "TimeZone": "'America/Mexico_City'",
    "xmloption": "document",
    "enable_tidscan": "off",
    "default_tablespace": "''",
    "check_function_bodies": "on",
    "client_min_messages": "error",
    "escape_string_warning": "on",
}
NEWER_SETTINGS = {14: {"idle_session_timeout": "'300ms'"}, 17: {"transaction_timeout": "'300ms'"}}


def test_round_trip_of_each_kind_of_object_and_type_gives_the_same_database(
    server: PostgresContainer, round_trip: RoundTrips
) -> None:
    round_trip(server).prove_files("structure.sql", "types.sql")


# What is dangerous in a name or a text is so to psql and to COPY: the oldest and the newest show it.
@pytest.mark.parametrize("server", ENDS, indirect=True)
@pytest.mark.parametrize("names", [("shop.sql", "hostile_text.sql"), ("names.sql",)], ids=["texts", "names"])
def test_round_trip_of_dangerous_texts_and_names_gives_the_same_database(
    names: tuple[str, ...], server: PostgresContainer, round_trip: RoundTrips
) -> None:
    round_trip(server).prove_files(*names)


@pytest.mark.parametrize("image", ["respaldo-test/postgres-nozstd:15", "respaldo-test/postgres-bare:15"])
def test_round_trip_without_compressors_in_the_image_gives_the_same_database(
    image: str, postgres_container: ContainerFactory, round_trip: RoundTrips
) -> None:
    round_trip(postgres_container(image=image)).prove_files("types.sql", "hostile_text.sql")


@pytest.mark.parametrize("server", ENDS, indirect=True)
def test_round_trip_of_an_empty_database_gives_an_empty_database(
    server: PostgresContainer, round_trip: RoundTrips
) -> None:
    round_trip(server).prove("", "")


def settings_of(server: PostgresContainer) -> dict[str, str]:
    newer = (more for since, more in NEWER_SETTINGS.items() if major_of(server) >= since)
    return SETTINGS | {name: value for more in newer for name, value in more.items()}


def test_round_trip_of_a_table_of_several_ranges_gives_the_same_table(
    shared_postgres: Shared, round_trip: RoundTrips
) -> None:
    trip = round_trip(shared_postgres(17))
    trip.prove(
        "CREATE TABLE big AS SELECT i AS id, repeat(md5(i::text), 12) AS filler FROM generate_series(1, 120000) i;"
        "CREATE TABLE toast (id int, v text); ALTER TABLE toast ALTER v SET STORAGE EXTERNAL;"
        "INSERT INTO toast SELECT i, repeat(md5(i::text), 31250) FROM generate_series(1, 60) i",
        "UPDATE big SET filler = 'changed' WHERE id % 5000 = 0; DELETE FROM big WHERE id BETWEEN 1000 AND 3000;"
        "INSERT INTO big SELECT i, 'new' FROM generate_series(1, 5000) i;"
        "UPDATE toast SET v = md5(v) || v WHERE id % 10 = 0; DELETE FROM toast WHERE id = 7",
    )
    full, incremental = trip.respaldo.list()
    assert full["stored_bytes"] > 10 * incremental["stored_bytes"]


def test_round_trip_of_5000_tables_gives_the_same_tables(shared_postgres: Shared, round_trip: RoundTrips) -> None:
    trip = round_trip(shared_postgres(17))
    trip.load(
        "SET synchronous_commit = off; DO $$BEGIN FOR i IN 1..5000 LOOP EXECUTE format('CREATE TABLE t%s (id int)', i);"
        " EXECUTE format('INSERT INTO t%s VALUES (%s)', i, i); COMMIT; END LOOP; END$$"
    )
    name = trip.respaldo.backup(trip.source.name, expect="full")["name"]
    assert_same_database(trip.server, trip.source.name, trip.restored(name))


@pytest.mark.parametrize("server", ENDS, indirect=True)
def test_round_trip_under_settings_that_change_the_output_stores_the_same(
    server: PostgresContainer, round_trip: RoundTrips
) -> None:
    trip = round_trip(server)
    settings = "".join(
        f'ALTER DATABASE :"name" SET {name} TO {value}; ALTER ROLE :"ana" IN DATABASE :"name" SET {name} TO {value};'
        for name, value in settings_of(server).items()
    )
    trip.load(
        f'\\set name {trip.source.name}\nCREATE SCHEMA "with space";'
        "CREATE TABLE types (f float8, d date, t timestamptz, iv interval, b bytea, s text, x xml, r regclass);"
        "INSERT INTO types VALUES (1/3.0::float8, '2024-02-01', now(), '1 day -02:03:04', '\\x00ff5c', 'ñ \\ ''',"
        " '<a/>b', 'types'); CREATE TABLE large AS SELECT t.*, i, repeat('ñ', 500) AS filler"
        f" FROM types t, generate_series(1, 9000) i; {settings}"
    )
    name = trip.respaldo.backup(trip.source.name)["name"]
    assert_same_database(server, trip.source.name, trip.restored(name))


@pytest.mark.parametrize("server", ENDS, indirect=True)
def test_round_trip_as_a_role_that_reads_only_by_default_gives_the_same_database(
    server: PostgresContainer, round_trip: RoundTrips
) -> None:
    trip = round_trip(server)
    settings = "".join(f'ALTER ROLE :"ana" SET {name} TO {value};' for name, value in settings_of(server).items())
    trip.load(f'CREATE TABLE t AS SELECT 1 AS a; ALTER ROLE :"ana" SUPERUSER LOGIN; {settings}')
    who = ("--user", trip.roles["ana"])
    name = trip.respaldo.backup(trip.source.name, *who)["name"]
    assert_same_database(server, trip.source.name, trip.restored(name, *who))


@pytest.mark.parametrize("server", ENDS, indirect=True)
def test_round_trip_of_what_is_set_on_the_database_gives_the_same_settings(
    server: PostgresContainer, round_trip: RoundTrips
) -> None:
    trip = round_trip(server)
    trip.prove(
        f"\\set name {trip.source.name}\nCREATE TABLE t (a int);"
        'ALTER DATABASE :"name" OWNER TO :"ana";'
        'COMMENT ON DATABASE :"name" IS E\'it\'\'s \\\\ "ñ"\\n:x :"name" %s {}\';'
        'ALTER DATABASE :"name" CONNECTION LIMIT 17; REVOKE CONNECT ON DATABASE :"name" FROM PUBLIC;'
        'GRANT CREATE, CONNECT ON DATABASE :"name" TO :"ben" WITH GRANT OPTION;'
        'ALTER DATABASE :"name" SET search_path TO \'\', "a b", public;'
        "ALTER DATABASE :\"name\" SET my.own TO E'x''y\\\\';"
        'ALTER ROLE :"ben" IN DATABASE :"name" SET work_mem TO \'7MB\';'
        'ALTER ROLE :"ben" IN DATABASE :"name" SET search_path TO \'\'',
        f"\\set name {trip.source.name}\n"
        'COMMENT ON DATABASE :"name" IS NULL; ALTER DATABASE :"name" CONNECTION LIMIT 0;'
        'REVOKE ALL ON DATABASE :"name" FROM :"ben", :"ana", PUBLIC; ALTER DATABASE :"name" RESET ALL',
    )


@pytest.mark.parametrize(
    ("major", "encoding", "text"),
    [
        (18, "LATIN1", "ñandú ÿ £"),
        (13, "SQL_ASCII", "no UTF-8: \xff\xfe"),
        (15, "EUC_JP", "日本 テーブル"),
        (17, "WIN1252", "€ “quotes”"),
    ],
)
def test_round_trip_of_each_encoding_gives_the_same_bytes(
    major: int, encoding: str, text: str, shared_postgres: Shared, round_trip: RoundTrips
) -> None:
    server = shared_postgres(major)
    trip = round_trip(server, options=f"ENCODING '{encoding}' TEMPLATE template0 LC_COLLATE 'C' LC_CTYPE 'C'")
    raw = text.encode({"SQL_ASCII": "latin-1", "EUC_JP": "euc_jp", "WIN1252": "cp1252"}.get(encoding, encoding))
    sql = (
        b'CREATE TABLE "%(x)s" ("%(x)s" text, b int DEFAULT 1); INSERT INTO "%(x)s" VALUES (\'%(x)s\'), (\'a\');'
        b"COMMENT ON TABLE \"%(x)s\" IS '%(x)s';"
        b"CREATE TABLE large AS SELECT '%(x)s'::text || i AS v, repeat('%(x)s', 90) AS filler"
        b" FROM generate_series(1, 14000) i;"
        b'CREATE TABLE "%(x)s L" AS SELECT * FROM large; CREATE SEQUENCE "%(x)s s";'
        b"SELECT lo_from_bytea(7, '%%'); COMMENT ON LARGE OBJECT 7 IS '%(x)s';"
        b"COMMENT ON DATABASE %(name)s IS '%(x)s'; ALTER DATABASE %(name)s SET my.own TO '%(x)s'"
    ) % {b"x": raw, b"name": trip.source.name.encode()}
    argv = ["psql", "-XAtq", "-v", "ON_ERROR_STOP=1", "-d", trip.source.name, "-U", "postgres", "-f", "-"]
    server.exec(argv, sql, environment={"PGCLIENTENCODING": encoding})
    trip.respaldo.backup(trip.source.name, expect="full")
    trip.source.psql("UPDATE large SET v = v || 'x' WHERE v LIKE '%77'; DELETE FROM large WHERE v LIKE '%5'")
    incremental = trip.respaldo.backup(trip.source.name, expect="incremental")["name"]
    assert_same_database(server, trip.source.name, trip.restored(incremental))


@pytest.mark.parametrize(
    ("major", "options"),
    [
        (15, "LOCALE_PROVIDER icu ICU_LOCALE 'es-u-co-trad' LOCALE 'C.UTF-8'"),
        (17, "LOCALE_PROVIDER icu ICU_LOCALE 'en-US' ICU_RULES '&V << w <<< W' LOCALE 'C.UTF-8'"),
        (18, "LOCALE_PROVIDER builtin BUILTIN_LOCALE 'PG_UNICODE_FAST' LOCALE 'C'"),
        (13, "LC_COLLATE 'C' LC_CTYPE 'C.UTF-8'"),
    ],
)
def test_round_trip_of_each_locale_provider_gives_the_same_locale(
    major: int, options: str, shared_postgres: Shared, round_trip: RoundTrips
) -> None:
    trip = round_trip(shared_postgres(major), options=f"TEMPLATE template0 ENCODING 'UTF8' {options}")
    trip.prove(
        "CREATE TABLE t (v text PRIMARY KEY); INSERT INTO t VALUES ('ch'), ('cz'), ('Ñ')", "INSERT INTO t VALUES ('w')"
    )


def test_round_trip_of_an_extension_with_rows_of_its_own_restores_those_of_the_person(
    postgres_container: ContainerFactory, round_trip: RoundTrips
) -> None:
    server = postgres_container(15)
    script = (
        "CREATE TABLE places (id int PRIMARY KEY, name text, own boolean DEFAULT true);"
        "INSERT INTO places VALUES (1, 'built in', false), (2, 'built in', false);"
        "CREATE SEQUENCE numbers; SELECT pg_catalog.pg_extension_config_dump('places', 'WHERE own');"
        "SELECT pg_catalog.pg_extension_config_dump('numbers', ''); CREATE TABLE internal AS SELECT 1 AS a;"
    )
    for name, text in (("atlas.control", "default_version = '1'\nrelocatable = true\n"), ("atlas--1.sql", script)):
        path = f"/usr/share/postgresql/15/extension/{name}"
        server.exec(["sh", "-c", f"cat > {path}"], text.encode(), user="root")
    round_trip(server).prove(
        "CREATE EXTENSION atlas; INSERT INTO places VALUES (3, 'mine'); SELECT nextval('numbers')",
        "INSERT INTO places VALUES (4, 'mine too'); SELECT nextval('numbers')",
    )


def test_restore_to_any_name_gives_a_database_of_that_name(shared_postgres: Shared, round_trip: RoundTrips) -> None:
    trip = round_trip(shared_postgres(15))
    trip.load("CREATE TABLE t AS SELECT 1 AS a; COMMENT ON DATABASE postgres IS 'default'")
    backup = trip.respaldo.backup(trip.source.name)["name"]
    for name in ("-Ñandú \"x\" 'y' %s{}$1", "a=b", "postgres://x"):
        trip.made.append(name)
        ended = trip.respaldo.run_apart("restore", backup, f"--to={name}", "--container", trip.server.name)
        assert ended.status == 0, ended.err
        assert name in trip.server.psql("SELECT datname FROM pg_database").splitlines()
