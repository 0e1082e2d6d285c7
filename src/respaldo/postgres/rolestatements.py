"""What pg_dumpall's globals say of roles, statement by statement; each is one of these kinds to its last character."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import Enum

from respaldo.errors import PostgresError
from respaldo.language import _
from respaldo.postgres.identifiers import quote_identifier
from respaldo.postgres.statements import split_bare_statements

_ROLE = r'"((?:[^"]|"")+)"'
_NAME = r'"(?:[^"]|"")+"'
# Read the same whatever standard_conforming_strings says.
_LITERAL = r"(?:'(?:[^'\\]|'')*'|E'(?:[^'\\]|\\.|'')*')"
_PARAMETER = rf"(?:SET|ALTER SYSTEM|ALL)(?:, ?(?:SET|ALTER SYSTEM))* ON PARAMETER {_NAME}"


class RoleKind(Enum):
    """A kind of statement; the value has groups of text and of roles' names in turn, and ends before the semicolon."""

    CREATE = rf"(CREATE ROLE ){_ROLE}"
    ATTRIBUTES = rf"(ALTER ROLE ){_ROLE}( WITH(?: [A-Z]+| -?[0-9]+| {_LITERAL})+)"
    SETTING = rf"(ALTER ROLE ){_ROLE}( SET {_NAME} TO {_LITERAL}(?:, {_LITERAL})*)"
    COMMENT = rf"(COMMENT ON ROLE ){_ROLE}( IS {_LITERAL})"
    # Who granted it there is somebody else here, or lacks the right.
    MEMBERSHIP = rf"(GRANT ){_ROLE}( TO ){_ROLE}((?: WITH [A-Z]+ [A-Z]+(?:, [A-Z]+ [A-Z]+)*)?)(?: GRANTED BY {_NAME})?"
    PARAMETER = rf"(GRANT {_PARAMETER} TO ){_ROLE}((?: WITH GRANT OPTION)?)"
    PARAMETER_TO_ALL = rf"(GRANT {_PARAMETER} TO PUBLIC(?: WITH GRANT OPTION)?)"


_PATTERNS = tuple((kind, re.compile(rf"{kind.value};", re.DOTALL)) for kind in RoleKind)
_OF_ROLES = re.compile(r'(?:CREATE|ALTER|COMMENT ON) ROLE\b|GRANT (?:"|[A-Z, ]+ ON PARAMETER\b)')
_ITS_PARAMETER = re.compile(rf'[^"]* ON PARAMETER {_ROLE}', re.DOTALL)


@dataclass(frozen=True, slots=True, kw_only=True)
class RoleStatement:
    """One statement. ``words``: text and roles' names in turn."""

    kind: RoleKind
    words: tuple[str, ...]

    @property
    def role(self) -> str:
        """The role that it makes, alters or comments on; of a grant the first one, nothing for PUBLIC."""
        return self.words[1] if len(self.words) > 1 else ""

    @property
    def is_grant(self) -> bool:
        """Whether it grants something, to a role that may be there already."""
        return self.words[0].startswith("GRANT ")

    @property
    def parameter(self) -> str | None:
        """The configuration parameter on which it grants privileges."""
        match = _ITS_PARAMETER.match(self.words[0])
        return match[1].replace('""', '"') if match else None

    def to_sql(self, mapping: Mapping[str, str]) -> str:
        """Return it with other roles."""
        words = (
            quote_identifier(mapping.get(word, word)) if place % 2 else word for place, word in enumerate(self.words)
        )
        return "".join(words) + ";"


def read_role_statements(script: str) -> list[RoleStatement]:
    """Return what a text of ``pg_dumpall --globals-only --quote-all-identifiers`` says of roles, in order.

    Raise PostgresError where it cannot be read without doubt: nothing of it may be run then.
    """
    statements = list(_read(script))
    for one in statements:
        # Before August 2025 (CVE-2025-8715) a role's name stood in a comment as it is: its second line is no comment.
        if one.kind is RoleKind.CREATE and re.search(r"[\r\n]", one.role) and f'-- User Config "{one.role}"' in script:
            raise PostgresError(
                _("the backup's roles cannot be read without doubt: the name {name} has a line break").format(
                    name=ascii(one.role)
                ),
                hint=_("create the roles by hand, and restore without --globals"),
            )
    return statements


def _read(script: str) -> Iterator[RoleStatement]:
    for _before, statement in split_bare_statements(script):
        for kind, pattern in _PATTERNS:
            match = pattern.fullmatch(statement)
            if match:
                words = (word.replace('""', '"') if place % 2 else word for place, word in enumerate(match.groups()))
                yield RoleStatement(kind=kind, words=tuple(words))
                break
        else:
            if _OF_ROLES.match(statement):
                raise PostgresError(
                    _("the backup's roles cannot be read without doubt: {statement}").format(
                        statement=ascii(statement[:60])
                    ),
                    hint=_("create the roles by hand, and restore without --globals"),
                )
