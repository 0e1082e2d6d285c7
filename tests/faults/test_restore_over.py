"""A restore in the place of a live database fails at each step: the live one is byte for byte what it was."""

from __future__ import annotations

import hashlib
import shutil
import signal
from collections.abc import Iterator
from dataclasses import replace

import pytest

from tests.faults.program import Program, finish, wait_until
from tests.rig.containers import PostgresContainer

NAME = "live_shop"
# What the live database is made from.
CHANGED = "changed_shop"
SCHEMA = """
CREATE TABLE t AS SELECT g AS id, repeat(md5(g::text), 8) AS v FROM generate_series(1, 20000) g;
CREATE TABLE u (id int PRIMARY KEY, t int); INSERT INTO u SELECT g, g FROM generate_series(1, 1000) g;
CREATE UNIQUE INDEX ON t (id); ALTER TABLE u ADD FOREIGN KEY (t) REFERENCES t (id); SELECT lo_from_bytea(0, 'large');
"""
# As each step is told with --verbose.
STEPS = ("safety backup", "definitions", "restoring ", "indexes and constraints", "comparing every row")


@pytest.fixture(scope="module")
def kept(faulty_server: PostgresContainer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Program]:
    """The program with a backup of the live database, ``first``, which is changed since and kept by another name."""
    directory = tmp_path_factory.mktemp("over") / "backups"
    made = Program(container=faulty_server, database=NAME, repository=directory)
    faulty_server.psql(f'CREATE DATABASE "{NAME}"', "postgres")
    faulty_server.psql(SCHEMA, NAME)
    made.back_up("--name", "first")
    faulty_server.psql("DELETE FROM u WHERE id > 10; UPDATE t SET v = 'now' WHERE id % 100 = 0", NAME)
    faulty_server.psql(f'ALTER DATABASE "{NAME}" RENAME TO "{CHANGED}"', "postgres")
    yield made
    faulty_server.psql(f'DROP DATABASE "{CHANGED}" WITH (FORCE)', "postgres")


@pytest.fixture
def live(program: Program, kept: Program) -> Iterator[Program]:
    """The program with a database of its own, backed up as ``first`` and changed since."""
    server = program.container
    server.psql(f'CREATE DATABASE "{NAME}" TEMPLATE "{CHANGED}"', "postgres")
    made = replace(program, database=NAME)
    shutil.copytree(kept.repository, made.repository)
    try:
        yield made
    finally:
        for name in databases(made):
            server.psql(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)', "postgres")


def databases(program: Program) -> list[str]:
    query = f"SELECT datname FROM pg_database WHERE starts_with(datname, '{NAME}') ORDER BY 1"
    return program.container.psql(query, "postgres").splitlines()


def dump_of(program: Program) -> str:
    return hashlib.sha256(program.container.pg_dump("--restrict-key=k", database=NAME)).hexdigest()


def check_untouched(program: Program, was: str) -> None:
    assert databases(program) == [NAME]
    assert dump_of(program) == was
    program.check_server_is_left_alone()


@pytest.mark.parametrize("step", STEPS)
def test_restore_killed_at_a_step_leaves_the_live_database_and_the_next_drops_the_half_made(
    live: Program, step: str
) -> None:
    was = dump_of(live)
    process = live.start("restore", "first", "--yes")
    assert process.stderr is not None
    said = []
    for line in process.stderr:
        said.append(line)
        if step in line:
            process.send_signal(signal.SIGKILL)
            break
    process.communicate(timeout=60)
    assert process.returncode == -signal.SIGKILL, said
    wait_until(lambda: not live.sessions(), "the sessions of respaldo are gone")
    assert dump_of(live) == was
    assert [name for name in databases(live) if name != NAME and "__restoring_" not in name] == []
    done = live.run("restore", "first", "--yes", "--drop-old", "--no-safety-backup")
    assert done.returncode == 0, done.stderr
    assert databases(live) == [NAME]
    assert live.container.psql("SELECT count(*) FROM u", NAME) == "1000"
    live.check_server_is_left_alone()


@pytest.mark.parametrize(("step", "number"), [("definitions", signal.SIGTERM), ("comparing every row", signal.SIGINT)])
def test_restore_asked_to_stop_at_a_step_leaves_nothing(live: Program, step: str, number: signal.Signals) -> None:
    was = dump_of(live)
    process = live.start("restore", "first", "--yes", "--no-safety-backup")
    assert process.stderr is not None
    for line in process.stderr:
        if step in line:
            process.send_signal(number)
            break
    _out, _err = process.communicate(timeout=60)
    assert process.returncode == 130
    check_untouched(live, was)


@pytest.mark.parametrize("place", [0.1, 0.5, 0.9])
def test_restore_of_a_pack_with_a_flipped_bit_names_its_table(live: Program, place: float) -> None:
    was = dump_of(live)
    pack = max(live.repository.rglob("first/*data-*"), key=lambda path: path.stat().st_size)
    data = bytearray(pack.read_bytes())
    data[int(len(data) * place)] ^= 4
    pack.chmod(0o600)
    pack.write_bytes(data)
    done = live.run("restore", "first", "--yes", "--no-safety-backup")
    assert done.returncode == 13, done.stderr
    assert '"public"."' in done.stderr
    check_untouched(live, was)


# Each holds in the database of this name, and in no other.
CONSTRAINTS = {
    "unique index": f"""
CREATE FUNCTION f(id int) RETURNS int LANGUAGE plpgsql IMMUTABLE AS
  $$ BEGIN RETURN CASE WHEN current_database() = '{NAME}' THEN id ELSE 0 END; END $$;
CREATE UNIQUE INDEX does_not_hold ON t (public.f(id))""",
    "check": f"""
CREATE FUNCTION f(id int) RETURNS boolean LANGUAGE plpgsql IMMUTABLE AS
  $$ BEGIN RETURN current_database() = '{NAME}'; END $$;
ALTER TABLE u ADD CONSTRAINT does_not_hold CHECK (public.f(id))""",
    "materialized view": f"""
CREATE FUNCTION g(id int) RETURNS int LANGUAGE plpgsql IMMUTABLE AS
  $$ BEGIN IF current_database() <> '{NAME}' THEN RAISE 'does_not_hold'; END IF; RETURN id; END $$;
CREATE MATERIALIZED VIEW m AS SELECT public.g(id) FROM u""",
}


@pytest.mark.parametrize("kind", CONSTRAINTS)
def test_restore_whose_constraint_fails_shows_it_and_leaves_the_live_database(live: Program, kind: str) -> None:
    live.container.psql(f"CREATE ROLE of_the_backup LOGIN; {CONSTRAINTS[kind]}", NAME)
    live.back_up("--name", "second", "--type", "full")
    live.container.psql("DROP ROLE of_the_backup", NAME)
    was = dump_of(live)
    done = live.run("restore", "second", "--yes", "--no-safety-backup", "--globals")
    assert done.returncode == 30, done.stderr
    assert "does_not_hold" in done.stderr
    assert "of_the_backup" in done.stdout + done.stderr
    assert not live.container.psql("SELECT 1 FROM pg_roles WHERE rolname = 'of_the_backup'", NAME)
    check_untouched(live, was)


def test_restore_whose_server_restarts_leaves_the_live_database(live: Program) -> None:
    was = dump_of(live)
    process = live.start("restore", "first", "--yes", "--no-safety-backup")
    assert process.stderr is not None
    for line in process.stderr:
        if "restoring " in line:
            break
    live.container.stop()
    live.container.start()
    done = finish(process)
    assert done.returncode in {30, 40}, done.stderr
    assert dump_of(live) == was
    again = live.run("restore", "first", "--yes", "--no-safety-backup", "--drop-old")
    assert again.returncode == 0, again.stderr
    assert databases(live) == [NAME]
