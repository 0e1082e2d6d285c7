"""Backups that nobody made: manifests alone, which is all that many rules look at."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from respaldo.clock import FixedClock
from respaldo.operations.versions import LabelRequest, label_backup
from respaldo.repository.manifest import encode_manifest
from respaldo.repository.records import BackupType, Decision, Manifest, TargetPath, Totals
from respaldo.repository.repository import Repository
from respaldo.storage.base import Storage
from respaldo.storage.directory import DirectoryStorage

START = datetime(2025, 6, 2, 2, 0, tzinfo=UTC)


def make_manifest(started: datetime, *, base: Manifest | None = None, **changes: Any) -> Manifest:
    """Return the manifest of a full, or of an incremental of ``base``, that took a minute; ``changes``: its fields."""
    manifest = Manifest(
        name="b1",
        uid="1" * 32,
        type=BackupType.INCREMENTAL if base else BackupType.FULL,
        base=base.name if base else None,
        base_uid=base.uid if base else None,
        prefix="",
        target=TargetPath(instance="pc_db", database="pc_db"),
        started=started,
        finished=started + timedelta(minutes=1),
        environment="docker",
        tool_version="0.1.0",
        decision=Decision(code="no-full", text=""),
        server={},
        totals=Totals(tables=3, rows=9, raw_bytes=1000, stored_bytes=100),
        objects=(),
        warnings=(),
    )
    return replace(manifest, **changes)


def write_manifest(storage: Storage, manifest: Manifest) -> Manifest:
    """Put a manifest where its repository looks for it, and return it."""
    storage.put(f"{manifest.target}/{manifest.name}/manifest.json", encode_manifest(manifest))
    return manifest


def write_backups(directory: Path, count: int, *, database: str = "pc_db", instance: str = "pc_db") -> list[Manifest]:
    """Write manifests with versions 1.0.0-main.1 and on, and a tag on the first."""
    storage = DirectoryStorage(directory)
    repository = Repository.open_or_create(storage, FixedClock(START))
    manifests = []
    for number in range(1, count + 1):
        manifest = make_manifest(
            START + timedelta(days=number),
            name=f"b{number}",
            uid=f"{number:032x}",
            target=TargetPath(instance=instance, database=database),
            server={"version": "15.4", "version_num": "150004", "system_identifier": "1"},
            totals=Totals(tables=3, rows=9, raw_bytes=1000 * number, stored_bytes=100 * number),
        )
        manifests.append(write_manifest(storage, manifest))
        tags = ("stable",) if number == 1 else ()
        label_backup(repository, manifest, LabelRequest(branch="main", tags=tags, description=f"the {number}."))
    return manifests
