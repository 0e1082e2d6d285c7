"""Whether the backups are fresh: of each target the newest one's age against the objective, the last proof, the last
failure. Reads the repository alone, and quickly: a probe asks it every minute."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from respaldo.metrics.exposition import RepositorySample, TargetSample
from respaldo.operations.alert_state import AlertState, recall_backups
from respaldo.operations.alerts import Remembered, is_late
from respaldo.operations.proofs import newest_good
from respaldo.repository.proof import Proof, ProofKind, Verdict
from respaldo.repository.records import DamagedBackup, Manifest, TargetPath
from respaldo.repository.repository import Repository


@dataclass(frozen=True, slots=True, kw_only=True)
class TargetStatus:
    """One target. ``newest``: good backup, None where there is none. ``proof``: the last conclusive one of any backup;
    ``recovery_s``: of the newest proven drill. ``remembered``: failures, as runs told them. ``damaged``: backups that
    cannot be read."""

    target: TargetPath
    newest: Manifest | None
    age: timedelta | None
    rpo: timedelta
    is_retired: bool
    proof: Proof | None
    recovery_s: float | None
    remembered: Remembered
    next_run: datetime | None
    backups: Mapping[str, int]
    stored_bytes: Mapping[str, int]
    damaged: tuple[DamagedBackup, ...] = ()

    @property
    def is_fresh(self) -> bool:
        """Whether its newest backup is young enough, or nobody expects one any more."""
        return self.is_retired or (self.age is not None and not is_late(self.age, self.rpo))


def read_status(
    repository: Repository,
    state: AlertState,
    *,
    rpo: timedelta,
    retired: Collection[str] = (),
    next_runs: Mapping[str, datetime] | None = None,
    now: datetime,
) -> list[TargetStatus]:
    """Return the status of every target, sorted. ``next_runs``: by target, where they are known."""
    found = []
    for target in repository.targets():
        listing = repository.backups(target)
        manifests = listing.manifests
        newest = newest_good(repository, manifests, now)
        proofs = sorted(
            (proof for manifest in manifests for proof in repository.proofs(manifest) if proof.is_conclusive),
            key=lambda proof: proof.made,
        )
        stored: Counter[str] = Counter()
        for manifest in manifests:
            stored[manifest.type.value] += manifest.totals.stored_bytes
        found.append(
            TargetStatus(
                target=target,
                newest=newest,
                age=max(timedelta(), now - newest.started) if newest else None,
                rpo=rpo,
                is_retired=str(target) in retired,
                proof=proofs[-1] if proofs else None,
                recovery_s=_recovery_s(proofs),
                remembered=recall_backups(state, target),
                next_run=(next_runs or {}).get(str(target)),
                backups=Counter(manifest.type.value for manifest in manifests),
                stored_bytes=stored,
                damaged=listing.damaged,
            )
        )
    return found


def _recovery_s(proofs: list[Proof]) -> float | None:
    drills = [
        proof.seconds["restore"]
        for proof in proofs
        if proof.kind is ProofKind.DRILL and proof.verdict is Verdict.PROVEN and "restore" in proof.seconds
    ]
    return drills[-1] if drills else None


def sample_of(
    targets: list[TargetStatus], state: AlertState, *, version: str, repository: str, rpo: timedelta, rto_s: float
) -> RepositorySample:
    """Return the status as metrics. Retired targets are in none: nothing is expected of them."""
    return RepositorySample(
        version=version,
        repository=repository,
        rpo_s=rpo.total_seconds(),
        rto_s=rto_s,
        undelivered=len(state.pending),
        targets=[_target_sample(one) for one in targets if not one.is_retired],
    )


def _target_sample(one: TargetStatus) -> TargetSample:
    totals = one.newest.totals if one.newest else None
    return TargetSample(
        target=str(one.target),
        last_backup=one.newest.started if one.newest else None,
        duration_s=(one.newest.finished - one.newest.started).total_seconds() if one.newest else None,
        raw_bytes=totals.raw_bytes if totals else None,
        stored_bytes=totals.stored_bytes if totals else None,
        rows=totals.rows if totals else None,
        tables=totals.tables if totals else None,
        last_proof=one.proof.made if one.proof else None,
        is_proven=one.proof.verdict is Verdict.PROVEN if one.proof else None,
        recovery_s=one.recovery_s,
        failures=one.remembered.failures,
        failures_in_a_row=one.remembered.in_a_row,
        last_failure=one.remembered.last_failure,
        next_run=one.next_run,
        backups=one.backups,
        stored=one.stored_bytes,
    )
