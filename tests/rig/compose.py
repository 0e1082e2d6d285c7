"""The demonstration's docker-compose.yml, brought up as written: the container ``pc_db``, of which there is one."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.rig.containers import PostgresContainer
from tests.rig.engine import LABEL, docker, run, run_id
from tests.rig.requirements import require
from tests.rig.waiting import wait_for

ROOT = Path(__file__).parents[2]
NAME = "pc_db"
HEALTHY_WITHIN_S = 60


def compose_command() -> list[str] | None:
    """Compose as a plugin of docker, or as the program of its own that it was before; None where there is neither."""
    for command in (["docker", "compose"], ["docker-compose"]):
        if (
            shutil.which(command[0])
            and subprocess.run([*command, "version"], capture_output=True, check=False).returncode == 0
        ):
            return command
    return None


def await_health(container: PostgresContainer) -> None:
    """Return once the engine finds the container healthy."""

    def health() -> str:
        return docker("inspect", "--format", "{{.State.Health.Status}}", NAME).decode().strip()

    wait_for(lambda: health() == "healthy", lambda: f"{health()}:\n{container.logs()}", HEALTHY_WITHIN_S)


@contextmanager
def compose_demo(directory: Path) -> Iterator[PostgresContainer]:
    """Bring it up, wait until it serves, take it down with its volume. ``directory`` is the caller's own."""
    compose = compose_command()
    require("compose", None if compose else "neither `docker compose` nor docker-compose is here")
    assert compose is not None
    taken = docker("ps", "-aq", "--filter", f"name=^/{NAME}$")
    require("compose", f"there is a container {NAME} already" if taken else None)
    require("postgres:15", None if docker("images", "-q", "postgres:15") else "no image postgres:15")
    # Labelled as this run's, so that a later run can remove what this one, if killed, could not.
    labels = directory / "labels.yml"
    labels.write_text(f'services:\n  postgres:\n    labels:\n      {LABEL}: "{run_id()}"\n')
    compose += ["--project-name", f"respaldotest{os.getpid()}", "--project-directory", str(ROOT)]
    compose += ["--file", str(ROOT / "docker-compose.yml"), "--file", str(labels)]
    try:
        run([*compose, "up", "--detach"], timeout_s=120)
        container = PostgresContainer(
            id=NAME, name=NAME, image="postgres:15", user="postgres", password="12345", database=NAME
        )
        container.wait()
        yield container
    finally:
        run([*compose, "down", "--volumes"], timeout_s=120)
