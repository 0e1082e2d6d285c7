"""What ``--json`` prints of backups, record by record: a contract, written down in docs/en/contracts.md. A field may be
added, none is renamed or removed."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from respaldo.repository.manifest import format_instant

if TYPE_CHECKING:
    from respaldo.environments.base import Instance
    from respaldo.operations.anomalies import Anomaly
    from respaldo.operations.compare import Comparison
    from respaldo.operations.fleet import FleetResult
    from respaldo.operations.restore import Restored, RestorePlan
    from respaldo.operations.tables import RestoredTable
    from respaldo.operations.versions import Branch, LabelledBackup
    from respaldo.postgres.definitions import SchemaObject
    from respaldo.repository.labels import Rollback
    from respaldo.repository.proof import Proof
    from respaldo.repository.records import Manifest, TargetPath


def target_document(target: TargetPath) -> dict[str, Any]:
    """Return what names a target, to be part of a record."""
    return {"instance": target.instance, "database": target.database}


def backup_document(manifest: Manifest, proof: Proof | None = None) -> dict[str, Any]:
    """Return one backup as JSON carries it. Sizes in bytes, times in UTC."""
    totals = manifest.totals
    return {
        "name": manifest.name,
        "type": manifest.type.value,
        "base": manifest.base,
        "instance": manifest.target.instance,
        "database": manifest.target.database,
        "environment": manifest.environment,
        "started": format_instant(manifest.started),
        "finished": format_instant(manifest.finished),
        "duration_s": round((manifest.finished - manifest.started).total_seconds(), 3),
        "decision": {"code": manifest.decision.code, "text": manifest.decision.text},
        "server_version": manifest.server.get("version", ""),
        "tables": totals.tables,
        "rows": totals.rows,
        "raw_bytes": totals.raw_bytes,
        "stored_bytes": totals.stored_bytes,
        "proof": proof_document(proof) if proof else None,
        "warnings": list(manifest.warnings),
    }


def proof_document(proof: Proof) -> dict[str, Any]:
    """Return one proof as JSON carries it."""
    return {
        "kind": proof.kind.value,
        "verdict": proof.verdict.value,
        "made": format_instant(proof.made),
        "seconds": dict(proof.seconds),
        "findings": list(proof.findings),
    }


def labelled_document(one: LabelledBackup, proof: Proof | None = None) -> dict[str, Any]:
    """Return one backup with its labels as JSON carries it."""
    return {
        **backup_document(one.manifest, proof),
        "version": str(one.version) if one.version else None,
        "branch": one.version.branch if one.version else None,
        "tags": list(one.labels.tags),
        "description": one.labels.description,
        "pinned": one.labels.is_pinned,
    }


def made_document(one: LabelledBackup, anomalies: Iterable[Anomaly]) -> dict[str, Any]:
    """Return a backup that was just made, with what is odd about it."""
    return {**labelled_document(one), "anomalies": [anomaly.text for anomaly in anomalies]}


def fleet_document(result: FleetResult) -> dict[str, Any]:
    """Return what came of one of many targets. What a Job of a cluster made is as that printed it."""
    made: dict[str, Any] | None = backup_document(result.manifest) if result.manifest else None
    if result.job is not None:
        made = json.loads(result.job.document)
    return {
        "instance": result.instance,
        "database": result.database,
        "backup": made,
        "anomalies": [one.text for one in result.backup.anomalies] if result.backup else [],
        "error": result.error.message if result.error else None,
        "hint": result.error.hint if result.error else None,
    }


def restored_document(name: str, restored: Restored, duration_s: float) -> dict[str, Any]:
    """Return a whole restore; ``name``: of the backup or the dump file."""
    return {
        "name": name,
        "database": restored.database,
        "rows": restored.rows,
        "old_database": restored.old,
        "duration_s": round(duration_s, 3),
    }


def restored_table_document(one: RestoredTable) -> dict[str, Any]:
    """Return one table that was restored by itself."""
    return {"table": one.table, "restored_as": one.restored_as, "rows": one.rows}


def loaded_document(name: str, database: str, rows: int) -> dict[str, Any]:
    """Return a restore of rows alone."""
    return {"name": name, "database": database, "rows": rows}


def moved_document(manifest: Manifest, restored: Restored, duration_s: float) -> dict[str, Any]:
    """Return a move: the backup that was made, and what it was restored as."""
    return {
        "backup": backup_document(manifest),
        "database": restored.database,
        "rows": restored.rows,
        "tables": manifest.totals.tables,
        "old_database": restored.old,
        "duration_s": round(duration_s, 3),
    }


def replacement_document(plan: RestorePlan) -> dict[str, Any]:
    """Return what a restore would do."""
    return {
        "dry_run": True,
        "name": plan.source,
        "database": plan.database,
        "replaces_bytes": plan.live.size_bytes if plan.live else None,
        "sessions": list(plan.live.sessions) if plan.live else [],
        "old_database": plan.old,
        "warnings": [problem.message for problem in plan.problems],
    }


def part_document(name: str, database: str, tables: Sequence[str]) -> dict[str, Any]:
    """Return which tables, or rows of them, a restore would bring into a database that is there."""
    return {"dry_run": True, "name": name, "database": database, "tables": list(tables)}


def moving_document(
    source: Instance, database: str, size_bytes: int, destination: Instance, to: str, replaces_bytes: int | None
) -> dict[str, Any]:
    """Return what a move would do. ``replaces_bytes`` None: no database has that name there."""
    return {
        "dry_run": True,
        "source": {"environment": source.environment, "instance": source.name, "database": database},
        "destination": {"environment": destination.environment, "instance": destination.name, "database": to},
        "size_bytes": size_bytes,
        "replaces_bytes": replaces_bytes,
    }


def drill_document(name: str, proof: Proof) -> dict[str, Any]:
    """Return a backup's name with its proof."""
    return {"name": name, **proof_document(proof)}


def branch_document(one: Branch) -> dict[str, Any]:
    """Return one branch of a target."""
    return {
        "name": one.name,
        **target_document(one.target),
        "versions": one.count,
        "newest": str(one.newest.version) if one.newest else None,
        "next": str(one.following),
    }


def tag_document(tag: str, backups: Iterable[LabelledBackup]) -> dict[str, Any]:
    """Return a tag with the backups that bear it."""
    return {"tag": tag, "backups": [labelled_document(one) for one in backups]}


def rollback_document(target: TargetPath, one: Rollback) -> dict[str, Any]:
    """Return one rollback of a target's history."""
    return {
        "made": format_instant(one.made),
        "instance": target.instance,
        "database": one.database,
        "version": one.version or None,
        "name": one.backup,
        "safety_backup": one.safety,
    }


def comparison_document(sides: Sequence[LabelledBackup], comparison: Comparison) -> dict[str, Any]:
    """Return two backups compared. ``sides``: the old one and the new one."""

    def describe(objects: Iterable[SchemaObject]) -> list[dict[str, Any]]:
        return [{"type": one.type, "schema": one.schema, "name": one.name} for one in objects]

    schema = comparison.schema
    changes = schema and {
        "added": describe(schema.added),
        "removed": describe(schema.removed),
        "altered": describe(schema.altered),
    }
    return {
        "old": labelled_document(sides[0]),
        "new": labelled_document(sides[1]),
        "schema": changes,
        "tables": [
            {
                "table": one.table,
                "old_rows": one.old_rows,
                "new_rows": one.new_rows,
                "old_bytes": one.old_bytes,
                "new_bytes": one.new_bytes,
                "is_changed": one.is_changed,
                "added": one.changes.added if one.changes else None,
                "removed": one.changes.removed if one.changes else None,
                "changed": one.changes.changed if one.changes else None,
            }
            for one in comparison.tables
        ],
        "statements_differ": comparison.statements_differ,
    }
