"""Roles from a backup's globals: those that are missing are created, those that exist stay as they are."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from respaldo.errors import UsageError
from respaldo.language import _
from respaldo.postgres.identifiers import quote_identifier
from respaldo.postgres.server import Server

_ROLE = r'"((?:[^"]|"")+)"'
_CREATE = re.compile(rf"CREATE ROLE {_ROLE};")
_ALTER = re.compile(rf"ALTER ROLE {_ROLE} ")
_GRANTED_BY = re.compile(rf" GRANTED BY {_ROLE}(?=;$)")
_GRANT = re.compile(rf"GRANT {_ROLE} TO {_ROLE}")
# Where a role stands in pg_dump's statements; only statements that name roles are looked at.
_NAMES_ROLES = re.compile(r"(?:ALTER|GRANT|REVOKE|CREATE SCHEMA|CREATE POLICY|SET SESSION)\b")
_PLACES = r"(?:OWNER TO|TO|FROM|FOR ROLE|AUTHORIZATION|GRANTED BY|,)"


@dataclass(frozen=True, slots=True, kw_only=True)
class CreatedRoles:
    """What came of restoring roles, by their new names."""

    created: tuple[str, ...]
    kept: tuple[str, ...]


def parse_role_map(pairs: tuple[str, ...]) -> dict[str, str]:
    """Read ``old=new`` pairs; raise UsageError for anything else."""
    mapping = {}
    for pair in pairs:
        old, equals, new = pair.partition("=")
        if not (old and equals and new):
            raise UsageError(
                _("--map-role: {value} is not a valid value").format(value=pair), hint=_("write it as old=new")
            )
        mapping[old] = new
    return mapping


def restore_roles(server: Server, globals_sql: str, mapping: Mapping[str, str]) -> CreatedRoles:
    """Create the roles that the server lacks, with their settings and memberships, in one transaction.

    A role that exists keeps its attributes and above all its password; it only gains memberships.
    """
    with server.open_session() as session:
        existing = {str(row["rolname"]) for row in session.query("SELECT rolname FROM pg_catalog.pg_roles")}
        statements: list[str] = []
        created: list[str] = []
        kept: list[str] = []
        for statement in _statements(globals_sql):
            create, alter, grant = (pattern.match(statement) for pattern in (_CREATE, _ALTER, _GRANT))
            if create:
                name = _mapped(create[1], mapping)
                (kept if name in existing else created).append(name)
            named = create or alter
            if grant or (named and _mapped(named[1], mapping) not in existing):
                statements.append(_rename_all(statement, mapping))
        session.execute("BEGIN;\n" + "\n".join(statements) + "\nCOMMIT;")
    return CreatedRoles(created=tuple(created), kept=tuple(kept))


def map_roles(script: str, mapping: Mapping[str, str]) -> str:
    """Return pg_dump's definitions with other roles as owners and grantees; text inside of quotes is left alone."""
    # pg_restore quotes what it adds itself, owners, only where it must.
    place = re.compile(rf"(?<= )({_PLACES}\s+)(?:{_ROLE}|([a-z_][a-z0-9_$]*))(?=[\s;,])")

    def renamed(match: re.Match[str]) -> str:
        name = _mapped(match[2] or match[3], mapping)
        return match[1] + quote_identifier(name) if name != (match[2] or match[3]) else match[0]

    lines = script.split("\n")
    return "\n".join(place.sub(renamed, line) if _NAMES_ROLES.match(line) else line for line in lines)


def _statements(globals_sql: str) -> Iterator[str]:
    for line in globals_sql.splitlines():
        if line.startswith(("CREATE ROLE", "ALTER ROLE", "GRANT ")):
            # Who granted it there is somebody else here, or lacks the right.
            yield _GRANTED_BY.sub("", line)


def _mapped(quoted: str, mapping: Mapping[str, str]) -> str:
    name = quoted.replace('""', '"')
    return mapping.get(name, name)


def _rename_all(statement: str, mapping: Mapping[str, str]) -> str:
    for old, new in mapping.items():
        statement = statement.replace(quote_identifier(old), quote_identifier(new))
    return statement
