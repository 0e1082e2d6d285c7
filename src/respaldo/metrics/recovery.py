"""Recovery times against their objective: statistics, grade, trend. Pure."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

DEFAULT_OBJECTIVE_S = 300
_FEWEST_FOR_TREND = 3


class Grade(StrEnum):
    """The original project's grades, by the share of the objective that a recovery took."""

    EXCELLENT = "excelente"
    GOOD = "bueno"
    ACCEPTABLE = "aceptable"
    DEFICIENT = "deficiente"


@dataclass(frozen=True, slots=True, kw_only=True)
class Recovery:
    """One recovery that was measured. ``disaster`` is empty where nothing had been destroyed first."""

    target: str
    disaster: str
    made: datetime
    seconds: float
    raw_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class RecoveryStatistics:
    """Several recoveries in numbers; times in seconds. ``compliance``: the share within the objective, 0 to 1."""

    count: int
    mean_s: float
    median_s: float
    p95_s: float
    best_s: float
    worst_s: float
    compliance: float
    grade: Grade


@dataclass(frozen=True, slots=True, kw_only=True)
class Trend:
    """How recovery times change. ``missed_on``: when the objective will be missed if it goes on so, if ever."""

    seconds_per_day: float
    missed_on: datetime | None


def grade(seconds: float, objective_s: float) -> Grade:
    """Grade one time: up to half of the objective excellent, to 80 % good, to 100 % acceptable."""
    share = seconds / objective_s
    if share <= 0.5:
        return Grade.EXCELLENT
    if share <= 0.8:
        return Grade.GOOD
    return Grade.ACCEPTABLE if share <= 1 else Grade.DEFICIENT


def summarize(recoveries: Sequence[Recovery], objective_s: float) -> RecoveryStatistics | None:
    """Return the statistics, graded by the mean; None where there is nothing to count."""
    if not recoveries:
        return None
    times = sorted(recovery.seconds for recovery in recoveries)
    mean_s = statistics.fmean(times)
    return RecoveryStatistics(
        count=len(times),
        mean_s=mean_s,
        median_s=statistics.median(times),
        # The nearest rank: with few measurements it is the worst of them, which is what it should be.
        p95_s=times[math.ceil(0.95 * len(times)) - 1],
        best_s=times[0],
        worst_s=times[-1],
        compliance=sum(time <= objective_s for time in times) / len(times),
        grade=grade(mean_s, objective_s),
    )


def find_trend(recoveries: Sequence[Recovery], objective_s: float, *, now: datetime) -> Trend | None:
    """Fit a line through the times (least squares); None for fewer than three of them, or all on one instant."""
    if len(recoveries) < _FEWEST_FOR_TREND:
        return None
    days = [(recovery.made - now) / timedelta(days=1) for recovery in recoveries]
    if max(days) - min(days) == 0:
        return None
    slope, at_now = statistics.linear_regression(days, [recovery.seconds for recovery in recoveries])
    if slope <= 0 or at_now >= objective_s:
        return Trend(seconds_per_day=slope, missed_on=now if at_now >= objective_s else None)
    days_left = (objective_s - at_now) / slope
    too_far = days_left > timedelta.max.days // 2
    return Trend(seconds_per_day=slope, missed_on=None if too_far else now + timedelta(days=days_left))
