"""What ``--json`` prints of a repository's state, record by record: the rest of the contract of ``documents``."""

from __future__ import annotations

from dataclasses import fields
from typing import TYPE_CHECKING, Any

from respaldo.cli.documents import backup_document, drill_document, target_document
from respaldo.metrics.recovery import RecoveryStatistics
from respaldo.repository.manifest import format_instant

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime

    from respaldo.catalog.retention import Verdict
    from respaldo.catalog.versions import PruneVerdict
    from respaldo.metrics.recovery import Trend
    from respaldo.notify.delivery import Delivery
    from respaldo.operations.check import CheckReport
    from respaldo.operations.doctor import Symptom
    from respaldo.operations.retain import RetentionPlan
    from respaldo.operations.schedule_cluster import ClusterSchedule
    from respaldo.operations.status import TargetStatus
    from respaldo.operations.summary import TargetSummary
    from respaldo.operations.versions import PrunePlan


def check_document(report: CheckReport) -> dict[str, Any]:
    """Return a check, with every fault that was found."""
    return {
        "backups": report.backups,
        "read_bytes": report.read_bytes,
        "findings": [
            {
                "instance": finding.target.instance if finding.target else None,
                "database": finding.target.database if finding.target else None,
                "backup": finding.backup,
                "message": finding.message,
                "table": finding.table or None,
                "rows": finding.rows,
            }
            for finding in report.findings
        ],
    }


def symptom_document(one: Symptom) -> dict[str, Any]:
    """Return one thing that doctor looked at."""
    return {"state": one.state.value, "text": one.text, "remedy": one.remedy}


def recovery_document(found: RecoveryStatistics | None) -> dict[str, Any]:
    """Return recovery times in numbers; where none was measured, all but their count are null."""
    values = {one.name: getattr(found, one.name) if found else None for one in fields(RecoveryStatistics)}
    return values | {"count": found.count if found else 0}


def trend_document(one: Trend) -> dict[str, Any]:
    """Return how the recovery times of a target change."""
    return {
        "target": one.target,
        "seconds_per_day": one.seconds_per_day,
        "bytes_per_day": one.bytes_per_day,
        "limit_bytes": one.limit_bytes,
        "missed_on": _optional(one.missed_on),
    }


def retention_document(plan: RetentionPlan) -> dict[str, Any]:
    """Return what retention keeps and removes of a target, and why."""

    def describe(verdict: Verdict) -> dict[str, Any]:
        return {
            "name": verdict.name,
            "keep": verdict.keep,
            "category": verdict.category.value,
            "reasons": [reason.value for reason in verdict.reasons],
        }

    return _plan(plan, map(describe, plan.verdicts))


def prune_document(plan: PrunePlan) -> dict[str, Any]:
    """Return what a clean-up of versions keeps and removes of a target, and why."""

    def describe(verdict: PruneVerdict) -> dict[str, Any]:
        return {
            "name": verdict.name,
            "version": str(verdict.version),
            "keep": verdict.keep,
            "reasons": [reason.value for reason in verdict.reasons],
        }

    return _plan(plan, map(describe, plan.verdicts))


def delivery_document(one: Delivery) -> dict[str, Any]:
    """Return what came of one message on one channel."""
    return {
        "channel": one.channel,
        "delivered": one.error is None,
        "attempts": one.attempts,
        "seconds": round(one.seconds, 3),
        "error": one.error.message if one.error else None,
        "hint": one.error.hint if one.error else None,
    }


def cronjob_document(one: ClusterSchedule) -> dict[str, Any]:
    """Return a schedule that is a CronJob of the cluster: it is its own record."""
    return {
        "name": one.name,
        "expression": one.expression,
        "time_zone": one.time_zone,
        "command": list(one.command),
        "trigger": "kubernetes",
        "suspended": one.is_suspended,
        "last_started": one.last,
        "last_success": one.last_success,
    }


def status_document(one: TargetStatus) -> dict[str, Any]:
    """Return whether a target's backups are fresh."""
    remembered = one.remembered
    return {
        **target_document(one.target),
        "fresh": one.is_fresh,
        "retired": one.is_retired,
        "age_s": None if one.age is None else round(one.age.total_seconds()),
        "rpo_s": round(one.rpo.total_seconds()),
        "newest": one.newest.name if one.newest else None,
        "newest_started": _optional(one.newest.started if one.newest else None),
        "proof": {"made": format_instant(one.proof.made), "verdict": one.proof.verdict.value} if one.proof else None,
        "recovery_s": one.recovery_s,
        "failures": remembered.failures,
        "failures_in_a_row": remembered.in_a_row,
        "last_failure": _optional(remembered.last_failure),
        "last_error": remembered.last_error or None,
        "next_run": _optional(one.next_run),
        "damaged": [damaged.name for damaged in one.damaged],
    }


def summary_document(one: TargetSummary) -> dict[str, Any]:
    """Return the state of a target."""
    return {
        **target_document(one.target),
        "last": backup_document(one.last) if one.last else None,
        "age_s": None if one.age is None else round(one.age.total_seconds(), 3),
        "rpo_s": round(one.rpo.total_seconds()),
        "meets_rpo": one.meets_rpo,
        "last_proof": drill_document(one.last_proof.backup, one.last_proof.proof) if one.last_proof else None,
        "backups": one.total.count,
        "stored_bytes": one.total.stored_bytes,
        "amounts": [
            {
                "category": category.value,
                "type": kind.value,
                "backups": amount.count,
                "stored_bytes": amount.stored_bytes,
            }
            for (category, kind), amount in sorted(one.amounts.items())
        ],
        "growth": [
            {"at": format_instant(point.at), "raw_bytes": point.raw_bytes, "stored_bytes": point.stored_bytes}
            for point in one.growth
        ],
        "branches": [
            {
                "name": branch.name,
                "versions": branch.count,
                "newest": str(branch.newest.version) if branch.newest else None,
            }
            for branch in one.branches
        ],
        "pinned": one.pinned,
        "damaged": [damaged.name for damaged in one.damaged],
        "retention": {"removals": list(one.retention.removals), "freed_bytes": one.retention.freed_bytes},
        "next": {
            "type": one.following.type.value,
            "base": one.following.base,
            "code": one.following.reason.value,
            "text": one.following.text,
            "at": _optional(one.next_run),
        },
    }


def _plan(plan: RetentionPlan | PrunePlan, verdicts: Iterable[dict[str, Any]]) -> dict[str, Any]:
    return {**target_document(plan.target), "freed_bytes": plan.freed_bytes, "verdicts": [*verdicts]}


def _optional(instant: datetime | None) -> str | None:
    return format_instant(instant) if instant else None
