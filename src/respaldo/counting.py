"""Counts with the noun that they count: ``1 table``, ``200 000 rows``."""

from __future__ import annotations

from respaldo.language import ngettext
from respaldo.units import format_count


def count_tables(count: int) -> str:
    """Write how many tables."""
    return ngettext("{count} table", "{count} tables", count).format(count=format_count(count))


def count_rows(count: int) -> str:
    """Write how many rows."""
    return ngettext("{count} row", "{count} rows", count).format(count=format_count(count))


def count_backups(count: int) -> str:
    """Write how many backups."""
    return ngettext("{count} backup", "{count} backups", count).format(count=format_count(count))
