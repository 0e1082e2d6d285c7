"""``respaldo serve`` as a process of its own, without a server: what it says of runs and of what is in their way."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.commands.command import respaldo
from tests.rig.receivers import Inbox, free_port, http_server
from tests.rig.variables import shell_variables
from tests.rig.waiting import wait_for
from tests.unit.manifests import write_backups

WITHIN_S = 60
LONG_AGO = "2026-01-01T00:00:00Z"


class Daemon:
    """A daemon that runs, and what it has said."""

    def __init__(self, process: subprocess.Popen[bytes], port: int, log: Path) -> None:
        self.process, self.port, self.log = process, port, log

    def said(self) -> str:
        return self.log.read_text()

    def ask(self, path: str) -> int:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=10) as answer:
                return int(answer.status)
        except urllib.error.HTTPError as error:
            with error:
                return error.code

    def runs(self) -> list[int]:
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children")
        return [int(word) for word in children.read_text().split()]

    def wait_for(self, condition: Callable[[], object]) -> None:
        def holds() -> bool:
            if condition():
                return True
            assert self.process.poll() is None, self.said()
            return False

        wait_for(holds, self.said, WITHIN_S, pause_s=0.02)

    def stop(self, number: int = signal.SIGTERM) -> int:
        self.process.send_signal(number)
        return self.process.wait(WITHIN_S)


@contextmanager
def serving(directory: Path, *words: str, **more: str) -> Iterator[Daemon]:
    """Run it in a directory whose repository is ``copies``."""
    port, log = free_port(), directory / "log"
    command = [sys.executable, "-m", "respaldo", "-d", "copies", "serve", "--listen", f"127.0.0.1:{port}", *words]
    variables = shell_variables(
        RESPALDO_LANG="en", HOME=str(directory), DOCKER_HOST="unix:///nowhere.sock", PGPORT="1", **more
    )
    with log.open("wb") as file, subprocess.Popen(command, cwd=directory, env=variables, stderr=file) as process:
        try:
            yield Daemon(process, port, log)
        finally:
            process.kill()


def rewind(directory: Path, *names: str) -> None:
    """Have schedules be due at the start."""
    state = directory / "copies/.metadata/serve.json"
    state.parent.mkdir(parents=True, exist_ok=True)
    state.write_text(json.dumps({"handled": dict.fromkeys(names, LONG_AGO)}))


@pytest.fixture
def inbox() -> Iterator[Inbox]:
    with http_server() as inbox:
        yield inbox


def test_run_that_is_killed_is_noted_and_told_and_others_go_on(tmp_path: Path, inbox: Inbox) -> None:
    write_backups(tmp_path / "copies", 1)
    rewind(tmp_path, "long", "proof", "one")
    words = ["--schedule", "long: hourly backup --all", "--schedule", "proof: hourly check"]
    more = ["--schedule", "one: hourly backup --container x"]
    with serving(tmp_path, *words, *more, SLACK_WEBHOOK_URL=f"{inbox.url}/hook") as daemon:
        daemon.wait_for(daemon.runs)
        os.kill(daemon.runs()[0], signal.SIGKILL)
        daemon.wait_for(lambda: all(f"{name}, exit" in daemon.said() for name in ("long", "proof", "one")))
        assert daemon.ask("/metrics") == 200
        assert daemon.stop() == 0
    runs = json.loads(respaldo(tmp_path, "-d", "copies", "schedule", "history", "--json").stdout)
    (killed,) = [one for one in runs if one["exit_code"] == 137]
    assert killed["error"] == "ended by signal 9"
    (told,) = [text for text in inbox.texts if "ended by signal 9" in text]
    assert "schedule long" in told


def test_repository_that_is_gone_is_told_and_none_is_begun_in_its_place(tmp_path: Path, inbox: Inbox) -> None:
    write_backups(tmp_path / "copies", 1)
    write_backups(tmp_path / "other", 1)
    declared = ["--schedule", "often: * * * * * backup --container x"]
    with serving(tmp_path, *declared, SLACK_WEBHOOK_URL=f"{inbox.url}/hook", RESPALDO_NOTIFY_ON="failure") as daemon:
        daemon.wait_for(lambda: "often" in daemon.said())
        (tmp_path / "copies").rename(tmp_path / "away")
        daemon.wait_for(lambda: inbox.texts)
        assert daemon.ask("/readyz") == 503
        assert "there is no repository" in inbox.texts[-1]
        assert not (tmp_path / "copies/repository.json").exists()
        shutil.rmtree(tmp_path / "copies", ignore_errors=True)
        (tmp_path / "other").rename(tmp_path / "copies")
        daemon.wait_for(lambda: "another repository has taken the place" in daemon.said())
        assert daemon.ask("/readyz") == 503
        assert daemon.stop() == 0
        assert "another repository has taken the place" in inbox.texts[-1]


def test_run_that_cannot_even_begin_is_noted_and_told(tmp_path: Path, inbox: Inbox) -> None:
    write_backups(tmp_path / "copies", 1)
    rewind(tmp_path, "first", "second")
    words = ["--schedule", "first: hourly backup --all", "--schedule", "second: hourly backup --container x"]
    with serving(tmp_path, *words, SLACK_WEBHOOK_URL=f"{inbox.url}/hook", RESPALDO_NOTIFY_ON="failure") as daemon:
        daemon.wait_for(daemon.runs)
        (first,) = daemon.runs()
        os.kill(first, signal.SIGSTOP)
        (tmp_path / ".env").write_bytes(b"\0")
        os.kill(first, signal.SIGKILL)
        daemon.wait_for(lambda: any("ended with exit code 2 before it began" in text for text in inbox.texts))
        assert daemon.stop() == 0
    (tmp_path / ".env").unlink()
    runs = json.loads(respaldo(tmp_path, "-d", "copies", "schedule", "history", "--json").stdout)
    assert [(one["schedule"], one["exit_code"]) for one in runs] == [("second", 2), ("first", 137)]


@pytest.mark.parametrize(
    ("breaks", "variables", "status", "told"),
    [
        ("schedules.json", {}, 13, "schedules.json is damaged"),
        ("disk", {}, 10, "there is no repository"),
        ("", {"RESPALDO_RPO": "soon"}, 2, "RESPALDO_RPO: soon"),
        ("", {"RESPALDO_PASSWORD_FILE": "/nowhere"}, 2, "RESPALDO_PASSWORD_FILE"),
        ("", {"DOCKER_HOST": "unix:///nowhere.sock"}, 2, "--jobs: many"),
    ],
)
def test_scheduled_run_that_fails_before_its_command_is_noted_and_told(
    tmp_path: Path, inbox: Inbox, breaks: str, variables: dict[str, str], status: int, told: str
) -> None:
    write_backups(tmp_path / "copies", 1)
    words = ["backup", "--container", "x"]
    added = respaldo(tmp_path, "-d", "copies", "schedule", "add", "nightly", "--with", "serve", "--", *words)
    assert added.returncode == 0, added.stderr
    match breaks:
        case "schedules.json":
            (tmp_path / "copies/schedules.json").write_text("{")
        case "disk":
            shutil.rmtree(tmp_path / "copies")
            (tmp_path / "copies").mkdir()
    command = ["--", *words, "--jobs", "many"] if "--jobs" in told else []
    channel = {"SLACK_WEBHOOK_URL": f"{inbox.url}/hook"}
    ended = respaldo(tmp_path, "-d", "copies", "schedule", "run", "nightly", *command, **channel, **variables)
    assert ended.returncode == status
    assert told in ended.stderr
    (message,) = inbox.texts
    assert told in message
    (noted,) = json.loads(respaldo(tmp_path, "-d", "copies", "schedule", "history", "--json").stdout)
    assert (noted["schedule"], noted["exit_code"]) == ("nightly", status)
    assert told in noted["error"]


def test_daemon_with_nothing_to_start_says_so_and_one_that_cannot_read_its_schedules_is_not_ready(
    tmp_path: Path,
) -> None:
    write_backups(tmp_path / "copies", 1)
    with serving(tmp_path) as daemon:
        daemon.wait_for(lambda: "nothing is scheduled; add one" in daemon.said())
        assert daemon.ask("/readyz") == 200
        assert daemon.stop() == 0
    (tmp_path / "copies/schedules.json").write_text("{")
    with serving(tmp_path) as daemon:
        daemon.wait_for(lambda: "schedules.json" in daemon.said())
        assert daemon.ask("/readyz") == 503
        assert daemon.stop(signal.SIGHUP) == 0
