"""The demonstration's docker-compose.yml comes up as written, with the tables that the documentation shows."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.rig.containers import PostgresContainer
from tests.rig.engine import LABEL, RigError, docker, run, run_id
from tests.rig.requirements import require

ROOT = Path(__file__).parents[2]


def compose_command() -> list[str] | None:
    """Compose as a plugin of docker, or as the program of its own that it was before; None where there is neither."""
    for command in (["docker", "compose"], ["docker-compose"]):
        if (
            shutil.which(command[0])
            and subprocess.run([*command, "version"], capture_output=True, check=False).returncode == 0
        ):
            return command
    return None


@pytest.fixture
def pc_db(docker_engine: None, tmp_path: Path) -> Iterator[PostgresContainer]:
    compose = compose_command()
    require("compose", None if compose else "neither `docker compose` nor docker-compose is here")
    assert compose is not None
    require(
        "compose", "there is a container pc_db already" if docker("ps", "-aq", "--filter", "name=^/pc_db$") else None
    )
    require("postgres:15", None if docker("images", "-q", "postgres:15") else "no image postgres:15")
    # Labelled as this run's, so that a later run can remove what this one, if killed, could not.
    labels = tmp_path / "labels.yml"
    labels.write_text(f'services:\n  postgres:\n    labels:\n      {LABEL}: "{run_id()}"\n')
    project = f"respaldotest{os.getpid()}"
    compose += ["--project-name", project, "--project-directory", str(ROOT)]
    compose += ["--file", str(ROOT / "docker-compose.yml"), "--file", str(labels)]
    try:
        run([*compose, "up", "--detach"], timeout_s=120)
        yield PostgresContainer(
            id="pc_db", name="pc_db", image="postgres:15", user="postgres", password="12345", database="pc_db"
        )
    finally:
        run([*compose, "down", "--volumes"], timeout_s=120)


def test_compose_file_comes_up_healthy_with_the_documented_tables(pc_db: PostgresContainer) -> None:
    deadline = time.monotonic() + 60
    while (health := docker("inspect", "--format", "{{.State.Health.Status}}", "pc_db").decode().strip()) != "healthy":
        assert time.monotonic() < deadline, f"{health}:\n{pc_db.logs()}"
        time.sleep(0.2)

    columns = pc_db.psql(
        "SELECT table_name, string_agg(column_name, ',' ORDER BY ordinal_position) FROM information_schema.columns "
        "WHERE table_schema = 'public' GROUP BY table_name ORDER BY table_name"
    )
    assert columns.splitlines() == [
        "pedidos|pedido_id,usuario_id,producto_id,cantidad,fecha_pedido",
        "productos|producto_id,nombre_producto,manufacturador,precio",
        "usuarios|usuario_id,nombre,apellido",
    ]
    assert pc_db.psql("SELECT apellido FROM usuarios WHERE usuario_id = 3") == "Núñez"

    for statement in (
        "INSERT INTO productos (nombre_producto, manufacturador, precio) VALUES ('x', 'y', -1)",
        "INSERT INTO pedidos (usuario_id, producto_id, cantidad) VALUES (1, 1, -1)",
    ):
        with pytest.raises(RigError, match="violates check constraint"):
            pc_db.psql(statement)

    before = int(pc_db.psql("SELECT count(*) FROM pedidos"))
    pc_db.psql("DELETE FROM usuarios WHERE usuario_id = 1; DELETE FROM productos WHERE producto_id = 3")
    assert int(pc_db.psql("SELECT count(*) FROM pedidos")) == before - 4
