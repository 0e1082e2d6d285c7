"""File systems that do less than Linux's own, or fail: what the kernel answers is put in its place."""

from __future__ import annotations

import errno
import fcntl
import os
import stat
from pathlib import Path
from typing import Any

import pytest

from respaldo.errors import StorageError
from respaldo.storage.directory import DirectoryStorage
from respaldo.storage.files import held


def failing(number: int) -> Any:
    def fail(*_words: object, **_more: object) -> None:
        raise OSError(number, os.strerror(number))

    return fail


def test_file_system_without_modes_is_written_to(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    storage = DirectoryStorage(tmp_path / "store")
    monkeypatch.setattr(os, "chmod", failing(errno.EOPNOTSUPP))
    storage.put("a/b", b"x")
    assert storage.get("a/b") == b"x"


def test_mode_that_cannot_be_set_leaves_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    storage = DirectoryStorage(tmp_path)
    storage.put("a/b", b"x")
    monkeypatch.setattr(os, "chmod", failing(errno.EIO))
    with pytest.raises(StorageError):
        storage.put("a/c", b"x")
    assert [path.name for path in (tmp_path / "a").iterdir()] == ["b"]


@pytest.mark.parametrize(("number", "is_taken"), [(errno.EINVAL, True), (errno.EIO, False)])
def test_directories_that_cannot_be_synced_are_left_to_their_own_order_and_errors_are_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, is_taken: bool
) -> None:
    storage, sync = DirectoryStorage(tmp_path), os.fsync
    storage.put("a/b", b"x")

    def only_files(descriptor: int) -> None:
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):
            raise OSError(number, os.strerror(number))
        sync(descriptor)

    monkeypatch.setattr(os, "fsync", only_files)
    if is_taken:
        storage.put("a/c", b"x")
        assert storage.get("a/c") == b"x"
    else:
        with pytest.raises(StorageError):
            storage.put("a/c", b"x")


def test_range_that_comes_in_pieces_is_put_together(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    storage, read = DirectoryStorage(tmp_path), os.pread
    storage.put("a", bytes(range(100)))
    monkeypatch.setattr(os, "pread", lambda descriptor, length, offset: read(descriptor, min(length, 7), offset))
    assert storage.get_range("a", 10, 50) == bytes(range(10, 60))
    with pytest.raises(StorageError):
        storage.get_range("a", 90, 20)


def test_file_system_without_locks_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fcntl, "flock", failing(errno.ENOLCK))
    with pytest.raises(StorageError, match="lock"), held(str(tmp_path / "lock")):
        pass


def test_file_that_cannot_be_filled_where_there_are_no_links_is_not_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    storage, write = DirectoryStorage(tmp_path), os.write
    storage.put("a/b", b"x")
    monkeypatch.setattr(os, "link", failing(errno.EPERM))
    fills: list[int] = []

    def second_fails(descriptor: int, data: bytes) -> int:
        fills.append(descriptor)
        if len(fills) > 1:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return write(descriptor, data)

    monkeypatch.setattr(os, "write", second_fails)
    with pytest.raises(StorageError):
        storage.put_if_absent("a/c", b"x")
    monkeypatch.undo()
    assert [path.name for path in (tmp_path / "a").iterdir()] == ["b"]
