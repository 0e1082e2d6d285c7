"""What there is to tell of one target, as a record; and what a channel carries of it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum


class Kind(StrEnum):
    """Why somebody is told. Overdue: nothing happened that should have, or soon nothing will have."""

    SUCCESS = "success"
    FAILURE = "failure"
    WARNING = "warning"
    RECOVERY = "recovery"
    OVERDUE = "overdue"
    TEST = "test"


class Operation(StrEnum):
    """What was done, or should have been."""

    BACKUP = "backup"
    DRILL = "drill"
    CHECK = "check"
    RETENTION = "retention"


@dataclass(frozen=True, slots=True, kw_only=True)
class Notice:
    """One thing to tell. ``target``: instance/database, or what is known of it. ``repository``: its location.

    ``last_good``: start of the newest good backup before this. ``failures``: how many runs failed since then.
    ``command``: what to run next. ``is_early``: it is not late yet. Sizes in bytes; None where the number is not known.
    """

    kind: Kind
    operation: Operation
    target: str
    at: datetime
    host: str
    repository: str
    backup: str = ""
    type: str = ""
    reason: str = ""
    hint: str = ""
    warnings: tuple[str, ...] = ()
    seconds: float | None = None
    raw_bytes: int | None = None
    stored_bytes: int | None = None
    rows: int | None = None
    tables: int | None = None
    last_good: datetime | None = None
    failures: int = 0
    command: str = ""
    is_early: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """What is sent. ``uid``: the same for every attempt, so that who receives it twice can tell. No secrets."""

    uid: str
    kind: Kind
    subject: str
    body: str
    at: datetime
