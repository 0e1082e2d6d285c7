"""Death at any moment of a backup: it exists whole or it does not exist, and the next run cleans up and goes on."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from blake3 import blake3

from respaldo.clock import SystemClock
from respaldo.errors import StorageError
from respaldo.repository.codec import compress
from respaldo.repository.records import BackupType, Series
from respaldo.repository.repository import Repository
from respaldo.storage.base import ObjectWriter, Storage
from respaldo.storage.directory import DirectoryStorage
from respaldo.storage.memory import MemoryStorage
from tests.unit.repositories import FACTS, TARGET

STEPS = 5
DIE = """
import os, sys
from pathlib import Path
sys.path.insert(0, sys.argv[3])
from tests.faults import test_repository_crash as crash
crash.back_up(crash.DirectoryStorage(Path(sys.argv[1])), text=b"2\\n", replace=True, die_at=int(sys.argv[2]))
"""


def back_up(storage: Storage, *, text: bytes, replace: bool = False, die_at: int | None = None) -> None:
    def step(number: int) -> None:
        if number == die_at:
            os.kill(os.getpid(), 9)

    repository = Repository.open_or_create(storage, SystemClock())
    with repository.acquire(TARGET) as lease:
        step(0)
        repository.sweep(TARGET, lease)
        with repository.begin(TARGET, "b", type=BackupType.FULL, base=None, lease=lease, replace=replace) as writer:
            pack = writer.new_pack()
            digest = blake3(text).hexdigest()
            with pack.open_segment(writer.add_series(Series(key="t")), "0") as sink:
                sink.write(compress(text))
                step(1)
                sink.finish(raw_size=len(text), rows=1, digest=digest)
            step(2)
            pack.close()
            step(3)
            writer.put_object("schema.dump", text)
            step(4)
            writer.commit(FACTS)
        step(5)


def read(storage: Storage) -> bytes | None:
    repository = Repository.open(storage, SystemClock())
    listing = repository.backups(TARGET)
    assert not listing.damaged
    if not listing.manifests:
        return None
    reader = repository.reader(TARGET, "b")
    for entry in reader.manifest.objects:
        reader.verify_object(entry.name)
    return reader.read_text(reader.segments[0])


@pytest.mark.parametrize("there", [False, True])
@pytest.mark.parametrize("die_at", range(STEPS + 1))
def test_kill_at_any_step_leaves_a_whole_backup_or_none(tmp_path: Path, there: bool, die_at: int) -> None:
    storage = DirectoryStorage(tmp_path)
    if there:
        back_up(storage, text=b"1\n")
    root = Path(__file__).parents[2]
    done = subprocess.run([sys.executable, "-c", DIE, str(tmp_path), str(die_at), str(root)], check=False)
    assert done.returncode == -9
    before = b"1\n" if there else None
    assert read(storage) == (b"2\n" if die_at == STEPS else before)
    back_up(storage, text=b"3\n", replace=True)
    assert read(storage) == b"3\n"
    assert len(list(storage.list("i"))) == 4


class FailingStorage(MemoryStorage):
    """Raises at one manifest's write, before or after it has happened: a cut connection knows no difference."""

    def __init__(self) -> None:
        super().__init__()
        self.fail = ""

    def put(self, name: str, data: bytes) -> None:
        self._fail(name, "before")
        super().put(name, data)
        self._fail(name, "after")

    def put_if_absent(self, name: str, data: bytes) -> None:
        self._fail(name, "before")
        super().put_if_absent(name, data)
        self._fail(name, "after")

    def open_writer(self, name: str) -> ObjectWriter:
        self._fail(name, "open")
        return super().open_writer(name)

    def _fail(self, name: str, when: str) -> None:
        if self.fail == when and (when == "open" or name.endswith("manifest.json")):
            raise StorageError("cut")


@pytest.mark.parametrize("there", [False, True])
@pytest.mark.parametrize(("fail", "committed"), [("open", False), ("before", False), ("after", True)])
def test_store_failing_at_the_manifest_never_leaves_half_a_backup(there: bool, fail: str, committed: bool) -> None:
    storage = FailingStorage()
    Repository.open_or_create(storage, SystemClock())
    if there:
        back_up(storage, text=b"1\n")
    storage.fail = fail
    with pytest.raises(StorageError):
        back_up(storage, text=b"2\n", replace=True)
    storage.fail = ""
    before = b"1\n" if there else None
    assert read(storage) == (b"2\n" if committed else before)
    repository = Repository.open(storage, SystemClock())
    with repository.acquire(TARGET) as lease:
        repository.sweep(TARGET, lease)
    assert read(storage) == (b"2\n" if committed else before)
