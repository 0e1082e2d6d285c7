"""Restore a backup: plan, then execute. The live database stays as it is until the new one is complete and compared."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from respaldo.clock import Clock
from respaldo.errors import PostgresError, RespaldoError
from respaldo.events import Listener, PhaseStarted, Warned
from respaldo.language import _
from respaldo.operations.preflight import Problem, find_problems, stopping
from respaldo.operations.source import Source
from respaldo.postgres.database import Creation, read_creation, read_settings_script
from respaldo.postgres.databases import (
    KEPT,
    RESTORING,
    drop_database,
    drop_leftovers,
    drop_own,
    end_holder,
    exchange,
    held,
)
from respaldo.postgres.load import apply_settings
from respaldo.postgres.requirements import Requirements
from respaldo.postgres.server import Server
from respaldo.postgres.session import Session
from respaldo.postgres.surroundings import LiveDatabase, read_surroundings

# PostgreSQL cuts longer names silently (NAMEDATALEN - 1).
_NAME_BYTES = 63


@dataclass(frozen=True, slots=True, kw_only=True)
class RestoreRequest:
    """What the person asked for. ``to`` None: the database that the backup is of. ``in_place``: drop it first.
    ``creates_roles``: the caller creates missing roles before the plan is executed."""

    to: str | None = None
    in_place: bool = False
    drop_old: bool = False
    schema_only: bool = False
    creates_roles: bool = False
    jobs: int = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class RestorePlan:
    """What will happen, for a person to read before it does. ``live``: the database that will be replaced.
    ``has_leftovers``: a run fills a database, or one that died did."""

    source: str
    made: datetime
    database: str
    filling: str
    old: str | None
    live: LiveDatabase | None
    has_leftovers: bool
    problems: tuple[Problem, ...]
    request: RestoreRequest


@dataclass(frozen=True, slots=True, kw_only=True)
class Restored:
    """What happened. ``old``: the name under which the replaced database is kept, if it is."""

    database: str
    rows: int
    old: str | None


def plan_restore(
    server: Server, source: Source, database: str, request: RestoreRequest, *, clock: Clock
) -> RestorePlan:
    """Work out what a restore will do and all that stands in its way. Changes nothing.

    ``database``: the one that is replaced where the request names no new one.
    """
    database = request.to or database
    surroundings = read_surroundings(server, database)
    problems = find_problems(
        Requirements.from_record(source.record),
        Creation.from_record(source.record),
        surroundings,
        source_major=source.major,
        replaces=request.to is None,
        in_place=request.in_place,
        creates_roles=request.creates_roles,
    )
    if request.to is not None and surroundings.live is not None:
        taken = _("the database {name} exists already").format(name=request.to)
        problems.insert(0, Problem(message=taken, hint=_("choose another name with --to")))
    stamp = clock.now().astimezone().strftime("%Y%m%d_%H%M%S")
    live = surroundings.live if request.to is None else None
    return RestorePlan(
        source=source.name,
        made=source.made,
        database=database,
        filling=_shorten(database, f"{RESTORING}{stamp}"),
        old=_shorten(database, f"{KEPT}{stamp}") if live is not None and not request.in_place else None,
        live=live,
        has_leftovers=any(RESTORING in name for name in surroundings.databases),
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
    source: Source,
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
    request = plan.request
    for problem in plan.problems:
        listen(Warned(message=problem.message))
    leftovers = drop_leftovers(server) if plan.has_leftovers else {}
    for name, error in leftovers.items():
        told = _("dropped {name}, which a run that died had left")
        if error is not None:
            told = _(
                "{name}, which a run that died had left, cannot be dropped: {reason}; see to that, and drop it yourself"
            )
        listen(Warned(message=told.format(name=name, reason=error.message if error else "")))
    if plan.live is not None:
        listen(PhaseStarted(phase=_("safety backup")))
        save()
    if request.in_place and plan.live is not None:
        drop_database(server, plan.live.name)
    with held(server, plan.filling) as session:
        creation, settings = _like(server, source, plan)
        try:
            session.execute(creation.statement(plan.filling, owner=creation.owner))
            rows = source.fill(server, plan.filling, jobs=request.jobs, schema_only=request.schema_only, listen=listen)
            if settings:
                apply_settings(server, plan.filling, settings)
            exchange(server, session, new=plan.filling, live=plan.database, old=plan.old)
        except BaseException:
            drop_quietly(server, plan.filling, listen, holder=session)
            raise
    if plan.old is not None and request.drop_old:
        drop_database(server, plan.old)
        return Restored(database=plan.database, rows=rows, old=None)
    return Restored(database=plan.database, rows=rows, old=plan.old)


def _like(server: Server, source: Source, plan: RestorePlan) -> tuple[Creation, bytes]:
    """Return how the new database is created, and what is set on it: as the source tells; what it does not tell, as
    the database that it replaces."""
    if source.record or plan.live is None or plan.request.in_place:
        return Creation.from_record(source.record), b""
    with server.open_session(plan.live.name) as session:
        return read_creation(session), read_settings_script(session).encode()


def drop_quietly(server: Server, database: str, listen: Listener, *, holder: Session | None = None) -> None:
    """Drop a database of our own at the end; where that fails, say what is left, and let all else end as it does.

    ``holder``: the session that holds its name and may still be making it; it ends first.
    """
    try:
        if holder is not None:
            end_holder(server, database, holder)
        drop_own(server, database)
    except RespaldoError as error:
        left = _("{name} is left behind: {reason}; the next restore drops it")
        listen(Warned(message=left.format(name=database, reason=error.message)))


def _shorten(name: str, suffix: str) -> str:
    """Return the name with a suffix, cut so that PostgreSQL keeps all of the suffix."""
    kept = name.encode()[: _NAME_BYTES - len(suffix)].decode(errors="ignore")
    return kept + suffix
