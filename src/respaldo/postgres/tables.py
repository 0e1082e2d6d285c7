"""The tables of a database, as the plan of a dump needs to know them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from respaldo.errors import PostgresError
from respaldo.language import _
from respaldo.postgres.identifiers import qualify, quote_identifier
from respaldo.postgres.server import ServerFacts
from respaldo.postgres.session import Session

# Ordinary and partitioned tables, sequences; what lies in system and temporary schemas is not a person's data.
# relfilenode as this snapshot sees it differs from the live one where the table was rewritten in between.
_TABLES = """
SELECT c.oid::int8 AS oid, n.nspname AS schema, c.relname AS name, c.relkind AS kind,
       (c.relkind = 'r' AND c.relfilenode <> coalesce(pg_catalog.pg_relation_filenode(c.oid), 0)) AS is_rewritten,
       CASE WHEN c.relkind = 'r' THEN coalesce(pg_catalog.pg_relation_size(c.oid), 0) ELSE 0 END AS heap_bytes,
       CASE WHEN c.reltoastrelid <> 0 THEN coalesce(pg_catalog.pg_relation_size(c.reltoastrelid), 0) ELSE 0 END
         AS toast_bytes,
       coalesce(a.amname, '') = 'heap' AS is_heap,
       (pg_catalog.has_table_privilege(c.oid, 'SELECT')
        AND pg_catalog.has_schema_privilege(n.oid, 'USAGE')) AS is_readable,
       (c.relrowsecurity AND (c.relforcerowsecurity OR NOT pg_catalog.pg_has_role(c.relowner, 'USAGE')))
         AS hides_rows,
       pg_catalog.has_table_privilege(c.oid, 'TRUNCATE') AS may_truncate,
       EXISTS (SELECT FROM pg_catalog.pg_depend d WHERE d.classid = 'pg_catalog.pg_class'::pg_catalog.regclass
                  AND d.objid = c.oid AND d.deptype = 'e') AS is_of_extension,
       (c.relispartition AND EXISTS (SELECT FROM pg_catalog.pg_partition_ancestors(c.oid) p
          JOIN pg_catalog.pg_partitioned_table t ON t.partrelid = p.relid AND t.partstrat = 'h')) AS is_hash_partition,
       ARRAY(SELECT attname FROM pg_catalog.pg_attribute t WHERE t.attrelid = c.oid AND t.attnum > 0
                AND NOT t.attisdropped AND t.attgenerated = '' ORDER BY t.attnum) AS columns
  FROM pg_catalog.pg_class c
  JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
  LEFT JOIN pg_catalog.pg_am a ON a.oid = c.relam
 WHERE c.relkind IN ('r', 'p', 'S') AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
   AND c.relpersistence <> 't'
 ORDER BY n.nspname, c.relname"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """One relation that holds data, or (``kind`` p) only the partitions that do. ``columns``: those COPY writes."""

    oid: int
    schema: str
    name: str
    kind: str
    is_rewritten: bool
    heap_bytes: int
    toast_bytes: int
    is_heap: bool
    is_readable: bool
    hides_rows: bool
    may_truncate: bool
    is_of_extension: bool
    is_hash_partition: bool
    columns: Sequence[str]

    @property
    def qualified(self) -> str:
        return qualify(self.schema, self.name)

    @property
    def size_bytes(self) -> int:
        return self.heap_bytes + self.toast_bytes

    @property
    def may_be_frozen(self) -> bool:
        """Whether COPY FREEZE may fill it once it is emptied (PostgreSQL 18, COPY), and psql's ``\\copy`` may read it,
        which ends at a line's end."""
        names = "".join((self.schema, self.name, *self.columns))
        return (
            self.kind == "r"
            and self.is_heap
            and self.may_truncate
            and not self.is_of_extension
            and bool(self.columns)
            and not {"\n", "\r"} & set(names)
        )

    @property
    def is_lockable(self) -> bool:
        return self.kind in {"r", "p"}

    @property
    def copy_head(self) -> str:
        """The statement that precedes this table's rows in a script."""
        columns = ", ".join(map(quote_identifier, self.columns))
        return f"COPY {self.qualified} ({columns}) FROM stdin;\n"


def list_tables(session: Session) -> list[Table]:
    """Return every table, partitioned table and sequence that the session's snapshot sees, sorted by name."""
    return [Table(**row) for row in session.query(_TABLES)]


def require_readable(tables: Sequence[Table], facts: ServerFacts) -> None:
    """Raise PostgresError naming every table that this role cannot read whole."""
    forbidden = [table.qualified for table in tables if not table.is_readable]
    if forbidden:
        raise PostgresError(
            _("role {role} may not read {tables}").format(role=facts.role, tables=_shorten(forbidden)),
            hint=_("use a superuser or a role with pg_read_all_data: --user"),
        )
    hidden = [table.qualified for table in tables if table.hides_rows]
    if hidden and not facts.bypasses_rls:
        raise PostgresError(
            _("row-level security would hide rows of {tables} from role {role}").format(
                role=facts.role, tables=_shorten(hidden)
            ),
            hint=_("use a superuser or a role with BYPASSRLS: --user"),
        )


def _shorten(names: Sequence[str]) -> str:
    shown = ", ".join(names[:5])
    return shown if len(names) <= 5 else _("{names} and {count} more").format(names=shown, count=len(names) - 5)
