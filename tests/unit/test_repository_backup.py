"""A backup written, read, referred to, replaced, removed, swept: with real bytes."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace as changed
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from blake3 import blake3
from hypothesis import given, settings
from hypothesis import strategies as st

from respaldo.clock import FixedClock, SystemClock
from respaldo.errors import DamagedError, LockedError, RepositoryError, UsageError
from respaldo.repository.codec import compress
from respaldo.repository.delta import encode_delta
from respaldo.repository.manifest import encode_manifest
from respaldo.repository.pack import PackWriter
from respaldo.repository.reader import BackupReader
from respaldo.repository.records import BackupFacts, BackupType, Decision, Manifest, Series, TargetPath
from respaldo.repository.repository import Repository
from respaldo.repository.writer import BackupWriter
from respaldo.storage.base import Storage
from respaldo.storage.directory import DirectoryStorage
from respaldo.storage.memory import MemoryStorage

TARGET = TargetPath(instance="pc_db", database="ventas/ñ")
START = datetime(2026, 11, 24, 2, 0, tzinfo=UTC)
COPY = Series(key="public.t", head="COPY public.t (a) FROM stdin;\n", tail="\\.\n")
SETS = Series(key="sequences")


def facts(started: datetime = START) -> BackupFacts:
    return BackupFacts(
        started=started,
        environment="docker",
        tool_version="0.1.0",
        decision=Decision(code="first", text="no full backup yet"),
        tables=2,
        server={"version": "15.4", "collation": "es_ES.utf8"},
        warnings=("una tabla sin clave",),
    )


def add(pack: PackWriter, series: int, part: str, text: bytes) -> None:
    digest = blake3(text).hexdigest()
    pack.add_frame(series, part, compress(text), raw_size=len(text), rows=text.count(b"\n"), digest=digest)


def write_full(repository: Repository, name: str, texts: Sequence[bytes], *, replace: bool = False) -> Manifest:
    with (
        repository.acquire(TARGET) as lease,
        repository.begin(TARGET, name, type=BackupType.FULL, base=None, lease=lease, replace=replace) as writer,
    ):
        series = writer.add_series(COPY)
        pack = writer.new_pack()
        for number, text in enumerate(texts):
            add(pack, series, f"{number}", text)
        add(pack, writer.add_series(SETS), "all", b"SELECT pg_catalog.setval('s', 7, true);\n")
        writer.put_object("schema.dump", b"PGDMP" + name.encode())
        writer.put_object("RESTORE.txt", b"zstd -d")
        return writer.commit(facts())


def write_incremental(repository: Repository, name: str, base: BackupReader, texts: Sequence[bytes]) -> Manifest:
    with (
        repository.acquire(TARGET) as lease,
        repository.begin(TARGET, name, type=BackupType.INCREMENTAL, base=base, lease=lease) as writer,
    ):
        series = writer.add_series(COPY)
        pack = writer.new_pack()
        for number, text in enumerate(texts):
            part, size, rows, digest = f"{number}", len(text), text.count(b"\n"), blake3(text).hexdigest()
            found = base.segment(COPY.key, part)
            if found is None:
                add(pack, series, part, text)
            elif found.digest == digest:
                writer.add_ref(series, part, base_part=part, raw_size=size, rows=rows, digest=digest)
            else:
                delta = encode_delta(text, base.read_text(found))
                pack.add_delta(series, part, delta, base_part=part, raw_size=size, rows=rows, digest=digest)
        return writer.commit(facts(START + timedelta(hours=1)))


def read_all(reader: BackupReader) -> dict[tuple[str, str], bytes]:
    keys = [series.key for series in reader.series]
    return {(keys[segment.series], segment.part): reader.read_text(segment) for segment in reader.segments}


@pytest.fixture
def storage() -> MemoryStorage:
    return MemoryStorage()


@pytest.fixture
def repository(storage: MemoryStorage) -> Repository:
    return Repository.open_or_create(storage, SystemClock())


def names(storage: Storage) -> list[str]:
    return [stored.name for stored in storage.list()]


@settings(max_examples=60)
@given(
    st.lists(st.binary(max_size=2000), max_size=6),
    st.lists(st.binary(max_size=2000), max_size=6),
    st.lists(st.booleans(), max_size=6),
)
def test_backups_of_any_bytes_are_read_back(old: list[bytes], new: list[bytes], keep: list[bool]) -> None:
    repository = Repository.open_or_create(MemoryStorage(), SystemClock())
    mixed = [old[i] if i < len(old) and i < len(keep) and keep[i] else text for i, text in enumerate(new)]
    write_full(repository, "full", old)
    full = repository.reader(TARGET, "full")
    write_incremental(repository, "inc", full, mixed)
    incremental = repository.reader(TARGET, "inc")
    assert [read_all(full)["public.t", f"{i}"] for i in range(len(old))] == old
    assert [read_all(incremental)["public.t", f"{i}"] for i in range(len(mixed))] == mixed
    assert incremental.manifest.totals.segments == len(mixed)


def test_manifest_tells_what_was_written(repository: Repository) -> None:
    manifest = write_full(repository, "full", [b"1\n2\n", b"3\n"])
    assert repository.reader(TARGET, "full").manifest == manifest
    assert repository.backups(TARGET).manifests == (manifest,)
    assert repository.targets() == [TARGET]
    assert manifest.totals.rows == 3
    assert manifest.totals.segments == 3
    assert manifest.totals.stored_bytes == sum(entry.size_bytes for entry in manifest.objects)
    assert manifest.server["collation"] == "es_ES.utf8"
    assert repository.reader(TARGET, "full").read_object("schema.dump") == b"PGDMPfull"


def test_full_is_plain_sql_for_zstd_alone(tmp_path: Path) -> None:
    repository = Repository.open_or_create(DirectoryStorage(tmp_path), SystemClock())
    write_full(repository, "full", [b"1\n2\n", b"3\n"])
    packs = sorted((tmp_path / "pc_db" / "ventas%2Fñ" / "full").glob("data-*.sql.zst"))
    sql = subprocess.run(
        ["zstd", "-d", "-c"], input=b"".join(pack.read_bytes() for pack in packs), capture_output=True, check=True
    ).stdout
    assert sql == (b"COPY public.t (a) FROM stdin;\n1\n2\n3\n\\.\nSELECT pg_catalog.setval('s', 7, true);\n")


def test_pack_rolls_over_between_segments(repository: Repository, storage: MemoryStorage) -> None:
    with (
        repository.acquire(TARGET) as lease,
        repository.begin(TARGET, "full", type=BackupType.FULL, base=None, lease=lease) as writer,
    ):
        pack = PackWriter(writer, 0, plain_sql=True, pack_bytes=100)
        series = writer.add_series(COPY)
        for number in range(4):
            add(pack, series, f"{number}", b"%d\n" % number * 30)
        pack.close()
        manifest = writer.commit(facts())
    packs = [entry.name for entry in manifest.objects if entry.name.startswith("data-")]
    assert len(packs) > 1
    for name in packs:
        data = storage.get(f"pc_db/ventas%2Fñ/full/{name}")
        sql = subprocess.run(["zstd", "-d", "-c"], input=data, capture_output=True, check=True).stdout.decode()
        assert sql.startswith(COPY.head)
        assert sql.endswith(COPY.tail)
    assert read_all(repository.reader(TARGET, "full"))["public.t", "3"] == b"3\n" * 30


def test_workers_write_and_read_at_the_same_time(repository: Repository) -> None:
    texts = {f"{worker}-{i}": f"{worker} {i}\n".encode() * 500 for worker in range(6) for i in range(20)}

    def work(writer: BackupWriter, worker: int) -> None:
        pack = writer.new_pack()
        for i in range(20):
            part = f"{worker}-{i}"
            series = writer.add_series(Series(key=f"t{i % 3}", head="h\n", tail="t\n"))
            frame, text = compress(texts[part]), texts[part]
            with pack.open_segment(series, part) as sink:
                sink.write(frame[:10])
                sink.write(frame[10:])
                sink.finish(raw_size=len(text), rows=500, digest=blake3(text).hexdigest())

    with (
        repository.acquire(TARGET) as lease,
        repository.begin(TARGET, "full", type=BackupType.FULL, base=None, lease=lease) as writer,
        ThreadPoolExecutor(6) as pool,
    ):
        for job in [pool.submit(work, writer, worker) for worker in range(6)]:
            job.result()
        writer.commit(facts())
    reader = repository.reader(TARGET, "full")
    with ThreadPoolExecutor(6) as pool:
        read = dict(zip((s.part for s in reader.segments), pool.map(reader.read_text, reader.segments), strict=True))
    assert read == texts


def test_stored_frame_is_the_frame_of_frames_and_refs(repository: Repository) -> None:
    write_full(repository, "full", [b"1\n" * 100, b"2\n" * 100])
    base = repository.reader(TARGET, "full")
    write_incremental(repository, "inc", base, [b"1\n" * 100, b"2\n" * 99 + b"3\n", b"new\n"])
    reader = repository.reader(TARGET, "inc")
    assert [segment.kind for segment in reader.segments] == ["ref", "delta", "frame"]
    frames = [reader.stored_frame(segment) for segment in reader.segments]
    assert frames[1] is None
    assert b"".join(frames[0] or []) == compress(b"1\n" * 100)
    assert b"".join(frames[2] or []) == compress(b"new\n")


def test_writer_left_without_commit_leaves_nothing(repository: Repository, storage: MemoryStorage) -> None:
    before = names(storage)

    def fail() -> None:
        with (
            repository.acquire(TARGET) as lease,
            repository.begin(TARGET, "full", type=BackupType.FULL, base=None, lease=lease) as writer,
        ):
            pack = writer.new_pack()
            add(pack, writer.add_series(COPY), "0", b"1\n")
            pack.close()
            writer.put_object("schema.dump", b"x")
            raise InterruptedError

    with pytest.raises(InterruptedError):
        fail()
    assert names(storage) == before


def test_segment_begun_and_not_finished_spoils_the_backup(repository: Repository) -> None:
    with (
        repository.acquire(TARGET) as lease,
        repository.begin(TARGET, "full", type=BackupType.FULL, base=None, lease=lease) as writer,
    ):
        pack = writer.new_pack()
        with pack.open_segment(writer.add_series(COPY), "0") as sink:
            sink.write(b"half a frame")
        with pytest.raises(ValueError, match="not finished"):
            writer.commit(facts())
    assert repository.backups(TARGET).manifests == ()


def test_commit_without_the_lease_is_refused(repository: Repository, storage: MemoryStorage) -> None:
    with (
        repository.acquire(TARGET) as lease,
        repository.begin(TARGET, "full", type=BackupType.FULL, base=None, lease=lease) as writer,
    ):
        storage.delete("locks/pc_db+ventas%2Fñ.json")
        with pytest.raises(LockedError):
            writer.commit(facts())
    assert repository.backups(TARGET).manifests == ()


def test_commit_after_an_object_vanished_is_refused(repository: Repository, storage: MemoryStorage) -> None:
    with (
        repository.acquire(TARGET) as lease,
        repository.begin(TARGET, "full", type=BackupType.FULL, base=None, lease=lease) as writer,
    ):
        writer.put_object("schema.dump", b"x")
        storage.delete("pc_db/ventas%2Fñ/full/schema.dump")
        with pytest.raises(RepositoryError):
            writer.commit(facts())


def test_name_in_use_is_refused(repository: Repository) -> None:
    write_full(repository, "full", [b"1\n"])
    with pytest.raises(UsageError):
        write_full(repository, "full", [b"2\n"])
    assert read_all(repository.reader(TARGET, "full"))["public.t", "0"] == b"1\n"


def test_replace_leaves_the_new_backup_only(repository: Repository, storage: MemoryStorage) -> None:
    write_full(repository, "full", [b"1\n"])
    storage.put("pc_db/ventas%2Fñ/full/proof-20261124T030000Z.json", b"{}")
    for text in (b"2\n", b"3\n"):
        manifest = write_full(repository, "full", [text], replace=True)
        reader = repository.reader(TARGET, "full")
        assert read_all(reader)["public.t", "0"] == text
        assert reader.read_object("schema.dump") == b"PGDMPfull"
        listed = {f"pc_db/ventas%2Fñ/full/{manifest.prefix}{entry.name}" for entry in manifest.objects}
        assert set(names(storage)) == listed | {"respaldo.json", "pc_db/ventas%2Fñ/full/manifest.json"}


def test_replace_given_up_keeps_the_old_backup(repository: Repository) -> None:
    write_full(repository, "full", [b"1\n"])
    with (
        repository.acquire(TARGET) as lease,
        repository.begin(TARGET, "full", type=BackupType.FULL, base=None, lease=lease, replace=True) as writer,
    ):
        writer.put_object("schema.dump", b"new")
    assert repository.reader(TARGET, "full").read_object("schema.dump") == b"PGDMPfull"


def test_replace_of_a_base_is_refused_and_names_its_users(repository: Repository) -> None:
    write_full(repository, "full", [b"1\n"])
    write_incremental(repository, "martes", repository.reader(TARGET, "full"), [b"1\n"])
    with pytest.raises(UsageError, match="martes"):
        write_full(repository, "full", [b"2\n"], replace=True)


def test_base_that_is_missing_or_another_is_damage(repository: Repository) -> None:
    write_full(repository, "full", [b"1\n"])
    write_incremental(repository, "inc", repository.reader(TARGET, "full"), [b"1\n"])
    repository.remove(TARGET, "full")
    with pytest.raises(DamagedError, match="full") as caught:
        read_all(repository.reader(TARGET, "inc"))
    assert caught.value.hint
    write_full(repository, "full", [b"1\n"])
    with pytest.raises(DamagedError, match="full"):
        read_all(repository.reader(TARGET, "inc"))


def test_ref_to_what_the_base_has_not_is_refused(repository: Repository) -> None:
    write_full(repository, "full", [b"1\n"])
    base = repository.reader(TARGET, "full")
    digest = blake3(b"2\n").hexdigest()
    with (
        repository.acquire(TARGET) as lease,
        repository.begin(TARGET, "inc", type=BackupType.INCREMENTAL, base=base, lease=lease) as writer,
    ):
        series = writer.add_series(COPY)
        for part in ("0", "absent"):
            with pytest.raises(ValueError, match="base"):
                writer.add_ref(series, "0", base_part=part, raw_size=2, rows=1, digest=digest)


def test_remove_leaves_nothing(repository: Repository, storage: MemoryStorage) -> None:
    write_full(repository, "full", [b"1\n"])
    repository.remove(TARGET, "full")
    repository.remove(TARGET, "full")
    assert names(storage) == ["respaldo.json"]
    with pytest.raises(RepositoryError):
        repository.reader(TARGET, "full")


def test_sweep_removes_leftovers_only(repository: Repository, storage: MemoryStorage) -> None:
    write_full(repository, "full", [b"1\n"])
    kept = names(storage)
    directory = "pc_db/ventas%2Fñ"
    for name in (f"{directory}/full/proof-20261124T030000Z.json", f"{directory}/labels.json"):
        storage.put(name, b"{}")
        kept.append(name)
    for name in (f"{directory}/dead/data-00-000.sql.zst", f"{directory}/full/r00000000-data-00-000.sql.zst"):
        storage.put(name, b"x")
    with repository.acquire(TARGET) as lease:
        assert repository.sweep(TARGET, lease) == 2
    assert names(storage) == sorted(kept)


def test_sweep_leaves_a_backup_with_a_damaged_manifest(repository: Repository, storage: MemoryStorage) -> None:
    write_full(repository, "full", [b"1\n"])
    storage.put("pc_db/ventas%2Fñ/full/manifest.json", b"{}")
    before = names(storage)
    with repository.acquire(TARGET) as lease:
        assert repository.sweep(TARGET, lease) == 0
    assert names(storage) == before


class CountingStorage(MemoryStorage):
    """Counts what is read."""

    def __init__(self) -> None:
        super().__init__()
        self.reads = 0

    def get(self, name: str, *, limit_bytes: int | None = None) -> bytes:
        self.reads += 1
        return super().get(name, limit_bytes=limit_bytes)


def test_thousand_backups_are_listed_by_reading_each_manifest_once() -> None:
    storage = CountingStorage()
    repository = Repository.open_or_create(storage, FixedClock(START))
    manifest = write_full(repository, "full", [b"1\n"])
    for number in range(999):
        one = changed(manifest, name=f"b{number:04}", started=START + timedelta(minutes=number))
        storage.put(f"pc_db/ventas%2Fñ/{one.name}/manifest.json", encode_manifest(one))
    storage.reads = 0
    listed = repository.backups(TARGET).manifests
    assert len(listed) == storage.reads == 1000
    assert [one.started for one in listed] == sorted(one.started for one in listed)
