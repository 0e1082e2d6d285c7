"""Flipped bits, cut objects and hostile documents: everything that is not what was written is noticed."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from respaldo.clock import SystemClock
from respaldo.errors import DamagedError, RepositoryError
from respaldo.repository.codec import compress
from respaldo.repository.fields import FieldError
from respaldo.repository.manifest import decode_manifest, encode_manifest, format_instant, seal, unseal
from respaldo.repository.reader import BackupReader
from respaldo.repository.records import Segment, Series
from respaldo.repository.repository import Repository
from respaldo.repository.segments import decode_segments, encode_segments
from respaldo.storage.base import Storage
from respaldo.storage.memory import MemoryStorage
from tests.unit.languages import raise_in_each, say_in_each
from tests.unit.repositories import FACTS, OLD, TARGET, fill


def verify(reader: BackupReader) -> None:
    for entry in reader.manifest.objects:
        reader.verify_object(entry.name)
    for segment in reader.segments:
        reader.read_text(segment)


OBJECTS = [
    f"i/d/{name}"
    for name in (
        "full/manifest.json",
        "full/segments.json.zst",
        "full/data-00-000.sql.zst",
        "full/schema.dump",
        "inc/manifest.json",
        "inc/segments.json.zst",
        "inc/data-00-000.pack",
    )
]


@pytest.mark.parametrize("name", OBJECTS)
def test_every_flipped_byte_is_noticed(name: str) -> None:
    storage = MemoryStorage()
    repository = fill(storage)
    good = storage.get(name)
    for place in range(len(good)):
        storage.put(name, good[:place] + bytes([good[place] ^ 1 << place % 8]) + good[place + 1 :])
        with pytest.raises(DamagedError):
            verify(repository.reader(TARGET, name.split("/")[2]))


@pytest.mark.parametrize("name", OBJECTS)
def test_cut_longer_or_missing_object_is_noticed(name: str) -> None:
    storage = MemoryStorage()
    repository = fill(storage)
    good = storage.get(name)
    for bad in (b"", good[:-1], good[: len(good) // 2], good + b"\0"):
        storage.put(name, bad)
        with pytest.raises(DamagedError):
            verify(repository.reader(TARGET, name.split("/")[2]))
    storage.delete(name)
    with pytest.raises(RepositoryError):
        verify(repository.reader(TARGET, name.split("/")[2]))


def test_flipped_byte_of_a_segment_is_noticed_by_reading_its_text() -> None:
    storage = MemoryStorage()
    repository = fill(storage)
    segment = repository.reader(TARGET, "full").segments[0]
    name = f"i/d/full/{segment.pack}"
    good = storage.get(name)
    for place in range(segment.offset, segment.offset + segment.length):
        storage.put(name, good[:place] + bytes([good[place] ^ 0x40]) + good[place + 1 :])
        for backup in ("full", "inc"):
            reader = repository.reader(TARGET, backup)
            # zstd ignores one reserved bit of a header: then the text is right, and only verify_object tells.
            with suppress(DamagedError):
                assert reader.read_text(reader.segments[0]) == OLD


def test_damaged_manifest_stands_apart_in_the_listing() -> None:
    storage = MemoryStorage()
    repository = fill(storage)
    for bad in (b"", b"{}", b"\xff", b"[" * 100_000, storage.get("i/d/inc/manifest.json")):
        storage.put("i/d/full/manifest.json", bad)
        listing = repository.backups(TARGET)
        assert [manifest.name for manifest in listing.manifests] == ["inc"]
        assert [backup.name for backup in listing.damaged] == ["full"]


MISSING = object()
HOSTILE: list[tuple[str, Any]] = [
    ("format", 2),
    ("format", True),
    ("format", "1"),
    ("name", "../full"),
    ("name", "other"),
    ("name", MISSING),
    ("name", "other/name"),
    ("uid", "x"),
    ("uid", 7),
    ("type", "half"),
    ("type", "incremental"),
    ("base", "inc"),
    ("prefix", "../"),
    ("instance", "other"),
    ("database", None),
    ("started", "yesterday"),
    ("started", "2026-11-24T02:00:00"),
    ("started", "2026-11-24T02:00:00+05:00"),
    ("started", 0),
    ("decision", "because"),
    ("decision", {"code": "x"}),
    ("server", {"version": 15}),
    ("server", []),
    ("totals", {}),
    ("totals", None),
    ("objects", {}),
    ("objects", [1]),
    ("objects", [{"name": "../../etc/passwd", "size": 1, "blake3": "0" * 64}]),
    ("objects", [{"name": "manifest.json", "size": 1, "blake3": "0" * 64}]),
    ("objects", [{"name": "a", "size": -1, "blake3": "0" * 64}]),
    ("objects", [{"name": "a", "size": 2**63, "blake3": "0" * 64}]),
    ("objects", [{"name": "a", "size": 1.5, "blake3": "0" * 64}]),
    ("objects", [{"name": "a", "size": 1, "blake3": "0" * 63}]),
    ("objects", [{"name": "a", "size": 1, "blake3": "0" * 64}] * 2),
    ("warnings", "none"),
    ("warnings", [None]),
]


def rewrite(storage: Storage, name: str, changes: Mapping[str, Any]) -> dict[str, Any]:
    """Change members of a backup's manifest, and seal it again; return them all."""
    path = f"i/d/{name}/manifest.json"
    members = {**json.loads(storage.get(path)), "checksum": MISSING, **changes}
    document = {key: value for key, value in members.items() if value is not MISSING}
    storage.put(path, seal(document))
    return document


@pytest.mark.parametrize(("member", "value"), HOSTILE)
def test_hostile_manifest_with_a_right_checksum_is_refused(member: str, value: Any) -> None:
    storage = MemoryStorage()
    repository = fill(storage)
    rewrite(storage, "full", {member: value})
    assert_refused(repository, "full")


HOSTILE_BASES: list[dict[str, Any]] = [
    {"base": None},
    {"base_uid": None},
    {"base": None, "base_uid": None},
    {"base": "../full"},
    {"base": 7},
    {"base_uid": "x"},
    {"base": "inc"},
    {"type": "full"},
    {"type": "full", "base": None},
    {"type": "full", "base_uid": None},
]


@pytest.mark.parametrize("changes", HOSTILE_BASES)
def test_incremental_without_a_base_that_can_be_is_refused(changes: dict[str, Any]) -> None:
    storage = MemoryStorage()
    repository = fill(storage)
    rewrite(storage, "inc", changes)
    assert_refused(repository, "inc")


def assert_refused(repository: Repository, name: str) -> None:
    """See that a backup is told to be damaged, and why, in each language."""
    hints = raise_in_each(DamagedError, lambda: repository.reader(TARGET, name), f"{TARGET}/{name}")
    assert all("zstd" in hint for hint in hints)
    for reason in say_in_each(lambda: reason_of(repository, name)).values():
        assert reason
    assert [backup.name for backup in repository.backups(TARGET).damaged] == [name]


def reason_of(repository: Repository, name: str) -> str:
    with pytest.raises(DamagedError) as caught:
        repository.reader(TARGET, name)
    reason = str(caught.value.__cause__)
    assert caught.value.message.endswith(reason)
    return reason


@pytest.mark.parametrize(("member", "value"), [("name", "other"), ("instance", "other"), ("database", "other")])
def test_manifest_of_another_backup_is_told_with_its_own_place(member: str, value: str) -> None:
    storage = MemoryStorage()
    repository = fill(storage)
    document = rewrite(storage, "full", {member: value})
    assert f"{document['instance']}/{document['database']}/{document['name']}" in reason_of(repository, "full")


def test_manifest_of_a_later_format_is_told_with_its_number() -> None:
    storage = MemoryStorage()
    repository = fill(storage)
    rewrite(storage, "full", {"format": 27})
    assert "27" in reason_of(repository, "full")


def test_sealed_document_is_for_people_too() -> None:
    data = seal({"database": "ventas/ñ", "file": "a\udcff"})
    assert data.decode().splitlines()[1] == '  "database": "ventas/ñ",'
    assert unseal(data).text("file") == "a\udcff"


def test_times_are_written_in_utc_wherever_the_machine_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "America/Santiago")
    time.tzset()
    try:
        assert format_instant(datetime(2026, 11, 24, 2, 0, tzinfo=UTC)) == "2026-11-24T02:00:00.000000Z"
    finally:
        monkeypatch.undo()
        time.tzset()


def test_unknown_members_are_tolerated() -> None:
    storage = MemoryStorage()
    repository = fill(storage)
    before = repository.reader(TARGET, "full").manifest
    rewrite(storage, "full", {"later": {"version": [1]}})
    assert repository.reader(TARGET, "full").manifest == before


def test_manifest_survives_its_encoding() -> None:
    storage = MemoryStorage()
    manifest = fill(storage).reader(TARGET, "inc").manifest
    assert decode_manifest(encode_manifest(manifest), target=TARGET, name="inc") == manifest
    for name in ("started", "environment", "tool_version", "decision", "server", "warnings"):
        assert getattr(manifest, name) == getattr(FACTS, name)


@given(st.binary(max_size=300))
def test_any_bytes_are_no_manifest(data: bytes) -> None:
    with pytest.raises(DamagedError):
        decode_manifest(data, target=TARGET, name="full")
    with pytest.raises(FieldError):
        unseal(data)


def test_manifest_with_another_checksum_says_so_in_each_language() -> None:
    storage = MemoryStorage()
    repository = fill(storage)
    storage.put("i/d/full/manifest.json", storage.get("i/d/full/manifest.json").replace(b"local", b"Local"))
    assert_refused(repository, "full")


@given(st.dictionaries(st.text(), st.recursive(st.none() | st.integers() | st.text(), st.lists, max_leaves=5)))
def test_any_sealed_document_is_no_manifest(document: dict[str, object]) -> None:
    document.pop("checksum", None)
    data = seal(document)
    if document:
        assert {name: value for name, value in unseal(data).members.items() if name != "checksum"} == document
    with pytest.raises(DamagedError):
        decode_manifest(data, target=TARGET, name="full")


GOOD = Segment(series=0, part="a", kind="frame", pack="p", offset=10, length=20, raw_size=5, rows=1, digest="0" * 64)


def changed(**values: Any) -> Segment:
    fields = {name: getattr(GOOD, name) for name in Segment.__slots__}
    return Segment(**fields | values)


@pytest.mark.parametrize(
    "values",
    [
        {"series": 1},
        {"series": -1},
        {"series": True},
        {"part": None},
        {"kind": "other"},
        {"kind": "delta", "raw_size": 2**40},
        {"kind": "ref"},
        {"pack": "q"},
        {"pack": "../p"},
        {"offset": 11},
        {"offset": -1},
        {"length": 2**62, "offset": 2**62},
        {"length": -5},
        {"raw_size": -1},
        {"raw_size": 1.0},
        {"rows": None},
        {"digest": "A" * 64},
        {"base_part": 3},
    ],
)
def test_hostile_segment_is_refused(values: dict[str, Any]) -> None:
    series = [Series(key="t")]
    assert decode_segments(encode_segments(series, [GOOD]), packs={"p": 30}, has_base=False).segments == (GOOD,)
    with pytest.raises(FieldError):
        decode_segments(encode_segments(series, [changed(**values)]), packs={"p": 30}, has_base=True)


@pytest.mark.parametrize(
    "make",
    [
        lambda: encode_segments([Series(key="t"), Series(key="t")], [GOOD]),
        lambda: encode_segments([Series(key="t")], [GOOD, GOOD]),
        lambda: encode_segments([Series(key="t")], [changed(kind="ref", pack="", offset=0, length=0)]),
        lambda: compress(b"[]"),
        lambda: compress(b"{}"),
        lambda: compress(b'{"format": 9}'),
        lambda: compress(b'{"format": ' + b"9" * 5000 + b"}"),
        lambda: b"",
        lambda: encode_segments([], []) + b"x",
    ],
)
def test_hostile_segments_table_is_refused(make: Callable[[], bytes]) -> None:
    with pytest.raises(FieldError):
        decode_segments(make(), packs={"p": 30}, has_base=False)


def test_repository_of_another_format_is_refused() -> None:
    storage = MemoryStorage()
    with pytest.raises(RepositoryError) as caught:
        Repository.open(storage, SystemClock())
    assert caught.value.hint
    Repository.open_or_create(storage, SystemClock())
    good = storage.get("respaldo.json")
    storage.put("respaldo.json", seal({"format": 2, "id": "0" * 32}))
    with pytest.raises(RepositoryError, match="2") as caught:
        Repository.open(storage, SystemClock())
    assert not isinstance(caught.value, DamagedError)
    for place in range(len(good)):
        storage.put("respaldo.json", good[:place] + bytes([good[place] ^ 1]) + good[place + 1 :])
        with pytest.raises(DamagedError):
            Repository.open(storage, SystemClock())


def test_open_or_create_keeps_the_repository_there_is() -> None:
    storage = MemoryStorage()
    first = Repository.open_or_create(storage, SystemClock())
    assert (
        Repository.open_or_create(storage, SystemClock()).uid
        == first.uid
        == Repository.open(storage, SystemClock()).uid
    )
