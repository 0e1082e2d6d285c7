"""The storage seam: what a repository needs of the store under it, and nothing of what lies in it.

Names are relative POSIX paths of one or more parts (``a/b/c``); no part is empty, ``.`` or ``..``. Every method is
thread-safe. A method either did all of its work durably, or raises and nothing of it is visible.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from types import TracebackType
from typing import Self

from respaldo.errors import StorageError
from respaldo.language import _

UNFINISHED = ".tmp-"
"""How the name of an unfinished write may begin; no part of an object's name does."""


def check_object_name(name: str) -> None:
    """Raise StorageError for a name that could leave the store, or be taken for an unfinished write."""
    parts = name.split("/")
    if "\0" in name or "\\" in name or not all(part not in {"", ".", ".."} for part in parts):
        raise StorageError(_("{name!r} cannot be the name of an object").format(name=name))
    if any(part.startswith(UNFINISHED) for part in parts):
        raise StorageError(_("{name!r} is a name kept for unfinished writes").format(name=name))


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredObject:
    """What a listing tells of one object."""

    name: str
    size_bytes: int
    modified: datetime


class ObjectWriter(ABC):
    """One object in the making, invisible under its name until ``commit``; leaving the ``with`` block without it
    discards every byte. Used by one thread at a time."""

    @abstractmethod
    def write(self, data: bytes | memoryview) -> None:
        """Append to the object; raise StorageFullError where no space is left."""

    @abstractmethod
    def commit(self) -> None:
        """Make the object durable and visible, replacing one of the same name in one step."""

    @abstractmethod
    def abort(self) -> None:
        """Discard what was written. Harmless after ``commit`` and when repeated."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.abort()


class Storage(ABC):
    """An object store: a directory, a bucket, memory. Raises StorageError and its kin, never a library's own error."""

    @property
    @abstractmethod
    def location(self) -> str:
        """Where it is, as a person would write it; without secrets."""

    @abstractmethod
    def get(self, name: str, *, limit_bytes: int | None = None) -> bytes:
        """Read a whole object. Raise ObjectNotFoundError where there is none, StorageError past ``limit_bytes``."""

    @abstractmethod
    def get_range(self, name: str, offset: int, length: int) -> bytes:
        """Read exactly ``length`` bytes from ``offset``; fewer there is a StorageError."""

    @abstractmethod
    def size(self, name: str) -> int:
        """Return an object's size in bytes, or raise ObjectNotFoundError."""

    @abstractmethod
    def put(self, name: str, data: bytes) -> None:
        """Write a whole object, replacing one of the same name in one step. Repeatable."""

    @abstractmethod
    def put_if_absent(self, name: str, data: bytes) -> None:
        """Write a whole object, or raise ObjectExistsError. Of several racing writers exactly one succeeds."""

    @abstractmethod
    def open_writer(self, name: str) -> ObjectWriter:
        """Begin an object that is too large to hold in memory."""

    @abstractmethod
    def list(self, prefix: str = "") -> Iterator[StoredObject]:
        """Yield, sorted by name, every object whose name is ``prefix`` or lies under it as a directory; all for ``""``.

        Unfinished writes are never listed.
        """

    @abstractmethod
    def list_directories(self, prefix: str = "") -> tuple[str, ...]:
        """Return, sorted, the names of the directories right under ``prefix``; not their full paths."""

    @abstractmethod
    def delete(self, name: str) -> None:
        """Remove an object; one that is not there is no error. Directories left empty vanish."""

    @abstractmethod
    def sweep(self, prefix: str = "", *, older_than: datetime) -> int:
        """Remove unfinished writes under ``prefix`` last touched before ``older_than``; return how many."""
