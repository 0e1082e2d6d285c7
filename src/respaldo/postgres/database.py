"""What belongs to a database as a whole: how it was created, and what was set on it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from respaldo.postgres.identifiers import quote_identifier, quote_literal
from respaldo.postgres.session import Session

# These settings are lists of names that are stored with their quotes (pg_dump's variable_is_guc_list_quote).
_LISTS = (
    "local_preload_libraries|search_path|session_preload_libraries|shared_preload_libraries|temp_tablespaces"
    "|unix_socket_directories"
)
# One statement a row, for any database: psql fills in the name. The default privileges of PUBLIC and of the owner are
# revoked first, so that the list that follows is the whole truth. Names in a list are literals: "" is one.
_SETTINGS = rf"""
WITH d AS (SELECT * FROM pg_catalog.pg_database WHERE datname = pg_catalog.current_database()),
settings AS (
  SELECT CASE WHEN s.setrole = 0 THEN '' ELSE pg_catalog.pg_get_userbyid(s.setrole)::pg_catalog.text END AS role,
         c.place, pg_catalog.split_part(c.value, '=', 1) AS name,
         pg_catalog.substr(c.value, pg_catalog.strpos(c.value, '=') + 1) AS value
    FROM pg_catalog.pg_db_role_setting s JOIN d ON d.oid = s.setdatabase,
         pg_catalog.unnest(s.setconfig) WITH ORDINALITY AS c(value, place)),
grants AS (
  SELECT a.*, CASE WHEN a.grantee = 0 THEN 'PUBLIC'
                   ELSE pg_catalog.quote_ident(pg_catalog.pg_get_userbyid(a.grantee)) END AS name
    FROM d, pg_catalog.aclexplode(d.datacl)
         WITH ORDINALITY AS a(grantor, grantee, privilege_type, is_grantable, place))
SELECT statement FROM (
  SELECT 1 AS part, '' AS role, 0::int8 AS place,
         pg_catalog.format('COMMENT ON DATABASE :"database" IS %L;', c.description) AS statement
    FROM d JOIN pg_catalog.pg_shdescription c ON c.objoid = d.oid
     AND c.classoid = 'pg_catalog.pg_database'::pg_catalog.regclass
  UNION ALL
  SELECT 2, '', 0, pg_catalog.format('ALTER DATABASE :"database" CONNECTION LIMIT %s;', datconnlimit)
    FROM d WHERE datconnlimit >= 0
  UNION ALL
  SELECT 3, role, place, CASE WHEN role = '' THEN 'ALTER DATABASE :"database"'
         ELSE pg_catalog.format('ALTER ROLE %I IN DATABASE :"database"', role) END
         || pg_catalog.format(' SET %I TO %s;', name, CASE WHEN name ~ '^({_LISTS})$'
              THEN coalesce((SELECT pg_catalog.string_agg(pg_catalog.quote_literal(
                     coalesce(pg_catalog.replace(m[1], '""', '"'), m[2])), ', ' ORDER BY n)
                   FROM pg_catalog.regexp_matches(value, '"((?:[^"]|"")*)"|([^", ][^,]*)', 'g')
                        WITH ORDINALITY r(m, n)),
                   '''''') ELSE pg_catalog.quote_literal(value) END)
    FROM settings
  UNION ALL
  SELECT 4, '', 0, pg_catalog.format('REVOKE ALL ON DATABASE :"database" FROM PUBLIC, %I;',
         pg_catalog.pg_get_userbyid(datdba)) FROM d WHERE datacl IS NOT NULL
  UNION ALL
  SELECT 5, '', place, pg_catalog.format('GRANT %s ON DATABASE :"database" TO %s%s;', privilege_type, name,
         CASE WHEN is_grantable THEN ' WITH GRANT OPTION' ELSE '' END)
    FROM grants
) statements ORDER BY part, role COLLATE "C", place"""

_CREATION = """
SELECT pg_catalog.pg_encoding_to_char(encoding) AS encoding, datcollate AS collation, datctype AS ctype,
       CASE to_json->>'datlocprovider' WHEN 'i' THEN 'icu' WHEN 'b' THEN 'builtin' ELSE 'libc' END AS provider,
       coalesce(to_json->>'datlocale', to_json->>'daticulocale', '') AS locale,
       coalesce(to_json->>'daticurules', '') AS icu_rules,
       pg_catalog.pg_get_userbyid(datdba) AS owner
  FROM (SELECT d.*, pg_catalog.row_to_json(d) AS to_json FROM pg_catalog.pg_database d
         WHERE datname = pg_catalog.current_database()) d"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Creation:
    """How a database was created, as CREATE DATABASE takes it. ``provider``: libc, icu or builtin."""

    encoding: str
    collation: str
    ctype: str
    provider: str
    locale: str
    icu_rules: str
    owner: str

    @classmethod
    def from_record(cls, record: Mapping[str, str]) -> Creation:
        """Read what ``as_record`` wrote; what a record lacks is the default."""
        return cls(**{name: record.get(f"database_{name}", "") for name in cls.__slots__})

    def as_record(self) -> dict[str, str]:
        return {f"database_{name}": getattr(self, name) for name in self.__slots__}

    def statement(self, name: str, *, owner: str | None) -> str:
        """Return the CREATE DATABASE for an empty database like this one."""
        words = [f"CREATE DATABASE {quote_identifier(name)} TEMPLATE template0"]
        if owner:
            words.append(f"OWNER {quote_identifier(owner)}")
        values = {"ENCODING": self.encoding, "LC_COLLATE": self.collation, "LC_CTYPE": self.ctype}
        if self.provider in {"icu", "builtin"}:
            words.append(f"LOCALE_PROVIDER {self.provider}")
            values["ICU_LOCALE" if self.provider == "icu" else "BUILTIN_LOCALE"] = self.locale
            values["ICU_RULES"] = self.icu_rules
        words += [f"{word} {quote_literal(value)}" for word, value in values.items() if value]
        return " ".join(words) + ";"


def read_creation(session: Session) -> Creation:
    """Read how the session's database was created."""
    return Creation(**next(session.query(_CREATION)))


def read_settings_script(session: Session) -> str:
    """Return a psql script that sets on database ``:"database"`` what is set on the session's: comment, connection
    limit, settings, also those of roles in it, privileges. Empty where nothing is set. The text says its encoding: it
    is run by hand too, by a psql that would take it for the database's."""
    encoding = session.value("SELECT pg_catalog.current_setting('client_encoding') AS encoding")
    script = "".join(f"{row['statement']}\n" for row in session.query(_SETTINGS))
    return f"SET client_encoding = '{encoding}';\n{script}" if script else ""
