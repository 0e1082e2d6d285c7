"""The program as a process of its own, against one database, and what must hold after anything happened to it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from respaldo.clock import SystemClock
from respaldo.repository.reader import BackupReader
from respaldo.repository.repository import Repository
from respaldo.storage.directory import DirectoryStorage
from tests.integration.conftest import Respaldo
from tests.rig.containers import PostgresContainer
from tests.rig.program import run_program
from tests.rig.waiting import wait_for

ROOT = Path(__file__).parents[2]
RUN_S = 120
GONE_WITHIN_S = 60
ENVIRONMENT = {**os.environ, "PYTHONPATH": f"{ROOT / 'src'}{os.pathsep}{ROOT}", "RESPALDO_LANG": "en"}
# The server has no such process of its own, and the tests' own are not running while this is asked.
OURS = {"psql", "pg_dump", "pg_dumpall", "pg_restore", "zstd", "gzip", "sh"}
CRASHES = ("was terminated by signal", "reinitializing")

# Two tables that are read by ranges, small ones and a large object that pg_dump writes: a backup takes over a second.
SCHEMA = """
CREATE TABLE big AS SELECT g AS id, repeat(md5(g::text), 4) AS t FROM generate_series(1, 90000) g;
CREATE TABLE big2 AS SELECT g AS id, md5(g::text) AS t FROM generate_series(1, 200000) g;
CREATE TABLE small (id serial PRIMARY KEY, v text);
INSERT INTO small (v) SELECT 'v' || g FROM generate_series(1, 1000) g;
CREATE INDEX ON big (id);
SELECT lo_from_bytea(0, 'a large object');
"""
ROWS = 291_000


def wait_until(holds: Callable[[], object], what: str, timeout_s: float = GONE_WITHIN_S) -> None:
    """Return as soon as ``holds`` gives something true; fail at the deadline."""
    wait_for(holds, lambda: f"not within {timeout_s:g} s: {what}", timeout_s, pause_s=0.02)


@dataclass(frozen=True, slots=True, kw_only=True)
class Program:
    """The command line of one repository and one database."""

    container: PostgresContainer
    database: str
    repository: Path
    crashes_before: Sequence[str] = ()

    def argv(self, command: str, *options: str) -> list[str]:
        where = ["--container", self.container.name, "--database", self.database, "--jobs", "2"]
        return ["--repository", str(self.repository), "--verbose", command, *where, *options]

    def start(self, command: str, *options: str, module: Sequence[str] = ("respaldo",)) -> subprocess.Popen[str]:
        """Start a command; whoever starts it waits for it. ``module``: what runs it, with arguments of its own."""
        argv = [sys.executable, "-m", *module, *self.argv(command, *options)]
        return subprocess.Popen(
            argv, cwd=ROOT, env=ENVIRONMENT, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )

    def run(
        self, command: str, *options: str, module: Sequence[str] = ("respaldo",)
    ) -> subprocess.CompletedProcess[str]:
        done = run_program(["-m", *module, *self.argv(command, *options)], cwd=ROOT, env=ENVIRONMENT, timeout_s=RUN_S)
        assert "Traceback" not in done.stderr, done.stderr
        return done

    def back_up(self, *options: str) -> str:
        """Make a backup that must succeed; return its name."""
        done = self.run("backup", "--json", *options)
        assert done.returncode == 0, done.stderr
        return str(json.loads(done.stdout)["name"])

    def listed(self) -> list[str]:
        backups = Respaldo(repository=self.repository, container=self.container).list()
        return [str(entry["name"]) for entry in backups]

    def readers(self) -> list[BackupReader]:
        repository = Repository.open(DirectoryStorage(self.repository), SystemClock())
        return [
            repository.reader(target, manifest.name)
            for target in repository.targets()
            for manifest in repository.backups(target).manifests
        ]

    def check_listed(self, expected: Sequence[str]) -> None:
        """See that these backups are listed, no other, and that every byte of each is the one that was written."""
        if not self.repository.exists():
            assert not expected
            return
        assert self.listed() == list(expected)
        for reader in self.readers():
            for entry in reader.manifest.objects:
                reader.verify_object(entry.name)
            rows = 0
            for segment in reader.segments:
                for _text in reader.open_text(segment):
                    pass
                rows += segment.rows if reader.series[segment.series].head else 0
            assert rows == reader.manifest.totals.rows == ROWS

    def check_no_strays(self) -> None:
        """See that every file of the repository belongs to a backup that is listed."""
        # What failed runs are remembered by is there once there was one.
        expected = {self.repository / "respaldo.json", *self.repository.glob(".metadata/alerts.json")}
        for reader in self.readers():
            manifest = reader.manifest
            target = self.repository / manifest.target.instance / manifest.target.database
            directory = target / manifest.name
            # A backup that a person names is pinned there.
            expected |= {directory / "manifest.json", *target.glob("labels.json")}
            expected |= {directory / (manifest.prefix + entry.name) for entry in manifest.objects}
        found = {path for path in self.repository.rglob("*") if not path.is_dir()}
        # An unfinished write of these is swept an hour later: another run may be writing its own.
        unfinished = ("locks/.tmp-*", ".metadata/.tmp-*")
        strays = {path for path in found if not any(path.match(one) for one in unfinished)} ^ expected
        assert not strays, strays

    def check_server_is_left_alone(self) -> None:
        """See that soon nothing of ours runs beside the server, and that it did not crash meanwhile."""
        wait_until(lambda: not self.sessions(), "the sessions of respaldo are gone")
        wait_until(lambda: not self.processes(), "the processes of respaldo are gone")
        assert self.crashes() == self.crashes_before, self.container.logs()[-4000:]

    def crashes(self) -> list[str]:
        """What the server's log says of crashes."""
        return [line for line in self.container.logs().splitlines() if any(words in line for words in CRASHES)]

    def sessions(self) -> list[str]:
        found = self.container.psql("SELECT query FROM pg_stat_activity WHERE application_name = 'respaldo'")
        return found.splitlines()

    def processes(self) -> list[str]:
        # The shell and cat of this very command are the last two.
        listed = (
            self.container.exec(["sh", "-c", "exec cat /proc/[0-9]*/comm"], check=False).stdout.decode().split("\n")
        )
        return [name for name in listed if name in OURS]

    def pids(self, name: str) -> list[int]:
        """Return the processes of this name, by their numbers inside the container."""
        script = 'for d in /proc/[0-9]*; do read -r comm < "$d/comm" && echo "$comm ${d#/proc/}"; done 2>/dev/null'
        lines = self.container.exec(["sh", "-c", script], check=False).stdout.decode().splitlines()
        return [int(line.split()[1]) for line in lines if line.startswith(f"{name} ")]


def finish(process: subprocess.Popen[str]) -> subprocess.CompletedProcess[str]:
    """Wait for a started command; one that hangs is ended and fails the test."""
    try:
        stdout, stderr = process.communicate(timeout=RUN_S)
    except subprocess.TimeoutExpired:
        process.kill()
        stdout, stderr = process.communicate()
        raise AssertionError(f"it hangs; so far it said: {stderr}") from None
    assert "Traceback" not in stderr, stderr
    return subprocess.CompletedProcess(process.args, process.returncode, stdout, stderr)
