"""The program as a person runs it, and a database that goes there and back."""

from __future__ import annotations

import io
import json
import os
import shutil
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from respaldo.cli.main import cli, run_guarded
from respaldo.postgres.identifiers import quote_identifier
from tests.contracts import CONTRACT
from tests.integration.comparison import SQL, assert_description, assert_same_database, describe
from tests.rig.containers import PostgresContainer, major_of
from tests.rig.database import Database, new_name
from tests.rig.program import run_program
from tests.rig.variables import shell_variables

ROOT = Path(__file__).parents[2]
MAJORS = (13, 15, 17, 18)
ENDS = (MAJORS[0], MAJORS[-1])
AFTER_THE_FULL = "-- === after the full backup ==="


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """How a run of the program ended."""

    status: int
    out: str
    err: str


def run_here(*words: str) -> Ended:
    """Run the command line in this process."""
    out, err = io.StringIO(), io.StringIO()
    with redirect_stdout(out), redirect_stderr(err):
        status = run_guarded(lambda: cli.main(args=words, prog_name="respaldo", standalone_mode=False))
    return Ended(status=status, out=out.getvalue(), err=err.getvalue())


@dataclass(frozen=True, slots=True, kw_only=True)
class Respaldo:
    """The command line, with one repository and one container."""

    repository: Path
    container: PostgresContainer

    def run(self, *words: str) -> Ended:
        """Run one command in this process."""
        return run_here("--repository", str(self.repository), *words)

    def run_apart(self, *words: str) -> Ended:
        """Run one command in a process of its own, with nothing in its environment that the tests put there."""
        command = ["-m", "respaldo", "--repository", str(self.repository), *words]
        done = run_program(command, cwd=ROOT, env=shell_variables(), timeout_s=200)
        return Ended(status=done.returncode, out=done.stdout, err=done.stderr)

    def backup(self, database: str, *words: str, expect: str | None = None) -> dict[str, Any]:
        """Back a database up and return what ``--json`` prints; fail where it fails, or is not the type expected."""
        ended = self.run("backup", "--container", self.container.name, "--database", database, "--json", *words)
        assert ended.status == 0, ended.err
        document: dict[str, Any] = json.loads(ended.out)
        CONTRACT.check("respaldo backup", document)
        assert expect is None or document["type"] == expect, document
        return document

    def restore(self, name: str, to: str, *words: str) -> None:
        """Restore a backup into a new database; fail where it fails."""
        ended = self.run("restore", name, "--to", to, "--container", self.container.name, *words)
        assert ended.status == 0, ended.err

    def list(self) -> list[dict[str, Any]]:
        """Return what ``list --json`` prints of every backup, oldest first."""
        ended = self.run("list", "--json")
        assert ended.status == 0, ended.err
        backups: list[dict[str, Any]] = json.loads(ended.out)
        CONTRACT.check("respaldo list", backups)
        return backups


@dataclass(slots=True, kw_only=True)
class RoundTrip:
    """One database, on its way into a repository and out again."""

    respaldo: Respaldo
    source: Database
    roles: dict[str, str]
    made: list[str] = field(default_factory=list)

    @property
    def server(self) -> PostgresContainer:
        return self.respaldo.container

    def load(self, text: str) -> None:
        """Run SQL in the source. psql knows ``:major`` and the roles ``:"ana"`` and ``:"ben"``."""
        head = [
            f"\\set major {major_of(self.server)}",
            *(f"\\set {name} '{role}'" for name, role in self.roles.items()),
        ]
        self.source.psql("\n".join((*head, text)))

    def restored(self, name: str, *words: str) -> str:
        """Restore a backup of the source and return the new database's name; it is dropped with the test."""
        to = f"{self.source.name}_restored_{len(self.made) + 1}"
        self.made.append(to)
        self.respaldo.restore(name, to, *words)
        return to

    def prove(self, before: str, after: str) -> None:
        """Full, change, incremental: each restores to what the source was."""
        self.load(before)
        full = self.respaldo.backup(self.source.name, expect="full")
        was = describe(self.server, self.source.name)
        self.load(after)
        incremental = self.respaldo.backup(self.source.name, expect="incremental")
        assert_same_database(self.server, self.source.name, self.restored(incremental["name"]))
        assert_description(was, self.server, self.restored(full["name"]))

    def prove_files(self, *names: str) -> None:
        """``prove`` files of tests/integration/sql, each of which holds both parts, in one database."""
        parts = [(SQL / name).read_text().split(AFTER_THE_FULL) for name in names]
        self.prove("\n".join(before for before, _after in parts), "\n".join(after for _before, after in parts))


class RoundTrips:
    """Makes round trips, each with a database and a repository of its own, and removes what they leave."""

    def __init__(self, repositories: Path) -> None:
        self._repositories = repositories
        self._trips: list[RoundTrip] = []

    def __call__(self, server: PostgresContainer, *, options: str = "") -> RoundTrip:
        number = len(self._trips) + 1
        roles = {name: f"test_{os.getpid()}_{name}" for name in ("ana", "ben")}
        has_roles = any(trip.server is server for trip in self._trips)
        source = _make_source(server, () if has_roles else roles.values(), options=options)
        respaldo = Respaldo(repository=self._repositories / f"repository_{number}", container=server)
        trip = RoundTrip(respaldo=respaldo, source=source, roles=roles)
        self._trips.append(trip)
        return trip

    def remove(self) -> None:
        """Drop the restored databases, the sources and the roles."""
        for trip in self._trips:
            _drop(trip, [*trip.made, trip.source.name])


def _make_source(server: PostgresContainer, roles: Iterable[str], *, options: str = "") -> Database:
    """Make a database and roles by one command."""
    source = Database(server=server, name=new_name())
    creates = [f'CREATE DATABASE "{source.name}" {options};', *(f'CREATE ROLE "{role}";' for role in roles)]
    server.psql("\n".join(creates), "postgres")
    return source


def _drop(trip: RoundTrip, databases: Iterable[str]) -> None:
    """Drop databases, and then the roles of a trip, which they may need."""
    drops = [f"DROP DATABASE IF EXISTS {quote_identifier(name)} WITH (FORCE);" for name in databases]
    drops += [f"DROP ROLE IF EXISTS {quote_identifier(role)};" for role in trip.roles.values()]
    trip.server.psql("\n".join(drops), "postgres")


@contextmanager
def kept_round_trip(server: PostgresContainer, repository: Path) -> Iterator[RoundTrip]:
    """Make a database with a repository beside it for the tests of a whole module, which leave both as they are."""
    roles = {name: f"test_{os.getpid()}_kept_{name}" for name in ("ana", "ben")}
    source = _make_source(server, roles.values())
    respaldo = Respaldo(repository=repository / "backups", container=server)
    trip = RoundTrip(respaldo=respaldo, source=source, roles=roles)
    try:
        yield trip
    finally:
        left = f"SELECT datname FROM pg_database WHERE starts_with(datname, '{source.name}')"
        _drop(trip, sorted({*trip.made, *server.psql(left, "postgres").splitlines()}))


def copy_of(kept: RoundTrip, directory: Path) -> RoundTrip:
    """Return the same database with a copy of its repository, which the test may change."""
    repository = directory / "repository"
    shutil.copytree(kept.respaldo.repository, repository)
    respaldo = Respaldo(repository=repository, container=kept.server)
    return RoundTrip(respaldo=respaldo, source=kept.source, roles=kept.roles, made=kept.made)


@pytest.fixture
def round_trip(tmp_path: Path) -> Iterator[RoundTrips]:
    """Makes a database with a repository beside it: ``round_trip(server).prove(before, after)``."""
    trips = RoundTrips(tmp_path)
    yield trips
    trips.remove()


@pytest.fixture(params=MAJORS)
def server(request: pytest.FixtureRequest, shared_postgres: Callable[[int], PostgresContainer]) -> PostgresContainer:
    """The shared server of each major version in turn."""
    return shared_postgres(request.param)
