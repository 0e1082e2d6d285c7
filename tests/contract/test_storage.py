"""What every storage must do, run against each of them."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from threading import Barrier

import pytest

from respaldo.errors import ObjectExistsError, ObjectNotFoundError, StorageError
from respaldo.storage.base import Storage
from respaldo.storage.directory import DirectoryStorage
from respaldo.storage.memory import MemoryStorage

STORAGES: dict[str, Callable[[Path], Storage]] = {
    "directory": lambda path: DirectoryStorage(path / "store"),
    "memory": lambda _path: MemoryStorage(),
}


@pytest.fixture(params=STORAGES)
def storage(request: pytest.FixtureRequest, tmp_path: Path) -> Storage:
    return STORAGES[request.param](tmp_path)


def names(storage: Storage, prefix: str = "") -> list[str]:
    return [stored.name for stored in storage.list(prefix)]


def test_get_returns_what_was_put(storage: Storage) -> None:
    for data in (b"", b"x", bytes(range(256)) * 4096):
        storage.put("a/b/c", data)
        assert storage.get("a/b/c") == data
        assert storage.size("a/b/c") == len(data)


def test_get_absent_raises_not_found(storage: Storage) -> None:
    storage.put("a/b", b"x")
    for name in ("z", "a", "a/z", "a/b/c"):
        with pytest.raises(ObjectNotFoundError):
            storage.get(name)
        with pytest.raises(ObjectNotFoundError):
            storage.get_range(name, 0, 1)
        with pytest.raises(ObjectNotFoundError):
            storage.size(name)


def test_get_past_the_limit_is_refused(storage: Storage) -> None:
    storage.put("a", b"12345")
    assert storage.get("a", limit_bytes=5) == b"12345"
    with pytest.raises(StorageError) as caught:
        storage.get("a", limit_bytes=4)
    assert not isinstance(caught.value, ObjectNotFoundError)


def test_get_range_returns_exactly_that_range(storage: Storage) -> None:
    storage.put("a", b"0123456789")
    assert storage.get_range("a", 0, 10) == b"0123456789"
    assert storage.get_range("a", 3, 4) == b"3456"
    assert storage.get_range("a", 10, 0) == b""
    assert storage.get_range("a", 9, 1) == b"9"


@pytest.mark.parametrize(("offset", "length"), [(0, 11), (10, 1), (11, 0), (-1, 2), (0, -1), (2**62, 2**62)])
def test_get_range_outside_is_refused(storage: Storage, offset: int, length: int) -> None:
    storage.put("a", b"0123456789")
    with pytest.raises(StorageError):
        storage.get_range("a", offset, length)


def test_put_replaces(storage: Storage) -> None:
    storage.put("a/b", b"old and long")
    storage.put("a/b", b"new")
    assert storage.get("a/b") == b"new"
    assert names(storage) == ["a/b"]


@pytest.mark.parametrize(
    "name",
    ["", "/", "/a", "a/", "a//b", ".", "..", "a/..", "../a", "a/../b", "./a", "a\0b", "a\\b", ".tmp-1", "a/.tmp-x/b"],
)
def test_name_that_could_escape_is_refused(storage: Storage, name: str) -> None:
    for attempt in (storage.get, storage.size, storage.delete, storage.open_writer):
        with pytest.raises(StorageError):
            attempt(name)
    with pytest.raises(StorageError):
        storage.put(name, b"")
    with pytest.raises(StorageError):
        storage.put_if_absent(name, b"")
    with pytest.raises(StorageError):
        storage.get_range(name, 0, 0)
    if name:
        with pytest.raises(StorageError):
            list(storage.list(name))
        with pytest.raises(StorageError):
            storage.list_directories(name)
    assert names(storage) == []


def test_unusual_names_are_kept(storage: Storage) -> None:
    wanted = sorted(["ñandú/日本", "a b", "%2F", "...", "-x", "a/.hidden", "x" * 255])
    for name in wanted:
        storage.put(name, name.encode())
    assert names(storage) == wanted
    assert all(storage.get(name) == name.encode() for name in wanted)


def test_put_if_absent_keeps_the_first(storage: Storage) -> None:
    storage.put_if_absent("locks/a", b"first")
    with pytest.raises(ObjectExistsError):
        storage.put_if_absent("locks/a", b"second")
    assert storage.get("locks/a") == b"first"
    storage.delete("locks/a")
    storage.put_if_absent("locks/a", b"third")
    assert storage.get("locks/a") == b"third"
    assert names(storage) == ["locks/a"]


def test_put_if_absent_raced_has_one_winner(storage: Storage) -> None:
    racers = 8
    for round_ in range(20):
        barrier = Barrier(racers)

        def race(racer: int, name: str = f"locks/{round_}", barrier: Barrier = barrier) -> int | None:
            barrier.wait()
            try:
                storage.put_if_absent(name, str(racer).encode() * 1000)
            except ObjectExistsError:
                return None
            return racer

        with ThreadPoolExecutor(racers) as pool:
            winners = [racer for racer in pool.map(race, range(racers)) if racer is not None]
        assert len(winners) == 1
        assert storage.get(f"locks/{round_}") == str(winners[0]).encode() * 1000
    assert len(names(storage)) == 20


def test_put_and_delete_raced_in_one_directory_lose_nothing(storage: Storage) -> None:
    def work(worker: int) -> None:
        for step in range(30):
            storage.put(f"a/b/{worker}", bytes([step]))
            assert storage.get(f"a/b/{worker}") == bytes([step])
            storage.delete(f"a/b/{worker}")

    with ThreadPoolExecutor(6) as pool:
        list(pool.map(work, range(6)))
    assert names(storage) == []
    assert storage.list_directories() == ()


def test_replace_raced_shows_whole_objects_only(storage: Storage) -> None:
    storage.put("a", b"0" * 50_000)

    def write(worker: int) -> None:
        for _step in range(20):
            storage.put("a", str(worker).encode() * 50_000)

    def read(_worker: int) -> None:
        for _step in range(100):
            data = storage.get("a")
            assert len(data) == 50_000
            assert len(set(data)) == 1

    with ThreadPoolExecutor(4) as pool:
        jobs = [pool.submit(write, 1), pool.submit(write, 2), pool.submit(read, 0), pool.submit(read, 0)]
        for job in jobs:
            job.result()


def test_writer_shows_nothing_before_commit(storage: Storage) -> None:
    with storage.open_writer("a/b") as writer:
        writer.write(b"one ")
        writer.write(memoryview(b"two"))
        assert names(storage) == []
        with pytest.raises(ObjectNotFoundError):
            storage.get("a/b")
        writer.commit()
        assert storage.get("a/b") == b"one two"
    assert storage.get("a/b") == b"one two"


def test_writer_left_without_commit_leaves_nothing(storage: Storage) -> None:
    with storage.open_writer("a/b") as writer:
        writer.write(b"lost")

    def fail() -> None:
        with storage.open_writer("a/c") as writer:
            writer.write(b"lost" * (1 // 0))

    with pytest.raises(ZeroDivisionError):
        fail()
    assert names(storage) == []
    assert storage.list_directories() == ()


def test_writer_aborted_keeps_the_old_object(storage: Storage) -> None:
    storage.put("a", b"old")
    with storage.open_writer("a") as writer:
        writer.write(b"new")
        writer.abort()
        writer.abort()
    assert storage.get("a") == b"old"
    with storage.open_writer("a") as writer:
        writer.write(b"new")
        writer.commit()
        writer.abort()
    assert storage.get("a") == b"new"


def test_writer_used_after_its_end_is_refused(storage: Storage) -> None:
    writer = storage.open_writer("a")
    writer.commit()
    with pytest.raises(StorageError):
        writer.write(b"x")
    with pytest.raises(StorageError):
        writer.commit()
    assert storage.get("a") == b""


def test_writers_of_one_name_last_commit_wins(storage: Storage) -> None:
    with storage.open_writer("a") as first, storage.open_writer("a") as second:
        first.write(b"first")
        second.write(b"second")
        second.commit()
        first.commit()
    assert storage.get("a") == b"first"


def test_list_is_sorted_and_tells_size_and_time(storage: Storage) -> None:
    before = datetime.now(UTC) - timedelta(seconds=2)
    for name in ("b", "a/z", "a-b", "a/b/c"):
        storage.put(name, name.encode())
    listed = list(storage.list())
    assert [stored.name for stored in listed] == ["a-b", "a/b/c", "a/z", "b"]
    assert [stored.size_bytes for stored in listed] == [3, 5, 3, 1]
    assert all(before <= stored.modified <= datetime.now(UTC) + timedelta(seconds=2) for stored in listed)


def test_list_prefix_is_whole_parts(storage: Storage) -> None:
    for name in ("db/1", "db/2/x", "db2/1", "db-old", "d"):
        storage.put(name, b"")
    assert names(storage, "db") == ["db/1", "db/2/x"]
    assert names(storage, "db/2") == ["db/2/x"]
    assert names(storage, "db/1") == ["db/1"]
    assert names(storage, "d") == ["d"]
    assert names(storage, "absent") == []
    assert names(storage, "db/1/below") == []


def test_list_directories_names_one_level(storage: Storage) -> None:
    for name in ("db/1", "db/2/x", "db/2/y/z", "db2/1", "file"):
        storage.put(name, b"")
    assert storage.list_directories() == ("db", "db2")
    assert storage.list_directories("db") == ("2",)
    assert storage.list_directories("db/2") == ("y",)
    assert storage.list_directories("file") == ()
    assert storage.list_directories("absent") == ()


def test_delete_absent_is_no_error(storage: Storage) -> None:
    storage.put("a", b"")
    for name in ("z", "a/b", "z/y/x"):
        storage.delete(name)
    assert names(storage) == ["a"]


def test_delete_of_the_last_object_removes_its_directories(storage: Storage) -> None:
    storage.put("a/b/c", b"")
    storage.put("a/d", b"")
    storage.delete("a/b/c")
    assert storage.list_directories("a") == ()
    storage.delete("a/d")
    assert storage.list_directories() == ()
    storage.put("a/b/c", b"again")
    assert names(storage) == ["a/b/c"]


def test_sweep_leaves_objects_and_live_writes(storage: Storage) -> None:
    storage.put("a/b", b"kept")
    with storage.open_writer("a/c") as writer:
        writer.write(b"live")
        assert storage.sweep(older_than=datetime.now(UTC) - timedelta(hours=1)) == 0
        writer.commit()
    assert names(storage) == ["a/b", "a/c"]


def test_location_names_the_place(storage: Storage) -> None:
    assert storage.location
