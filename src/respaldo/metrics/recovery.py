"""Recovery times against their objective: statistics, grade, trend. Pure."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

_FEWEST_FOR_TREND = 3
# A forecast for later than this says nothing.
_FARTHEST_DAYS = 3650


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
    """How the recovery times of one target change. ``missed_on``: when the objective will be missed if it goes on so,
    if ever; ``limit_bytes``: how much data it allows, where the times follow the data."""

    target: str
    seconds_per_day: float
    bytes_per_day: float
    limit_bytes: int | None
    missed_on: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Line:
    slope: float
    at_zero: float


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


def find_trends(recoveries: Sequence[Recovery], objective_s: float, *, now: datetime) -> list[Trend]:
    """Return the trend of each target with at least three recoveries on more than one instant, sorted by target."""
    by_target: dict[str, list[Recovery]] = {}
    for recovery in recoveries:
        by_target.setdefault(recovery.target, []).append(recovery)
    found = (_find_trend(group, objective_s, now=now) for _target, group in sorted(by_target.items()))
    return [trend for trend in found if trend is not None]


def _find_trend(recoveries: Sequence[Recovery], objective_s: float, *, now: datetime) -> Trend | None:
    """Fit lines (least squares). As the data grow, the times do: the objective is missed when the data reach the size
    that takes so long. Where the data do not grow, or the times do not follow them, the times are carried on."""
    if len(recoveries) < _FEWEST_FOR_TREND:
        return None
    days = [(recovery.made - now) / timedelta(days=1) for recovery in recoveries]
    if max(days) - min(days) == 0:
        return None
    seconds, sizes = [one.seconds for one in recoveries], [float(one.raw_bytes) for one in recoveries]
    times, growth = _fit(days, seconds), _fit(days, sizes)
    limit_bytes, days_left = None, _reach(times, objective_s)
    if max(sizes) - min(sizes) > 0:
        cost = _fit(sizes, seconds)
        if cost.slope > 0 and (limit := _reach(cost, objective_s)) is not None and limit > 0:
            limit_bytes = round(limit)
            days_left = _reach(growth, limit) if growth.slope > 0 else days_left
    return Trend(
        target=recoveries[0].target,
        seconds_per_day=times.slope,
        bytes_per_day=growth.slope,
        limit_bytes=limit_bytes,
        missed_on=_date(now, days_left),
    )


def _fit(x: Sequence[float], y: Sequence[float]) -> _Line:
    slope, intercept = statistics.linear_regression(x, y)
    return _Line(slope=slope, at_zero=intercept)


def _reach(line: _Line, value: float) -> float | None:
    """Return where a rising line reaches a value, or None. A line that is there today is reached at zero or before."""
    if line.slope > 0:
        return (value - line.at_zero) / line.slope
    return 0.0 if line.at_zero >= value else None


def _date(now: datetime, days_left: float | None) -> datetime | None:
    if days_left is None or days_left > _FARTHEST_DAYS:
        return None
    return now + timedelta(days=max(0.0, days_left))
