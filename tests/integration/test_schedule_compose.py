"""``deploy/compose``: PostgreSQL and ``respaldo serve`` in containers, as written."""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.rig.compose import NAME, compose_command
from tests.rig.containers import PostgresContainer
from tests.rig.engine import LABEL, docker, run_id
from tests.rig.kube_image import ensure_image
from tests.rig.requirements import require

ROOT = Path(__file__).parents[2]
FILE = ROOT / "deploy/compose/compose.yaml"
SOCKET = Path("/var/run/docker.sock")
WITHIN_S = 90


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

    def health(self) -> str:
        identifier = self("ps", "-q", "respaldo").strip()
        return docker("inspect", "--format", "{{.State.Health.Status}}", identifier).decode().strip()


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


def wait_for(condition: Callable[[], object], what: str) -> None:
    deadline = time.monotonic() + WITHIN_S
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.3)


def test_daemon_in_a_container_makes_up_for_what_fell_into_a_stop(stack: Stack) -> None:
    server = PostgresContainer(id=NAME, name=NAME, image="postgres:15", user="postgres", password="", database="pc_db")
    wait_for(lambda: server.exec(["pg_isready", "-h", "127.0.0.1"], check=False).returncode == 0, "no server")
    server.psql("CREATE TABLE t AS SELECT generate_series(1, 500) AS x")
    wait_for(lambda: "nightly" in stack("logs", "respaldo"), "nothing is scheduled")
    stack("stop", "respaldo")
    # It was down for two nights.
    script = (
        "import json, pathlib; path = pathlib.Path('/backups/.metadata/serve.json');"
        "state = json.loads(path.read_text()); state['handled']['nightly'] = '2026-01-01T00:00:00.000000Z';"
        "path.write_text(json.dumps(state))"
    )
    stack("run", "--rm", "--no-deps", "--entrypoint", "python", "respaldo", "-c", script)
    stack("start", "respaldo")
    wait_for(lambda: json.loads(stack.respaldo("list", "--json")), "no backup was made up for")
    wait_for(lambda: json.loads(stack.respaldo("schedule", "history", "--json")), "no run was noted")
    (noted,) = json.loads(stack.respaldo("schedule", "history", "--json"))
    assert (noted["schedule"], noted["outcome"], noted["targets"]) == ("nightly", "succeeded", ["pc_db/pc_db"])
    stack.respaldo("restore", "latest", "--to", "again", "--container", NAME)
    assert server.psql("SELECT count(*) FROM t", "again") == "500"
    wait_for(lambda: stack.health() == "healthy", "not healthy")
    assert "clave-plantada-1188" not in stack("logs", "respaldo")
