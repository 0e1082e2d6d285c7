"""What is loaded is compared row by row in the order in which it was sent, and every difference names its table."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, cast

import pytest

from respaldo.clock import SystemClock
from respaldo.environments.base import InstanceQuery
from respaldo.environments.detect import choose
from respaldo.environments.docker import DockerEnvironment
from respaldo.errors import ProofFailedError
from respaldo.operations.filling import Filling
from respaldo.operations.layout import SCHEMA
from respaldo.postgres.archive import restore_section
from respaldo.postgres.connection import ConnectionOverrides
from respaldo.postgres.server import Server, connect
from respaldo.repository.reader import BackupReader
from respaldo.repository.records import Segment
from respaldo.repository.repository import Repository
from respaldo.storage.directory import DirectoryStorage
from tests.integration.comparison import assert_same_database
from tests.integration.conftest import ENDS, RoundTrip, RoundTrips, kept_round_trip
from tests.rig.containers import PostgresContainer

Shared = Callable[[int], PostgresContainer]
# Rows of very different widths, some in TOAST: what does not fit on a page must not go back to an earlier one. And one
# whose only index holds all that it has, which a reader in the index's order would take.
SCHEMA_SQL = r"""
CREATE TABLE wide AS SELECT i, repeat(md5(i::text), CASE WHEN i % 97 = 0 THEN 900 ELSE 1 + i % 120 END) AS v
  FROM generate_series(1, 4000) i;
CREATE TABLE keys (k text PRIMARY KEY); INSERT INTO keys SELECT md5(i::text) FROM generate_series(1, 60000) i;
CREATE TABLE pairs AS SELECT i AS a, i + 1 AS b, repeat('x', 40) AS filler FROM generate_series(100000, 130000) i;
CREATE TABLE small AS SELECT 1 AS a;
CREATE TABLE "Sp 'ace""d" AS SELECT i AS "c'\ ""1", repeat('ñ', 100) AS "é" FROM generate_series(1, 9000) i;
"""


def connect_to(trip: RoundTrip, database: str) -> Server:
    environment = DockerEnvironment()
    instance = choose(environment, InstanceQuery(name=trip.server.name))
    return connect(environment.open(instance), ConnectionOverrides(database=database))


def open_reader(trip: RoundTrip, name: str) -> BackupReader:
    repository = Repository.open(DirectoryStorage(trip.respaldo.repository), SystemClock())
    return repository.reader(repository.targets()[0], name)


def fill(trip: RoundTrip, reader: Any, *, jobs: int = 2) -> tuple[str, int]:
    """Fill a new database; return its name and the rows that were found in it."""
    to = f"{trip.source.name}_filled_{len(trip.made)}"
    trip.made.append(to)
    trip.server.psql(f'CREATE DATABASE "{to}" TEMPLATE template0', "postgres")
    server = connect_to(trip, to)
    schema = reader.read_object(SCHEMA)
    restore_section(server, to, schema, "pre-data", jobs=1)
    filling = Filling(server, to, cast(BackupReader, reader), encoding="UTF8", jobs=jobs, listen=lambda event: None)
    return to, filling.run(lambda workers: restore_section(server, to, schema, "post-data", jobs=2))


class FakeAltered:
    """A backup whose reader is told another text than the one that goes to the server: as if that had stored it
    otherwise."""

    def __init__(self, reader: BackupReader, table: str, alter: Callable[[bytes], bytes]) -> None:
        self._reader = reader
        self._alter = alter
        self._table = table

    def __getattr__(self, name: str) -> Any:
        return getattr(self._reader, name)

    def _text(self, segment: Segment) -> bytes:
        text = self._reader.read_text(segment)
        return self._alter(text) if self._reader.series[segment.series].key == self._table else text

    def open_frame(self, segment: Segment, told: Callable[[bytes], None]) -> Iterator[bytes] | None:
        told(self._text(segment))
        return self._reader.open_frame(segment, lambda text: None)

    def open_text(self, segment: Segment) -> Iterator[bytes]:
        yield self._text(segment)


@pytest.fixture(scope="module")
def kept(shared_postgres: Shared, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RoundTrip]:
    """A database on PostgreSQL 17 with a full backup, for tests that only read either."""
    with kept_round_trip(shared_postgres(17), tmp_path_factory.mktemp("filling")) as trip:
        trip.load(SCHEMA_SQL)
        trip.respaldo.backup(trip.source.name, "--name", "first", expect="full")
        yield trip


@pytest.mark.parametrize("major", ENDS)
def test_tables_are_filled_in_order_and_frozen(major: int, shared_postgres: Shared, round_trip: RoundTrips) -> None:
    trip = round_trip(shared_postgres(major))
    trip.load(SCHEMA_SQL)
    made = trip.respaldo.backup(trip.source.name, "--name", "first", expect="full")
    to = trip.restored("first")
    assert_same_database(trip.server, trip.source.name, to)
    assert made["rows"] == 4000 + 60000 + 30001 + 1 + 9000
    for table in ("wide", "keys", "pairs", '"Sp \'ace""d"'):
        rows = f"SELECT md5(string_agg(r::text, ',' ORDER BY ctid)), count(DISTINCT xmin::text) FROM ONLY {table} r"
        assert trip.server.psql(rows, to) == trip.source.psql(rows.replace("count(DISTINCT xmin::text)", "1")), table


@pytest.mark.parametrize("jobs", [1, 3])
def test_rows_are_counted_with_any_number_of_workers(jobs: int, kept: RoundTrip) -> None:
    _name, rows = fill(kept, open_reader(kept, "first"), jobs=jobs)
    assert rows == 4000 + 60000 + 30001 + 1 + 9000


ALTERED: dict[str, Callable[[bytes], bytes]] = {
    "a row changed": lambda text: text.replace(b"100007\t", b"100008\t", 1),
    "a row missing": lambda text: text[: text[:-1].rfind(b"\n") + 1],
    "a row more": lambda text: text + text[text[:-1].rfind(b"\n") + 1 :],
    "two values exchanged": lambda text: text.replace(b"100007\t100008", b"100008\t100007", 1),
}


@pytest.mark.parametrize("what", ALTERED)
def test_difference_is_found_and_names_its_table(what: str, kept: RoundTrip) -> None:
    reader = FakeAltered(open_reader(kept, "first"), '"public"."pairs"', ALTERED[what])
    with pytest.raises(ProofFailedError, match=r'"public"\."pairs"'):
        fill(kept, reader)


def test_difference_in_a_small_table_is_found(kept: RoundTrip) -> None:
    reader = FakeAltered(open_reader(kept, "first"), '"public"."small"', lambda text: text.replace(b"1", b"2"))
    with pytest.raises(ProofFailedError, match=r'"public"\."small"'):
        fill(kept, reader)


def test_same_rows_in_another_order_are_no_difference(kept: RoundTrip) -> None:
    """Should a server ever lay rows out otherwise, only what they are decides."""

    def turned(text: bytes) -> bytes:
        return b"".join(reversed(text.splitlines(keepends=True)))

    _name, rows = fill(kept, FakeAltered(open_reader(kept, "first"), '"public"."pairs"', turned))
    assert rows == 4000 + 60000 + 30001 + 1 + 9000
