"""Names inside a backup: its objects beside the packs, its series, and the text around a table's rows."""

from __future__ import annotations

GLOBALS = "globals.sql.zst"
SCHEMA = "schema.dump"
DATABASE = "database.sql"
RESTORE = "RESTORE.txt"

STATEMENTS = "statements"
"""The series of everything in pg_dump's data script that is no table's rows: sequences' values, large objects."""

COPY_END = "\\.\n"
