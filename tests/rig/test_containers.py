"""The rig itself: what the other tests stand on must hold, or their verdicts mean nothing."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from tests.conftest import ContainerFactory, DatabaseFactory
from tests.rig import engine
from tests.rig.containers import start_postgres
from tests.rig.postgres_image import SUITES, VARIANTS


@pytest.mark.parametrize("major", sorted(SUITES))
def test_shared_postgres_of_each_major_answers_as_that_major(major: int, fresh_database: DatabaseFactory) -> None:
    database = fresh_database(major)
    assert database.psql("SELECT current_setting('server_version_num')::int / 10000") == str(major)
    database.psql("CREATE TABLE t AS SELECT 1 AS a; INSERT INTO t VALUES (2)")
    assert database.psql("SELECT a FROM t ORDER BY a") == "1\n2"
    assert b"CREATE TABLE public.t" in database.pg_dump("--schema-only")


def test_fresh_database_twice_gives_two_names(fresh_database: DatabaseFactory) -> None:
    assert fresh_database().name != fresh_database().name


def test_postgres_container_with_options_serves_with_them(postgres_container: ContainerFactory) -> None:
    server = postgres_container(
        17,
        user="ana",
        password="p'w $1",
        database="Mi Base",
        args=("-c", "wal_level=logical"),
        run_args=("--label", "a=b"),
    )
    assert server.psql("SELECT current_user, current_database(), current_setting('wal_level')") == "ana|Mi Base|logical"
    assert server.exec(["cat"], b"\x00bytes\xff").stdout == b"\x00bytes\xff"
    assert server.exec(["sh", "-c", "exit 7"], check=False).returncode == 7


def test_postgres_container_killed_and_started_keeps_its_rows(postgres_container: ContainerFactory) -> None:
    server = postgres_container()
    server.psql("CREATE TABLE t (a int); INSERT INTO t VALUES (1); CHECKPOINT")
    server.kill()
    server.start()
    assert server.psql("SELECT a FROM t") == "1"
    server.stop()
    server.start()
    assert server.psql("SELECT a FROM t") == "1"


@pytest.mark.parametrize("image", sorted(VARIANTS))
def test_image_variants_serve_and_lack_their_compressors(image: str, postgres_container: ContainerFactory) -> None:
    server = postgres_container(image=image)
    found = server.exec(["sh", "-c", "command -v zstd; command -v gzip"], check=False).stdout
    assert found.split() == ([b"/usr/bin/gzip"] if "nozstd" in image else [])


def test_start_postgres_that_cannot_serve_says_why_and_leaves_nothing(docker_engine: None) -> None:
    name = f"respaldo-test-broken-{os.getpid()}"
    with pytest.raises(engine.RigError, match="no_such_setting"):
        start_postgres("postgres:15", name=name, args=("-c", "no_such_setting=1"))
    assert not engine.docker("ps", "--all", "--quiet", "--filter", f"name={name}").strip()


def test_remove_abandoned_takes_the_dead_runs_containers_and_no_other(docker_engine: None) -> None:
    code = (
        "from tests.rig.containers import start_postgres; "
        "print(start_postgres('postgres:15', wait=False).name, start_postgres('postgres:15', wait=False).name)"
    )
    dead = (
        subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, timeout=60)
        .stdout.decode()
        .split()
    )
    alive = start_postgres("postgres:15", wait=False)
    try:
        assert set(dead) <= set(engine.remove_abandoned())
        assert engine.docker("ps", "--quiet", "--filter", f"name={alive.name}").strip()
    finally:
        alive.remove()
