"""What a server offers to a database that is about to be restored into it, read before anything is touched."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from respaldo.postgres.identifiers import quote_literal
from respaldo.postgres.server import BACKEND, Server

_OFFERED = """
SELECT (SELECT pg_catalog.json_object_agg(name, coalesce(default_version, '')) FROM pg_catalog.pg_available_extensions)
         AS extensions,
       (SELECT pg_catalog.json_agg(rolname) FROM pg_catalog.pg_roles) AS roles,
       (SELECT pg_catalog.json_agg(spcname) FROM pg_catalog.pg_tablespace) AS tablespaces,
       (SELECT pg_catalog.json_agg(datname) FROM pg_catalog.pg_database) AS databases,
       (SELECT pg_catalog.json_agg(DISTINCT collcollate) FROM pg_catalog.pg_collation WHERE collcollate IS NOT NULL)
         AS locales,
       (SELECT coalesce(pg_catalog.row_to_json(d)->>'datcollversion', '') FROM pg_catalog.pg_database d
         WHERE datname = 'template0') AS collation_version,
       (SELECT rolcreatedb OR rolsuper FROM pg_catalog.pg_roles WHERE rolname = current_user) AS may_create,
       pg_catalog.pg_is_in_recovery() AS is_standby"""

_LIVE = """
SELECT (SELECT coalesce(pg_catalog.json_agg(pg_catalog.concat_ws(' ', usename, nullif(application_name, ''),
                 client_addr::text)), '[]')
          FROM pg_catalog.pg_stat_activity WHERE datname = {name} AND pid <> pg_catalog.pg_backend_pid())
         AS sessions,
       (SELECT coalesce(pg_catalog.json_agg(s.subname), '[]') FROM pg_catalog.pg_subscription s
         WHERE s.subdbid = d.oid) AS subscriptions,
       pg_catalog.pg_has_role(d.datdba, 'USAGE') AS is_ours, pg_catalog.pg_get_userbyid(d.datdba) AS owner,
       (SELECT coalesce(pg_catalog.json_agg(slot_name), '[]') FROM pg_catalog.pg_replication_slots
         WHERE database = {name}) AS slots,
       (SELECT pg_catalog.count(*) FROM pg_catalog.pg_prepared_xacts WHERE database = {name}) AS prepared,
       pg_catalog.pg_database_size(d.oid) AS size_bytes
  FROM pg_catalog.pg_database d WHERE d.datname = {name}"""


@dataclass(frozen=True, slots=True, kw_only=True)
class LiveDatabase:
    """A database that is about to be replaced, and what holds on to it. ``is_ours``: whether we may rename it."""

    name: str
    owner: str = ""
    is_ours: bool = True
    sessions: tuple[str, ...] = ()
    slots: tuple[str, ...] = ()
    prepared: int = 0
    subscriptions: tuple[str, ...] = ()
    size_bytes: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """The server's side of a preflight. ``free_bytes`` None: not known. ``live`` None: no database of that name."""

    version: str
    major: int
    role: str
    extensions: Mapping[str, str] = field(default_factory=dict)
    roles: frozenset[str] = frozenset()
    tablespaces: frozenset[str] = frozenset()
    databases: frozenset[str] = frozenset()
    locales: frozenset[str] = frozenset()
    collation_version: str = ""
    may_create: bool = True
    is_standby: bool = False
    is_behind_pooler: bool = False
    free_bytes: int | None = None
    live: LiveDatabase | None = None


def read_surroundings(server: Server, database: str) -> Surroundings:
    """Read what concerns a restore that will end as ``database``."""
    with server.open_session() as session:
        row = next(session.query(_OFFERED))
        is_behind_pooler = session.value(f"SELECT {BACKEND} AS backend") == server.facts.backend
        asked = "SELECT pg_catalog.current_setting('data_directory')"
        path = session.value(asked) if server.facts.is_superuser else None
        databases = frozenset(row["databases"])
        live = None
        if database in databases:
            found = next(session.query(_LIVE.format(name=quote_literal(database))))
            live = LiveDatabase(
                name=database,
                sessions=tuple(found["sessions"]),
                slots=tuple(found["slots"]),
                prepared=found["prepared"],
                subscriptions=tuple(found["subscriptions"]),
                owner=found["owner"],
                is_ours=found["is_ours"],
                size_bytes=found["size_bytes"],
            )
    return Surroundings(
        version=server.facts.short_version,
        major=server.facts.major,
        role=server.facts.role,
        extensions=row["extensions"] or {},
        roles=frozenset(row["roles"]),
        tablespaces=frozenset(row["tablespaces"]),
        databases=databases,
        locales=frozenset(row["locales"] or ()),
        collation_version=row["collation_version"],
        may_create=row["may_create"],
        is_standby=row["is_standby"],
        is_behind_pooler=is_behind_pooler,
        free_bytes=_free_bytes(server, path),
        live=live,
    )


def _free_bytes(server: Server, path: str | None) -> int | None:
    """Return the free space where the server keeps its data, if it lies in this environment."""
    path = path or server.runner.variables().get("PGDATA")
    if not path:
        return None
    completed = server.runner.run(["df", "-Pk", path])
    words = completed.stdout.decode(errors="replace").splitlines()[-1:]
    columns = words[0].split() if words and completed.status == 0 else []
    # Filesystem, blocks of 1 KiB, used, available, capacity, mounted on (POSIX, df -P).
    return int(columns[3]) * 1024 if len(columns) >= 6 and columns[3].isdigit() else None
