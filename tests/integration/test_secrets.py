"""A password is where it must be and nowhere else; the repository is its owner's alone."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from respaldo.config.settings import Settings
from respaldo.postgres.connection import Connection, ConnectionOverrides
from respaldo.postgres.tools import Tools
from tests.conftest import ContainerFactory
from tests.rig.containers import PostgresContainer

ROOT = Path(__file__).parents[2]
SECRET = "s3cr3t'\"$`\\ %s ñ:/@{}"


@pytest.fixture
def guarded(postgres_container: ContainerFactory) -> PostgresContainer:
    """A server that takes no connection without its password."""
    server = postgres_container(15, password=SECRET)
    server.psql("CREATE TABLE big AS SELECT g, md5(g::text) AS t FROM generate_series(1, 200000) g")
    server.exec(["sh", "-c", 'sed -i "s/trust$/scram-sha-256/" "$PGDATA/pg_hba.conf"'])
    environment = {"PGPASSWORD": SECRET}
    server.exec(["psql", "-U", "postgres", "-c", "SELECT pg_reload_conf()"], environment=environment)
    return server


class CommandLines:
    """The command lines of every process of this machine, those in containers too, while the block runs."""

    def __init__(self) -> None:
        self.seen: set[bytes] = set()
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._sample)

    def __enter__(self) -> CommandLines:
        self._thread.start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._done.set()
        self._thread.join()

    def _sample(self) -> None:
        while not self._done.wait(0.005):
            for path in Path("/proc").glob("[0-9]*/cmdline"):
                with suppress(OSError):
                    self.seen.add(path.read_bytes())


def run(repository: Path, server: PostgresContainer, *words: str, **variables: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src"), "RESPALDO_LANG": "en", **variables}
    argv = [sys.executable, "-m", "respaldo", "--repository", str(repository), "--verbose", *words]
    return subprocess.run(
        [*argv, "--container", server.name],
        env=environment,
        text=True,
        capture_output=True,
        timeout=120,
        check=False,
        preexec_fn=lambda: os.umask(0),
    )


def files_of(directory: Path) -> Iterator[Path]:
    return (path for path in directory.rglob("*") if path.is_file())


def test_password_shows_nowhere_and_the_repository_is_its_owners_alone(
    guarded: PostgresContainer, tmp_path: Path
) -> None:
    repository = tmp_path / "backups"
    with CommandLines() as lines:
        runs = [run(repository, guarded, "backup", "--name", "one")]
        runs.append(run(repository, guarded, "backup", "--name", "two", RESPALDO_PASSWORD=SECRET))
        runs.append(run(repository, guarded, "restore", "one", "--to", "copied"))
    assert [done.returncode for done in runs] == [0, 0, 0], runs
    runs.append(run(repository, guarded, "backup", "--user", "nobody", RESPALDO_PASSWORD=SECRET))
    assert runs[-1].returncode == 30
    secret = SECRET.encode()
    assert any(b"pg_dump" in line for line in lines.seen)
    assert not [line for line in lines.seen if secret in line]
    assert not [done for done in runs if SECRET in done.stdout + done.stderr]
    assert not [path for path in files_of(repository) if secret in path.read_bytes()]
    # The roles' hashes are part of what is backed up, and the only place where they are.
    assert not [path for path in files_of(repository) if b"SCRAM-SHA-256" in path.read_bytes()]
    from backports import zstd

    assert b"SCRAM-SHA-256" in zstd.decompress(next(repository.rglob("one/globals.sql.zst")).read_bytes())

    wrong = [path for path in [repository, *repository.rglob("*")] if path.stat().st_mode & 0o077]
    assert wrong == []


def test_reprs_hold_no_password() -> None:
    connection = Connection(user="u", database="d", password=SECRET)
    overrides = ConnectionOverrides(password=SECRET)
    settings = Settings.load({}, {"RESPALDO_PASSWORD": SECRET})
    tools = Tools(psql="p", pg_dump="d", pg_dumpall="a", pg_restore="r", compressor="zstd")
    assert settings.password == SECRET
    for shown in (connection, overrides, settings, tools):
        assert "s3cr3t" not in repr(shown) + str(shown)
