"""The store that is a directory: local disk, mounted volume, network share.

What a crash leaves behind are temporary files, never listed, removed by ``sweep``. Symbolic links under the root are
neither objects nor directories and are never followed; the root itself may be one.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeAlias

from respaldo.errors import ObjectExistsError, StorageError
from respaldo.language import _
from respaldo.storage.base import UNFINISHED, ObjectWriter, Storage, StoredObject, check_object_name
from respaldo.storage.files import (
    create_file,
    create_unfinished,
    read_range,
    sync_directory,
    translated,
    write_all,
)

_Found: TypeAlias = list[StoredObject]
_Entries: TypeAlias = list[os.DirEntry[str]]
_NO_LINKS = {errno.EPERM, errno.ENOTSUP, errno.ENOSYS, errno.EMLINK}


class DirectoryStorage(Storage):
    """Objects as files under ``root``, which is made at the first write. Thread-safe, and safe between processes."""

    def __init__(self, root: Path) -> None:
        self._root = os.path.abspath(root)
        if os.path.lexists(self._root) and not os.path.isdir(self._root):
            raise StorageError(
                _("{path} is not a directory").format(path=self._root),
                hint=_("Choose a directory, or a path that does not exist yet."),
            )

    @property
    def location(self) -> str:
        return self._root

    def get(self, name: str, *, limit_bytes: int | None = None) -> bytes:
        path = self._path(name)
        with translated(path, reading=True):
            descriptor = _open_file(path)
            try:
                size = os.fstat(descriptor).st_size
                if limit_bytes is not None and size > limit_bytes:
                    message = _("{path} holds {size} bytes, more than the {limit} it may have")
                    raise StorageError(message.format(path=path, size=size, limit=limit_bytes))
                return read_range(descriptor, 0, size)
            finally:
                os.close(descriptor)

    def get_range(self, name: str, offset: int, length: int) -> bytes:
        path = self._path(name)
        if offset < 0 or length < 0:
            raise StorageError(_("{path}: no range starts at {offset}").format(path=path, offset=offset))
        with translated(path, reading=True):
            descriptor = _open_file(path)
            try:
                if offset + length > os.fstat(descriptor).st_size:
                    message = _("{path} ends before byte {end}")
                    raise StorageError(message.format(path=path, end=offset + length))
                return read_range(descriptor, offset, length)
            finally:
                os.close(descriptor)

    def size(self, name: str) -> int:
        path = self._path(name)
        with translated(path, reading=True):
            descriptor = _open_file(path)
            try:
                return os.fstat(descriptor).st_size
            finally:
                os.close(descriptor)

    def put(self, name: str, data: bytes) -> None:
        with self.open_writer(name) as writer:
            writer.write(data)
            writer.commit()

    def put_if_absent(self, name: str, data: bytes) -> None:
        path = self._path(name)
        with translated(path):
            descriptor, unfinished = create_unfinished(os.path.dirname(path))
            try:
                _fill(descriptor, data)
                try:
                    os.link(unfinished, path)
                except OSError as error:
                    if error.errno not in _NO_LINKS:
                        raise
                    _create_whole(path, data)
            except FileExistsError as error:
                raise ObjectExistsError(_("{path} exists already").format(path=path)) from error
            finally:
                os.unlink(unfinished)
            sync_directory(os.path.dirname(path))

    def open_writer(self, name: str) -> ObjectWriter:
        path = self._path(name)
        with translated(path):
            descriptor, unfinished = create_unfinished(os.path.dirname(path))
        return _FileWriter(self, path, descriptor, unfinished)

    def list(self, prefix: str = "") -> Iterator[StoredObject]:
        found: _Found = []
        if prefix:
            path = self._path(prefix)
            with translated(path), suppress(FileNotFoundError, NotADirectoryError):
                found += _described(prefix, os.lstat(path))
        for directory, files in self._walk(prefix):
            for entry in files:
                if not entry.name.startswith(UNFINISHED):
                    with translated(entry.path), suppress(FileNotFoundError):
                        found += _described(directory + entry.name, entry.stat(follow_symlinks=False))
        return iter(sorted(found, key=lambda stored: stored.name))

    def list_directories(self, prefix: str = "") -> tuple[str, ...]:
        directories, _files = self._scan(prefix)
        return tuple(sorted(entry.name for entry in directories))

    def delete(self, name: str) -> None:
        path = self._path(name)
        with translated(path), suppress(FileNotFoundError, NotADirectoryError):
            os.unlink(path)
            sync_directory(os.path.dirname(path))
        self.prune(os.path.dirname(path))

    def sweep(self, prefix: str = "", *, older_than: datetime) -> int:
        limit = older_than.timestamp()
        removed = 0
        for directory, files in self._walk(prefix):
            path = os.path.join(self._root, directory.rstrip("/"))
            with translated(path), suppress(FileNotFoundError):
                touched = os.stat(path).st_mtime
                for entry in files:
                    if entry.name.startswith(UNFINISHED) and entry.stat(follow_symlinks=False).st_mtime < limit:
                        os.unlink(entry.path)
                        removed += 1
                if touched < limit:
                    self.prune(path)
        return removed

    def prune(self, path: str) -> None:
        """Remove a directory under the root, and those above it, as far as they are empty."""
        while path != self._root and path.startswith(self._root):
            try:
                os.rmdir(path)
            except OSError:  # not empty, in use again, or gone: all of them fine
                return
            path = os.path.dirname(path)

    def _path(self, name: str) -> str:
        """Return the path of an object; raise StorageError where a symbolic link lies on the way to it."""
        check_object_name(name)
        path = self._root
        *directories, last = name.split("/")
        for part in directories:
            path = f"{path}/{part}"
            with translated(path):
                try:
                    mode = os.lstat(path).st_mode
                except (FileNotFoundError, NotADirectoryError):
                    break
            if stat.S_ISLNK(mode):
                raise StorageError(
                    _("{path} is a symbolic link, which is not followed").format(path=path),
                    hint=_("Move the directory itself there, or mount it."),
                )
        return "/".join((self._root, *directories, last))

    def _scan(self, prefix: str) -> tuple[_Entries, _Entries]:
        """Return the directories and the other entries right under ``prefix``; none where that is no directory."""
        path = self._path(prefix) if prefix else self._root
        directories: _Entries = []
        files: _Entries = []
        with translated(path), suppress(FileNotFoundError, NotADirectoryError):
            if prefix and os.path.islink(path):
                return [], []
            with os.scandir(path) as entries:
                for entry in entries:
                    (directories if entry.is_dir(follow_symlinks=False) else files).append(entry)
        return directories, files

    def _walk(self, prefix: str) -> Iterator[tuple[str, _Entries]]:
        """Yield every directory at or under ``prefix``, the deepest first, as name with a slash, and its files."""
        directories, files = self._scan(prefix)
        start = f"{prefix}/" if prefix else ""
        for entry in directories:
            yield from self._walk(start + entry.name)
        yield start, files


class _FileWriter(ObjectWriter):
    """A temporary file beside its final name. Used by one thread at a time."""

    def __init__(self, storage: DirectoryStorage, path: str, descriptor: int, unfinished: str) -> None:
        self._storage = storage
        self._path = path
        self._descriptor = descriptor
        self._unfinished = unfinished

    def write(self, data: bytes | memoryview) -> None:
        self._check_open()
        with translated(self._path):
            write_all(self._descriptor, data)

    def commit(self) -> None:
        self._check_open()
        with translated(self._path):
            os.fsync(self._descriptor)
            self._close()
            os.rename(self._unfinished, self._path)
            self._unfinished = ""
            sync_directory(os.path.dirname(self._path))

    def abort(self) -> None:
        if self._descriptor >= 0:
            self._close()
        if self._unfinished:
            with translated(self._path), suppress(FileNotFoundError):
                os.unlink(self._unfinished)
            self._unfinished = ""
            self._storage.prune(os.path.dirname(self._path))

    def _close(self) -> None:
        descriptor, self._descriptor = self._descriptor, -1
        os.close(descriptor)

    def _check_open(self) -> None:
        if self._descriptor < 0:
            raise StorageError(_("{path} is finished already").format(path=self._path))


def _open_file(path: str) -> int:
    """Open a regular file for reading. A symbolic link is no object (ELOOP), nor is a pipe, which would block."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        if error.errno in {errno.ELOOP, errno.ENXIO}:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), path) from error
        raise
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), path)
    return descriptor


def _described(name: str, status: os.stat_result) -> _Found:
    if not stat.S_ISREG(status.st_mode):
        return []
    modified = datetime.fromtimestamp(status.st_mtime, UTC)
    return [StoredObject(name=name, size_bytes=status.st_size, modified=modified)]


def _fill(descriptor: int, data: bytes) -> None:
    try:
        write_all(descriptor, data)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _create_whole(path: str, data: bytes) -> None:
    """Create a file where hard links are unsupported: one winner still, though a reader may meet it half written."""
    descriptor = create_file(path)
    try:
        _fill(descriptor, data)
    except OSError:
        os.unlink(path)
        raise
