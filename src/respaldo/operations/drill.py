"""Restore a backup into a throwaway instance made from the source's own image, compare everything, time it."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

from respaldo import __version__
from respaldo.clock import Clock
from respaldo.environments.base import Environment, Instance, InstanceQuery, Sandbox, SandboxSpec
from respaldo.errors import (
    DamagedError,
    EnvironmentFailedError,
    InconclusiveError,
    PostgresError,
    ProofFailedError,
)
from respaldo.events import Listener, PhaseStarted
from respaldo.language import _
from respaldo.operations.disaster import Disaster, strike
from respaldo.operations.equality import find_differences
from respaldo.operations.layout import GLOBALS
from respaldo.operations.preflight import stopping
from respaldo.operations.proofs import keep_proof
from respaldo.operations.restore import RestoreRequest, execute_restore, plan_restore
from respaldo.operations.roles import restore_roles
from respaldo.operations.source import BackupSource
from respaldo.postgres.connection import ConnectionOverrides
from respaldo.postgres.databases import drop_own
from respaldo.postgres.server import Server, connect, reconnect
from respaldo.repository.codec import decompress
from respaldo.repository.proof import Proof, ProofKind, Verdict
from respaldo.repository.reader import BackupReader
from respaldo.repository.repository import Repository

DATABASE = "respaldo_drill"
_START_S = 120.0
_PAUSE_S = 0.2
_GLOBALS_BYTES = 1 << 30
# pg_restore tells no SQLSTATE: its words must be ones that are understood.
_PLAIN_WORDS = "ALTER SYSTEM SET lc_messages = 'C';\nSELECT pg_catalog.pg_reload_conf();"


@dataclass(frozen=True, slots=True, kw_only=True)
class DrillRequest:
    """What is asked for. ``disaster`` None: restore and compare only."""

    disaster: Disaster | None = None
    jobs: int = 2
    #: How to connect to the source, where only its server tells what it is like.
    overrides: ConnectionOverrides = field(default_factory=ConnectionOverrides)


@dataclass(frozen=True, slots=True, kw_only=True)
class Drilled:
    """What a drill came to. ``unkept``: why the proof could not be kept beside its backup."""

    proof: Proof
    unkept: str


class _Phases:
    """How long each phase took, in seconds by name."""

    def __init__(self, clock: Clock, listen: Listener) -> None:
        self._clock = clock
        self._listen = listen
        self.seconds: dict[str, float] = {}

    @contextmanager
    def phase(self, name: str, text: str) -> Iterator[None]:
        self._listen(PhaseStarted(phase=text))
        begun_s = self._clock.monotonic_s()
        try:
            yield
        finally:
            self.seconds[name] = self.seconds.get(name, 0.0) + self._clock.monotonic_s() - begun_s


def run_drill(
    environment: Environment,
    repository: Repository,
    reader: BackupReader,
    request: DrillRequest,
    *,
    clock: Clock,
    listen: Listener,
) -> Drilled:
    """Drill one backup, keep the proof beside it and return it. The throwaway instance is removed in every case; those
    that dead runs left are removed first. Never touches the instance that the backup came from."""
    environment.remove_leftovers()
    phases = _Phases(clock, listen)
    facts = {"bytes": str(reader.manifest.totals.raw_bytes), "rows": str(reader.manifest.totals.rows)}
    try:
        findings = _drill(environment, reader, request, phases, listen, clock)
        verdict = Verdict.FAILED if findings else Verdict.PROVEN
    except (InconclusiveError, EnvironmentFailedError) as error:
        findings, verdict = [error.message, *([error.hint] if error.hint else [])], Verdict.INCONCLUSIVE
    except (DamagedError, ProofFailedError, PostgresError) as error:
        # What the copy's disk, memory or connections do not suffice for says nothing of the backup.
        is_of_copy = isinstance(error, PostgresError) and error.tells_of_server
        findings, verdict = [error.message], Verdict.INCONCLUSIVE if is_of_copy else Verdict.FAILED
    proof = Proof(
        uid=reader.manifest.uid,
        kind=ProofKind.DRILL,
        verdict=verdict,
        made=clock.now(),
        tool_version=__version__,
        disaster=request.disaster.value if request.disaster else "",
        target=str(reader.manifest.target),
        seconds=phases.seconds,
        facts=facts,
        findings=tuple(findings),
    )
    return Drilled(proof=proof, unkept=keep_proof(repository, reader.manifest, proof))


def _drill(
    environment: Environment,
    reader: BackupReader,
    request: DrillRequest,
    phases: _Phases,
    listen: Listener,
    clock: Clock,
) -> list[str]:
    with phases.phase("start", _("starting a throwaway instance")):
        spec = _spec(environment, reader, request.overrides)
        sandbox = environment.open_sandbox(spec)
    with sandbox:
        with phases.phase("start", _("waiting for it")):
            server = await_server(sandbox)
        try:
            restored = _recover(server, reader, request, phases, listen, clock)
        except PostgresError as error:
            if not spec.is_remembered:
                raise
            # It may lack a library that the source's command line loads: that would be no fault of the backup.
            raise InconclusiveError(
                _("the source is gone, and its bare image does not take the backup: {reason}").format(
                    reason=error.message
                )
            ) from error
        with phases.phase("compare", _("comparing")):
            findings = find_differences(restored, reader)
        if findings or request.disaster is None:
            return findings
        with phases.phase("disaster", _("disaster: {name}").format(name=_(request.disaster.title))):
            noticed = strike(request.disaster, sandbox, restored, reader, await_server=await_server)
        if not noticed:
            return [_("the disaster {name} was not noticed").format(name=request.disaster.value)]
        phases.seconds.pop("restore", None)
        server = await_server(sandbox)
        drop_own(server, DATABASE)
        restored = _recover(server, reader, request, phases, listen, clock)
        with phases.phase("compare", _("comparing")):
            return find_differences(restored, reader)


def _spec(environment: Environment, reader: BackupReader, overrides: ConnectionOverrides) -> SandboxSpec:
    """Return what the copy is made from: the source as it runs now, else what the backup remembers of it."""
    manifest = reader.manifest
    image = manifest.server.get("image", "")
    if not image and manifest.environment == environment.name:
        version = manifest.server.get("version", "0")
        like = SandboxSpec(major=int(re.split(r"\D", version)[0]))
        found = [one for one in environment.find(InstanceQuery(name=manifest.target.instance)) if one.is_running]
        return _liken(environment, found[0], overrides, like) if found else like
    found = list(environment.find(InstanceQuery(name=manifest.target.instance)))
    if found:
        return environment.describe_source(found[0])
    if not image:
        raise InconclusiveError(
            _("the source {name} is gone, and the backup names no image").format(name=manifest.target.instance)
        )
    is_same = manifest.environment == environment.name
    return SandboxSpec(image=image, is_remembered=True, name=manifest.target.instance if is_same else "")


def _liken(
    environment: Environment, source: Instance, overrides: ConnectionOverrides, spec: SandboxSpec
) -> SandboxSpec:
    """Return a description with what only the source's server tells."""
    server = connect(environment.open(source), overrides, any_database=True)
    with server.open_session() as session:
        found = next(session.query(_LIKENESS))
    preloaded = {"shared_preload_libraries": str(found["preloaded"])} if found["preloaded"] else {}
    return replace(
        spec,
        source=source,
        superuser=str(found["superuser"]),
        settings=preloaded,
        encoding=server.facts.encoding,
        locale=server.facts.collation,
    )


_LIKENESS = """
SELECT pg_catalog.pg_get_userbyid(10) AS superuser,
       pg_catalog.current_setting('shared_preload_libraries', true) AS preloaded"""


def await_server(sandbox: Sandbox) -> Server:
    """Wait until the throwaway server answers on TCP: the one that runs an image's init scripts does not."""
    clock = threading.Event()
    deadline_s = time.monotonic() + _START_S
    while time.monotonic() < deadline_s:
        try:
            ready = sandbox.runner.run(["sh", "-c", _AWAIT_READY, "sh", sandbox.probe_host], timeout_s=60)
            if ready.status == 0:
                return connect(sandbox.runner, ConnectionOverrides(), any_database=True)
        except (EnvironmentFailedError, PostgresError) as error:
            reason = error.message
        else:
            reason = ready.stderr.decode(errors="replace").strip() or ready.stdout.decode(errors="replace").strip()
        sandbox.check_alive()
        clock.wait(_PAUSE_S)
    raise InconclusiveError(_("the throwaway instance did not start: {reason}").format(reason=reason))


# One command that looks again and again, for ten seconds: each start of one takes time from the server that starts.
_AWAIT_READY = """
# Before PATH: there Debian has a wrapper, which takes ten times as long.
PATH="/usr/lib/postgresql/$PG_MAJOR/bin:/opt/bitnami/postgresql/bin:$PATH"
left=50
until said=$(pg_isready -h "$1"); do
  status=$?
  if [ "$left" = 0 ] || [ "$status" = 127 ]; then echo "$said"; exit "$status"; fi
  left=$((left - 1))
  sleep 0.2
done
"""


def _recover(
    server: Server,
    reader: BackupReader,
    request: DrillRequest,
    phases: _Phases,
    listen: Listener,
    clock: Clock,
) -> Server:
    """Restore roles and database as a real restore does; return the server as seen from the restored database."""
    with phases.phase("restore", _("restoring")):
        if server.facts.is_superuser:
            with server.open_session() as session:
                session.execute(_PLAIN_WORDS)
        script = decompress(reader.read_object(GLOBALS), limit=_GLOBALS_BYTES).decode(errors="surrogateescape")
        restore_roles(server, script, {})
        source = BackupSource(reader)
        plan = plan_restore(server, source, DATABASE, RestoreRequest(to=DATABASE, jobs=request.jobs), clock=clock)
        problems = stopping(plan.problems)
        if problems:
            raise InconclusiveError("; ".join(problem.message for problem in problems))
        execute_restore(server, source, plan, listen=listen)
        return reconnect(server, ConnectionOverrides(database=DATABASE))
