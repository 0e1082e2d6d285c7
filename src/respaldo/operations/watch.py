"""A backup beside those before it, read from the repository for the rules of ``anomalies``."""

from __future__ import annotations

from collections.abc import Sequence

from respaldo.errors import RepositoryError, StorageError
from respaldo.operations.anomalies import TABLES_IN, USUAL, Anomaly, PastRun, find_anomalies
from respaldo.operations.layout import table_of
from respaldo.repository.records import Manifest
from respaldo.repository.repository import Repository

_KEPT = 3 * USUAL
"""Backups looked at: the last seven of a type are among so many, or the rule of its duration rests."""


def watch_backup(repository: Repository, manifest: Manifest) -> list[Anomaly]:
    """Return what is odd about a backup that was just committed; call it before retention removes what it is like.

    Nothing where the others cannot be read: check tells of that, and a restore; here only a comparison is missing.
    """
    try:
        return _compare(repository, manifest)
    except (RepositoryError, StorageError):
        return []


def _compare(repository: Repository, manifest: Manifest) -> list[Anomaly]:
    before = [one for one in repository.backups(manifest.target).manifests if one.started < manifest.started][-_KEPT:]
    history = [
        _past(repository, one, has_tables=number >= len(before) - TABLES_IN) for number, one in enumerate(before)
    ]
    return find_anomalies(_past(repository, manifest, has_tables=True), history)


def _past(repository: Repository, manifest: Manifest, *, has_tables: bool) -> PastRun:
    return PastRun(
        type=manifest.type.value,
        raw_bytes=manifest.totals.raw_bytes,
        rows=manifest.totals.rows,
        seconds=(manifest.finished - manifest.started).total_seconds(),
        tables=_rows_by_table(repository, manifest) if has_tables else None,
    )


def _rows_by_table(repository: Repository, manifest: Manifest) -> dict[str, int] | None:
    try:
        reader = repository.reader(manifest.target, manifest.name)
        series: Sequence[str | None] = [table_of(one) if one.head else None for one in reader.series]
        rows = {name: 0 for name in series if name is not None}
        for segment in reader.segments:
            name = series[segment.series]
            if name is not None:
                rows[name] += segment.rows
    except (RepositoryError, StorageError):
        # A damaged one is told where it is needed; this rule goes without it.
        return None
    return rows
