"""Roles come back whole, whatever their names, settings and comments hold; and no text of theirs is ever run."""

from __future__ import annotations

import json

import pytest

from respaldo.environments.base import InstanceQuery
from respaldo.environments.detect import choose
from respaldo.environments.docker import DockerEnvironment
from respaldo.errors import PostgresError
from respaldo.postgres.connection import ConnectionOverrides
from respaldo.postgres.server import connect
from tests.conftest import ContainerFactory
from tests.integration.conftest import ENDS, RoundTrips
from tests.rig.containers import PostgresContainer

# Each is a line's end to somebody.
ODD_TEXT = "one\ntwo\r\nthree\x0b\x0c\x1c\x1d\x1e\x85\u2028\u2029 'quoted' \"named\" \\ ; -- /* $$ $x$ :name\\"
ROLES = f"""
CREATE ROLE "of two
lines" LOGIN PASSWORD 'secret;' CONNECTION LIMIT 7;
CREATE ROLE "GRANT ""postgres"" TO ""plain"";
--'";
CREATE ROLE plain;
COMMENT ON ROLE plain IS $t${ODD_TEXT}$t$;
ALTER ROLE plain SET "app.text" = $t${ODD_TEXT}$t$;
ALTER ROLE plain SET search_path = $t$a
GRANT "postgres" TO "plain"; --$t$, 'b';
GRANT "of two
lines" TO plain WITH ADMIN OPTION;
"""
PARAMETERS = """
GRANT SET ON PARAMETER work_mem TO plain WITH GRANT OPTION;
SET SESSION AUTHORIZATION plain; GRANT SET ON PARAMETER work_mem TO "of two
lines"; RESET SESSION AUTHORIZATION;
GRANT ALL ON PARAMETER log_min_messages TO "of two
lines";
GRANT SET ON PARAMETER "app.text" TO PUBLIC;
"""
OWNED = """
CREATE TABLE owned AS SELECT 1 AS id; ALTER TABLE owned OWNER TO "of two
lines";
"""
ROLES_NOW = (
    "SELECT a.rolname, a.rolcanlogin, a.rolconnlimit, a.rolpassword, shobj_description(a.oid, 'pg_authid'), s.setconfig"
    " FROM pg_authid a LEFT JOIN pg_db_role_setting s ON s.setrole = a.oid AND s.setdatabase = 0"
    " WHERE a.oid > 16383 ORDER BY 1"
)
MEMBERS = "SELECT roleid::regrole, member::regrole, admin_option FROM pg_auth_members"
MEMBERS_NOW = f"{MEMBERS} WHERE roleid > 16383 ORDER BY 1, 2"
PARAMETERS_NOW = (
    "SELECT parname, a.grantee::regrole, a.privilege_type, a.is_grantable FROM pg_parameter_acl, aclexplode(paracl) a"
    " WHERE a.grantee <> 10 ORDER BY 1, 2, 3"
)
SUPERUSERS = "SELECT count(*) FROM pg_roles WHERE rolname <> 'postgres' AND pg_has_role(oid, 'postgres', 'MEMBER')"


@pytest.mark.parametrize("server", ENDS, indirect=True)
def test_text_of_a_role_that_exists_is_not_run(server: PostgresContainer, round_trip: RoundTrips) -> None:
    trip = round_trip(server)
    trip.load(
        'ALTER ROLE :"ana" LOGIN;'
        'ALTER ROLE :"ana" SET search_path = E\'a\\nGRANT "postgres" TO "' + trip.roles["ana"] + "\"; --';"
        "ALTER ROLE :\"ben\" SET app.text = E'one\\ntwo';"
    )
    trip.respaldo.backup(trip.source.name)
    before = server.psql(f"{MEMBERS} ORDER BY 1, 2")
    trip.restored("latest", "--globals")
    assert server.psql(f"{MEMBERS} ORDER BY 1, 2") == before
    ana = trip.roles["ana"]
    assert server.psql(f"SELECT pg_has_role(oid, 'postgres', 'MEMBER') FROM pg_roles WHERE rolname = '{ana}'") == "f"


@pytest.mark.parametrize("major", [13, 18])
def test_roles_of_any_name_and_text_come_whole_and_are_proven(
    major: int, postgres_container: ContainerFactory, round_trip: RoundTrips
) -> None:
    source, there = postgres_container(major), postgres_container(18)
    trip = round_trip(source)
    source.psql(ROLES + (PARAMETERS if major >= 15 else ""))
    trip.load(OWNED)
    trip.respaldo.backup(trip.source.name)
    words = ("--container", there.name, "--globals", "--yes")
    first = trip.respaldo.run("restore", "latest", "--to", "first", *words)
    assert first.status == 0, first.err
    second = trip.respaldo.run("restore", "latest", "--to", "second", *words)
    assert second.status == 0, second.err
    for query in (ROLES_NOW, MEMBERS_NOW, *((PARAMETERS_NOW,) if major >= 15 else ())):
        assert there.psql(query) == source.psql(query)
    assert there.psql(SUPERUSERS) == "0"
    assert there.psql("SELECT relowner::regrole FROM pg_class WHERE relname = 'owned'", "second") == '"of two\nlines"'
    drill = trip.respaldo.run("drill", "latest", "--json")
    assert drill.status == 0, drill.err
    assert [proof["verdict"] for proof in json.loads(drill.out)] == ["proven"]


def test_privileges_on_parameters_that_a_server_cannot_have_are_named_and_hold_up_nothing(
    postgres_container: ContainerFactory, round_trip: RoundTrips
) -> None:
    source, there = postgres_container(15), postgres_container(18)
    trip = round_trip(source)
    # Version 17 has no such parameter any more.
    source.psql("CREATE ROLE plain; GRANT SET ON PARAMETER old_snapshot_threshold, work_mem TO plain")
    trip.respaldo.backup(trip.source.name)
    ended = trip.respaldo.run("restore", "latest", "--to", "first", "--container", there.name, "--globals", "--yes")
    assert ended.status == 0, ended.err
    assert "old_snapshot_threshold" in ended.err
    assert there.psql(PARAMETERS_NOW) == "work_mem|plain|SET|f"


def test_roles_with_privileges_on_parameters_are_dropped_where_the_restore_fails(
    postgres_container: ContainerFactory, round_trip: RoundTrips
) -> None:
    source, there = postgres_container(18, args=("-c", "its.limit=seven")), postgres_container(18)
    trip = round_trip(source)
    source.psql(ROLES + PARAMETERS)
    trip.load(
        "CREATE TABLE asking (id int CHECK (current_setting('its.limit') = 'seven')); INSERT INTO asking VALUES (1)"
    )
    trip.respaldo.backup(trip.source.name)
    ended = trip.respaldo.run("restore", "latest", "--to", "first", "--container", there.name, "--globals", "--yes")
    assert ended.status != 0
    assert "its.limit" in ended.err
    assert there.psql("SELECT rolname FROM pg_roles WHERE oid > 16383") == ""


@pytest.mark.parametrize("server", ENDS, indirect=True)
def test_statement_that_is_not_closed_is_refused_and_waits_for_nothing(server: PostgresContainer) -> None:
    environment = DockerEnvironment()
    instance = choose(environment, InstanceQuery(name=server.name))
    with connect(environment.open(instance), ConnectionOverrides(), any_database=True).open_session() as session:
        for text in (
            "SELECT 'a",
            'SELECT "a',
            "SELECT E'a\\'",
            "SELECT $x$ a $$",
            "SELECT 1 /* a",
            "SELECT 1 /* /* */",
        ):
            with pytest.raises(PostgresError):
                session.execute(f"{text};")
        said = session.execute("SELECT 'a''b', E'a\\'b', $x$ 'a $x$, 'a\\' AS \"a'\", 1 /* ' */; -- 'a")
    assert said == b"a'b|a'b| 'a |a\\|1\n"
