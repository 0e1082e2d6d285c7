"""Roles from a backup's globals: those that are missing are created, those that exist stay as they are."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass

from respaldo.errors import RespaldoError, UsageError
from respaldo.events import Listener, Warned
from respaldo.language import _
from respaldo.postgres.identifiers import quote_identifier, quote_literal
from respaldo.postgres.rolestatements import RoleKind, read_role_statements
from respaldo.postgres.server import Server
from respaldo.postgres.session import Session
from respaldo.postgres.statements import IDENTIFIER, QUOTED, split_statements

# pg_restore quotes what it adds itself, owners, only where it must.
_NAME = rf"(?:{IDENTIFIER}|[a-z_][a-z0-9_$]*)"
_ROLES = re.compile(
    rf"(?P<skipped>{QUOTED})|(?<![\w$])(?P<place>(?:OWNER TO|TO|FROM|FOR ROLE|AUTHORIZATION|GRANTED BY)\s+)"
    rf"(?P<roles>{_NAME}(?:,\s*{_NAME})*)(?=[\s;])|{IDENTIFIER}",
    re.DOTALL,
)
_SETTING = re.compile(rf"(?P<place>ALTER ROLE\s+)(?P<roles>{_NAME})(?=\s)")
# Only statements that name roles are looked at.
_NAMES_ROLES = re.compile(
    r"(?:\s|--[^\n]*\n)*"
    r"(?:(?P<setting>ALTER (?:ROLE|DATABASE))|ALTER|GRANT|REVOKE|CREATE SCHEMA|CREATE POLICY|SET SESSION)\b"
)
# A parameter that has no dot in its name, and that the server does not know, cannot be granted.
_GRANTABLE = """
SELECT p.name FROM pg_catalog.unnest(ARRAY[{names}]::pg_catalog.text[]) AS p(name)
 WHERE (p.name LIKE '%.%' OR p.name IN (SELECT pg_catalog.lower(name) FROM pg_catalog.pg_settings))
   AND (pg_catalog.has_parameter_privilege(p.name, 'SET WITH GRANT OPTION')
        OR pg_catalog.has_parameter_privilege(p.name, 'ALTER SYSTEM WITH GRANT OPTION'))"""
_GRANTED = """
SELECT pg_catalog.quote_ident(parname) AS name FROM pg_catalog.pg_parameter_acl
 WHERE EXISTS (SELECT FROM pg_catalog.aclexplode(paracl) a JOIN pg_catalog.pg_roles r ON r.oid = a.grantee
                WHERE r.rolname IN ({names}))"""
_PARAMETERS_SINCE = 15


@dataclass(frozen=True, slots=True, kw_only=True)
class CreatedRoles:
    """What came of restoring roles, by their new names. ``withheld``: parameters on which nothing could be granted."""

    created: tuple[str, ...]
    kept: tuple[str, ...]
    withheld: tuple[str, ...]


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
    """Create the roles that the server lacks, with settings, comments and what they are granted, in one transaction.

    A role that exists keeps its attributes and above all its password; it only gains memberships and privileges on
    parameters.
    """
    found = read_role_statements(globals_sql)
    parameters = {one.parameter for one in found if one.parameter is not None}
    with server.open_session() as session:
        existing = {str(row["rolname"]) for row in session.query("SELECT rolname FROM pg_catalog.pg_roles")}
        withheld = parameters - _grantable(server, session, parameters)
        statements: list[str] = []
        roles: list[str] = []
        for one in found:
            name = mapping.get(one.role, one.role)
            if one.kind is RoleKind.CREATE:
                roles.append(name)
            if (one.parameter not in withheld) if one.is_grant else (name not in existing):
                statements.append(one.to_sql(mapping))
        session.execute("BEGIN;\n" + "\n".join(statements) + "\nCOMMIT;")
    return CreatedRoles(
        created=tuple(name for name in roles if name not in existing),
        kept=tuple(name for name in roles if name in existing),
        withheld=tuple(sorted(withheld)),
    )


def _grantable(server: Server, session: Session, parameters: Set[str]) -> set[str]:
    """Return those on which this role may grant something here."""
    if server.facts.major < _PARAMETERS_SINCE or not parameters:
        return set()
    names = ", ".join(map(quote_literal, sorted(parameters)))
    return {str(row["name"]) for row in session.query(_GRANTABLE.format(names=names))}


def drop_roles(server: Server, names: Sequence[str], listen: Listener) -> None:
    """Drop roles that a restore made, while its error is on its way; where that fails, say which are left."""
    if not names:
        return
    try:
        with server.open_session() as session:
            roles = ", ".join(map(quote_identifier, names))
            if server.facts.major >= _PARAMETERS_SINCE:
                granted = session.query(_GRANTED.format(names=", ".join(map(quote_literal, names))))
                for parameter in [row["name"] for row in granted]:
                    session.execute(f"REVOKE ALL ON PARAMETER {parameter} FROM {roles} CASCADE;")
            session.execute(f"DROP ROLE IF EXISTS {roles};")
    except RespaldoError as error:
        left = _("{names} may be left: {reason}")
        listen(Warned(message=left.format(names=", ".join(names), reason=error.message)))


def map_roles(script: str, mapping: Mapping[str, str]) -> str:
    """Return pg_dump's definitions with other roles as owners and grantees; text inside of quotes is left alone."""
    return "".join(_map_statement(statement, mapping) for statement in split_statements(script))


def _map_statement(statement: str, mapping: Mapping[str, str]) -> str:
    def renamed(match: re.Match[str]) -> str:
        if match["place"] is None:
            return match[0]
        return match["place"] + re.sub(_NAME, lambda name: _map_name(name[0], mapping), match["roles"])

    names = _NAMES_ROLES.match(statement)
    if names is None:
        return statement
    # What follows is a setting's value: a schema of a search path may be called like a role.
    return _SETTING.sub(renamed, statement, count=1) if names["setting"] else _ROLES.sub(renamed, statement)


def _map_name(written: str, mapping: Mapping[str, str]) -> str:
    name = written[1:-1].replace('""', '"') if written.startswith('"') else written
    return quote_identifier(mapping[name]) if name in mapping else written
