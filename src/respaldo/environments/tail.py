"""The end of a process's standard error: what an error message quotes. Bounded, whatever the process writes."""

from __future__ import annotations

import threading
from typing import Final

TAIL_BYTES: Final = 64 << 10


class ErrorTail:
    """Keeps the last 64 KiB of what was appended. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._data = bytearray()

    def append(self, data: bytes | memoryview) -> None:
        """Add bytes, forgetting the oldest past the limit."""
        with self._lock:
            self._data += data[-TAIL_BYTES:]
            if len(self._data) > TAIL_BYTES:
                del self._data[:-TAIL_BYTES]

    def read(self) -> bytes:
        """Return what is kept."""
        with self._lock:
            return bytes(self._data)

    def last_line(self) -> str:
        """Return the last line that is not empty, or ``""``."""
        lines = self.read().decode("utf-8", "replace").split("\n")
        return next((line.strip() for line in reversed(lines) if line.strip()), "")
