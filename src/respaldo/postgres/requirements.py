"""What a database needs of the server that it is restored into, read when it is backed up."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from respaldo.postgres.session import Session

# Objects of the bootstrap role (oid 10) are pinned and leave no trace in pg_shdepend: it is named anyway.
_REQUIREMENTS = """
SELECT (SELECT coalesce(pg_catalog.json_object_agg(extname, extversion), '{}') FROM pg_catalog.pg_extension)
         AS extensions,
       (SELECT pg_catalog.json_agg(rolname) FROM (
          SELECT r.rolname FROM pg_catalog.pg_roles r WHERE r.oid = 10 OR r.oid IN (
            SELECT s.refobjid FROM pg_catalog.pg_shdepend s, pg_catalog.pg_database d
             WHERE d.datname = pg_catalog.current_database() AND s.refclassid = 'pg_catalog.pg_authid'::regclass
               AND (s.dbid = d.oid OR (s.classid = 'pg_catalog.pg_database'::regclass AND s.objid = d.oid)))
           ORDER BY 1) r) AS roles,
       (SELECT coalesce(pg_catalog.json_agg(spcname ORDER BY spcname), '[]') FROM pg_catalog.pg_tablespace
         WHERE oid IN (SELECT reltablespace FROM pg_catalog.pg_class)
           AND spcname NOT IN ('pg_default', 'pg_global')) AS tablespaces,
       (SELECT coalesce(pg_catalog.row_to_json(d)->>'datcollversion', '') FROM pg_catalog.pg_database d
         WHERE datname = pg_catalog.current_database()) AS collation_version,
       pg_catalog.pg_database_size(pg_catalog.current_database()) AS size_bytes"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Requirements:
    """Extensions by version, roles that own or may use something, tablespaces; ``size_bytes`` on the server's disk."""

    extensions: Mapping[str, str]
    roles: tuple[str, ...]
    tablespaces: tuple[str, ...]
    collation_version: str
    size_bytes: int

    @classmethod
    def from_record(cls, record: Mapping[str, str]) -> Requirements:
        """Read what ``as_record`` wrote; what a record lacks is required of nobody."""
        found: dict[str, Any] = json.loads(record.get("requirements", "{}"))
        return cls(
            extensions=found.get("extensions", {}),
            roles=tuple(found.get("roles", ())),
            tablespaces=tuple(found.get("tablespaces", ())),
            collation_version=found.get("collation_version", ""),
            size_bytes=found.get("size_bytes", 0),
        )

    def as_record(self) -> dict[str, str]:
        return {"requirements": json.dumps({name: getattr(self, name) for name in self.__slots__})}


def read_requirements(session: Session) -> Requirements:
    """Read the requirements of the session's database."""
    row = next(session.query(_REQUIREMENTS))
    return Requirements(**{**row, "roles": tuple(row["roles"]), "tablespaces": tuple(row["tablespaces"])})
