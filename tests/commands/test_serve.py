"""``respaldo serve`` as a process of its own, without a server: what it says of runs and of what is in their way."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.commands.command import respaldo
from tests.rig.receivers import free_port
from tests.rig.variables import shell_variables
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
        deadline = time.monotonic() + WITHIN_S
        while not condition():
            assert time.monotonic() < deadline, self.said()
            assert self.process.poll() is None, self.said()
            time.sleep(0.02)

    def stop(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(WITHIN_S)


@contextmanager
def serving(directory: Path, *words: str) -> Iterator[Daemon]:
    """Run it in a directory whose repository is ``copies``."""
    port, log = free_port(), directory / "log"
    command = [sys.executable, "-m", "respaldo", "-d", "copies", "serve", "--listen", f"127.0.0.1:{port}", *words]
    variables = shell_variables(RESPALDO_LANG="en", HOME=str(directory), DOCKER_HOST="unix:///nowhere.sock", PGPORT="1")
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


def test_run_that_is_killed_is_noted_and_others_go_on(tmp_path: Path) -> None:
    write_backups(tmp_path / "copies", 1)
    rewind(tmp_path, "long", "proof", "one")
    words = ["--schedule", "long: hourly backup --all", "--schedule", "proof: hourly check"]
    with serving(tmp_path, *words, "--schedule", "one: hourly backup --container x") as daemon:
        daemon.wait_for(daemon.runs)
        os.kill(daemon.runs()[0], signal.SIGKILL)
        daemon.wait_for(lambda: all(f"{name}, exit" in daemon.said() for name in ("long", "proof", "one")))
        assert daemon.ask("/metrics") == 200
        assert daemon.stop() == 0
    runs = json.loads(respaldo(tmp_path, "-d", "copies", "schedule", "history", "--json").stdout)
    (killed,) = [one for one in runs if one["exit_code"] == 137]
    assert killed["error"] == "ended by signal 9"


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
        assert daemon.stop() == 0
