"""A name that was free when a restore began and is another's when it ends: it is said so, and nothing is left."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import pytest

from respaldo.clock import SystemClock
from respaldo.environments.base import InstanceQuery
from respaldo.environments.detect import choose
from respaldo.environments.docker import DockerEnvironment
from respaldo.errors import PostgresError
from respaldo.events import Event, PhaseStarted
from respaldo.operations.restore import RestoreRequest, execute_restore, plan_restore
from respaldo.operations.source import BackupSource
from respaldo.postgres.connection import ConnectionOverrides
from respaldo.postgres.databases import database_names
from respaldo.postgres.server import Server, connect
from respaldo.repository.repository import Repository
from respaldo.storage.directory import DirectoryStorage
from tests.integration.conftest import RoundTrip, RoundTrips
from tests.rig.containers import PostgresContainer

Shared = Callable[[int], PostgresContainer]
RENAMING = """SELECT count(*) FROM pg_catalog.pg_stat_activity
 WHERE query LIKE '%__restoring_%RENAME TO%' AND wait_event_type = 'Lock' AND pid <> pg_catalog.pg_backend_pid()"""


@pytest.fixture(params=[13, 18])
def trip(request: pytest.FixtureRequest, shared_postgres: Shared, round_trip: RoundTrips) -> RoundTrip:
    trip = round_trip(shared_postgres(request.param))
    trip.load("CREATE TABLE t AS SELECT 1 AS a")
    trip.respaldo.backup(trip.source.name, "--name", "first")
    trip.made.append(f"{trip.source.name}_to")
    return trip


@pytest.fixture
def server(trip: RoundTrip) -> Server:
    environment = DockerEnvironment()
    instance = choose(environment, InstanceQuery(name=trip.server.name))
    return connect(environment.open(instance), ConnectionOverrides(), any_database=True)


def test_restore_to_a_name_that_is_given_meanwhile_says_that_it_is_taken(trip: RoundTrip, server: Server) -> None:
    repository = Repository.open(DirectoryStorage(trip.respaldo.repository), SystemClock())
    (target,) = repository.targets()
    source = BackupSource(repository.reader(target, "first"))
    to = trip.made[-1]
    request = RestoreRequest(to=to)

    def listen(event: Event) -> None:
        if isinstance(event, PhaseStarted) and to not in database_names(server):
            trip.server.psql(f'CREATE DATABASE "{to}"', "postgres")

    plan = plan_restore(server, source, to, request, clock=SystemClock())
    with pytest.raises(PostgresError, match=to) as caught:
        execute_restore(server, source, plan, listen=listen)
    assert "--to" in (caught.value.hint or "")
    assert not [name for name in database_names(server) if "__restoring_" in name]


def test_restore_that_waits_for_another_to_give_the_name_says_that_it_is_taken(trip: RoundTrip, server: Server) -> None:
    to = trip.made[-1]
    trip.made.append(f"{to}_spare")
    trip.server.psql(f'CREATE DATABASE "{to}_spare"', "postgres")
    waited: list[bool] = []

    def give() -> None:
        """Let the name go to the other once the restore waits for it."""
        deadline_s = time.monotonic() + 60
        with server.open_session() as watching:
            while not (is_waiting := watching.value(RENAMING) == 1) and time.monotonic() < deadline_s:
                pass
        waited.append(is_waiting)
        renaming.execute("COMMIT;")

    with server.open_session() as renaming:
        renaming.execute(f'BEGIN;\nALTER DATABASE "{to}_spare" RENAME TO "{to}";')
        other = threading.Thread(target=give)
        other.start()
        ended = trip.respaldo.run("restore", "first", "--to", to, "--container", trip.server.name)
        other.join()
    assert waited == [True]
    assert ended.status == 30
    assert to in ended.err
    assert "--to" in ended.err
    assert not [name for name in database_names(server) if "__restoring_" in name]
