"""What a backup consists of, as records: no bytes are read or written here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Literal, TypeAlias

from respaldo.errors import DamagedError, StorageError

SegmentKind: TypeAlias = Literal["frame", "delta", "ref"]


class BackupType(StrEnum):
    """Full: depends on nothing. Incremental: depends on its base, always a full, and on nothing else."""

    FULL = "full"
    INCREMENTAL = "incremental"


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class TargetPath:
    """What is backed up: a database of an instance."""

    instance: str
    database: str

    def __str__(self) -> str:
        return f"{self.instance}/{self.database}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Series:
    """The rows that belong together, one table's; ``head`` and ``tail`` stand around them in plain SQL."""

    key: str
    head: str = ""
    tail: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Segment:
    """Where one piece of a series lies. ``digest`` is the BLAKE3 of its text, ``raw_size`` that text's bytes.

    A frame lies in ``pack``. A delta lies there too and needs the base's segment ``base_part`` of the same series
    key. A ref lies nowhere: it is that segment of the base.
    """

    series: int
    part: str
    kind: SegmentKind
    pack: str = ""
    offset: int = 0
    length: int = 0
    raw_size: int
    rows: int
    digest: str
    base_part: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ObjectEntry:
    """One object of a backup, by the name it has without the backup's prefix."""

    name: str
    size_bytes: int
    digest: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Totals:
    """A backup in numbers. ``rows``: of series that have a head. ``stored_bytes``: of every object but the manifest."""

    tables: int = 0
    rows: int = 0
    raw_bytes: int = 0
    stored_bytes: int = 0
    segments: int = 0
    refs: int = 0
    deltas: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """Why a backup is full or incremental: a code for programs, a text for people."""

    code: str
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class BackupFacts:
    """What whoever makes a backup tells its manifest; the repository reads nothing into it."""

    started: datetime
    environment: str
    tool_version: str
    decision: Decision
    tables: int
    server: Mapping[str, str] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """The document that makes a backup exist. ``base`` and ``base_uid`` are None for a full, set for an incremental.

    ``prefix`` stands before the name of each of its objects: empty, or ``r1f2e3d4c-`` after a replacement.
    """

    name: str
    uid: str
    type: BackupType
    base: str | None
    base_uid: str | None
    prefix: str
    target: TargetPath
    started: datetime
    finished: datetime
    environment: str
    tool_version: str
    decision: Decision
    server: Mapping[str, str]
    totals: Totals
    objects: tuple[ObjectEntry, ...]
    warnings: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class DamagedBackup:
    """A backup whose manifest cannot be believed, or not be read (StorageError), and why."""

    name: str
    error: DamagedError | StorageError


@dataclass(frozen=True, slots=True, kw_only=True)
class BackupListing:
    """A target's backups, the oldest first, and apart from them those whose manifest is damaged or unreadable."""

    manifests: tuple[Manifest, ...]
    damaged: tuple[DamagedBackup, ...]

    def require_readable(self) -> None:
        """Raise the StorageError of a backup that could not be read: it may be whole, and need what is to be removed.
        What is damaged needs nothing any more."""
        for one in self.damaged:
            if isinstance(one.error, StorageError):
                raise one.error
