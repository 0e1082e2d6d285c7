"""The documented flat flags of versions and of the summary, as a person of the original project types them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from backup_orchestrator import UnifiedBackupOrchestrator
from tests.conftest import DatabaseFactory
from tests.rig.containers import PostgresContainer

ROOT = Path(__file__).parents[2]


class Person:
    """Runs ``python3 backup_orchestrator.py`` in a directory with a ``.env``."""

    def __init__(self, directory: Path, container: str, database: str) -> None:
        self.directory = directory
        lines = [f"POSTGRES_CONTAINER={container}", f'RESPALDO_DATABASE="{database}"', "RESPALDO_ENVIRONMENT=docker"]
        (directory / ".env").write_text("\n".join(lines))

    def run(self, *words: str, status: int = 0) -> str:
        keep = {name: os.environ[name] for name in ("PATH", "HOME", "DOCKER_HOST") if name in os.environ}
        done = subprocess.run(
            [sys.executable, str(ROOT / "backup_orchestrator.py"), *words],
            cwd=self.directory,
            env={**keep, "RESPALDO_LANG": "es"},
            capture_output=True,
            text=True,
            check=False,
            timeout=200,
        )
        assert done.returncode == status, done.stderr
        return done.stdout


def test_walk_through_the_flags_of_versions(
    shared_postgres: Callable[[int], PostgresContainer],
    fresh_database: DatabaseFactory,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    server = shared_postgres(15)
    database = fresh_database(server=server)
    database.psql(
        "CREATE TABLE usuarios (usuario_id int PRIMARY KEY, nombre text); INSERT INTO usuarios VALUES (1, 'Ana')"
    )
    person = Person(tmp_path, server.name, database.name)
    person.run("--enable-versioning", "--branch", "main", "--tags", "estable", "inicial", "--description", "primera")
    database.psql("INSERT INTO usuarios VALUES (2, 'Ben')")
    person.run("--enable-versioning", "--branch", "main", "--version-increment", "minor", "--name", "segunda")
    person.run("--enable-versioning", "--branch", "develop", "--version", "3.0.0", "--force-full")
    listed = json.loads(person.run("--list-versions", "--json"))
    assert [one["version"] for one in listed] == ["3.0.0-develop.1", "1.1.0-main.2", "1.0.0-main.1"]
    assert "primera" in person.run("--list-versions", "--filter-branch", "main", "--filter-tag", "estable")
    assert "1.0.0-main.1" in person.run("--version-info", "1.0.0-main.1")
    compared = person.run("--compare-versions", "1.0.0-main.1", "1.1.0-main.2")
    assert "public.usuarios" in compared
    assert "develop" in person.run("--list-branches")
    person.run("--create-tag", "1.1.0-main.2", "con_ben", "--description", "con Ben")
    assert "con_ben" in person.run("--list-tags")
    person.run("--rollback-to", "1.0.0-main.1", "--yes")
    assert database.psql("SELECT count(*) FROM usuarios") == "1"
    assert "1.0.0-main.1" in person.run("--rollback-history")
    person.run("--cleanup-versions", "1", "--cleanup-dry-run")
    person.run("--cleanup-versions", "1")
    summary = person.run("--backup-summary")
    assert f"{server.name}/{database.name}" in summary
    assert "develop" in summary
    monkeypatch.chdir(tmp_path)
    orchestrator = UnifiedBackupOrchestrator()
    assert orchestrator.create_backup("de_python")
    assert "de_python" in [one["name"] for one in orchestrator.list_backups()]
    for old in json.loads(
        server.psql(
            f"SELECT coalesce(json_agg(datname), '[]') FROM pg_database WHERE datname LIKE '{database.name}\\_\\_old%'",
            "postgres",
        )
    ):
        server.psql(f'DROP DATABASE "{old}"', "postgres")
