"""Drills of what databases are made of: pgbench's tables, contrib's extensions, row security, partitions, large
objects; in the source's own image, as its command line starts it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.comparison import SQL
from tests.integration.conftest import AFTER_THE_FULL, Respaldo
from tests.rig.containers import PostgresContainer, start_postgres

# Restored rows and a restored view ask for these: a copy without them refuses the backup.
ASKING = """
CREATE TABLE asking (id int CHECK (current_setting('drill.limit') = 'seven' AND id < 1000));
INSERT INTO asking SELECT generate_series(1, 100);
CREATE MATERIALIZED VIEW statements AS SELECT query FROM pg_stat_statements WHERE false;
"""


@pytest.fixture(scope="module")
def server(docker_engine: None) -> Iterator[PostgresContainer]:
    """One with another command line and a library that must be preloaded; pgbench has filled its own database."""
    words = ("-c", "shared_preload_libraries=pg_stat_statements", "-c", "drill.limit=seven", "-c", "max_connections=37")
    container = start_postgres("postgres:15", args=words)
    try:
        container.psql("CREATE DATABASE bench", "postgres")
        container.exec(["pgbench", "--initialize", "--quiet", "--scale=2", "--foreign-keys", "-U", "postgres", "bench"])
        container.psql("CREATE DATABASE contents", "postgres")
        yield container
    finally:
        container.remove()


@pytest.fixture
def respaldo(server: PostgresContainer, tmp_path: Path) -> Respaldo:
    return Respaldo(repository=tmp_path / "repository", container=server)


def drill(respaldo: Respaldo, *words: str) -> None:
    ended = respaldo.run("drill", *words, "--json")
    assert ended.status == 0, ended.err + ended.out
    assert [proof["verdict"] for proof in json.loads(ended.out)] == ["proven"]


def test_full_and_incremental_of_pgbench_are_proven(respaldo: Respaldo, server: PostgresContainer) -> None:
    full = respaldo.backup("bench", expect="full")
    server.exec(["pgbench", "--no-vacuum", "--transactions=300", "--client=2", "-U", "postgres", "bench"])
    respaldo.backup("bench", expect="incremental")
    drill(respaldo, full["name"])
    drill(respaldo, "latest")


def test_extensions_row_security_partitions_and_large_objects_are_proven_in_an_image_started_otherwise(
    respaldo: Respaldo, server: PostgresContainer
) -> None:
    before, _mark, after = (SQL / "extensions.sql").read_text().partition(AFTER_THE_FULL)
    server.psql(before + ASKING, "contents")
    full = respaldo.backup("contents", expect="full")
    server.psql(after, "contents")
    respaldo.backup("contents", expect="incremental")
    drill(respaldo, full["name"])
    drill(respaldo, "latest", "--disaster", "table-drop")


def test_database_whose_event_trigger_refuses_every_definition_is_proven(
    respaldo: Respaldo, server: PostgresContainer
) -> None:
    server.psql("CREATE DATABASE guarded", "postgres")
    server.psql(
        "CREATE TABLE t AS SELECT generate_series(1, 9) AS i; CREATE INDEX ON t (i);"
        "CREATE FUNCTION refuse() RETURNS event_trigger LANGUAGE plpgsql"
        " AS $$BEGIN RAISE 'no DDL here: %', tg_tag; END$$;"
        "CREATE EVENT TRIGGER refusing ON ddl_command_start EXECUTE FUNCTION refuse()",
        "guarded",
    )
    respaldo.backup("guarded", expect="full")
    drill(respaldo, "latest")
