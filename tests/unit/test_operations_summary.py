"""The summary: ages, objectives, proofs, amounts, growth, what comes next; from the repository alone."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from respaldo.catalog.retention import Category, RetentionPolicy
from respaldo.catalog.strategy import Reason, StrategyPolicy
from respaldo.cli.summary import POINTS, plot
from respaldo.clock import FixedClock
from respaldo.errors import DamagedError
from respaldo.operations.summary import Amount, SummaryPolicy, TargetSummary, summarize
from respaldo.operations.versions import LabelRequest, label_backup
from respaldo.repository.proof import Proof, ProofKind, Verdict
from respaldo.repository.records import BackupType, Manifest, TargetPath, Totals
from respaldo.repository.repository import Repository
from respaldo.storage.base import Storage
from respaldo.storage.memory import MemoryStorage
from tests.unit.manifests import make_manifest, write_manifest

# A Sunday that is the first of a month.
ROOT = Path(__file__).parents[2]
START = datetime(2026, 11, 1, 2, 0, tzinfo=UTC)
POLICY = SummaryPolicy(rpo=timedelta(hours=24), retention=RetentionPolicy(zone=UTC), strategy=StrategyPolicy())


class Target:
    """One target in a repository of manifests."""

    def __init__(self, storage: Storage | None = None, clock: FixedClock | None = None) -> None:
        self.storage = storage or MemoryStorage()
        self.clock = clock or FixedClock(START)
        self.repository = Repository.open_or_create(self.storage, self.clock)
        self.path = TargetPath(instance="pc_db", database="pc_db")

    def commit(self, day: int, *, base: Manifest | None = None, stored: int = 100, raw: int = 1000) -> Manifest:
        manifest = make_manifest(
            START + timedelta(days=day),
            base=base,
            name=f"d{day}",
            uid=f"{day:032x}",
            target=self.path,
            server={"version_num": "150004", "system_identifier": "1"},
            totals=Totals(raw_bytes=raw, stored_bytes=stored),
        )
        return write_manifest(self.storage, manifest)

    def prove(self, manifest: Manifest, verdict: Verdict, made: datetime) -> None:
        proof = Proof(uid=manifest.uid, kind=ProofKind.DRILL, verdict=verdict, made=made, tool_version="0.1.0")
        self.repository.add_proof(self.path, manifest.name, proof)

    def summary(self, now: datetime) -> TargetSummary:
        [one] = summarize(self.repository, POLICY, now=now)
        return one


@pytest.fixture
def target() -> Target:
    return Target()


def test_age_is_measured_against_the_objective(target: Target) -> None:
    target.commit(0)
    at_limit = target.summary(START + timedelta(hours=24))
    assert (at_limit.age, at_limit.meets_rpo) == (timedelta(hours=24), True)
    # An hour of grace: the backup of a day begins when that of the day before is a day old.
    assert target.summary(START + timedelta(hours=25)).meets_rpo
    assert not target.summary(START + timedelta(hours=25, seconds=1)).meets_rpo
    assert target.summary(START - timedelta(hours=1)).age == timedelta()


def test_amounts_are_by_category_and_type(target: Target) -> None:
    full = target.commit(0, stored=500)
    for day in (1, 2, 7):
        target.commit(day, base=full, stored=day)
    found = target.summary(START + timedelta(days=8))
    assert found.total == Amount(count=4, stored_bytes=510)
    assert found.amounts == {
        (Category.MONTHLY, BackupType.FULL): Amount(count=1, stored_bytes=500),
        (Category.DAILY, BackupType.INCREMENTAL): Amount(count=2, stored_bytes=3),
        (Category.WEEKLY, BackupType.INCREMENTAL): Amount(count=1, stored_bytes=7),
    }


def test_newest_proof_is_told_whatever_it_says(target: Target) -> None:
    first, second = target.commit(0), target.commit(1)
    assert target.summary(START).last_proof is None
    target.prove(first, Verdict.PROVEN, START + timedelta(days=2))
    target.prove(second, Verdict.INCONCLUSIVE, START + timedelta(days=3))
    proof = target.summary(START).last_proof
    assert proof is not None
    assert (proof.backup, proof.proof.verdict) == ("d0", Verdict.PROVEN)
    target.prove(second, Verdict.FAILED, START + timedelta(days=4))
    proof = target.summary(START).last_proof
    assert proof is not None
    assert (proof.backup, proof.proof.verdict) == ("d1", Verdict.FAILED)


def test_next_backup_is_decided_by_what_is_known_without_a_server(target: Target) -> None:
    full = target.commit(0)
    fresh = target.summary(START + timedelta(days=1)).following
    assert (fresh.reason, fresh.base) == (Reason.FULL_IS_FRESH, "d0")
    assert target.summary(START + timedelta(days=9)).following.reason is Reason.FULL_TOO_OLD
    target.prove(full, Verdict.FAILED, START + timedelta(days=1))
    assert target.summary(START + timedelta(days=1)).following.reason is Reason.BASE_FAILED


def test_target_whose_backups_are_gone_is_shown_without_any(target: Target) -> None:
    label_backup(target.repository, target.commit(0), LabelRequest(branch="main"))
    target.repository.remove(target.path, "d0")
    found = target.summary(START)
    assert (found.last, found.age, found.meets_rpo, found.growth) == (None, None, False, ())
    assert found.following.reason is Reason.NO_FULL
    assert [(branch.name, branch.count) for branch in found.branches] == [("main", 0)]


def test_damaged_backups_and_pins_are_counted_and_damaged_labels_told(target: Target) -> None:
    pinned = target.commit(0)
    target.commit(1)
    label_backup(target.repository, pinned, LabelRequest(is_pinned=True))
    target.storage.put("pc_db/pc_db/d1/manifest.json", b"{}")
    found = target.summary(START)
    assert ([one.name for one in found.damaged], found.pinned) == (["d1"], 1)
    target.storage.put("pc_db/pc_db/labels.json", b"{}")
    with pytest.raises(DamagedError):
        target.summary(START)


def test_retention_is_told_as_it_would_be_done(target: Target) -> None:
    for day in range(30):
        target.commit(day, stored=10)
    found = target.summary(START + timedelta(days=30))
    assert found.retention.removals
    assert found.retention.freed_bytes == 10 * len(found.retention.removals)


@pytest.mark.parametrize(
    ("values", "shown"),
    [
        ([5], "5 B ▄ 5 B"),
        ([1, 1, 1], "1 B ▄▄▄ 1 B"),
        ([0, 7, 14], "0 B ▁▄█ 14 B"),
        ([14, 0], "14 B █▁ 0 B"),
    ],
)
def test_plot_runs_from_the_lowest_to_the_highest(values: list[int], shown: str) -> None:
    assert plot(values) in {shown, shown.replace("▁▄█", "▁▅█")}


def test_plot_of_many_shows_the_newest() -> None:
    text = plot(list(range(1000)))
    assert text.split()[2].count("█") >= 1
    assert len(text.split()[2]) == POINTS
    assert text.startswith("960 B ")
