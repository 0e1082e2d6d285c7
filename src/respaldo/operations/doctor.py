"""One page about a target before the bad day: what would go wrong, each thing with its remedy."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from pathlib import PurePosixPath
from typing import Any

from respaldo.counting import count_tables
from respaldo.errors import PostgresError, StorageError
from respaldo.language import _, ngettext
from respaldo.operations.proofs import is_ahead, newest_proofs, of_known_age
from respaldo.postgres.databases import RESTORING
from respaldo.postgres.server import Server
from respaldo.postgres.tables import list_tables, require_readable
from respaldo.repository.records import BackupType, Manifest, TargetPath
from respaldo.repository.repository import Repository
from respaldo.units import format_count, format_duration, format_size

# The coordinator and two pg_dump, one after the other, hold a lock on each table; half of the table stays for others.
_LOCKS_PER_TABLE = 2
_PROOF_AGE = timedelta(days=30)

_CONDITION = """
SELECT pg_catalog.pg_database_size(pg_catalog.current_database()) AS size_bytes,
       pg_catalog.current_setting('max_locks_per_transaction')::int8
         * (pg_catalog.current_setting('max_connections')::int8
            + pg_catalog.current_setting('max_prepared_transactions')::int8) AS locks,
       pg_catalog.current_setting('data_checksums') AS checksums,
       (SELECT pg_catalog.count(*) FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
         WHERE c.relkind = 'f') AS foreign_tables,
       (SELECT pg_catalog.count(*) FROM pg_catalog.pg_class WHERE relkind = 'r' AND relpersistence = 'u') AS unlogged,
       (SELECT coalesce(pg_catalog.string_agg(DISTINCT setting, ', '), '') FROM (
          SELECT pg_catalog.unnest(setconfig) AS setting FROM pg_catalog.pg_db_role_setting
           WHERE setrole IN (0, (SELECT oid FROM pg_catalog.pg_roles WHERE rolname = current_user))
             AND setdatabase IN (0, (SELECT oid FROM pg_catalog.pg_database
                                      WHERE datname = pg_catalog.current_database()))) s
         WHERE setting LIKE '%timeout=%') AS timeouts,
       (SELECT coalesce(pg_catalog.string_agg(datname, ', '), '') FROM pg_catalog.pg_database
         WHERE pg_catalog.strpos(datname, '{restoring}') > 0) AS leftovers,
       (SELECT coalesce(pg_catalog.string_agg(e.extname, ', ' ORDER BY e.extname), '') FROM pg_catalog.pg_extension e
         WHERE NOT EXISTS (SELECT FROM pg_catalog.pg_available_extensions a WHERE a.name = e.extname)) AS lacking,
       (SELECT coalesce(pg_catalog.json_agg(extname ORDER BY extname), '[]') FROM pg_catalog.pg_extension)
         AS extensions"""


class State(StrEnum):
    """How a thing stands."""

    GOOD = "good"
    NOTE = "note"
    BAD = "bad"


@dataclass(frozen=True, slots=True, kw_only=True)
class Symptom:
    """One thing that was looked at. ``remedy`` is empty where all is well."""

    state: State
    text: str
    remedy: str = ""


def examine(
    server: Server,
    repository: Repository | None,
    target: TargetPath,
    *,
    now: datetime,
    objective: timedelta,
    added: Collection[str] = (),
) -> list[Symptom]:
    """Look at a target and its backups, and return what was seen. Changes nothing. ``repository`` None: there is none
    yet; ``objective``: how old the newest backup may be; ``added``: files of the instance that its image lacks."""
    return [*_server(server, added), *_backups(repository, target, now=now, objective=objective)]


def _server(server: Server, added: Collection[str]) -> Iterator[Symptom]:
    facts = server.facts
    with server.open_session() as session:
        tables = list_tables(session)
        found = next(session.query(_CONDITION.format(restoring=RESTORING)))
    count = sum(table.is_lockable for table in tables)
    yield Symptom(
        state=State.GOOD,
        text=f"PostgreSQL {facts.short_version}, {format_size(found['size_bytes'])}, {count_tables(count)}",
    )
    try:
        require_readable(tables, facts)
    except PostgresError as error:
        yield Symptom(state=State.BAD, text=error.message, remedy=error.hint or "")
    if not facts.is_superuser:
        yield Symptom(
            state=State.NOTE,
            text=_("role {role} may not read passwords: roles are saved without them").format(role=facts.role),
            remedy=_("back up as a superuser: --user"),
        )
    if count * _LOCKS_PER_TABLE > found["locks"]:
        yield Symptom(
            state=State.BAD,
            text=_("{tables} need more locks than the server has ({locks})").format(
                tables=count_tables(count), locks=format_count(found["locks"])
            ),
            remedy=_("raise max_locks_per_transaction on the server and restart it"),
        )
    lacking = _lacking(found, added)
    if lacking:
        yield Symptom(
            state=State.BAD,
            text=_("the image of a drill lacks the extensions {names}").format(names=", ".join(lacking)),
            remedy=_("use an image that has them: a drill of this backup fails"),
        )
    yield from _remarks(server, found)


def _lacking(found: dict[str, Any], added: Collection[str]) -> list[str]:
    """Return the extensions in use whose control file is not there, or was put into the running container by hand."""
    by_hand = {PurePosixPath(path).stem for path in added if path.endswith(".control")}
    gone = set(filter(None, str(found["lacking"]).split(", ")))
    return sorted(gone | (by_hand & set(found["extensions"])))


def _remarks(server: Server, found: dict[str, Any]) -> Iterator[Symptom]:
    if found["checksums"] == "off":
        yield Symptom(
            state=State.NOTE,
            text=_("data checksums are off: the server does not notice damage on its disk"),
            remedy=_("stop the server and run pg_checksums --enable"),
        )
    if found["foreign_tables"]:
        yield Symptom(
            state=State.NOTE,
            text=ngettext(
                "{count} foreign table: its rows live elsewhere and are not backed up",
                "{count} foreign tables: their rows live elsewhere and are not backed up",
                found["foreign_tables"],
            ).format(count=found["foreign_tables"]),
            remedy=_("back up the server that holds them"),
        )
    if found["unlogged"]:
        yield Symptom(
            state=State.NOTE,
            text=ngettext(
                "{count} unlogged table: it is backed up, but a crash of the server empties it",
                "{count} unlogged tables: they are backed up, but a crash of the server empties them",
                found["unlogged"],
            ).format(count=found["unlogged"]),
            remedy="ALTER TABLE … SET LOGGED",
        )
    if found["timeouts"]:
        yield Symptom(
            state=State.GOOD,
            text=_("timeouts set on the role or the database do not stop a backup: {names}").format(
                names=found["timeouts"]
            ),
        )
    if found["leftovers"]:
        yield Symptom(
            state=State.NOTE,
            text=_("a restore that died left {names}").format(names=found["leftovers"]),
            remedy=_("the next restore drops it"),
        )
    if server.tools.compressor != "zstd":
        yield Symptom(
            state=State.NOTE,
            text=_("the image has no zstd: backups take longer"),
            remedy=_("use an image with zstd; the official ones have it"),
        )


def _backups(
    repository: Repository | None, target: TargetPath, *, now: datetime, objective: timedelta
) -> Iterator[Symptom]:
    listing = repository.backups(target) if repository else None
    for damaged in listing.damaged if listing else ():
        # What cannot be read may be whole: its hint says how to read it.
        way = damaged.error.hint if isinstance(damaged.error, StorageError) else None
        yield Symptom(state=State.BAD, text=damaged.error.message, remedy=way or "respaldo check")
    if repository is None or listing is None or not listing.manifests:
        yield Symptom(state=State.BAD, text=_("there is no backup yet"), remedy="respaldo backup")
        return
    yield from _age(listing.manifests, now=now, objective=objective)
    proofs = newest_proofs(repository, listing.manifests)
    failed = [one for one in listing.manifests if one.name in proofs and proofs[one.name].has_failed]
    proven = [proof.made for proof in proofs.values() if not proof.has_failed]
    if failed:
        # What depends on none of them, and was made since, is what they are to be replaced by.
        is_replaced = any(
            one.type is BackupType.FULL and one.started > failed[-1].started and one not in failed
            for one in listing.manifests
        )
        yield Symptom(
            state=State.NOTE if is_replaced else State.BAD,
            text=_("a drill or a check failed: {names}").format(names=", ".join(one.name for one in failed)),
            remedy=_("restore from a newer one; retention removes it in time")
            if is_replaced
            else "respaldo backup --type full",
        )
    if not proven or now - max(proven) > _PROOF_AGE:
        yield Symptom(state=State.NOTE, text=_("no backup was proven in the last 30 days"), remedy="respaldo drill")


def _age(manifests: Sequence[Manifest], *, now: datetime, objective: timedelta) -> Iterator[Symptom]:
    ahead = [one.name for one in manifests if is_ahead(one, now)]
    newest = next(of_known_age(manifests, now), None)
    age = None if newest is None else now - newest.started
    if newest is not None and age is not None:
        yield Symptom(
            state=State.BAD if age > objective else State.GOOD,
            text=_("newest backup: {name}, {age} old").format(
                name=newest.name, age=format_duration(max(0.0, age.total_seconds()))
            ),
            remedy="respaldo backup" if age > objective else "",
        )
    if ahead:
        yield Symptom(
            state=State.NOTE if newest else State.BAD,
            text=_("dated in the future, so nobody knows how old: {names}").format(names=", ".join(ahead)),
            remedy=_("set the clock right, then: {command}").format(command="respaldo backup --type full"),
        )
