"""A backup as a file: what psql and pg_restore make of it is the database that was backed up."""
# ruff: noqa: E501 - SQL and the lines that are expected of it are easier to read as they are

from __future__ import annotations

import gzip
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from backports import zstd

from respaldo.clock import SystemClock
from respaldo.environments.base import InstanceQuery
from respaldo.environments.detect import choose
from respaldo.environments.docker import DockerEnvironment
from respaldo.events import ignore
from respaldo.operations.export import export_archive
from respaldo.postgres.connection import ConnectionOverrides
from respaldo.postgres.databases import database_names, drop_leftovers, is_left_by_restore
from respaldo.postgres.server import connect
from respaldo.repository.repository import Repository
from respaldo.storage.directory import DirectoryStorage
from tests.integration.comparison import assert_same_database
from tests.integration.conftest import ROOT, Ended, RoundTrip, copy_of, kept_round_trip
from tests.rig.containers import PostgresContainer

Shared = Callable[[int], PostgresContainer]
FORMS = ("sql", "sql.gz", "sql.zst", "dump", "directory")
SCHEMA = r"""
CREATE TABLE t (id serial PRIMARY KEY, v text); INSERT INTO t (v) SELECT E'ñ\\! \\.\n' || i FROM generate_series(1, 300) i;
CREATE TABLE u (id int REFERENCES t, n numeric CHECK (n > 0)); INSERT INTO u SELECT i, i FROM generate_series(1, 300) i;
ALTER TABLE u OWNER TO :"ana"; GRANT SELECT ON t TO :"ben"; SELECT lo_from_bytea(0, '\x00ff'); CREATE VIEW w AS SELECT * FROM t;
CREATE TABLE "Ta""b'la" AS SELECT 1 AS "x y"; COMMENT ON TABLE t IS E'a\n\\restrict b';
"""


@pytest.fixture(scope="module")
def kept(shared_postgres: Shared, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RoundTrip]:
    """A database with a full backup, ``first``, and an incremental that holds what it is now, ``second``."""
    with kept_round_trip(shared_postgres(17), tmp_path_factory.mktemp("export")) as made:
        made.load(SCHEMA)
        made.respaldo.backup(made.source.name, "--name", "first", expect="full")
        made.load("UPDATE t SET v = v || 'x' WHERE id % 3 = 0; DELETE FROM u WHERE id < 5")
        made.respaldo.backup(made.source.name, "--name", "second", expect="incremental")
        yield made


@pytest.fixture
def trip(kept: RoundTrip, tmp_path: Path) -> RoundTrip:
    return copy_of(kept, tmp_path)


def export(trip: RoundTrip, *words: str) -> Ended:
    return trip.respaldo.run("export", *words, "--container", trip.server.name)


def load(trip: RoundTrip, form: str, data: bytes) -> str:
    """Restore an exported file with the container's plain programs; return the new database's name."""
    name = f"{trip.source.name}_exported_{len(trip.made)}"
    trip.made.append(name)
    trip.server.psql(f'CREATE DATABASE "{name}" TEMPLATE template0', "postgres")
    if form == "directory":
        script = 'rm -rf /tmp/e && mkdir /tmp/e && tar -xf - -C /tmp/e && exec pg_restore -U postgres --exit-on-error -d "$1" /tmp/e'
        trip.server.exec(["sh", "-c", script, "sh", name], data)
    elif form == "dump":
        trip.server.pg_restore(data, "--exit-on-error", database=name)
    else:
        text = {"sql.gz": gzip.decompress, "sql.zst": zstd.decompress}.get(form, bytes)(data)
        trip.server.exec(["psql", "-Xq", "-v", "ON_ERROR_STOP=1", "-U", "postgres", "-d", name, "-f", "-"], text)
    return name


@pytest.mark.parametrize("form", FORMS)
def test_export_of_an_incremental_in_each_form_restores_to_the_same(form: str, trip: RoundTrip, tmp_path: Path) -> None:
    path = tmp_path / "out"
    before = trip.server.psql("SELECT datname FROM pg_database ORDER BY 1", "postgres")
    ended = export(trip, "second", "--format", form, "--output", str(path))
    assert ended.status == 0, ended.err
    assert path.stat().st_mode & 0o777 == 0o600
    assert trip.server.psql("SELECT datname FROM pg_database ORDER BY 1", "postgres") == before
    assert_same_database(trip.server, trip.source.name, load(trip, form, path.read_bytes()))


def test_database_that_is_exported_from_is_known_as_a_restores_and_dropped_by_none_meanwhile(trip: RoundTrip) -> None:
    """A run that is killed leaves it under this name."""
    repository = Repository.open(DirectoryStorage(trip.respaldo.repository), SystemClock())
    (target,) = repository.targets()
    environment = DockerEnvironment()
    instance = choose(environment, InstanceQuery(name=trip.server.name))
    server = connect(environment.open(instance), ConnectionOverrides(), any_database=True)
    known = database_names(server)
    seen: set[str] = set()

    def write(_text: bytes) -> None:
        assert drop_leftovers(server) == {}
        seen.update(set(database_names(server)) - set(known))

    export_archive(
        server, repository.reader(target, "second"), write, "dump", jobs=1, clock=SystemClock(), listen=ignore
    )
    assert [is_left_by_restore(name) for name in seen] == [True]
    assert database_names(server) == known


def test_export_of_the_full_holds_what_it_was(trip: RoundTrip, tmp_path: Path) -> None:
    for form in ("sql", "dump"):
        path = tmp_path / form
        assert export(trip, "first", "--format", form, "--output", str(path)).status == 0
        name = load(trip, form, path.read_bytes())
        assert trip.server.psql("SELECT count(*) FROM u; SELECT count(*) FROM t WHERE v LIKE '%x'", name) == "300\n0"


def test_export_to_standard_output_is_the_file_and_nothing_else(trip: RoundTrip, tmp_path: Path) -> None:
    path = tmp_path / "out.sql"
    assert export(trip, "latest", "--output", str(path)).status == 0
    argv = [sys.executable, "-m", "respaldo", "--repository", str(trip.respaldo.repository), "export", "latest"]
    done = subprocess.run(
        [*argv, "-o", "-", "--container", trip.server.name], cwd=ROOT, capture_output=True, check=True
    )
    assert done.stdout == path.read_bytes()
    assert_same_database(trip.server, trip.source.name, load(trip, "sql", done.stdout))


@pytest.mark.parametrize("form", ["sql", "sql.gz", "dump"])
def test_export_that_fails_leaves_no_file_and_no_database(form: str, trip: RoundTrip, tmp_path: Path) -> None:
    before = trip.server.psql("SELECT datname FROM pg_database ORDER BY 1", "postgres")
    pack = max(trip.respaldo.repository.rglob("first/*data-*"), key=lambda path: path.stat().st_size)
    data = bytearray(pack.read_bytes())
    data[len(data) // 2] ^= 1
    pack.chmod(0o600)
    pack.write_bytes(data)
    (tmp_path / "out").write_text("what was there before")
    ended = export(trip, "first", "--format", form, "--output", str(tmp_path / "out"))
    assert ended.status == 13, ended.err
    assert [path.name for path in tmp_path.iterdir() if path.is_file()] == ["out"]
    assert (tmp_path / "out").read_text() == "what was there before"
    assert trip.server.psql("SELECT datname FROM pg_database ORDER BY 1", "postgres") == before


def test_export_to_where_nothing_can_be_written_is_a_storage_error(trip: RoundTrip, tmp_path: Path) -> None:
    ended = export(trip, "first", "--output", str(tmp_path / "nowhere" / "out.sql"))
    assert ended.status == 20
    assert "nowhere" in ended.err
    assert export(trip, "nothing", "--output", str(tmp_path / "x")).status == 10
    assert list(tmp_path.glob("x*")) == []
