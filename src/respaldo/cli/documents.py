"""What ``--json`` prints: a contract. A field may be added, none is renamed or removed."""

from __future__ import annotations

from typing import Any

from respaldo.operations.versions import LabelledBackup
from respaldo.repository.manifest import format_instant
from respaldo.repository.proof import Proof
from respaldo.repository.records import Manifest


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
