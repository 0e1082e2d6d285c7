"""What only a directory does: modes, order of syncs, kill -9, a full disk, links, damage of its own."""

from __future__ import annotations

import errno
import os
import signal
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from respaldo.errors import ObjectExistsError, ObjectNotFoundError, StorageError, StorageFullError
from respaldo.storage.directory import DirectoryStorage

WRITE = """
import sys
from pathlib import Path
from respaldo.storage.directory import DirectoryStorage
storage = DirectoryStorage(Path(sys.argv[1]))
with storage.open_writer("a/b/c") as writer:
    writer.write(b"x" * 100_000)
    print("writing", flush=True)
    for _piece in range(100):
        writer.write(b"x" * 100_000)
    sys.stdin.read()
"""


def names(storage: DirectoryStorage) -> list[str]:
    return [stored.name for stored in storage.list()]


def test_modes_are_private_whatever_the_umask(tmp_path: Path) -> None:
    for umask in (0o000, 0o777):
        root = tmp_path / f"{umask:o}" / "store"
        root.parent.mkdir()
        old = os.umask(umask)
        try:
            storage = DirectoryStorage(root)
            storage.put("a/b/c", b"x")
            storage.put_if_absent("a/b/d", b"x")
        finally:
            os.umask(old)
        for path in (root, *root.rglob("*")):
            assert stat.S_IMODE(path.stat().st_mode) == (0o700 if path.is_dir() else 0o600)


def test_put_syncs_file_then_renames_then_syncs_directories(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    steps: list[str] = []
    sync, rename, link = os.fsync, os.rename, os.link

    def record_sync(descriptor: int) -> None:
        path = Path(os.readlink(f"/proc/self/fd/{descriptor}"))
        steps.append("sync data" if path.name.startswith(".tmp-") else f"sync {path.relative_to(tmp_path)}")
        sync(descriptor)

    def record_rename(source: str, target: str) -> None:
        steps.append("rename")
        rename(source, target)

    def record_link(source: str, target: str) -> None:
        steps.append("link")
        link(source, target)

    monkeypatch.setattr(os, "fsync", record_sync)
    monkeypatch.setattr(os, "rename", record_rename)
    monkeypatch.setattr(os, "link", record_link)
    storage = DirectoryStorage(tmp_path / "store")
    storage.put("a/b", b"x")
    assert steps == ["sync .", "sync store", "sync data", "rename", "sync store/a"]
    steps.clear()
    storage.put_if_absent("a/c", b"x")
    assert steps == ["sync data", "link", "sync store/a"]
    steps.clear()
    storage.delete("a/c")
    assert steps == ["sync store/a"]


def test_kill_in_mid_write_leaves_nothing_listed(tmp_path: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", WRITE, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert process.stdout
    assert process.stdout.readline() == b"writing\n"
    process.send_signal(signal.SIGKILL)
    process.communicate()
    storage = DirectoryStorage(tmp_path)
    assert names(storage) == []
    assert len(list(tmp_path.rglob(".tmp-*"))) == 1
    assert storage.sweep(older_than=datetime.now(UTC) - timedelta(hours=1)) == 0
    assert storage.sweep("a/b", older_than=datetime.now(UTC) + timedelta(hours=1)) == 1
    assert storage.list_directories() == ()
    assert list(tmp_path.rglob("*")) == []


def test_sweep_keeps_objects_and_removes_old_empty_directories(tmp_path: Path) -> None:
    storage = DirectoryStorage(tmp_path)
    storage.put("a/b", b"x")
    (tmp_path / "dead" / "deep").mkdir(parents=True)
    assert storage.sweep(older_than=datetime.now(UTC) + timedelta(hours=1)) == 0
    assert names(storage) == ["a/b"]
    assert not (tmp_path / "dead" / "deep").exists()


@contextmanager
def small_disk(path: Path) -> Iterator[Path]:
    path.mkdir()
    mount = (
        subprocess.run(
            ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(path)], capture_output=True, text=True, check=False
        )
        if os.geteuid() == 0
        else None
    )
    if mount is None or mount.returncode:
        pytest.skip(f"a small file system needs the right to mount: {mount.stderr.strip() if mount else 'not root'}")
    try:
        yield path
    finally:
        subprocess.run(["umount", str(path)], check=True)


def test_full_disk_raises_and_leaves_the_old_object(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk") as disk:
        storage = DirectoryStorage(disk / "store")
        storage.put("a/b", b"old")
        with pytest.raises(StorageFullError) as caught:
            storage.put("a/b", b"x" * 2_000_000)
        assert caught.value.hint
        with pytest.raises(StorageFullError):
            storage.put_if_absent("a/c", b"x" * 2_000_000)
        with storage.open_writer("a/d") as writer, pytest.raises(StorageFullError):
            writer.write(b"x" * 2_000_000)
        assert names(storage) == ["a/b"]
        assert storage.get("a/b") == b"old"
        assert list(disk.rglob(".tmp-*")) == []
        storage.put("a/b", b"x" * 900_000)


def test_file_size_limit_is_a_full_storage(tmp_path: Path) -> None:
    program = (
        "import resource, signal, sys; from pathlib import Path\n"
        "from respaldo.errors import StorageFullError; from respaldo.storage.directory import DirectoryStorage\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN); resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))\n"
        "try: DirectoryStorage(Path(sys.argv[1])).put('a', b'x' * 5000)\n"
        "except StorageFullError: sys.exit(7)\n"
    )
    assert subprocess.run([sys.executable, "-c", program, str(tmp_path)], check=False).returncode == 7
    assert list(tmp_path.iterdir()) == []


def test_forbidden_directory_is_named_in_the_hint() -> None:
    with pytest.raises(StorageError) as caught:
        DirectoryStorage(Path("/sys/respaldo")).put("a/b", b"x")
    assert caught.value.hint
    assert "/sys" in caught.value.hint
    assert "/sys/respaldo" not in caught.value.hint


def test_root_that_is_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(StorageError) as caught:
        DirectoryStorage(tmp_path / "file")
    assert caught.value.hint
    storage = DirectoryStorage(tmp_path / "file" / "below")
    with pytest.raises(StorageError):
        storage.put("a", b"x")
    late = DirectoryStorage(tmp_path / "late")
    (tmp_path / "late").write_bytes(b"")
    with pytest.raises(StorageError):
        late.put("a/b", b"x")


def test_object_in_the_way_of_a_directory_is_refused(tmp_path: Path) -> None:
    storage = DirectoryStorage(tmp_path)
    storage.put("a", b"x")
    storage.put("d/e", b"x")
    for attempt in (storage.put, storage.put_if_absent):
        with pytest.raises(StorageError):
            attempt("a/b", b"y")
    with pytest.raises(StorageError):
        storage.put("d", b"y")
    with pytest.raises(StorageError):
        storage.put("x" * 256, b"y")
    assert names(storage) == ["a", "d/e"]
    assert list(tmp_path.rglob(".tmp-*")) == []


def test_links_inside_are_not_followed(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "secret").write_bytes(b"secret")
    root = tmp_path / "store"
    storage = DirectoryStorage(root)
    storage.put("a/b", b"x")
    (root / "a" / "link").symlink_to(outside / "secret")
    (root / "down").symlink_to(outside)
    (root / "gone").symlink_to(outside / "absent")
    for name in ("a/link", "gone"):
        with pytest.raises(ObjectNotFoundError):
            storage.get(name)
    attempts: list[Callable[[], object]] = [
        lambda: storage.get("down/secret"),
        lambda: storage.size("down/secret"),
        lambda: storage.put("down/new", b"x"),
        lambda: storage.put_if_absent("down/new", b"x"),
        lambda: storage.delete("down/secret"),
        lambda: list(storage.list("down/secret")),
    ]
    for attempt in attempts:
        with pytest.raises(StorageError):
            attempt()
    assert names(storage) == ["a/b"]
    assert storage.list_directories() == ("a",)
    assert storage.list_directories("down") == ()
    storage.put("a/link", b"mine")
    assert (outside / "secret").read_bytes() == b"secret"
    assert storage.get("a/link") == b"mine"
    assert [path.name for path in outside.iterdir()] == ["secret"]


def test_root_may_be_a_link(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    storage = DirectoryStorage(tmp_path / "link")
    storage.put("a/b", b"x")
    assert storage.get("a/b") == b"x"
    storage.delete("a/b")
    assert names(storage) == []


def test_pipe_is_no_object(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    storage = DirectoryStorage(tmp_path)
    with pytest.raises(ObjectNotFoundError):
        storage.get("pipe")
    assert names(storage) == []


def test_put_if_absent_without_hard_links_keeps_the_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_source: str, target: str) -> None:
        raise OSError(errno.EPERM, "no links here", target)

    monkeypatch.setattr(os, "link", refuse)
    storage = DirectoryStorage(tmp_path)
    storage.put_if_absent("a", b"first")
    with pytest.raises(ObjectExistsError):
        storage.put_if_absent("a", b"second")
    assert storage.get("a") == b"first"
    assert names(storage) == ["a"]
    assert list(tmp_path.rglob(".tmp-*")) == []


def test_root_is_left_in_place_when_emptied(tmp_path: Path) -> None:
    storage = DirectoryStorage(tmp_path / "store")
    storage.put("a", b"x")
    storage.delete("a")
    assert (tmp_path / "store").is_dir()
