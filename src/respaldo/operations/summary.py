"""What a person looks at on Monday: of each target, what there is, how old, how proven, and what comes next. Reads the
repository alone: no server is asked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from respaldo.catalog.history import identity, past_backups
from respaldo.catalog.retention import Category, RetentionPolicy, category_of
from respaldo.catalog.strategy import Decision, StrategyPolicy, decide
from respaldo.errors import StorageError
from respaldo.operations.alerts import is_late
from respaldo.operations.proofs import newest_proofs, of_known_age
from respaldo.operations.retain import RetentionPlan, plan_target
from respaldo.operations.versions import Branch, list_branches
from respaldo.repository.proof import Proof
from respaldo.repository.records import BackupType, DamagedBackup, Manifest, TargetPath
from respaldo.repository.repository import Repository


@dataclass(frozen=True, slots=True, kw_only=True)
class SummaryPolicy:
    """What the repository is measured against. ``rpo``: how old the newest backup may be."""

    rpo: timedelta
    retention: RetentionPolicy
    strategy: StrategyPolicy


@dataclass(frozen=True, slots=True, kw_only=True)
class Amount:
    """A number of backups and the bytes that they take."""

    count: int
    stored_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Growth:
    """One point of the history: a backup's time, its text's bytes (about the database's size), the bytes it took."""

    at: datetime
    raw_bytes: int
    stored_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class LastProof:
    """The newest conclusive proof of a target, and the backup that it is of."""

    backup: str
    proof: Proof


@dataclass(frozen=True, slots=True, kw_only=True)
class TargetSummary:
    """One target. ``last`` None: it has no backup whose age is known. ``following``: what the next backup would be,
    were the server as it was at the last one; ``next_run``: when, where a schedule says so. ``pinned``: how many
    backups retention leaves alone by a person's word."""

    target: TargetPath
    last: Manifest | None
    age: timedelta | None
    rpo: timedelta
    last_proof: LastProof | None
    total: Amount
    amounts: Mapping[tuple[Category, BackupType], Amount]
    growth: tuple[Growth, ...]
    branches: tuple[Branch, ...]
    pinned: int
    damaged: tuple[DamagedBackup, ...]
    retention: RetentionPlan
    following: Decision
    next_run: datetime | None

    @property
    def meets_rpo(self) -> bool:
        return self.age is not None and not is_late(self.age, self.rpo)


def summarize(
    repository: Repository,
    policy: SummaryPolicy,
    *,
    now: datetime,
    next_runs: Mapping[str, datetime] | None = None,
) -> list[TargetSummary]:
    """Return the summary of every target, sorted. ``next_runs``: by target, where they are known. Raise DamagedError
    where a target's labels cannot be read."""
    known = next_runs or {}
    return [
        summarize_target(repository, target, policy, now=now, next_run=known.get(str(target)))
        for target in repository.targets()
    ]


def summarize_target(
    repository: Repository,
    target: TargetPath,
    policy: SummaryPolicy,
    *,
    now: datetime,
    next_run: datetime | None = None,
) -> TargetSummary:
    """Return the summary of one target. Changes nothing."""
    listing = repository.backups(target)
    manifests = listing.manifests
    last = next(of_known_age(manifests, now), None)
    proofs = newest_proofs(repository, manifests)
    retention = _retention(repository, target, policy.retention, now=now)
    labels = repository.labels(target).read()
    return TargetSummary(
        target=target,
        last=last,
        age=None if last is None else max(timedelta(), now - last.started),
        rpo=policy.rpo,
        last_proof=_last_proof(proofs),
        total=_amount(manifests),
        amounts=_amounts(manifests, policy.retention),
        growth=tuple(
            Growth(at=one.started, raw_bytes=one.totals.raw_bytes, stored_bytes=one.totals.stored_bytes)
            for one in manifests
        ),
        branches=tuple(list_branches(repository, [target])),
        pinned=sum(
            one.name in labels.backups and labels.backups[one.name].uid == one.uid and labels.backups[one.name].is_kept
            for one in manifests
        ),
        damaged=listing.damaged,
        retention=retention,
        following=_following(manifests, proofs, policy.strategy, now=now),
        next_run=next_run,
    )


def _retention(repository: Repository, target: TargetPath, policy: RetentionPolicy, *, now: datetime) -> RetentionPlan:
    """Plan as retention does, which removes nothing of a target that has a backup that it cannot read."""
    try:
        return plan_target(repository, target, policy, now=now)
    except StorageError:
        return RetentionPlan(target=target, verdicts=(), removals=(), freed_bytes=0)


def _last_proof(proofs: Mapping[str, Proof]) -> LastProof | None:
    name = max(proofs, key=lambda name: proofs[name].made, default=None)
    return None if name is None else LastProof(backup=name, proof=proofs[name])


def _amount(manifests: Sequence[Manifest]) -> Amount:
    return Amount(count=len(manifests), stored_bytes=sum(one.totals.stored_bytes for one in manifests))


def _amounts(manifests: Sequence[Manifest], policy: RetentionPolicy) -> dict[tuple[Category, BackupType], Amount]:
    groups: dict[tuple[Category, BackupType], list[Manifest]] = {}
    for one in manifests:
        groups.setdefault((category_of(one.started, policy.zone), one.type), []).append(one)
    return {key: _amount(members) for key, members in groups.items()}


def _following(
    manifests: Sequence[Manifest], proofs: Mapping[str, Proof], policy: StrategyPolicy, *, now: datetime
) -> Decision:
    """Decide as the next backup would, of the server that the last one was of."""
    failed = {name for name, proof in proofs.items() if proof.has_failed}
    server = manifests[-1].server if manifests else {}
    return decide(
        past_backups(manifests, failed=failed),
        now=now,
        identity=identity(
            version_num=server.get("version_num", ""),
            system_identifier=server.get("system_identifier", ""),
            database=manifests[-1].target.database if manifests else "",
        ),
        policy=policy,
    )
