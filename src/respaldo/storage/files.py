"""Files that survive a power cut: temporary file, fsync, rename, fsync of the directory. Modes 0600 and 0700.

Operating system errors become StorageError here and nowhere else.
"""

from __future__ import annotations

import errno
import fcntl
import os
import secrets
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from respaldo.errors import ObjectNotFoundError, StorageError, StorageFullError
from respaldo.language import _
from respaldo.storage.base import UNFINISHED

FILE_MODE = 0o600
DIRECTORY_MODE = 0o700
_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_ABSENT = {errno.ENOENT, errno.ENOTDIR, errno.EISDIR}
_FORBIDDEN = {errno.EACCES, errno.EPERM, errno.EROFS}
_NO_SYNC = {errno.EINVAL, errno.ENOTSUP, errno.EBADF}
_NO_MODES = {errno.EPERM, errno.ENOTSUP, errno.ENOSYS}
_ATTEMPTS = 100


@contextmanager
def translated(path: str, *, reading: bool = False) -> Iterator[None]:
    """Turn an OSError about ``path`` into the StorageError that a person can act on."""
    try:
        yield
    except OSError as error:
        raise _storage_error(error, path, reading=reading) from error


def _storage_error(error: OSError, path: str, *, reading: bool) -> StorageError:
    reason = os.strerror(error.errno) if error.errno else str(error)
    directory = os.path.dirname(path)
    while not os.path.lexists(directory) and directory != os.path.dirname(directory):
        directory = os.path.dirname(directory)
    if error.errno in _FULL:
        return StorageFullError(
            _("no space left for {path}: {reason}").format(path=path, reason=reason),
            hint=_("Free space or raise the quota of {directory}, then run it again.").format(directory=directory),
        )
    if reading and error.errno in _ABSENT:
        return ObjectNotFoundError(_("there is no object {path}").format(path=path))
    message = _("{path}: {reason}").format(path=path, reason=reason)
    if error.errno == errno.EROFS:
        hint = _(
            "{directory} can only be read: list, check, and restore with --to NAME or --no-safety-backup need no more"
        )
        return StorageError(message, hint=hint.format(directory=directory))
    if error.errno in _FORBIDDEN:
        hint = _(
            "Give this user the right to read and write {directory}: ls -ld {directory}; the files of a copy belong to "
            "whoever copied them until chown -R gives them away"
        )
        return StorageError(message, hint=hint.format(directory=directory))
    if error.errno in {errno.ENOTDIR, errno.EEXIST}:
        hint = _("A file stands where a directory should be, at {directory}; move it, or choose another directory.")
        return StorageError(message, hint=hint.format(directory=directory))
    return StorageError(message)


def sync_directory(path: str) -> None:
    """Make the entries of a directory durable; a file system that cannot sync directories is left to its own order.

    One that is gone has no entries: another thread, or process, has deleted the last of them meanwhile.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    except FileNotFoundError:
        return
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in _NO_SYNC:
            raise
    finally:
        os.close(descriptor)


def make_directories(path: str) -> None:
    """Make a directory and its missing parents, each 0700 and durable in the one above it."""
    if os.path.isdir(path):
        return
    above = os.path.dirname(path)
    if above and above != path:
        make_directories(above)
    try:
        os.mkdir(path, DIRECTORY_MODE)
    except FileExistsError:
        # Asked once: between two questions another thread may remove it, and a third make it again.
        if not stat.S_ISDIR(os.stat(path).st_mode):
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), path) from None
        return
    _set_mode(path, DIRECTORY_MODE)
    sync_directory(above or ".")


def _set_mode(target: str | int, mode: int) -> None:
    """Set a mode whatever the umask says; file systems without modes (vfat, some network shares) refuse it."""
    try:
        os.chmod(target, mode)
    except OSError as error:
        if error.errno not in _NO_MODES:
            raise


def create_file(path: str) -> int:
    """Create a file that must not exist yet, 0600; return its descriptor for writing."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, FILE_MODE)
    try:
        _set_mode(descriptor, FILE_MODE)
    except OSError:
        os.close(descriptor)
        os.unlink(path)
        raise
    return descriptor


def create_unfinished(directory: str) -> tuple[int, str]:
    """Create a temporary file in ``directory``, making that first; return its descriptor and its path."""
    for _attempt in range(_ATTEMPTS):
        path = os.path.join(directory, f"{UNFINISHED}{os.getpid()}-{secrets.token_hex(8)}")
        # Another thread may remove the directory, or one above it, as long as it is still empty.
        with suppress(FileNotFoundError):
            make_directories(directory)
            return create_file(path), path
    raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), directory)


def write_all(descriptor: int, data: bytes | memoryview) -> None:
    """Write every byte: one ``write`` takes at most 2 GiB, and less on a nearly full disk."""
    rest = memoryview(data).cast("B")
    while rest:
        rest = rest[os.write(descriptor, rest) :]


def read_range(descriptor: int, offset: int, length: int) -> bytes:
    """Read ``length`` bytes from ``offset``, or as many as there are."""
    first = os.pread(descriptor, length, offset)
    if len(first) == length or not first:
        return first
    pieces = [first]
    total = len(first)
    while total < length:
        piece = os.pread(descriptor, length - total, offset + total)
        if not piece:
            break
        pieces.append(piece)
        total += len(piece)
    return b"".join(pieces)


@contextmanager
def held(path: str, *, wait: bool = True) -> Iterator[None]:
    """Hold a lock file, made where it is not there, while the block runs: other processes, and threads, wait for it.

    It is the kernel's lock: a process that dies lets go of it. ``wait`` False: raise BlockingIOError where it is held.
    """
    with translated(path):
        make_directories(os.path.dirname(path))
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, FILE_MODE)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError:
            raise
        except OSError as error:
            raise _storage_error(error, path, reading=False) from error
        yield
    finally:
        os.close(descriptor)
