"""When somebody is told, as pure changes of what is remembered: each failed or missed day once, recovery once.

Of each operation on each target it is remembered what was told since it was last good. A failure is told unless one was
told that very day; a backup that is missing is told when nothing was heard of its target for longer than the
objective, and nothing was told that day; the first good run after anything told is a recovery. A good run ends the
day's silence too: what fails after it is told anew.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta

from respaldo.clock import CORRECTION
from respaldo.notify.notice import Kind

GRACE = timedelta(hours=1)
"""A daily backup starts at the same time each day, but does not end at it: so much later than the objective, nothing is
late yet. At most a tenth of the objective."""


def is_late(age: timedelta, rpo: timedelta) -> bool:
    """Tell whether a newest backup of this age misses the objective: the one rule of messages, status, summary and
    deploy/monitoring."""
    return age > rpo + min(GRACE, rpo / 10)


@dataclass(frozen=True, slots=True, kw_only=True)
class Remembered:
    """What is known of one operation on one target. ``told``: problems told since it was last good; ``told_on``: day of
    the last of them, ``failed_on``: of the last that was a failure. ``heard``: until when its silence is accounted for.
    ``failures`` since ever, ``in_a_row`` since the last good one. ``anomalies``: codes of the warnings that last.
    ``warned``: which end of the objective was warned of. ``wanted``: what its last run was looking for, empty where
    nothing was named."""

    last_good: datetime | None = None
    heard: datetime | None = None
    told: int = 0
    told_on: date | None = None
    failed_on: date | None = None
    failures: int = 0
    in_a_row: int = 0
    last_failure: datetime | None = None
    last_error: str = ""
    anomalies: tuple[str, ...] = ()
    warned: datetime | None = None
    wanted: str = ""


def after_success(
    before: Remembered, *, started: datetime, anomalies: Collection[str] = (), has_warnings: bool = False
) -> tuple[Remembered, Kind]:
    """Return what is remembered after a good run, and what kind of message it is worth. An anomaly that was told and
    lasts is no warning again."""
    is_new = bool(set(anomalies) - set(before.anomalies))
    usual = Kind.WARNING if is_new or has_warnings else Kind.SUCCESS
    after = replace(
        before,
        last_good=started,
        heard=started,
        told=0,
        told_on=None,
        failed_on=None,
        in_a_row=0,
        anomalies=tuple(sorted(anomalies)),
        warned=None,
    )
    return after, Kind.RECOVERY if before.told else usual


def after_failure(before: Remembered, *, at: datetime, day: date, error: str) -> tuple[Remembered, Kind | None]:
    """Return what is remembered after a failed run, and whether it is told: not twice a day, but also on one that was
    told as late: what it failed by is news. ``day``: where it ran."""
    after = replace(
        before, failures=before.failures + 1, in_a_row=before.in_a_row + 1, last_failure=at, last_error=error, heard=at
    )
    if before.failed_on == day:
        return after, None
    return replace(after, told=before.told + 1, told_on=day, failed_on=day), Kind.FAILURE


def after_look(
    before: Remembered,
    *,
    last_good: datetime | None,
    now: datetime,
    day: date,
    rpo: timedelta,
    warning: timedelta,
    next_run: datetime | None = None,
    awaited: datetime | None = None,
) -> tuple[Remembered, Kind | None]:
    """Return what is remembered after somebody looked how old the newest backup is, and whether that is told.

    ``last_good``: its start; None where there is none, which is late at once, or, where one is awaited since
    ``awaited``, as late as one that is missing. ``warning``: how long before the end of the objective a warning is
    sent, zero for never; where the next run is known to come too late, a tenth of the objective before it.
    """
    grace = min(GRACE, rpo / 10)
    # What a clock that was ahead has heard says nothing.
    heard = max((at for at in (last_good, before.heard) if at and at <= now + CORRECTION), default=None)
    if last_good is None and awaited is None and before.told == 0:
        heard = None
    # Two graces, so that who looks at the same hour each day finds it late each day.
    heard = heard or awaited or now - rpo - 2 * grace
    if is_late(now - heard, rpo):
        # Not ``now``: looks that come a little later each day must not shift the day that is missing.
        periods = (now - heard - grace) // rpo
        after = replace(before, heard=heard + periods * rpo)
        if before.told_on == day:
            return after, None
        return replace(after, told=before.told + 1, told_on=day), Kind.OVERDUE
    if last_good is None:
        return replace(before, heard=heard), None
    end = last_good + rpo
    if next_run is not None and next_run > end:
        warning = max(warning, rpo / 10)
    if warning and end - warning <= now <= end and before.warned != end and before.told == 0:
        return replace(before, warned=end), Kind.WARNING
    return before, None
