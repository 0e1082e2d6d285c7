"""``respaldo serve`` as a process of its own: it makes up for what it missed, and stops in the middle of a backup."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import ContainerFactory
from tests.integration.test_secrets import CommandLines
from tests.rig.containers import PostgresContainer
from tests.rig.program import run_program
from tests.rig.waiting import wait_for

ROOT = Path(__file__).parents[2]
SECRET = "clave-plantada-4410"
WITHIN_S = 60


@dataclass(frozen=True, slots=True, kw_only=True)
class Daemon:
    """A daemon that runs."""

    process: subprocess.Popen[str]
    port: int

    def ask(self, path: str) -> tuple[int, str]:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=10) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read().decode()

    def running(self) -> list[str]:
        running: list[str] = json.loads(self.ask("/healthz")[1])["running"]
        return running

    def stop(self) -> tuple[int, str]:
        """End it as a container's end does; return its status and what it said."""
        self.process.send_signal(signal.SIGTERM)
        _out, said = self.process.communicate(timeout=WITHIN_S)
        return self.process.returncode, said


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """A repository, and the daemon that may run on it."""

    repository: Path
    server: PostgresContainer

    def respaldo(self, *words: str) -> subprocess.CompletedProcess[str]:
        command = ["-m", "respaldo", "--repository", str(self.repository), *words]
        return run_program(command, cwd=self.repository.parent, env=environment(), timeout_s=100)

    def backups(self) -> list[dict[str, Any]]:
        listed: list[dict[str, Any]] = json.loads(self.respaldo("list", "--json").stdout)
        return listed

    def runs(self) -> list[dict[str, Any]]:
        runs: list[dict[str, Any]] = json.loads(self.respaldo("schedule", "history", "--json").stdout)
        return runs

    def rewind(self, name: str, until: str) -> None:
        """Have a schedule done with until then: as if the daemon was stopped ever since."""
        state = self.repository / ".metadata/serve.json"
        state.parent.mkdir(parents=True, exist_ok=True)
        state.write_text(json.dumps({"handled": {name: until}}))

    @contextmanager
    def serve(self, *words: str) -> Iterator[Daemon]:
        command = [sys.executable, "-m", "respaldo", "--repository", str(self.repository), "serve", *words]
        command += ["--listen", f"127.0.0.1:{free_port()}"]
        process = subprocess.Popen(
            command, env=environment(), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
        )
        daemon = Daemon(process=process, port=int(command[-1].rpartition(":")[2]))
        try:
            await_that(lambda: process.poll() is not None or answers(daemon))
            yield daemon
        finally:
            if process.poll() is None:
                process.terminate()
                process.communicate(timeout=WITHIN_S)


def environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(ROOT / "src"), "RESPALDO_LANG": "en", "RESPALDO_SMTP_PASSWORD": SECRET}


def free_port() -> int:
    import socket

    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def answers(daemon: Daemon) -> bool:
    try:
        return daemon.ask("/livez")[0] == 200
    except OSError:
        return False


def await_that(condition: Callable[[], object]) -> None:
    wait_for(condition, lambda: "not in time", WITHIN_S)


@pytest.fixture
def place(postgres_container: ContainerFactory, tmp_path: Path) -> Place:
    return Place(repository=tmp_path / "copies", server=postgres_container(15))


def schedule(server: PostgresContainer) -> Sequence[str]:
    # Far from now, whenever now is: only what was missed runs.
    minute = (time.gmtime().tm_min + 30) % 60
    return ["--schedule", f"shop: {minute} * * * * backup --container {server.name}"]


def test_daemon_makes_up_for_a_run_that_fell_into_a_stop_and_says_how_it_is(place: Place) -> None:
    place.server.psql("CREATE TABLE t AS SELECT generate_series(1, 1000) AS x")
    words = schedule(place.server)
    with CommandLines() as lines:
        with place.serve(*words) as daemon:
            assert daemon.ask("/readyz")[0] == 200
            assert place.backups() == []
            status, said = daemon.stop()
            assert (status, "shop: " in said) == (0, True)
        place.rewind("shop", "2026-01-01T00:00:00.000000Z")
        with place.serve(*words) as daemon:
            await_that(place.backups)
            await_that(lambda: not daemon.running())
            health, text = daemon.ask("/healthz")
            assert (health, list(json.loads(text)["next"])) == (200, ["shop"])
            metrics = daemon.ask("/metrics")[1]
            assert re.search(r"^respaldo_last_backup_rows\{.*\} 1000$", metrics, re.MULTILINE), metrics
            # Known to the daemon alone, but told to whoever asks.
            assert "respaldo_next_run_timestamp_seconds{" in metrics
            (summary,) = json.loads(place.respaldo("summary", "--json").stdout)
            assert summary["next"]["at"] == json.loads(text)["next"]["shop"]
            assert daemon.ask("/etc/passwd")[0] == 404
            status, said = daemon.stop()
        assert status == 0
        assert "making up for" in said
        # Done with: the next start makes up for nothing.
        with place.serve(*words) as daemon:
            time.sleep(1)  # a look at the clock takes none
            assert daemon.running() == []
    assert [(one["schedule"], one["outcome"], len(one["backups"])) for one in place.runs()] == [
        ("shop", "succeeded", 1)
    ]
    restored = place.respaldo("restore", "latest", "--to", "again", "--container", place.server.name)
    assert restored.returncode == 0, restored.stderr
    assert place.server.psql("SELECT count(*) FROM t", "again") == "1000"
    assert not [line for line in lines.seen if SECRET.encode() in line]
    assert not [one for one in place.repository.rglob("*") if one.is_file() and SECRET.encode() in one.read_bytes()]


def test_daemon_stopped_in_mid_backup_leaves_nothing_and_makes_it_again(place: Place) -> None:
    place.server.psql(
        "CREATE TABLE big AS SELECT g, md5(g::text) || md5((g + 1)::text) AS t FROM generate_series(1, 900000) g"
    )
    words = schedule(place.server)
    began = place.server.psql("SELECT pg_postmaster_start_time()")
    place.rewind("shop", "2026-01-01T00:00:00.000000Z")
    with place.serve(*words) as daemon:
        await_that(lambda: written(place.repository))
        assert daemon.running() == ["shop"]
        status, said = daemon.stop()
    assert status == 0, said
    assert place.backups() == []
    assert [(one["outcome"], one["exit_code"]) for one in place.runs()] == [("interrupted", 130)]
    # Nothing of it goes on, and the server noticed nothing.
    others = "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()"
    await_that(lambda: place.server.psql(others) == "0")
    assert place.server.psql("SELECT pg_postmaster_start_time()") == began
    with place.serve(*words) as daemon:
        await_that(place.backups)
        await_that(lambda: not daemon.running())
    assert [backup["rows"] for backup in place.backups()] == [900000]
    assert place.respaldo("check").returncode == 0


def written(repository: Path) -> bool:
    """Tell whether rows of a backup that is not committed are there."""
    return any(file.stat().st_size > 1 << 20 for file in repository.rglob("*") if file.is_file())


def test_failed_run_is_noted_with_its_reason_and_the_daemon_stays(tmp_path: Path, docker_engine: None) -> None:
    place = Place(repository=tmp_path / "copies", server=None)  # type: ignore[arg-type]  # there is none
    minute = (time.gmtime().tm_min + 30) % 60
    place.rewind("gone", "2026-01-01T00:00:00.000000Z")
    with place.serve("--schedule", f"gone: {minute} * * * * backup --container no-such-container") as daemon:
        await_that(place.runs)
        second = place.respaldo("serve", "--listen", "off")
        assert (second.returncode, "another respaldo serve" in second.stderr) == (11, True)
        taken = Place(repository=tmp_path / "others", server=place.server)
        listening = taken.respaldo("serve", "--listen", f"127.0.0.1:{daemon.port}")
        assert (listening.returncode, str(daemon.port) in listening.stderr) == (40, True)
        assert daemon.ask("/healthz")[0] == 200
    (run,) = place.runs()
    assert (run["outcome"], run["exit_code"], "no-such-container" in run["error"]) == ("failed", 2, True)
    assert run["slot"] is not None


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--schedule", "nightly"], "--schedule: nightly"),
        (["--schedule", "nightly: 61 * * * * backup"], "the minute '61'"),
        (["--schedule", "nightly: daily restore latest"], "'restore' cannot be scheduled"),
        (["--schedule", "nightly: daily backup --no-such-flag"], "--no-such-flag"),
        (["--schedule", "a: daily", "--schedule", "a: weekly"], "already"),
        (["--listen", "9188"], "--listen: 9188"),
    ],
)
def test_daemon_that_cannot_be_meant_does_not_start(tmp_path: Path, words: list[str], said: str) -> None:
    command = [sys.executable, "-m", "respaldo", "--repository", str(tmp_path), "serve", *words]
    done = subprocess.run(command, env=environment(), capture_output=True, text=True, check=False, timeout=WITHIN_S)
    assert done.returncode == 2
    assert said in done.stderr
