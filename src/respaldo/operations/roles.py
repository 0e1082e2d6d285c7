"""Roles from a backup's globals: those that are missing are created, those that exist stay as they are."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from respaldo.errors import RespaldoError, UsageError
from respaldo.events import Listener, Warned
from respaldo.language import _
from respaldo.postgres.identifiers import quote_identifier
from respaldo.postgres.server import Server

_ROLE = r'"((?:[^"]|"")+)"'
_CREATE = re.compile(rf"CREATE ROLE {_ROLE};")
_ALTER = re.compile(rf"ALTER ROLE {_ROLE} ")
_GRANTED_BY = re.compile(rf" GRANTED BY {_ROLE}(?=;$)")
_GRANT = re.compile(rf"GRANT {_ROLE} TO {_ROLE}")
# What a definition's text is made of, as far as it matters where roles stand. pg_restore quotes what it adds itself,
# owners, only where it must.
_QUOTED = r"""(?<![\w$])[eE]'(?:[^'\\]|\\.|'')*'|'(?:[^']|'')*'|\$(?P<tag>\w*)\$.*?\$(?P=tag)\$|--[^\n]*"""
_IDENTIFIER = r'"(?:[^"]|"")*"'
_NAME = rf"(?:{_IDENTIFIER}|[a-z_][a-z0-9_$]*)"
_BREAK = re.compile(rf"{_QUOTED}|{_IDENTIFIER}|;", re.DOTALL)
_ROLES = re.compile(
    rf"(?P<skipped>{_QUOTED})|(?<![\w$])(?P<place>(?:OWNER TO|TO|FROM|FOR ROLE|AUTHORIZATION|GRANTED BY)\s+)"
    rf"(?P<roles>{_NAME}(?:,\s*{_NAME})*)(?=[\s;])|{_IDENTIFIER}",
    re.DOTALL,
)
_SETTING = re.compile(rf"(?P<place>ALTER ROLE\s+)(?P<roles>{_NAME})(?=\s)")
# Only statements that name roles are looked at.
_NAMES_ROLES = re.compile(
    r"(?:\s|--[^\n]*\n)*"
    r"(?:(?P<setting>ALTER (?:ROLE|DATABASE))|ALTER|GRANT|REVOKE|CREATE SCHEMA|CREATE POLICY|SET SESSION)\b"
)


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


def drop_roles(server: Server, names: Sequence[str], listen: Listener) -> None:
    """Drop roles that a restore made, while its error is on its way; where that fails, say which are left."""
    if not names:
        return
    try:
        with server.open_session() as session:
            session.execute(f"DROP ROLE IF EXISTS {', '.join(map(quote_identifier, names))};")
    except RespaldoError as error:
        left = _("{names} may be left: {reason}")
        listen(Warned(message=left.format(names=", ".join(names), reason=error.message)))


def map_roles(script: str, mapping: Mapping[str, str]) -> str:
    """Return pg_dump's definitions with other roles as owners and grantees; text inside of quotes is left alone."""
    mapped = []
    start = 0
    for match in _BREAK.finditer(script):
        if match[0] == ";":
            mapped.append(_map_statement(script[start : match.end()], mapping))
            start = match.end()
    return "".join((*mapped, script[start:]))


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
