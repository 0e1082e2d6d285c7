"""``deploy/compose``: PostgreSQL and ``respaldo serve`` in containers, as written."""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.rig.compose import NAME, compose_command
from tests.rig.containers import PostgresContainer
from tests.rig.engine import LABEL, docker, run_id
from tests.rig.kube_image import ensure_image
from tests.rig.requirements import require
from tests.rig.waiting import wait_for

ROOT = Path(__file__).parents[2]
FILE = ROOT / "deploy/compose/compose.yaml"
SOCKET = Path("/var/run/docker.sock")
WITHIN_S = 90
ROWS = 2_000_000


class Stack:
    """The two services, up."""

    def __init__(self, command: list[str]) -> None:
        self._command = command

    def __call__(self, *words: str) -> str:
        environment = {
            **os.environ,
            "POSTGRES_PASSWORD": "clave-plantada-1188",
            "DOCKER_GID": str(SOCKET.stat().st_gid),
            "RESPALDO_LANG": "en",
        }
        done = subprocess.run(
            [*self._command, *words], env=environment, capture_output=True, text=True, check=False, timeout=150
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    def respaldo(self, *words: str) -> str:
        return self("exec", "-T", "respaldo", "respaldo", *words)

    def runs(self) -> list[dict[str, Any]]:
        runs: list[dict[str, Any]] = json.loads(self.respaldo("schedule", "history", "--json"))
        return runs

    def exit_code(self) -> int:
        return int(self._state("ExitCode"))

    def container(self) -> str:
        return self("ps", "--all", "-q", "respaldo").strip()

    def _state(self, field: str) -> str:
        return docker("inspect", "--format", f"{{{{.State.{field}}}}}", self.container()).decode().strip()


@pytest.fixture
def stack(docker_engine: None, tmp_path: Path) -> Iterator[Stack]:
    compose = compose_command()
    require("compose", None if compose else "neither `docker compose` nor docker-compose is here")
    assert compose is not None
    taken = docker("ps", "-aq", "--filter", f"name=^/{NAME}$")
    require("compose", f"there is a container {NAME} already" if taken else None)
    require("docker", None if SOCKET.exists() else f"no {SOCKET}")
    ensure_image()
    labels = tmp_path / "labels.yml"
    label = f'    labels:\n      {LABEL}: "{run_id()}"\n'
    labels.write_text(f"services:\n  postgres:\n{label}  respaldo:\n{label}")
    up = Stack([*compose, "--project-name", f"respaldotest{os.getpid()}", "--file", str(FILE), "--file", str(labels)])
    try:
        up("up", "--detach")
        yield up
    finally:
        up("down", "--volumes")


def await_that(condition: Callable[[], object], what: str) -> None:
    wait_for(condition, lambda: what, WITHIN_S, pause_s=0.3)


def test_daemon_in_a_container_makes_up_for_what_fell_into_a_stop_and_stops_in_mid_backup(stack: Stack) -> None:
    server = PostgresContainer(id=NAME, name=NAME, image="postgres:15", user="postgres", password="", database="pc_db")
    await_that(lambda: server.exec(["pg_isready", "-h", "127.0.0.1"], check=False).returncode == 0, "no server")
    await_that(lambda: "nightly" in stack("logs", "respaldo"), "nothing is scheduled")
    await_that(lambda: time.time() % 60 < 45, "no time left before the slot")
    # The shortest that cron knows. It is stopped before the minute comes, and started after it: a real slot is missed.
    words = ("--at", "* * * * *", "--with", "serve", "--", "backup", "--container", NAME)
    stack.respaldo("schedule", "add", "each-minute", *words)
    slot = (int(time.time()) // 60 + 1) * 60
    stack("stop", "respaldo")
    rows = f"SELECT g, md5(g::text) || md5((g + 1)::text) AS x FROM generate_series(1, {ROWS}) g"
    server.psql(f"CREATE TABLE t AS {rows}")
    began = server.psql("SELECT pg_postmaster_start_time()")
    await_that(lambda: time.time() > slot, "the clock stands still")
    stack("start", "respaldo")
    container = stack.container()
    written = ["exec", container, "sh", "-c", "find /backups -size +1024k -type f"]
    await_that(lambda: docker(*written), "nothing is written")

    # Compose itself takes a second to begin; by then the backup may be done.
    docker("stop", "--time", "60", container, timeout_s=90)
    assert stack.exit_code() == 0
    others = "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()"
    await_that(lambda: server.psql(others) == "0", "the server is still at it")
    assert server.psql("SELECT pg_postmaster_start_time()") == began
    stack("start", "respaldo")
    await_that(lambda: len(stack.runs()) > 1, "the run that was cut short is not made again")
    stack.respaldo("schedule", "remove", "each-minute")
    interrupted, again = stack.runs()[-1], stack.runs()[-2]
    assert (interrupted["outcome"], interrupted["exit_code"], interrupted["backups"]) == ("interrupted", 130, [])
    assert datetime.fromisoformat(interrupted["slot"]).timestamp() == slot
    assert datetime.fromisoformat(interrupted["started"]).timestamp() > slot
    assert (again["schedule"], again["outcome"], again["targets"]) == ("each-minute", "succeeded", ["pc_db/pc_db"])

    stack.respaldo("restore", again["backups"][0]["name"], "--to", "again", "--container", NAME)
    assert server.psql("SELECT count(*) FROM t", "again") == str(ROWS)
    # As the file has it, without waiting for the engine's turn to ask.
    docker("exec", container, *yaml.safe_load(FILE.read_text())["services"]["respaldo"]["healthcheck"]["test"][1:])
    assert "clave-plantada-1188" not in stack("logs", "respaldo")
