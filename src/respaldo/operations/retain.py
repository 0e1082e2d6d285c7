"""Remove by policy: plan, then execute. One target at a time, never by a name's beginning."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from respaldo.catalog.labels import labels_of
from respaldo.catalog.retention import Retained, RetentionPolicy, Verdict, plan_retention, removal_order
from respaldo.catalog.strategy import BackupType, Reason
from respaldo.operations.proofs import newest_proofs
from respaldo.operations.versions import drop_removed
from respaldo.repository.labels import Labels
from respaldo.repository.records import Manifest, TargetPath
from respaldo.repository.repository import Repository


@dataclass(frozen=True, slots=True, kw_only=True)
class RetentionPlan:
    """What stays and what goes of one target; ``removals`` in the order in which they are made, ``freed_bytes`` by
    them. Damaged backups are in neither: nobody knows what they are."""

    target: TargetPath
    verdicts: tuple[Verdict, ...]
    removals: tuple[str, ...]
    freed_bytes: int


def plan_target(repository: Repository, target: TargetPath, policy: RetentionPolicy, *, now: datetime) -> RetentionPlan:
    """Plan one target. Changes nothing. Raise DamagedError where the labels are damaged: a pin may stand there;
    StorageError where a backup cannot be read: it may need what would go."""
    listing = repository.backups(target)
    listing.require_readable()
    labels = repository.labels(target).read()
    proofs = newest_proofs(repository, listing.manifests)
    proven = {name for name, proof in proofs.items() if not proof.has_failed}
    backups = [_retained(manifest, labels, is_proven=manifest.name in proven) for manifest in listing.manifests]
    verdicts = plan_retention(backups, policy, now=now)
    removals = removal_order(verdicts, backups)
    sizes = {manifest.name: manifest.totals.stored_bytes for manifest in listing.manifests}
    return RetentionPlan(
        target=target,
        verdicts=tuple(verdicts),
        removals=tuple(removals),
        freed_bytes=sum(sizes[name] for name in removals),
    )


def apply_retention(
    repository: Repository, target: TargetPath, policy: RetentionPolicy, *, now: datetime
) -> RetentionPlan:
    """Plan one target afresh, under its lease, and remove what the plan says. Repeatable: a second run removes nothing.

    Raise LockedError while another run holds the target.
    """
    with repository.acquire(target) as lease:
        plan = plan_target(repository, target, policy, now=now)
        for name in plan.removals:
            lease.check()
            repository.remove(target, name)
    if plan.removals:
        drop_removed(repository, target)
    return plan


def _retained(manifest: Manifest, labels: Labels, *, is_proven: bool) -> Retained:
    said = labels_of(labels, manifest)
    return Retained(
        name=manifest.name,
        type=BackupType(manifest.type.value),
        base=manifest.base,
        started=manifest.started,
        is_pinned=said.is_kept or said.version is not None,
        is_proven=is_proven,
        is_safety=manifest.decision.code == Reason.SAFETY,
    )
