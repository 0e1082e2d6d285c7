"""A target's manifests as the rules of decision read them."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from respaldo.catalog.strategy import BackupType, PastBackup
from respaldo.repository.records import Manifest


def past_backups(manifests: Iterable[Manifest], *, failed: Collection[str] = ()) -> list[PastBackup]:
    """Return the history of one target; ``failed`` names those whose last check or drill failed."""
    return [
        PastBackup(
            name=manifest.name,
            type=BackupType(manifest.type.value),
            base=manifest.base,
            started=manifest.started,
            stored_bytes=_pack_bytes(manifest),
            identity=identity(
                version_num=manifest.server.get("version_num", ""),
                system_identifier=manifest.server.get("system_identifier", ""),
                database=manifest.target.database,
            ),
            has_failed=manifest.name in failed,
        )
        for manifest in manifests
    ]


def _pack_bytes(manifest: Manifest) -> int:
    """Return what the rows take: definitions and roles are stored anew each time, and outweigh those of a tiny one."""
    return sum(entry.size_bytes for entry in manifest.objects if entry.name.startswith("data-"))


def identity(*, version_num: str, system_identifier: str, database: str) -> tuple[str, ...]:
    """Return what must not change between a full and the incrementals that use it: major version, system, database."""
    return (version_num[:-4], system_identifier, database)
