"""Time as a parameter: whoever needs it receives a clock. Aware UTC only."""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final, Protocol

CORRECTION: Final = timedelta(hours=3)
"""A clock set back by more was wrong before, and what it had passed counts no more (cron(8) of Debian)."""


class Clock(Protocol):
    """Tells the time of day (aware, UTC) and seconds since an arbitrary start that never run backwards."""

    def now(self) -> datetime: ...

    def monotonic_s(self) -> float: ...


class SystemClock:
    """The machine's own clock."""

    def now(self) -> datetime:
        return datetime.now(UTC)

    def monotonic_s(self) -> float:
        return time.monotonic()


@dataclass(slots=True)
class FixedClock:
    """A clock that stands until it is moved: for tests and for rules that ask "what if it were then"."""

    instant: datetime

    def now(self) -> datetime:
        return self.instant

    def monotonic_s(self) -> float:
        return self.instant.timestamp()
