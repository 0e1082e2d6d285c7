"""The lease: one holder, stale when its holder is dead or silent, one heir."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from threading import Barrier, Event

import pytest

from respaldo.clock import FixedClock, SystemClock
from respaldo.errors import LockedError
from respaldo.process import identify_process, is_gone
from respaldo.repository.lock import Lease
from respaldo.repository.records import TargetPath
from respaldo.storage.base import Storage
from respaldo.storage.directory import DirectoryStorage
from respaldo.storage.memory import MemoryStorage

TARGET = TargetPath(instance="i", database="d")
START = datetime(2026, 11, 24, 2, 0, tzinfo=UTC)

CRASH = """
import os, sys
from pathlib import Path
from respaldo.clock import SystemClock
from respaldo.repository.lock import Lease
from respaldo.repository.records import TargetPath
from respaldo.storage.directory import DirectoryStorage
Lease(DirectoryStorage(Path(sys.argv[1])), SystemClock(), TargetPath(instance="i", database="d")).acquire()
os.kill(os.getpid(), 9)
"""
RACE = """
import sys
from pathlib import Path
from respaldo.clock import SystemClock
from respaldo.errors import LockedError
from respaldo.repository.lock import Lease
from respaldo.repository.records import TargetPath
from respaldo.storage.directory import DirectoryStorage
lease = Lease(DirectoryStorage(Path(sys.argv[1])), SystemClock(), TargetPath(instance="i", database="d"))
print("ready", flush=True)
sys.stdin.readline()
try:
    lease.acquire()
except LockedError:
    print("locked", flush=True)
else:
    print("won", flush=True)
    sys.stdin.readline()
    lease.check()
    lease.release()
"""


def names(storage: Storage) -> list[str]:
    return [stored.name for stored in storage.list()]


def crash(path: Path) -> None:
    done = subprocess.run([sys.executable, "-c", CRASH, str(path)], check=False)
    assert done.returncode == -9


def test_lease_is_held_by_one_and_given_back() -> None:
    storage = MemoryStorage()
    with Lease(storage, SystemClock(), TARGET) as lease:
        lease.acquire()
        lease.check()
        with pytest.raises(LockedError) as caught:
            Lease(storage, SystemClock(), TARGET).acquire()
        assert str(os.getpid()) in caught.value.message
        assert caught.value.hint
        other = Lease(storage, SystemClock(), TargetPath(instance="i", database="d2"))
        other.acquire()
        other.release()
    lease.release()
    assert names(storage) == []
    with pytest.raises(LockedError):
        lease.check()


def test_lease_of_a_silent_holder_is_taken_over_after_its_time() -> None:
    clock = FixedClock(START)
    storage = MemoryStorage(clock)
    silent, heir = Lease(storage, clock, TARGET), Lease(storage, clock, TARGET)
    silent.acquire()
    clock.instant = START + timedelta(seconds=119)
    with pytest.raises(LockedError):
        heir.acquire()
    clock.instant = START + timedelta(seconds=121)
    heir.acquire()
    heir.check()
    with pytest.raises(LockedError):
        silent.check()
    assert not silent.refresh()
    silent.release()
    heir.check()
    heir.release()
    assert names(storage) == []


def test_refreshed_lease_never_gets_stale() -> None:
    clock = FixedClock(START)
    storage = MemoryStorage(clock)
    lease = Lease(storage, clock, TARGET)
    lease.acquire()
    for minute in range(1, 10):
        clock.instant = START + timedelta(minutes=minute)
        assert lease.refresh()
        with pytest.raises(LockedError):
            Lease(storage, clock, TARGET).acquire()
    lease.release()


def test_lease_is_refreshed_by_itself() -> None:
    written = Event()

    class Watched(MemoryStorage):
        def put(self, name: str, data: bytes) -> None:
            super().put(name, data)
            written.set()

    lease = Lease(Watched(), SystemClock(), TARGET, refresh_s=0.01)
    lease.acquire()
    assert written.wait(10)
    lease.check()
    lease.release()


def test_lease_of_a_dead_process_is_taken_over_at_once(tmp_path: Path) -> None:
    crash(tmp_path)
    storage = DirectoryStorage(tmp_path)
    assert names(storage) == ["locks/i+d.json"]
    with Lease(storage, SystemClock(), TARGET) as lease:
        lease.acquire()
        lease.check()
    assert names(storage) == []


def test_stale_lease_raced_for_by_threads_has_one_heir(tmp_path: Path) -> None:
    racers = 8
    crash(tmp_path / "crashed")
    for round_ in range(8):
        path = shutil.copytree(tmp_path / "crashed", tmp_path / str(round_))
        storage, barrier = DirectoryStorage(path), Barrier(racers)

        def race(_racer: int, storage: Storage = storage, barrier: Barrier = barrier) -> Lease | None:
            lease = Lease(storage, SystemClock(), TARGET)
            barrier.wait()
            try:
                lease.acquire()
            except LockedError:
                return None
            return lease

        with ThreadPoolExecutor(racers) as pool:
            winners = [lease for lease in pool.map(race, range(racers)) if lease]
        assert len(winners) == 1
        winners[0].check()
        winners[0].release()
        assert names(storage) == []


def test_stale_lease_raced_for_by_processes_has_one_heir(tmp_path: Path) -> None:
    crash(tmp_path)
    racers = [
        subprocess.Popen(
            [sys.executable, "-c", RACE, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        for _racer in range(5)
    ]
    outcomes = []
    for racer in racers:
        assert racer.stdout
        assert racer.stdout.readline() == "ready\n"
    for racer in racers:
        assert racer.stdin
        racer.stdin.write("go\n")
        racer.stdin.flush()
    for racer in racers:
        assert racer.stdout
        outcomes.append(racer.stdout.readline().strip())
    for racer in racers:
        racer.communicate("end\n" if racer.poll() is None else None)
    assert sorted(outcomes) == ["locked"] * 4 + ["won"]
    assert all(racer.returncode == 0 for racer in racers)


def test_claim_of_a_dead_rival_is_passed_by() -> None:
    clock = FixedClock(START)
    storage = MemoryStorage(clock)
    dead = Lease(storage, clock, TARGET)
    dead.acquire()
    storage.put(f"locks/i+d.{dead.token}-0", storage.get("locks/i+d.json"))
    clock.instant = START + timedelta(seconds=121)
    heir = Lease(storage, clock, TARGET)
    heir.acquire()
    heir.check()
    assert names(storage) == ["locks/i+d.json"]
    heir.release()
    dead.release()


def test_claim_of_a_live_rival_is_respected() -> None:
    clock = FixedClock(START)
    storage = MemoryStorage(clock)
    dead = Lease(storage, clock, TARGET)
    dead.acquire()
    clock.instant = START + timedelta(seconds=121)
    storage.put(f"locks/i+d.{dead.token}-0", b"half written")
    with pytest.raises(LockedError):
        Lease(storage, clock, TARGET).acquire()
    dead.release()


@pytest.mark.parametrize("bad", [b"", b"{}", b"\xff" * 100, b'{"token": 7}'])
def test_lock_that_cannot_be_read_is_held_until_its_time(bad: bytes) -> None:
    clock = FixedClock(START)
    storage = MemoryStorage(clock)
    storage.put("locks/i+d.json", bad)
    with pytest.raises(LockedError):
        Lease(storage, clock, TARGET).acquire()
    clock.instant = START + timedelta(seconds=121)
    with Lease(storage, clock, TARGET) as lease:
        lease.acquire()
    assert names(storage) == []


def test_process_is_gone_only_when_that_is_sure() -> None:
    me = identify_process()
    assert not is_gone(me)
    assert is_gone(replace(me, started="1"))
    assert is_gone(replace(me, pid=2**22 + 1))
    for other in ({"host": "elsewhere"}, {"boot": "before"}, {"pid_namespace": "pid:[1]"}, {"started": ""}):
        assert not is_gone(replace(me, pid=2**22 + 1, **{"started": "1"} | other))
