"""Whatever happens at whichever step of a restore in the place of a live database: it answers meanwhile, it is byte for
byte what it was, and the next run finds nothing half-made."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from respaldo.clock import SystemClock
from respaldo.environments.base import InstanceQuery
from respaldo.environments.detect import choose
from respaldo.environments.docker import DockerEnvironment
from respaldo.errors import InterruptedRunError, RespaldoError
from respaldo.events import ignore
from respaldo.operations.backup import BackupRequest, run_backup
from respaldo.operations.restore import RestoreRequest, execute_restore, plan_restore
from respaldo.operations.source import BackupSource
from respaldo.postgres.connection import ConnectionOverrides
from respaldo.postgres.databases import drop_leftovers
from respaldo.postgres.server import Server, connect
from respaldo.repository.reader import BackupReader
from respaldo.repository.records import TargetPath
from respaldo.repository.repository import Repository
from respaldo.storage.memory import MemoryStorage
from tests.faults.harming import TAG, FakeHarmingRunner, Harm, Step
from tests.faults.program import Program
from tests.rig import engine
from tests.rig.containers import PostgresContainer, start_postgres
from tests.rig.requirements import require

IMAGE = "postgres:17"
NAME = "live"
SCHEMA = f"""
CREATE TABLE t AS SELECT g AS id, repeat(md5(g::text), 4) AS v FROM generate_series(1, 12000) g;
CREATE TABLE u (id int PRIMARY KEY, t int); INSERT INTO u SELECT g, g FROM generate_series(1, 1000) g;
CREATE UNIQUE INDEX ON t (id); ALTER TABLE u ADD FOREIGN KEY (t) REFERENCES t (id); SELECT lo_from_bytea(0, 'large');
COMMENT ON DATABASE {NAME} IS 'set at the end';
CREATE SUBSCRIPTION s CONNECTION 'dbname=nowhere host=/nowhere' PUBLICATION p WITH (connect = false, slot_name = NONE);
"""
# In the order in which they come. t is compared by a digest made inside, u row by row.
STEPS = {
    "preflight": Step(word="psql", marker=b"pg_available_extensions"),
    "safety backup": Step(word="--section=data"),
    "creation": Step(word="psql", marker=b"CREATE DATABASE"),
    "definitions": Step(word="--section=pre-data"),
    "rows": Step(word="--output=/dev/null", write=3),
    "end of rows": Step(word="--output=/dev/null", write=5),
    "comparing by digest": Step(word="psql", marker=b"sha256sum"),
    "comparing by row": Step(word="psql", marker=b"COPY (SELECT"),
    "indexes and constraints": Step(word="--section=post-data"),
    "settings": Step(word="--set=database="),
    "exchange": Step(word="psql", marker=b"RENAME TO"),
    "end of the exchange": Step(word="psql", start=b"COMMIT;\n\\echo"),
}
# psql waits for what the step writes; the others are killed a moment after they began.
_KILL = f"""
until
  for d in /proc/[0-9]*; do
    read -r name < $d/comm && [ "$name" = psql ] && tr '\\0' '\\n' < $d/environ | grep -qx "{TAG}=$1" && break
    name=
  done
  [ "$name" ] && kill -9 "${{d#/proc/}}"
do sleep 0.02; done 2>/dev/null
"""
QUICK_STEPS = {"--section=data", "--section=pre-data", "--section=post-data"}
_KILLED_SOON = ("timeout", "-s", "KILL", "0.01")


@dataclass(frozen=True, slots=True, kw_only=True)
class Live:
    """A live database on a small disk, a full backup of what it was, and how to see that it is what it is now."""

    container: PostgresContainer
    server: Server
    reader: BackupReader
    was: tuple[str, bytes]

    @property
    def program(self) -> Program:
        return Program(container=self.container, database=NAME, repository=Path("/nowhere"))

    def state(self) -> tuple[str, bytes]:
        """The database's row in the catalog and all that pg_dump writes of it."""
        row = self.container.psql(f"SELECT (d.*)::text FROM pg_database d WHERE datname = '{NAME}'", "postgres")
        # What is vacuumed meanwhile is frozen further; nothing else may change.
        return ",".join(row.split(",")[:9]), self.container.pg_dump("--restrict-key=k", "--create", database=NAME)

    def databases(self) -> list[str]:
        return self.container.psql(f"SELECT datname FROM pg_database WHERE datname ^@ '{NAME}'", "postgres").split()

    def answers(self) -> None:
        assert self.container.psql("SELECT count(*) FROM u", NAME) == "10"


def harms(live: Live, step: str) -> dict[str, Harm]:
    container = live.container

    def kill(tag: str) -> None:
        if STEPS[step].word not in QUICK_STEPS:
            container.exec(["sh", "-c", _KILL, "sh", tag], user="root", timeout_s=20)

    def crash(tag: str) -> None:
        pid = container.psql("SELECT pid FROM pg_stat_activity WHERE backend_type = 'walwriter'", "postgres")
        container.exec(["kill", "-9", pid])

    def fill_disk(tag: str) -> None:
        # With nothing left at all PostgreSQL's own next checkpoint would fail; the rows do not fit into this.
        script = 'cd "$PGDATA"; dd if=/dev/zero of=ballast bs=64k 2>/dev/null; truncate -s -1M ballast'
        container.exec(["sh", "-c", script], user="postgres")

    return {
        "output cut": Harm(cuts_output=True),
        "output cut, input late": Harm(cuts_output=True, is_late=True),
        "input cut": Harm(cuts_input=True),
        "killed inside": Harm(act=kill, acts_before=True, wrap=_KILLED_SOON),
        "Ctrl-C": Harm(act=lambda tag: os.kill(os.getpid(), signal.SIGINT)),
        "server crashed": Harm(act=crash),
        "disk full": Harm(act=fill_disk),
    }


# Where each may come out otherwise than at the step before. Rows need more room than is left, what follows does not.
HARMED = {
    "output cut": tuple(STEPS),
    "output cut, input late": ("creation", "exchange", "end of the exchange"),
    "input cut": ("definitions", "rows", "settings", "exchange"),
    "killed inside": ("definitions", "rows", "comparing by digest", "indexes and constraints", "exchange"),
    "Ctrl-C": tuple(step for step in STEPS if step not in {"preflight", "end of rows", "comparing by row", "settings"}),
    "server crashed": ("creation", "rows", "indexes and constraints", "exchange"),
    "disk full": ("preflight", "creation", "definitions"),
}


@pytest.fixture(scope="module")
def live(docker_engine: None) -> Iterator[Live]:
    """A server of its own, whose data lies on a disk of 160 MiB."""
    require(IMAGE, None if engine.has_image(IMAGE) else "no such image")
    container = start_postgres(
        IMAGE,
        args=("-c", "min_wal_size=32MB", "-c", "max_wal_size=48MB"),
        run_args=("--tmpfs", "/var/lib/postgresql/data:size=160m"),
    )
    try:
        container.psql(f"CREATE DATABASE {NAME}")
        container.psql(SCHEMA, NAME)
        environment = DockerEnvironment()
        runner = environment.open(choose(environment, InstanceQuery(name=container.name)))
        repository = Repository.open_or_create(MemoryStorage(), SystemClock())
        target = TargetPath(instance="i", database=NAME)
        source = connect(runner, ConnectionOverrides(database=NAME))
        manifest = run_backup(source, repository, target, BackupRequest(), clock=SystemClock(), listen=ignore)
        container.psql(
            "DROP SUBSCRIPTION s; DELETE FROM u WHERE id > 10; UPDATE t SET v = 'now' WHERE id % 100 = 0", NAME
        )
        server = connect(runner, ConnectionOverrides(), any_database=True)
        made = Live(container=container, server=server, reader=repository.reader(target, manifest.name), was=("", b""))
        yield replace(made, was=made.state())
    finally:
        container.remove()


def restore(live: Live, server: Server, save: Callable[[], object] = lambda: None) -> None:
    plan = plan_restore(server, BackupSource(live.reader), NAME, RestoreRequest(), clock=SystemClock())
    execute_restore(server, BackupSource(live.reader), plan, listen=ignore, save=save)


def save(live: Live, server: Server) -> None:
    target = TargetPath(instance="i", database=NAME)
    repository = Repository.open_or_create(MemoryStorage(), SystemClock())
    source = replace(server, connection=replace(server.connection, database=NAME))
    run_backup(source, repository, target, BackupRequest(), clock=SystemClock(), listen=ignore)


@pytest.mark.parametrize(("what", "step"), [(what, step) for what in HARMED for step in HARMED[what]])
def test_restore_harmed_at_a_step_leaves_the_live_database_as_it_was(what: str, step: str, live: Live) -> None:
    harm = harms(live, step)[what]

    def act(tag: str) -> None:
        # While it is being renamed, who connects to it waits.
        is_answering = "exchange" not in step
        if is_answering:
            live.answers()
        harm.act(tag)
        if is_answering and what == "disk full":
            live.answers()

    runner = FakeHarmingRunner(live.server.runner, STEPS[step], replace(harm, act=act))
    server = replace(live.server, runner=runner)
    error: RespaldoError | KeyboardInterrupt | None = None
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        restore(live, server, (lambda: save(live, server)) if step == "safety backup" else lambda: None)
    except (RespaldoError, KeyboardInterrupt) as raised:
        error = raised
    finally:
        signal.signal(signal.SIGINT, before)
        live.container.exec(["sh", "-c", 'rm -f "$PGDATA/ballast"'], user="root", check=False)
    live.container.wait()
    assert runner.is_done
    is_exchanged = any("__old_" in name for name in live.databases())
    if is_exchanged:
        # Only the answer to the commit was lost, or the server was: then all is done, and the old one kept.
        assert step == "end of the exchange" or (what, step) == ("server crashed", "exchange")
        assert error is None or (isinstance(error, InterruptedRunError) and "__old_" in error.message)
        old = next(name for name in live.databases() if name != NAME)
        assert live.container.psql("SELECT count(*) FROM u", NAME) == "1000"
        live.container.psql("DROP SUBSCRIPTION s", NAME)
        live.container.psql(f"DROP DATABASE {NAME} WITH (FORCE); ALTER DATABASE {old} RENAME TO {NAME}", "postgres")
    else:
        assert error is not None
    if isinstance(error, RespaldoError):
        assert error.exit_code in {30, 40, 130}
        assert len(error.message) > 10
    # What is left where the server was away bears a name of its own, and the next run drops it.
    if what not in {"server crashed", "disk full"}:
        assert live.databases() == [NAME]
    drop_leftovers(live.server)
    assert live.databases() == [NAME]
    assert live.state() == live.was
