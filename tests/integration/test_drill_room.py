"""Drills whose copy has too little: of disk, of connections. Nothing is said of the backup then, never “failed”."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.integration.conftest import Respaldo
from tests.rig.containers import PostgresContainer, start_postgres

# Fits by what is known beforehand; the server's log of it does not.
LOADED = "CREATE TABLE wide AS SELECT md5(i::text) AS a FROM generate_series(1, 190000) i"
# Indexes are built by pg_restore, which tells no SQLSTATE.
INDEXED = """
CREATE TABLE few AS SELECT i, md5(i::text) AS a FROM generate_series(1, 20000) i;
SELECT format('CREATE INDEX few_%s ON few (a, i)', n) FROM generate_series(1, 9) n \\gexec
"""


@pytest.fixture(scope="module")
def small_copied(docker_engine: None) -> Iterator[PostgresContainer]:
    """A server whose data lie in /dev/shm, of which a copy has 64 MB."""
    container = start_postgres("postgres:15", environment={"PGDATA": "/dev/shm/data"})
    try:
        for name, content in (("loaded", LOADED), ("indexed", INDEXED)):
            container.psql(f"CREATE DATABASE {name}", "postgres")
            container.psql(content, name)
        yield container
    finally:
        container.remove()


def drill(respaldo: Respaldo, *words: str) -> str:
    """Drill, see that nothing was found out, and return what is said."""
    ended = respaldo.run("drill", *words, "--json")
    (proof,) = json.loads(ended.out)
    assert (proof["verdict"], ended.status) == ("inconclusive", 50), proof
    assert "restore" in proof["seconds"]
    return "\n".join(proof["findings"])


@pytest.mark.parametrize("database", ["loaded", "indexed"])
def test_copy_whose_disk_is_full_is_inconclusive(
    database: str, small_copied: PostgresContainer, tmp_path: Path
) -> None:
    respaldo = Respaldo(repository=tmp_path / "repository", container=small_copied)
    respaldo.backup(database)
    said = drill(respaldo)
    assert "No space left" in said or "server closed the connection" in said
    # The next backup may still be based on it.
    respaldo.backup(database, expect="incremental")


def test_copy_without_connections_is_inconclusive(
    postgres_container: Callable[..., PostgresContainer], tmp_path: Path
) -> None:
    few = ("-c", "max_connections=2", "-c", "superuser_reserved_connections=0", "-c", "max_wal_senders=0")
    source = postgres_container(15, args=few)
    source.psql(INDEXED)
    respaldo = Respaldo(repository=tmp_path / "repository", container=source)
    respaldo.backup("postgres", "--jobs", "1")
    assert "too many clients" in drill(respaldo, "--jobs", "4")
