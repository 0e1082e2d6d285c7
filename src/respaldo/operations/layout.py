"""Names inside a backup: its objects beside the packs, its series, and the text around a table's rows."""

from __future__ import annotations

import re

from respaldo.repository.records import Series

GLOBALS = "globals.sql.zst"
SCHEMA = "schema.dump"
SCHEMA_SQL = "schema.sql.zst"
"""What pg_restore makes of ``SCHEMA``, as text: for whoever has no pg_restore at hand, and to compare two backups."""
DATABASE = "database.sql"
RESTORE = "RESTORE.txt"

STATEMENTS = "statements"
"""The series of everything in pg_dump's data script that is no table's rows: sequences' values, large objects."""

COPY_END = "\\.\n"

_NAME = re.compile(r'"((?:[^"]|"")*)"')


def variant_key(table: str, head: str) -> str:
    """Return the key of another series of a table: partitions that load through their root share its name, not
    always the order of its columns."""
    return f"{table} {head.strip()}"


def table_of(series: Series) -> str:
    """Return the table (qualified, quoted) that a series' rows belong to."""
    return series.key.removesuffix(variant_key("", series.head)) if series.head else series.key


def columns_of(series: Series) -> list[str]:
    """Return the columns that a series' rows hold, in order."""
    _schema, _table, *columns = _NAME.findall(series.head)
    return [name.replace('""', '"') for name in columns]
