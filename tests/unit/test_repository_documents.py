"""Sealed documents of another hand: whole by their checksum, and not what this version writes."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from typing import Any

import pytest

from respaldo.clock import FixedClock, SystemClock
from respaldo.errors import DamagedError, StorageError
from respaldo.notify.notice import Kind, Message
from respaldo.operations.alert_state import ALERTS, MAX_BYTES, AlertState, AlertStore, Pending, encode_state
from respaldo.operations.alerts import Remembered
from respaldo.operations.proofs import newest_good
from respaldo.operations.watch import watch_backup
from respaldo.repository.codec import compress
from respaldo.repository.fields import FieldError
from respaldo.repository.format import MAX_MANIFEST_BYTES
from respaldo.repository.labels import Labels, Rollback, decode_labels, encode_labels
from respaldo.repository.lock import Lease
from respaldo.repository.manifest import seal
from respaldo.repository.proof import Proof, ProofKind, Verdict, decode_proof, encode_proof
from respaldo.repository.records import Series
from respaldo.repository.repository import Repository
from respaldo.repository.segments import decode_segments, encode_segments
from respaldo.storage.memory import MemoryStorage
from tests.unit.announcing import START
from tests.unit.repositories import TARGET, fill

PROOF = Proof(uid="1" * 32, kind=ProofKind.DRILL, verdict=Verdict.FAILED, made=START, tool_version="1")


def changed(data: bytes, change: Callable[[Any], object]) -> bytes:
    document = json.loads(data)
    document.pop("checksum", None)
    change(document)
    return seal(document)


def state() -> bytes:
    said = Message(uid="a" * 32, kind=Kind.FAILURE, subject="s", body="b", at=START)
    pending = Pending(channel="mail", message=said)
    return encode_state(AlertState(targets={"backup:i/d": Remembered(told_on=START.date())}, pending=(pending,)))


@pytest.mark.parametrize(
    "change",
    [
        lambda document: document.update(format=2),
        lambda document: document["pending"][0].update(kind="none"),
        lambda document: document["targets"]["backup:i/d"].update(told_on="soon"),
    ],
)
def test_what_was_told_is_begun_anew_where_it_cannot_be_understood(change: Callable[[Any], object]) -> None:
    storage = MemoryStorage()
    store = AlertStore(storage, SystemClock())
    storage.put(ALERTS, state())
    assert store.read().pending
    storage.put(ALERTS, changed(state(), change))
    assert store.read() == AlertState()
    storage.put(ALERTS, bytes(MAX_BYTES + 1))
    assert store.read() == AlertState()


def test_who_tells_waits_for_another_that_tells() -> None:
    storage, clock = MemoryStorage(), SystemClock()
    first = AlertStore(storage, clock)
    with first.hold():
        (stored,) = [one.name for one in storage.list()]
        waits: list[float] = []

        def pause(seconds: float) -> None:
            waits.append(seconds)
            if len(waits) == 2:
                storage.delete(stored)

        with AlertStore(storage, clock, pause=pause).hold():
            assert len(waits) == 2


@pytest.mark.parametrize("member", ["uid", "kind", "verdict"])
def test_proof_of_nothing_known_proves_nothing(member: str) -> None:
    assert decode_proof(encode_proof(PROOF)) == PROOF
    with pytest.raises(FieldError):
        decode_proof(changed(encode_proof(PROOF), lambda document: document.update({member: "x"})))


def test_repository_whose_id_is_none_is_damaged() -> None:
    storage = MemoryStorage()
    Repository.open_or_create(storage, SystemClock())
    storage.put("respaldo.json", changed(storage.get("respaldo.json"), lambda document: document.update(id="x")))
    with pytest.raises(DamagedError) as caught:
        Repository.open(storage, SystemClock())
    assert caught.value.hint


@pytest.mark.parametrize(("member", "value"), [("backup", "../x"), ("safety", ".."), ("uid", "x")])
def test_labels_with_a_rollback_to_nothing_are_refused(member: str, value: str) -> None:
    labels = Labels(
        rollbacks=(Rollback(made=START, version="1.0.0-main.1", backup="b1", uid="1" * 32, database="d", safety=None),)
    )
    assert decode_labels(encode_labels(labels)) == labels
    with pytest.raises(FieldError):
        decode_labels(changed(encode_labels(labels), lambda document: document["rollbacks"][0].update({member: value})))


@pytest.mark.parametrize("what", ["series", "segments"])
def test_segments_table_with_too_few_values_is_refused(what: str) -> None:
    from backports.zstd import decompress

    document = json.loads(decompress(encode_segments([Series(key="t")], [])))
    document[what] = [["t"]]
    with pytest.raises(FieldError):
        decode_segments(compress(json.dumps(document).encode()), packs={}, has_base=False)


def test_manifest_that_is_too_large_is_damaged_and_keeps_no_other_backup_from_being_read() -> None:
    storage = MemoryStorage()
    repository = fill(storage)
    storage.put("i/d/full/manifest.json", b" " * (MAX_MANIFEST_BYTES + 1))
    storage.put("i/d/no name/manifest.json", b"{}")
    listing = repository.backups(TARGET)
    assert ([one.name for one in listing.manifests], [one.name for one in listing.damaged]) == (["inc"], ["full"])
    assert "too large" in listing.damaged[0].error.message or "grande" in listing.damaged[0].error.message
    with pytest.raises(DamagedError):
        repository.reader(TARGET, "full")
    assert watch_backup(repository, listing.manifests[0]) == []


def test_no_backup_is_good_where_each_one_failed() -> None:
    repository = fill(MemoryStorage())
    manifests = repository.backups(TARGET).manifests
    now = manifests[-1].finished
    assert newest_good(repository, manifests, now) == manifests[-1]
    for one in manifests:
        proof = Proof(uid=one.uid, kind=ProofKind.DRILL, verdict=Verdict.FAILED, made=one.finished, tool_version="1")
        repository.add_proof(TARGET, one.name, proof)
    assert newest_good(repository, manifests, now) is None


class BrokenStorage(MemoryStorage):
    """Fails while ``is_broken``, as a share that is not mounted any more."""

    is_broken = False

    def _get(self, name: str) -> bytes:
        if self.is_broken:
            raise StorageError(f"{name}: stale file handle")
        return super()._get(name)


def test_store_that_fails_is_said_in_its_own_words_and_not_as_damage() -> None:
    storage = BrokenStorage()
    repository = fill(storage)
    reader = repository.reader(TARGET, "full")
    assert reader.segments
    storage.is_broken = True
    with pytest.raises(StorageError, match="stale file handle"):
        reader.read_text(reader.segments[0])
    with pytest.raises(StorageError, match="stale file handle"):
        AlertStore(storage, FixedClock(START)).read()


class FullStorage(MemoryStorage):
    """Has no room for the next two writes once it ``is_watched``; then tells that it was written to again."""

    is_watched = False
    missing = 2

    def __init__(self) -> None:
        super().__init__()
        self.written = threading.Event()

    def put(self, name: str, data: bytes) -> None:
        if self.is_watched and self.missing:
            self.missing -= 1
            raise StorageError("no space left")
        super().put(name, data)
        if self.is_watched:
            self.written.set()


def test_lease_outlives_a_store_that_fails_for_a_moment() -> None:
    storage = FullStorage()
    with Lease(storage, SystemClock(), TARGET, refresh_s=0.01) as lease:
        lease.acquire()
        storage.is_watched = True
        assert storage.written.wait(10)
        lease.check()
