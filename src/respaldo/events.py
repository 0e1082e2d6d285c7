"""What happens during an operation, as records that a listener may show, log or count. Standard library only.

Operations call the listener from several threads, one call at a time; a listener must return at once.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class InstanceFound:
    """The server that will be backed up or restored into. ``database`` is empty where it is not decided yet."""

    environment: str
    instance: str
    image: str
    database: str
    server_version: str
    by_itself: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class TypeDecided:
    """Full or incremental, and why."""

    type: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkPlanned:
    """What will be read: the number of tables, or of backups, and their size where they lie."""

    size_bytes: int
    tables: int = 0
    backups: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class SegmentDone:
    """One segment was read and stored, or read and loaded. ``heap_bytes`` adds up to the plan's size."""

    table: str
    rows: int
    raw_bytes: int
    stored_bytes: int
    heap_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class PhaseStarted:
    """A step that shows no progress of its own began."""

    phase: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Warned:
    """Something the person should know, which does not make the result wrong."""

    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Waiting:
    """Nothing is heard of the other side for a while, and it is waited for: no warning of what comes of it."""

    message: str


Event = InstanceFound | TypeDecided | WorkPlanned | SegmentDone | PhaseStarted | Warned | Waiting
Listener = Callable[[Event], None]


def ignore(event: Event) -> None:
    """Listen to nothing."""
