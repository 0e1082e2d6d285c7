"""The embedded server: what tests of the local environment and the demo stand on."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.conftest import DatabaseFactory
from tests.rig.embedded import EmbeddedError, EmbeddedPostgres, why_unavailable
from tests.rig.embedded import embedded_postgres as embedded_server
from tests.rig.requirements import require


def test_embedded_postgres_takes_sql_and_dumps(
    embedded_postgres: EmbeddedPostgres, fresh_database: DatabaseFactory
) -> None:
    database = fresh_database(server=embedded_postgres)
    database.psql("CREATE TABLE t (a text); INSERT INTO t VALUES ('ñ')")
    assert database.psql("SELECT a FROM t") == "ñ"
    assert "ñ".encode() in database.pg_dump()


def test_embedded_postgres_on_tcp_wants_its_password(embedded_postgres: EmbeddedPostgres) -> None:
    argv = ["psql", "-XAtwc", "SELECT 1", "-h", "127.0.0.1"]
    assert embedded_postgres.exec(argv, environment={"PGPASSWORD": embedded_postgres.password}).stdout == b"1\n"
    with pytest.raises(EmbeddedError, match="password"):
        embedded_postgres.exec(argv, environment={"PGPASSWORD": "not it"})


def test_embedded_server_killed_and_started_keeps_its_rows_and_ends_with_nothing_left() -> None:
    require("embedded", why_unavailable())
    with embedded_server(settings={"summarize_wal": "on"}) as server:
        server.psql("CREATE TABLE t AS SELECT 1 AS a")
        server.kill()
        assert server.pid is None
        server.start()
        assert server.psql("SELECT a, current_setting('summarize_wal') FROM t") == "1|on"
        directory, pid = server.directory, server.pid
        assert (directory / "data").stat().st_uid != 0
    assert not directory.exists()
    assert pid is not None
    assert not Path(f"/proc/{pid}").exists()
    assert os.getpid() != pid
