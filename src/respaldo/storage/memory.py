"""The store that lives in memory: for tests, with the same contract as every other."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from threading import Lock

from respaldo.clock import Clock, SystemClock
from respaldo.errors import ObjectExistsError, ObjectNotFoundError, StorageError
from respaldo.language import _
from respaldo.storage.base import ObjectWriter, Storage, StoredObject, check_object_name


class MemoryStorage(Storage):
    """Objects in a dictionary. Thread-safe; nothing outlives it."""

    def __init__(self, clock: Clock | None = None) -> None:
        self._clock = clock or SystemClock()
        self._lock = Lock()
        self._objects: dict[str, tuple[bytes, datetime]] = {}

    @property
    def location(self) -> str:
        return "memory"

    def get(self, name: str, *, limit_bytes: int | None = None) -> bytes:
        data = self._get(name)
        if limit_bytes is not None and len(data) > limit_bytes:
            message = _("{path} holds {size} bytes, more than the {limit} it may have")
            raise StorageError(message.format(path=name, size=len(data), limit=limit_bytes))
        return data

    def get_range(self, name: str, offset: int, length: int) -> bytes:
        data = self._get(name)
        if offset < 0 or length < 0:
            raise StorageError(_("{path}: no range starts at {offset}").format(path=name, offset=offset))
        if offset + length > len(data):
            raise StorageError(_("{path} ends before byte {end}").format(path=name, end=offset + length))
        return data[offset : offset + length]

    def size(self, name: str) -> int:
        return len(self._get(name))

    def put(self, name: str, data: bytes) -> None:
        check_object_name(name)
        with self._lock:
            self._objects[name] = bytes(data), self._clock.now()

    def put_if_absent(self, name: str, data: bytes) -> None:
        check_object_name(name)
        with self._lock:
            if name in self._objects:
                raise ObjectExistsError(_("{path} exists already").format(path=name))
            self._objects[name] = bytes(data), self._clock.now()

    def open_writer(self, name: str) -> ObjectWriter:
        check_object_name(name)
        return _MemoryWriter(self, name)

    def list(self, prefix: str = "") -> Iterator[StoredObject]:
        if prefix:
            check_object_name(prefix)
        with self._lock:
            objects = sorted(self._objects.items())
        for name, (data, modified) in objects:
            if not prefix or name == prefix or name.startswith(f"{prefix}/"):
                yield StoredObject(name=name, size_bytes=len(data), modified=modified)

    def list_directories(self, prefix: str = "") -> tuple[str, ...]:
        start = f"{prefix}/" if prefix else ""
        rests = [stored.name.removeprefix(start) for stored in self.list(prefix) if stored.name.startswith(start)]
        return tuple(sorted({rest.split("/", 1)[0] for rest in rests if "/" in rest}))

    def delete(self, name: str) -> None:
        check_object_name(name)
        with self._lock:
            self._objects.pop(name, None)

    def sweep(self, prefix: str = "", *, older_than: datetime) -> int:
        return 0  # an unfinished write is nothing but its writer's own buffer

    def _get(self, name: str) -> bytes:
        check_object_name(name)
        with self._lock:
            found = self._objects.get(name)
        if found is None:
            raise ObjectNotFoundError(_("there is no object {path}").format(path=name))
        return found[0]


class _MemoryWriter(ObjectWriter):
    """A buffer until ``commit``. Used by one thread at a time."""

    def __init__(self, storage: MemoryStorage, name: str) -> None:
        self._storage = storage
        self._name = name
        self._buffer: bytearray | None = bytearray()

    def write(self, data: bytes | memoryview) -> None:
        self._open_buffer().extend(data)

    def commit(self) -> None:
        self._storage.put(self._name, bytes(self._open_buffer()))
        self._buffer = None

    def abort(self) -> None:
        self._buffer = None

    def _open_buffer(self) -> bytearray:
        if self._buffer is None:
            raise StorageError(_("{path} is finished already").format(path=self._name))
        return self._buffer
