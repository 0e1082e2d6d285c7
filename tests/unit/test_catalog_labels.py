"""Labels: changed by several at once, damaged by anybody, dropped with their backup; what retention makes of them."""

from __future__ import annotations

import json
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from respaldo.catalog.labels import add_rollback, add_tags, describe, labels_of, last_version, remove_tag, set_pinned
from respaldo.catalog.retention import Reason, RetentionPolicy
from respaldo.catalog.versions import Step
from respaldo.clock import FixedClock, SystemClock
from respaldo.errors import DamagedError, LockedError, UsageError
from respaldo.operations.retain import apply_retention, plan_target
from respaldo.operations.versions import (
    LabelRequest,
    apply_version_prune,
    change_labels,
    check_request,
    find_labelled,
    label_backup,
    list_branches,
    list_labelled,
    list_tags,
    plan_version_prune,
    read_rollbacks,
    record_rollback,
    select_versions,
)
from respaldo.repository.fields import FieldError
from respaldo.repository.format import MAX_LABELS_BYTES
from respaldo.repository.labels import (
    MAX_ROLLBACKS,
    MAX_TAGS,
    BackupLabels,
    Labels,
    LabelStore,
    Rollback,
    decode_labels,
    encode_labels,
)
from respaldo.repository.lock import Lease
from respaldo.repository.manifest import seal
from respaldo.repository.records import Manifest, TargetPath, Totals
from respaldo.repository.repository import Repository
from respaldo.storage.base import Storage
from respaldo.storage.directory import DirectoryStorage
from respaldo.storage.memory import MemoryStorage
from tests.unit.manifests import make_manifest, write_manifest

TARGET = TargetPath(instance="pc_db", database="pc_db")
START = datetime(2026, 11, 24, 2, 0, tzinfo=UTC)
PATH = "pc_db/pc_db/labels.json"
POLICY = RetentionPolicy(daily=0, weekly=0, monthly=0, full=0, zone=UTC)


def commit(storage: Storage, number: int, *, name: str | None = None, base: Manifest | None = None) -> Manifest:
    """Write a manifest alone: labels and retention need no more."""
    manifest = make_manifest(
        START + timedelta(days=number),
        base=base,
        name=name or f"b{number}",
        uid=f"{number:032x}",
        target=TARGET,
        totals=Totals(stored_bytes=1000 + number),
    )
    return write_manifest(storage, manifest)


@pytest.fixture
def storage() -> MemoryStorage:
    return MemoryStorage()


@pytest.fixture
def repository(storage: MemoryStorage) -> Repository:
    return Repository.open_or_create(storage, SystemClock())


WORDS = st.text(st.characters(categories=["L", "N"]), min_size=1, max_size=20)


@settings(max_examples=50)
@given(
    st.dictionaries(
        st.from_regex(r"[a-z0-9][a-z0-9_]{0,20}", fullmatch=True).filter(lambda name: name not in {"locks", "latest"}),
        st.builds(
            BackupLabels,
            uid=st.uuids().map(lambda uid: uid.hex),
            version=st.none() | WORDS,
            tags=st.lists(WORDS, max_size=5).map(tuple),
            description=WORDS | st.just(""),
            is_pinned=st.booleans(),
        ),
        max_size=6,
    ),
    st.dictionaries(WORDS, WORDS, max_size=4),
)
def test_labels_written_are_read_back(backups: dict[str, BackupLabels], branches: dict[str, str]) -> None:
    rollback = Rollback(made=START, version="1.0.0-main.1", backup="b1", uid="0" * 32, database="d", safety=None)
    labels = Labels(revision=3, backups=backups, branches=branches, rollbacks=(rollback, replace(rollback, safety="s")))
    assert decode_labels(encode_labels(labels)) == labels


@settings(max_examples=50)
@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    )
)
def test_any_sealed_document_is_labels_or_refused(value: object) -> None:
    document: dict[str, object] = {"format": 1, "revision": 0, "backups": {}, "branches": {}, "rollbacks": []}
    for member in document:
        try:
            decode_labels(seal({**document, member: value}))
        except FieldError:
            continue


@pytest.mark.parametrize(
    "backup",
    [
        {"uid": "0" * 31},
        {"description": "\x1b[2J"},
        {"tags": ["a\u202eb"]},
        {"tags": ["t"] * (MAX_TAGS + 1)},
        {"description": "d" * 1001},
        {"pinned": "yes"},
        {"version": "1.0.0-\r.1"},
    ],
)
def test_labels_that_no_program_of_ours_writes_are_refused(backup: dict[str, object]) -> None:
    whole = {"uid": "0" * 32, "version": None, "tags": [], "description": "", "pinned": False, **backup}
    document: dict[str, object] = {
        "format": 1,
        "revision": 0,
        "backups": {"b1": whole},
        "branches": {},
        "rollbacks": [],
    }
    with pytest.raises(FieldError):
        decode_labels(seal(document))


def test_labels_of_a_later_format_are_refused_with_its_number() -> None:
    document = {"format": 2, "revision": 0, "backups": {}, "branches": {}, "rollbacks": []}
    with pytest.raises(FieldError, match="2"):
        decode_labels(seal(document))


@pytest.mark.parametrize("data", [b"", b"{}", b"\0" * 100, b"[" * 100_000, b"x" * (MAX_LABELS_BYTES + 1)])
def test_damaged_labels_stop_retention_before_it_removes(
    data: bytes, storage: MemoryStorage, repository: Repository
) -> None:
    for number in range(3):
        commit(storage, number)
    storage.put(PATH, data)
    with pytest.raises(DamagedError, match=r"labels|rótulos") as caught:
        apply_retention(repository, TARGET, POLICY, now=START)
    assert caught.value.hint
    assert len(repository.backups(TARGET).manifests) == 3


def test_many_writers_at_once_lose_no_label(tmp_path: Path) -> None:
    storage = DirectoryStorage(tmp_path)
    repository = Repository.open_or_create(storage, SystemClock())
    manifests = [commit(storage, number) for number in range(12)]

    def work(manifest: Manifest) -> None:
        label_backup(repository, manifest, LabelRequest(branch="main", tags=(manifest.name,)))

    with ThreadPoolExecutor(6) as pool:
        list(pool.map(work, manifests))
    labelled = list_labelled(repository, [TARGET])
    assert sorted(one.version.build for one in labelled if one.version) == list(range(1, 13))
    assert [one.labels.tags for one in labelled] == [(manifest.name,) for manifest in manifests]
    assert repository.labels(TARGET).read().revision == 12


def test_labels_held_by_another_for_long_say_who(storage: MemoryStorage) -> None:
    clock = SystemClock()
    pauses: list[float] = []
    store = LabelStore(storage, clock, TARGET, PATH, pause=pauses.append)
    with Lease(storage, clock, TARGET, part="labels") as held:
        held.acquire()
        with pytest.raises(LockedError):
            store.change(lambda labels: replace(labels, branches={"main": "1.0.0-main.1"}))
    assert sum(pauses) == pytest.approx(10)
    assert store.change(lambda labels: replace(labels, branches={"main": "1.0.0-main.1"})).revision == 1


def test_labels_change_while_a_backup_holds_the_target(storage: MemoryStorage, repository: Repository) -> None:
    manifest = commit(storage, 1)
    with repository.acquire(TARGET):
        label_backup(repository, manifest, LabelRequest(is_pinned=True))
    assert repository.labels(TARGET).read().backups["b1"].is_pinned
    assert [one.name for one in storage.list("locks")] == []


def test_change_that_changes_nothing_writes_nothing(storage: MemoryStorage, repository: Repository) -> None:
    manifest = commit(storage, 1)
    for _time in range(2):
        label_backup(repository, manifest, LabelRequest(tags=("t",)))
    assert repository.labels(TARGET).read().revision == 1


def test_change_that_fails_leaves_the_labels_and_no_lease(storage: MemoryStorage, repository: Repository) -> None:
    manifest = commit(storage, 1)
    with pytest.raises(UsageError):
        label_backup(repository, manifest, LabelRequest(branch="main", version="x"))
    assert repository.labels(TARGET).read() == Labels()
    assert list(storage.list("locks")) == []


def test_removed_backup_drops_its_labels_and_its_number_is_not_given_again(
    storage: MemoryStorage, repository: Repository
) -> None:
    manifests = [commit(storage, number) for number in range(3)]
    for manifest in manifests:
        label_backup(repository, manifest, LabelRequest(branch="main"))
    apply_retention(repository, TARGET, POLICY, now=START)
    assert len(repository.backups(TARGET).manifests) == 3
    apply_version_prune(repository, TARGET, keep=1, now=START)
    labels = repository.labels(TARGET).read()
    assert set(labels.backups) == {"b2"}
    repository.remove(TARGET, "b2")
    change_labels(repository, TARGET, lambda same: same)
    assert repository.labels(TARGET).read().backups == {}
    assert str(check_request(repository, TARGET, LabelRequest(branch="main"))) == "1.0.3-main.4"
    [branch] = list_branches(repository, [TARGET])
    assert (branch.count, branch.newest, str(branch.following)) == (0, None, "1.0.3-main.4")


def test_replaced_backup_has_none_of_its_predecessors_labels(storage: MemoryStorage, repository: Repository) -> None:
    old = commit(storage, 1, name="same")
    label_backup(repository, old, LabelRequest(branch="main", tags=("t",), is_pinned=True))
    new = commit(storage, 2, name="same")
    assert labels_of(repository.labels(TARGET).read(), new).is_empty
    assert select_versions(list_labelled(repository, [TARGET])) == []


def test_damaged_backup_keeps_its_labels(storage: MemoryStorage, repository: Repository) -> None:
    first, second = commit(storage, 1), commit(storage, 2)
    label_backup(repository, first, LabelRequest(is_pinned=True))
    storage.put("pc_db/pc_db/b1/manifest.json", b"{}")
    label_backup(repository, second, LabelRequest(is_pinned=True))
    assert set(repository.labels(TARGET).read().backups) == {"b1", "b2"}


def test_retention_keeps_what_is_pinned_tagged_or_a_version_and_not_what_is_described(
    storage: MemoryStorage, repository: Repository
) -> None:
    manifests = [commit(storage, number) for number in range(5)]
    label_backup(repository, manifests[0], LabelRequest(is_pinned=True))
    label_backup(repository, manifests[1], LabelRequest(tags=("before_migration",)))
    label_backup(repository, manifests[2], LabelRequest(branch="main"))
    label_backup(repository, manifests[3], LabelRequest(description="only words"))
    plan = plan_target(repository, TARGET, POLICY, now=START)
    assert plan.removals == ("b3",)
    assert [Reason.PINNED in verdict.reasons for verdict in plan.verdicts] == [True, True, True, False, False]


def test_tags_and_descriptions_are_bounded_and_one_line(storage: MemoryStorage) -> None:
    manifest = commit(storage, 1)
    with pytest.raises(UsageError):
        add_tags(Labels(), manifest, [f"t{number}" for number in range(MAX_TAGS + 1)])
    with pytest.raises(UsageError):
        add_tags(Labels(), manifest, ["a b"])
    with pytest.raises(UsageError):
        describe(Labels(), manifest, "x" * 1001)
    labels = describe(Labels(), manifest, "antes de\n la\x1b[2J  migración\u00a0")
    assert labels.backups["b1"].description == "antes de la [2J migración"
    with pytest.raises(UsageError, match="t0"):
        remove_tag(labels, manifest, "t0")
    assert set_pinned(set_pinned(Labels(), manifest, is_pinned=True), manifest, is_pinned=False) == Labels()


def test_history_of_rollbacks_keeps_the_newest() -> None:
    labels = Labels()
    for number in range(MAX_ROLLBACKS + 5):
        made = START + timedelta(minutes=number)
        one = Rollback(made=made, version="", backup="b", uid="0" * 32, database="d", safety=None)
        labels = add_rollback(labels, one)
    kept = decode_labels(encode_labels(labels)).rollbacks
    assert len(kept) == MAX_ROLLBACKS
    assert kept[-1] == labels.rollbacks[-1]


def test_rollback_is_written_into_the_history_of_its_target(storage: MemoryStorage, repository: Repository) -> None:
    manifest = commit(storage, 1)
    label_backup(repository, manifest, LabelRequest(branch="main"))
    record_rollback(repository, manifest, made=START, database="pc_db", safety="before_restore")
    [(target, rollback)] = read_rollbacks(repository, [TARGET])
    assert (target, rollback.version, rollback.safety) == (TARGET, "1.0.0-main.1", "before_restore")


def test_labels_that_would_be_too_large_are_refused(storage: MemoryStorage, repository: Repository) -> None:
    huge = {f"b{number}": BackupLabels(uid=f"{number:032x}", description="d" * 1000) for number in range(9000)}
    with pytest.raises(UsageError):
        encode_labels(Labels(backups=huge))


def test_version_tag_and_number_find_the_newest_backup(storage: MemoryStorage, repository: Repository) -> None:
    manifests = [commit(storage, number) for number in range(3)]
    label_backup(repository, manifests[0], LabelRequest(branch="main", tags=("stable",)))
    label_backup(repository, manifests[1], LabelRequest(branch="develop", step=Step.MINOR))
    label_backup(repository, manifests[2], LabelRequest(branch="main", version="1.0.0", tags=("stable",)))
    backups = list_labelled(repository, [TARGET])
    assert [one.manifest.name for one in find_labelled(backups, "1.0.0-main.1")] == ["b0"]
    assert [one.manifest.name for one in find_labelled(backups, "v1.0.0")] == ["b2"]
    assert [one.manifest.name for one in find_labelled(backups, "stable")] == ["b2"]
    assert find_labelled(backups, "nope") == []
    assert [one.manifest.name for one in select_versions(backups, branch="main")] == ["b2", "b0"]
    assert [one.manifest.name for one in select_versions(backups, tag="stable", limit=1)] == ["b2"]
    assert {tag: len(found) for tag, found in list_tags(backups).items()} == {"stable": 2}
    labels = repository.labels(TARGET).read()
    assert str(last_version(labels, "main")) == "1.0.0-main.2"


def test_clean_up_does_what_its_plan_says_and_a_second_nothing(storage: MemoryStorage) -> None:
    clock = FixedClock(START + timedelta(days=30))
    repository = Repository.open_or_create(storage, clock)
    full = commit(storage, 0)
    manifests = [full, *(commit(storage, number, base=full) for number in range(1, 4)), commit(storage, 4)]
    for manifest in manifests:
        label_backup(repository, manifest, LabelRequest(branch="main"))
    plan = plan_version_prune(repository, TARGET, keep=1, now=clock.now())
    assert plan.removals == ("b3", "b2", "b1", "b0")
    assert plan.freed_bytes == 1000 + 1001 + 1002 + 1003
    assert apply_version_prune(repository, TARGET, keep=1, now=clock.now()) == plan
    assert [one.name for one in repository.backups(TARGET).manifests] == ["b4"]
    assert set(repository.labels(TARGET).read().backups) == {"b4"}
    assert apply_version_prune(repository, TARGET, keep=1, now=clock.now()).removals == ()


def test_labels_document_is_sealed_json_that_anybody_reads(storage: MemoryStorage, repository: Repository) -> None:
    label_backup(repository, commit(storage, 1), LabelRequest(branch="main", tags=("ñ",), description="x"))
    document = json.loads(storage.get(PATH))
    assert document["backups"]["b1"]["version"] == "1.0.0-main.1"
    assert document["branches"] == {"main": "1.0.0-main.1"}
    assert set(document) == {"format", "revision", "backups", "branches", "rollbacks", "checksum"}


def test_writer_that_died_while_it_held_the_labels_keeps_nobody_out(tmp_path: Path) -> None:
    storage = DirectoryStorage(tmp_path)
    repository = Repository.open_or_create(storage, SystemClock())
    manifest = commit(storage, 1)
    script = (
        "import os, pathlib, sys; from respaldo.clock import SystemClock; from respaldo.repository.lock import Lease\n"
        "from respaldo.repository.records import TargetPath; from respaldo.storage.directory import DirectoryStorage\n"
        "storage = DirectoryStorage(pathlib.Path(sys.argv[1]))\n"
        "target = TargetPath(instance='pc_db', database='pc_db')\n"
        "Lease(storage, SystemClock(), target, part='labels').acquire(); os._exit(9)\n"
    )
    environment = {"PYTHONPATH": str(Path(__file__).parents[2] / "src")}
    died = subprocess.run([sys.executable, "-c", script, str(tmp_path)], env=environment, check=False, timeout=60)
    assert died.returncode == 9
    assert [one.name for one in storage.list("locks")] == ["locks/pc_db+pc_db+labels.json"]
    assert label_backup(repository, manifest, LabelRequest(is_pinned=True)).labels.is_pinned
    assert list(storage.list("locks")) == []
