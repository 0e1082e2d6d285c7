"""Restore a backup: plan, then execute. The live database stays as it is until the new one is complete and compared."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from respaldo.clock import Clock
from respaldo.errors import PostgresError, RespaldoError
from respaldo.events import Listener, PhaseStarted, Warned
from respaldo.language import _
from respaldo.operations.layout import DATABASE, SCHEMA
from respaldo.operations.loading import Loading
from respaldo.operations.preflight import Problem, find_problems, stopping
from respaldo.operations.verifying import compare_rows
from respaldo.postgres.archive import restore_section
from respaldo.postgres.database import Creation
from respaldo.postgres.databases import (
    RESTORING,
    create_database,
    drop_database,
    drop_leftovers,
    exchange,
    held,
)
from respaldo.postgres.load import apply_settings
from respaldo.postgres.requirements import Requirements
from respaldo.postgres.server import Server
from respaldo.postgres.snapshot import restore_settings
from respaldo.postgres.surroundings import LiveDatabase, read_surroundings
from respaldo.repository.reader import BackupReader

# PostgreSQL cuts longer names silently (NAMEDATALEN - 1).
_NAME_BYTES = 63


@dataclass(frozen=True, slots=True, kw_only=True)
class RestoreRequest:
    """What the person asked for. ``to`` None: the database that the backup is of. ``in_place``: drop it first."""

    to: str | None = None
    in_place: bool = False
    drop_old: bool = False
    schema_only: bool = False
    jobs: int = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class RestorePlan:
    """What will happen, for a person to read before it does. ``live``: the database that will be replaced."""

    backup: str
    made: datetime
    database: str
    filling: str
    old: str | None
    live: LiveDatabase | None
    problems: tuple[Problem, ...]
    request: RestoreRequest


@dataclass(frozen=True, slots=True, kw_only=True)
class Restored:
    """What happened. ``old``: the name under which the replaced database is kept, if it is."""

    database: str
    rows: int
    old: str | None


def plan_restore(server: Server, reader: BackupReader, request: RestoreRequest, *, clock: Clock) -> RestorePlan:
    """Work out what a restore will do and all that stands in its way. Changes nothing."""
    manifest = reader.manifest
    database = request.to or manifest.target.database
    surroundings = read_surroundings(server, database)
    problems = find_problems(
        Requirements.from_record(manifest.server),
        Creation.from_record(manifest.server),
        surroundings,
        backup_version_num=int(manifest.server.get("version_num") or 0),
        replaces=request.to is None,
        in_place=request.in_place,
        creates_roles=False,
    )
    if request.to is not None and surroundings.live is not None:
        taken = _("the database {name} exists already").format(name=request.to)
        problems.insert(0, Problem(message=taken, hint=_("choose another name with --to")))
    stamp = clock.now().astimezone().strftime("%Y%m%d_%H%M%S")
    live = surroundings.live if request.to is None else None
    return RestorePlan(
        backup=manifest.name,
        made=manifest.started,
        database=database,
        filling=_shorten(database, f"{RESTORING}{stamp}"),
        old=_shorten(database, f"__old_{stamp}") if live is not None and not request.in_place else None,
        live=live,
        problems=tuple(problems),
        request=request,
    )


def require_possible(plan: RestorePlan) -> None:
    """Raise PostgresError that says everything that stops the plan."""
    problems = stopping(plan.problems)
    if problems:
        hints = [problem.hint for problem in problems if problem.hint]
        raise PostgresError("\n  ".join(problem.message for problem in problems), hint="; ".join(hints) or None)


def execute_restore(
    server: Server,
    reader: BackupReader,
    plan: RestorePlan,
    *,
    listen: Listener,
    save: Callable[[], object] = lambda: None,
) -> Restored:
    """Carry a plan out. ``save`` makes the safety backup; it is called before anything is changed.

    Whatever fails, the live database is as it was and the half-made one is gone; only ``in_place`` gives the old one
    up first. May be repeated: a run that died left a database whose name tells so, and the next run drops it.
    """
    require_possible(plan)
    for problem in plan.problems:
        listen(Warned(message=problem.message))
    for name in drop_leftovers(server):
        listen(Warned(message=_("dropped {name}, which a run that died had left").format(name=name)))
    if plan.live is not None:
        listen(PhaseStarted(phase=_("safety backup")))
        save()
    if plan.request.in_place and plan.live is not None:
        drop_database(server, plan.live.name)
    with held(server, plan.filling):
        creation = Creation.from_record(reader.manifest.server)
        create_database(server, creation.statement(plan.filling, owner=creation.owner))
        try:
            rows = _fill(server, reader, plan, listen)
            exchange(server, new=plan.filling, live=plan.database, old=plan.old)
        except BaseException:
            _drop_quietly(server, plan.filling, listen)
            raise
    if plan.old is not None and plan.request.drop_old:
        drop_database(server, plan.old)
        return Restored(database=plan.database, rows=rows, old=None)
    return Restored(database=plan.database, rows=rows, old=plan.old)


def _fill(server: Server, reader: BackupReader, plan: RestorePlan, listen: Listener) -> int:
    """Fill the new database and compare it; return its rows."""
    database, jobs = plan.filling, plan.request.jobs
    encoding = reader.manifest.server.get("database_encoding", server.facts.encoding)
    listen(PhaseStarted(phase=_("definitions")))
    schema = reader.read_object(SCHEMA)
    restore_section(server, database, schema, "pre-data", jobs=1)
    sums = {}
    if not plan.request.schema_only:
        loading = Loading(server, reader, database, preamble=restore_settings(encoding), listen=listen)
        sums = loading.run(reader.segments, jobs=jobs)
    listen(PhaseStarted(phase=_("indexes and constraints")))
    restore_section(server, database, schema, "post-data", jobs=jobs)
    listen(PhaseStarted(phase=_("comparing every row")))
    heads = {series.key for series in reader.series if series.head}
    expected = {key: rows for key, rows in sums.items() if key in heads}
    rows = compare_rows(server, database, expected, encoding=encoding, jobs=jobs)
    # Last: a connection limit, or a setting of the database's, would hold for the sessions above too.
    apply_settings(server, database, reader.read_object(DATABASE))
    return rows


def _drop_quietly(server: Server, database: str, listen: Listener) -> None:
    """Drop a half-made database while another error is on its way; where that fails too, say what is left."""
    try:
        drop_database(server, database)
    except RespaldoError as error:
        left = _("{name} is left half-made: {reason}; the next restore drops it")
        listen(Warned(message=left.format(name=database, reason=error.message)))


def _shorten(name: str, suffix: str) -> str:
    """Return the name with a suffix, cut so that PostgreSQL keeps all of the suffix."""
    kept = name.encode()[: _NAME_BYTES - len(suffix)].decode(errors="ignore")
    return kept + suffix
