"""A restore into another server brings what the database had in its own: roles, owners, privileges, settings."""
# ruff: noqa: E501 - SQL is easier to read as it is

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.conftest import ContainerFactory
from tests.integration.conftest import MAJORS, RoundTrip, RoundTrips
from tests.integration.test_restore import BEFORE
from tests.rig.containers import PostgresContainer

Shared = Callable[[int], PostgresContainer]


def test_restore_into_an_empty_newer_server_brings_roles_and_all(
    shared_postgres: Shared, postgres_container: ContainerFactory, round_trip: RoundTrips
) -> None:
    trip = round_trip(shared_postgres(15))
    ana, ben = trip.roles["ana"], trip.roles["ben"]
    trip.load(
        BEFORE
        + "ALTER ROLE :\"ana\" LOGIN PASSWORD 'secret' CONNECTION LIMIT 5; ALTER ROLE :\"ana\" SET work_mem TO '9MB';"
        'ALTER ROLE :"ben" PASSWORD \'from the backup\'; GRANT :"ana" TO :"ben" WITH ADMIN OPTION;'
        f'\\set name {trip.source.name}\nALTER DATABASE :"name" OWNER TO :"ana"; ALTER TABLE t OWNER TO :"ana"; GRANT SELECT ON t TO :"ben"'
    )
    trip.respaldo.backup(trip.source.name, "--name", "moved")
    there = postgres_container(17)
    lacking = trip.respaldo.run("restore", "moved", "--to-container", there.name)
    assert lacking.status == 30
    assert ana in lacking.err
    assert "--globals" in lacking.err
    there.psql(f"CREATE ROLE \"{ben}\" PASSWORD 'its own'")
    password = there.psql(f"SELECT rolpassword FROM pg_authid WHERE rolname = '{ben}'")
    ended = trip.respaldo.run("restore", "moved", "--to-container", there.name, "--globals")
    assert ended.status == 0, ended.err
    assert_moved(trip, there, trip.source.name)
    assert there.psql(f"SELECT rolpassword FROM pg_authid WHERE rolname = '{ben}'") == password
    role = "SELECT rolname, rolcanlogin, rolconnlimit, rolpassword, rolconfig FROM pg_authid LEFT JOIN (SELECT setrole, setconfig AS rolconfig FROM pg_db_role_setting WHERE setdatabase = 0) s ON setrole = oid WHERE rolname = "
    assert there.psql(f"{role}'{ana}'") == trip.server.psql(f"{role}'{ana}'")
    member = "SELECT roleid::regrole, member::regrole, admin_option FROM pg_auth_members WHERE roleid > 16383"
    assert there.psql(member) == trip.server.psql(f"{member} AND member = '\"{ben}\"'::regrole")


@pytest.mark.parametrize("words", [(), ("--map-role", "nobody=nobody")], ids=["archive", "script"])
def test_restore_into_a_server_without_the_tablespace_puts_all_into_the_database_s_own(
    words: tuple[str, ...], shared_postgres: Shared, postgres_container: ContainerFactory, round_trip: RoundTrips
) -> None:
    there = postgres_container(17)
    there.exec(["mkdir", "-p", "/tmp/fast"], user="postgres")
    there.psql("CREATE TABLESPACE fast LOCATION '/tmp/fast'")
    trip = round_trip(there)
    trip.load(
        "CREATE TABLE t (id int) TABLESPACE fast; INSERT INTO t SELECT generate_series(1, 100);"
        "CREATE INDEX i ON t (id) TABLESPACE fast; CREATE MATERIALIZED VIEW m TABLESPACE fast AS SELECT count(*) FROM t"
    )
    trip.respaldo.backup(trip.source.name, "--name", "first")
    places = "SELECT relname, spcname FROM pg_class JOIN pg_tablespace s ON s.oid = reltablespace WHERE relname IN ('i', 'm', 't') ORDER BY 1"
    assert there.psql(places, trip.restored("first", *words)) == "i|fast\nm|fast\nt|fast"
    # The other server has the roles, and loses them with the test.
    empty = round_trip(shared_postgres(18))
    name = f"{empty.source.name}_moved"
    empty.made.append(name)
    ended = trip.respaldo.run(
        "restore", "first", "--to-container", empty.server.name, "--to", name, "--globals", *words
    )
    assert ended.status == 0, ended.err
    assert "fast" in ended.err
    assert empty.server.psql("SELECT count(*) FROM t", name) == "100"
    assert empty.server.psql(places, name) == ""


def assert_moved(trip: RoundTrip, there: PostgresContainer, name: str) -> None:
    """The tables, sequences, large objects, owners and privileges are those of the source."""
    for query in (
        "SELECT relname, relkind, relowner::regrole, ARRAY(SELECT a.grantee::regrole || a.privilege_type FROM aclexplode(relacl) a WHERE a.grantee <> relowner) FROM pg_class WHERE relnamespace = 'public'::regnamespace ORDER BY 1",
        "SELECT md5(string_agg(t::text, ',' ORDER BY id)), count(*) FROM t",
        "SELECT last_value, is_called FROM t_id_seq",
        "SELECT oid, lomowner::regrole, lomacl, lo_get(oid) FROM pg_largeobject_metadata",
        "SELECT defaclrole::regrole, defaclobjtype, ARRAY(SELECT a.grantee::regrole || a.privilege_type FROM aclexplode(defaclacl) a WHERE a.grantee <> defaclrole) FROM pg_default_acl",
        "SELECT datdba::regrole, datacl FROM pg_database WHERE datname = current_database()",
    ):
        assert there.psql(query, name) == trip.source.psql(query)


def test_restore_with_mapped_roles_gives_their_objects_to_the_others(
    shared_postgres: Shared, postgres_container: ContainerFactory, round_trip: RoundTrips
) -> None:
    trip = round_trip(shared_postgres(15))
    ana, ben = trip.roles["ana"], trip.roles["ben"]
    trip.load(
        BEFORE
        + f'\\set name {trip.source.name}\nALTER DATABASE :"name" OWNER TO :"ana"; ALTER TABLE t OWNER TO :"ana";'
        'ALTER TABLE t ENABLE ROW LEVEL SECURITY; CREATE POLICY p ON t TO :"ana", :"ben" USING (true);'
        f"COMMENT ON TABLE t IS 'text TO {ana}, and more'; INSERT INTO t (v) VALUES ('GRANT x TO {ana};');"
        f"CREATE FUNCTION f() RETURNS text LANGUAGE sql AS $$\nSELECT 'x TO {ana},'\n$$; ALTER FUNCTION f() OWNER TO :\"ana\""
    )
    trip.respaldo.backup(trip.source.name, "--name", "moved")
    there = postgres_container(17)
    there.psql("CREATE ROLE \"new Ana\" PASSWORD 'its own'")
    password = there.psql("SELECT rolpassword FROM pg_authid WHERE rolname = 'new Ana'")
    words = ("--to-container", there.name, "--globals", "--map-role", f"{ana}=new Ana", "--map-role", f"{ben}=ben2")
    ended = trip.respaldo.run("restore", "moved", *words)
    assert ended.status == 0, ended.err
    name = trip.source.name
    assert there.psql("SELECT datdba::regrole FROM pg_database WHERE datname = current_database()", name) == '"new Ana"'
    assert (
        there.psql(
            "SELECT DISTINCT relowner::regrole FROM pg_class WHERE relname ~ '^t'  AND relnamespace = 'public'::regnamespace",
            name,
        )
        == '"new Ana"'
    )
    assert (
        there.psql("SELECT proowner::regrole, prosrc FROM pg_proc WHERE proname = 'f'", name)
        == f"\"new Ana\"|\nSELECT 'x TO {ana},'\n"
    )
    assert there.psql("SELECT polroles::regrole[] FROM pg_policy", name) == '{"\\"new Ana\\"",ben2}'
    assert there.psql("SELECT obj_description('t'::regclass)", name) == f"text TO {ana}, and more"
    assert there.psql("SELECT v FROM t ORDER BY id DESC LIMIT 1", name) == f"GRANT x TO {ana};"
    assert there.psql("SELECT rolpassword FROM pg_authid WHERE rolname = 'new Ana'") == password
    assert there.psql(f"SELECT rolname FROM pg_roles WHERE rolname IN ('{ana}', '{ben}')") == ""


@pytest.mark.parametrize("major", [MAJORS[0], MAJORS[-2]])
def test_restore_into_a_server_of_every_later_version(
    major: int, shared_postgres: Shared, round_trip: RoundTrips
) -> None:
    trip = round_trip(shared_postgres(major))
    trip.load("CREATE TABLE t AS SELECT i, 'ñ' || i AS v FROM generate_series(1, 3000) i; CREATE INDEX ON t (v)")
    trip.respaldo.backup(trip.source.name, "--name", "old")
    rows = "SELECT count(*), md5(string_agg(t::text, ',' ORDER BY i)) FROM t"
    for later in MAJORS[MAJORS.index(major) + 1 :]:
        there = shared_postgres(later)
        to = f"{trip.source.name}_{later}"
        try:
            ended = trip.respaldo.run("restore", "old", "--to-container", there.name, "--to", to)
            assert ended.status == 0, ended.err
            assert there.psql(rows, to) == trip.source.psql(rows)
        finally:
            there.psql(f'DROP DATABASE IF EXISTS "{to}"')


def test_restore_into_an_older_server_is_refused_with_both_versions(
    shared_postgres: Shared, round_trip: RoundTrips
) -> None:
    trip = round_trip(shared_postgres(18))
    there = shared_postgres(15)
    trip.load("CREATE TABLE t AS SELECT 1 AS a")
    trip.respaldo.backup(trip.source.name, "--name", "new")
    before = there.psql("SELECT datname FROM pg_database")
    ended = trip.respaldo.run("restore", "new", "--to-container", there.name, "--to", "x")
    assert ended.status == 30
    assert "18" in ended.err
    assert there.psql("SHOW server_version").split()[0] in ended.err
    assert there.psql("SELECT datname FROM pg_database") == before
