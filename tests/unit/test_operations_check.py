"""``respaldo check``: whatever is damaged is named, wherever the damage lies."""

from __future__ import annotations

import random
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from respaldo.clock import FixedClock
from respaldo.errors import DamagedError, RepositoryError, StorageError
from respaldo.events import ignore
from respaldo.operations.check import CheckReport, CheckRequest, Depth, run_check
from respaldo.operations.proofs import newest_proofs
from respaldo.repository.labels import BackupLabels
from respaldo.repository.repository import Repository
from respaldo.storage.memory import MemoryStorage
from tests.unit.repositories import TARGET, fill

CLOCK = FixedClock(datetime(2026, 11, 25, tzinfo=UTC))
PLACES = 200


def check(repository: Repository, request: CheckRequest | None = None) -> CheckReport:
    return run_check(repository, request or CheckRequest(), clock=CLOCK, listen=ignore)


def test_whole_repository_is_whole_and_each_backup_gets_its_proof() -> None:
    repository = fill(MemoryStorage())
    assert check(repository).findings == ()
    proofs = newest_proofs(repository, repository.backups(TARGET).manifests)
    assert {name: proof.has_failed for name, proof in proofs.items()} == {"full": False, "inc": False}


def test_bit_flipped_anywhere_is_named() -> None:
    storage = MemoryStorage()
    fill(storage)
    objects = [one.name for one in storage.list() if not one.name.startswith("locks/")]
    dice = random.Random(20261125)
    for _number in range(PLACES):
        name = dice.choice(objects)
        data = storage.get(name)
        place, bit = dice.randrange(len(data)), dice.randrange(8)
        flipped = bytearray(data)
        flipped[place] ^= 1 << bit
        storage.put(name, bytes(flipped))
        if name == "respaldo.json":
            with pytest.raises(DamagedError, match=r"respaldo\.json"):
                Repository.open(storage, CLOCK)
        else:
            report = check(Repository.open(storage, CLOCK))
            assert name.split("/")[2] in {finding.backup for finding in report.findings}, (name, place, bit)
        storage.put(name, data)
        for proof in [one.name for one in storage.list() if "/proof-" in one.name]:
            storage.delete(proof)


def test_bit_flipped_in_any_byte_of_labels_and_proofs_is_named() -> None:
    storage = MemoryStorage()
    repository = fill(storage)
    pinned = BackupLabels(uid=repository.backups(TARGET).manifests[0].uid, is_pinned=True)
    repository.labels(TARGET).change(lambda labels: replace(labels, backups={"full": pinned}))
    check(repository)
    objects = [one.name for one in storage.list() if "/proof-" in one.name or one.name.endswith("labels.json")]
    assert len(objects) == 3
    for name in objects:
        good = storage.get(name)
        for place in range(0, len(good), 3):
            flipped = bytearray(good)
            flipped[place] ^= 1 << place % 8
            storage.put(name, bytes(flipped))
            report = check(repository, CheckRequest(depth=Depth.QUICK))
            assert [one for one in report.findings if name in one.message or "labels" in one.backup], (name, place)
            storage.put(name, good)


@pytest.mark.parametrize("name", ["data-00-000.sql.zst", "segments.json.zst", "schema.dump"])
def test_object_that_is_gone_or_cut_is_named_by_a_quick_check(name: str) -> None:
    for size in (None, 3):
        storage = MemoryStorage()
        repository = fill(storage)
        path = f"i/d/full/{name}"
        data = storage.get(path)
        storage.delete(path)
        if size is not None:
            storage.put(path, data[:-size])
        findings = check(repository, CheckRequest(depth=Depth.QUICK)).findings
        assert {finding.backup for finding in findings} >= {"full"}
        assert any(name in finding.message for finding in findings)


def test_damage_names_the_table_and_the_rows_at_stake() -> None:
    storage = MemoryStorage()
    repository = fill(storage)
    path = "i/d/full/data-00-000.sql.zst"
    segment = next(one for one in repository.reader(TARGET, "full").segments if one.part == "b")
    data = bytearray(storage.get(path))
    data[segment.offset + segment.length // 2] ^= 255
    storage.put(path, bytes(data))
    findings = check(repository, CheckRequest(backup="full")).findings
    assert [(one.table, one.rows) for one in findings if one.table] == [("t", 40)]


def test_sample_of_everything_is_everything() -> None:
    storage = MemoryStorage()
    repository = fill(storage)
    assert check(repository, CheckRequest(depth=Depth.SAMPLE, share=1.0)).findings == ()


def test_backup_that_is_not_there_is_an_error() -> None:
    with pytest.raises(RepositoryError, match="nix"):
        check(fill(MemoryStorage()), CheckRequest(backup="nix"))


class FakeReadOnlyStorage(MemoryStorage):
    """A copy of a repository that may only be read."""

    is_read_only = False

    def put(self, name: str, data: bytes) -> None:
        if self.is_read_only:
            raise StorageError(f"{name}: Read-only file system")
        super().put(name, data)


def test_repository_that_can_only_be_read_is_checked_all_the_same() -> None:
    storage = FakeReadOnlyStorage()
    repository = fill(storage)
    storage.is_read_only = True
    report = check(repository)
    assert (report.backups, report.findings) == (2, ())
    assert "Read-only" in report.unkept


def test_damage_in_a_repository_that_can_only_be_read_is_still_named() -> None:
    storage = FakeReadOnlyStorage()
    repository = fill(storage)
    pack = next(one.name for one in storage.list() if one.name.startswith("i/d/full/data-"))
    storage.put(pack, storage.get(pack)[:-1])
    storage.is_read_only = True
    assert {finding.backup for finding in check(repository).findings} >= {"full"}
