"""One server for this directory's tests, with a database that takes over a second to back up."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from tests.faults.program import SCHEMA, Program
from tests.rig import engine
from tests.rig.containers import PostgresContainer, start_postgres
from tests.rig.requirements import require

IMAGE = "postgres:17"


@pytest.fixture(scope="session")
def faulty_server(docker_engine: None) -> Iterator[PostgresContainer]:
    """A server that only these tests touch; those that crash it take one of their own."""
    require(IMAGE, None if engine.has_image(IMAGE) else "no such image")
    container = start_postgres(IMAGE)
    try:
        container.psql("CREATE DATABASE shop")
        container.psql(SCHEMA, "shop")
        container.psql("COMMENT ON DATABASE shop IS 'gives database.sql a byte to damage'")
        yield container
    finally:
        container.remove()


@pytest.fixture
def program(faulty_server: PostgresContainer, tmp_path: Path) -> Program:
    """The program with a repository that is not there yet."""
    new = Program(container=faulty_server, database="shop", repository=tmp_path / "backups")
    return replace(new, crashes_before=new.crashes())


@pytest.fixture(scope="session")
def kept_full(faulty_server: PostgresContainer, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A repository with one full, to be copied; and that full's name."""
    kept = Program(container=faulty_server, database="shop", repository=tmp_path_factory.mktemp("kept") / "backups")
    return kept.repository, kept.back_up("--name", "first")


@pytest.fixture
def with_full(program: Program, kept_full: tuple[Path, str]) -> Program:
    """The program with a repository that holds one full, ``first``."""
    shutil.copytree(kept_full[0], program.repository)
    return program


@pytest.fixture
def own_server(docker_engine: None) -> Iterator[Callable[[], PostgresContainer]]:
    """Starts servers that the test may crash, each with the same database."""
    require(IMAGE, None if engine.has_image(IMAGE) else "no such image")
    started: list[PostgresContainer] = []

    def start() -> PostgresContainer:
        container = start_postgres(IMAGE)
        started.append(container)
        container.psql("CREATE DATABASE shop")
        container.psql(SCHEMA, "shop")
        container.psql("COMMENT ON DATABASE shop IS 'gives database.sql a byte to damage'")
        return container

    yield start
    for container in started:
        container.remove()
