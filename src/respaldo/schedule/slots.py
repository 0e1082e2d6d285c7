"""The times that a cron expression means, and which of them is due. Pure: time is a parameter.

Where clocks change the rule is that of Debian's cron(8), which cronsim follows: a job of a fixed time that the clock
jumps over runs right after the jump, and one whose time comes twice runs once; jobs whose minute or hour is ``*``
follow the clock as it goes.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo
from pathlib import Path
from typing import Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from cronsim import CronSim

from respaldo.clock import CORRECTION
from respaldo.schedule.expression import CronExpression

MOST_COUNTED: Final = 1000
LOCALTIME: Final = Path("/etc/localtime")
"""The machine's time zone: a file of the time zone database, or a link to one (localtime(5))."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DueRun:
    """A run that should have begun. ``slot``: the last time that passed; ``missed``: how many before it passed unused,
    counted up to 1000. However many they are, one run makes up for all."""

    slot: datetime
    missed: int


def iterate_slots(expression: CronExpression, zone: tzinfo, after: datetime) -> Iterator[datetime]:
    """Yield, in UTC and in order, the times of an expression past ``after``; it ends where none comes in 50 years."""
    last = after
    for local in CronSim(expression.text, after.astimezone(zone)):
        slot = local.astimezone(UTC)
        # A fixed time in an hour that comes twice is found again from within the second of them.
        if slot > last:
            last = slot
            yield slot


def next_slot(expression: CronExpression, zone: tzinfo, after: datetime) -> datetime | None:
    """Return the first time past ``after``, in UTC; None where none comes."""
    return next(iterate_slots(expression, zone, after), None)


def find_due(expression: CronExpression, zone: tzinfo, *, handled: datetime, now: datetime) -> DueRun | None:
    """Return the run that is due at ``now`` where all up to ``handled`` is done with; None where nothing is.

    A machine that slept, a program that was stopped, a clock set forward: of the times that passed meanwhile the last
    is due, once.
    """
    slot, missed = None, -1
    for passed in iterate_slots(expression, zone, handled):
        if passed > now:
            break
        slot, missed = passed, missed + 1
        if missed >= MOST_COUNTED:
            slot = _last_before(expression, zone, now)
            break
    return None if slot is None else DueRun(slot=slot, missed=missed)


def settle_handled(handled: datetime, now: datetime) -> datetime:
    """Return up to when all is done with: ``handled``, or ``now`` where the clock was far ahead when it was noted."""
    return now if handled - now > CORRECTION else handled


def jitter_of(name: str, slot: datetime, most: timedelta) -> timedelta:
    """Return how long a run waits past its time: the same whenever it is asked, below ``most``, spread by name."""
    digest = hashlib.sha256(f"{name}\0{slot.astimezone(UTC).isoformat()}".encode()).digest()
    return most * (int.from_bytes(digest[:6]) / 2**48)


def local_zone(localtime: Path = LOCALTIME) -> tzinfo:
    """Return the machine's time zone with its changes, as ``TZ`` or ``/etc/localtime`` say; UTC where neither does."""
    name = local_zone_name(localtime)
    if name is not None:
        return ZoneInfo(name)
    try:
        with localtime.open("rb") as file:
            return ZoneInfo.from_file(file)
    except (OSError, ValueError):
        return UTC


def local_zone_name(localtime: Path = LOCALTIME) -> str | None:
    """Return the name of the machine's time zone; None where the machine does not tell one that is known."""
    name = os.environ.get("TZ", "").removeprefix(":")
    if not name and localtime.is_symlink():
        name = os.readlink(localtime).partition("zoneinfo/")[2]
    try:
        return ZoneInfo(name).key
    except (ZoneInfoNotFoundError, OSError, ValueError):
        return None


def is_same_zone(one: tzinfo, other: tzinfo, now: datetime) -> bool:
    """Tell whether two zones show the same time through the year that follows, whatever their names."""
    days = (now + timedelta(days=day) for day in range(367))
    return all(day.astimezone(one).utcoffset() == day.astimezone(other).utcoffset() for day in days)


def _last_before(expression: CronExpression, zone: tzinfo, now: datetime) -> datetime:
    """Return the last time up to ``now``; there must be one in the year before it."""
    reach = timedelta(hours=2)
    while True:
        found = None
        for slot in iterate_slots(expression, zone, now - reach):
            if slot > now:
                break
            found = slot
        if found is not None:
            return found
        reach *= 4
