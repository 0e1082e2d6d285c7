"""A stream from inside that ends early while everything claims success: never a backup."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import pytest

from respaldo.clock import SystemClock
from respaldo.environments.base import Instance, InstanceQuery, Process, Runner
from respaldo.environments.detect import choose
from respaldo.environments.docker import DockerEnvironment
from respaldo.errors import RespaldoError
from respaldo.events import Event, SegmentDone, Waiting, ignore
from respaldo.operations.backup import BackupRequest, run_backup
from respaldo.postgres.connection import ConnectionOverrides
from respaldo.postgres.dump import dump_data, dump_globals
from respaldo.postgres.rowstream import CommandStream
from respaldo.postgres.server import Server, connect
from respaldo.repository.records import TargetPath
from respaldo.repository.repository import Repository
from respaldo.storage.memory import MemoryStorage
from tests.faults.program import ROWS, Program, wait_until
from tests.rig.containers import PostgresContainer
from tests.rig.engine import RigError, docker


class FakeCuttingProcess(Process):
    """A real process whose output ends after so many bytes, with status 0 and nothing on its standard error."""

    def __init__(self, process: Process, limit_bytes: int, marker: bytes) -> None:
        self._process = process
        self._limit_bytes = limit_bytes
        self._marker = marker
        self._is_cutting = not marker
        self.was_cut = False

    def read(self, size: int = 1 << 18) -> bytes:
        if not self._is_cutting:
            return self._process.read(size)
        if self._limit_bytes == 0:
            self.was_cut = True
            return b""
        data = self._process.read(min(size, self._limit_bytes))
        self._limit_bytes -= len(data)
        return data

    def write(self, data: bytes | memoryview) -> None:
        self._is_cutting = self._is_cutting or self._marker in bytes(data)
        self._process.write(data)

    def close_stdin(self) -> None:
        self._process.close_stdin()

    def wait(self, timeout_s: float | None = None) -> int:
        return 0 if self.was_cut else self._process.wait(timeout_s)

    def stderr_tail(self) -> bytes:
        return b"" if self.was_cut else self._process.stderr_tail()

    def close(self) -> None:
        self._process.close()


@dataclass(frozen=True, slots=True)
class Cut:
    """Which process is cut: one whose command line holds ``word``, from the moment that ``marker`` is written to it."""

    word: str
    marker: bytes = b""


class FakeCuttingRunner(Runner):
    """A real runner that cuts the first process of one kind."""

    def __init__(self, runner: Runner, cut: Cut, limit_bytes: int) -> None:
        self._runner = runner
        self._cut = cut
        self._limit_bytes = limit_bytes
        self.cutting: list[FakeCuttingProcess] = []

    @property
    def instance(self) -> Instance:
        return self._runner.instance

    def variables(self) -> Mapping[str, str]:
        return self._runner.variables()

    def start(self, argv: Sequence[str], *, env: Mapping[str, str] | None = None, stdin: bool = False) -> Process:
        process = self._runner.start(argv, env=env, stdin=stdin)
        if self._cut.word not in " ".join(argv):
            return process
        self.cutting.append(FakeCuttingProcess(process, self._limit_bytes, self._cut.marker))
        return self.cutting[-1]


STREAMS = {
    "rows": Cut("psql", b"\\copy ("),
    "schema": Cut("--format=custom"),
    "data": Cut("--section=data"),
    "globals": Cut("--globals-only"),
    "settings": Cut("psql", b"datconnlimit"),
    "snapshot": Cut("psql", b"pg_export_snapshot"),
    "tables": Cut("psql", b"relkind"),
}


@pytest.fixture(scope="module")
def plain_server(faulty_server: PostgresContainer) -> Server:
    environment = DockerEnvironment()
    instance = choose(environment, InstanceQuery(name=faulty_server.name))
    return connect(environment.open(instance), ConnectionOverrides(database="shop"))


@pytest.mark.parametrize("limit_bytes", [0, 40, 3000])
@pytest.mark.parametrize("stream", STREAMS)
def test_backup_with_a_cut_stream_raises_and_commits_nothing(
    plain_server: Server, program: Program, stream: str, limit_bytes: int
) -> None:
    runner = FakeCuttingRunner(plain_server.runner, STREAMS[stream], limit_bytes)
    server = replace(plain_server, runner=runner)
    storage = MemoryStorage()
    repository = Repository.open_or_create(storage, SystemClock())
    target = TargetPath(instance="i", database="shop")
    error: RespaldoError | None = None
    try:
        run_backup(server, repository, target, BackupRequest(), clock=SystemClock(), listen=ignore)
    except RespaldoError as raised:
        error = raised
    if error is None:
        # Shorter than where it would be cut, so nothing was.
        assert not any(process.was_cut for process in runner.cutting), "a cut stream was committed"
        assert limit_bytes == 3000
        return
    assert error.exit_code in {30, 40}, error
    assert repository.backups(target).manifests == ()
    assert [stored.name for stored in storage.list()] == ["respaldo.json"]
    program.check_server_is_left_alone()


def is_done(*argv: str) -> bool:
    """Run one ``docker`` command, and tell whether it succeeded."""
    try:
        docker(*argv)
    except RigError:
        return False
    return True


def test_backup_of_a_container_that_is_paused_says_so_and_goes_on_when_it_does(
    plain_server: Server, program: Program, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("respaldo.operations.silence.AFTER_S", 1.0)
    said: list[str] = []

    def listen(event: Event) -> None:
        # The first of two large tables is there; the second is still to come.
        if isinstance(event, SegmentDone) and "big" in event.table and not said:
            # A busy machine may not freeze processes that are just being started: runc gives up, and thaws them.
            wait_until(lambda: is_done("pause", program.container.name), "the container is paused")
            said.append("paused")
        elif isinstance(event, Waiting):
            docker("unpause", program.container.name)
            said.append(event.message)

    repository = Repository.open_or_create(MemoryStorage(), SystemClock())
    target = TargetPath(instance="i", database="shop")
    manifest = run_backup(plain_server, repository, target, BackupRequest(jobs=1), clock=SystemClock(), listen=listen)
    assert (len(said), program.container.name in said[1]) == (2, True)
    assert (manifest.totals.rows, manifest.warnings) == (ROWS, ())
    program.check_server_is_left_alone()


@pytest.mark.parametrize("dump", ["globals", "data"])
def test_dump_whose_reader_leaves_at_any_time_does_not_restart_the_server(
    plain_server: Server, program: Program, dump: str
) -> None:
    for number in range(15):
        stream = dump_globals(plain_server) if dump == "globals" else dump_data_of(plain_server)
        threading.Event().wait(number * 0.008)
        stream.close()
    program.check_server_is_left_alone()


def dump_data_of(server: Server) -> CommandStream:
    """Stream everything as pg_dump writes it, under a snapshot that is gone at once: how it fails does not matter."""
    return dump_data(server, "00000003-00000001-1", excluded=[], lock_timeout_s=5)
