"""Which backups stay, which go, and why: pure. Nothing here removes anything."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta, tzinfo
from enum import StrEnum

from respaldo.catalog.strategy import BackupType
from respaldo.language import N_, _

SAFETY_AGE = timedelta(days=14)
"""How long what a restore replaced is kept: who restored the wrong backup may notice late."""


class Category(StrEnum):
    """What a backup counts as, read from its own time and nothing else."""

    MONTHLY = "monthly"
    WEEKLY = "weekly"
    DAILY = "daily"


class Reason(StrEnum):
    """Why a backup stays or goes. The values stand in JSON output and never change."""

    MONTHLY = "monthly"
    WEEKLY = "weekly"
    DAILY = "daily"
    FULL = "full"
    BASE = "base"
    PINNED = "pinned"
    NEWEST = "newest"
    PROVEN = "proven"
    SAFETY = "safety"
    EXCESS = "excess"


_TEXTS = {
    Reason.MONTHLY: N_("newest of its month"),
    Reason.WEEKLY: N_("newest of its week"),
    Reason.DAILY: N_("newest of its day"),
    Reason.FULL: N_("one of the newest fulls"),
    Reason.BASE: N_("base of an incremental that stays"),
    Reason.PINNED: N_("pinned, tagged, or a version"),
    Reason.NEWEST: N_("newest backup"),
    Reason.PROVEN: N_("newest proven backup"),
    Reason.SAFETY: N_("what a restore replaced, not two weeks old"),
    Reason.EXCESS: N_("past what the policy keeps"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class RetentionPolicy:
    """How many periods of each category keep their newest backup; how many fulls stay. ``zone`` None: local time."""

    daily: int = 7
    weekly: int = 4
    monthly: int = 12
    full: int = 3
    zone: tzinfo | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Retained:
    """What the rule needs to know of one backup."""

    name: str
    type: BackupType
    base: str | None
    started: datetime
    is_pinned: bool = False
    is_proven: bool = False
    is_safety: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """Keep or remove one backup. ``reasons`` is never empty."""

    name: str
    keep: bool
    category: Category
    reasons: tuple[Reason, ...]

    @property
    def text(self) -> str:
        """The reasons as a person reads them."""
        return ", ".join(_(_TEXTS[reason]) for reason in self.reasons)


def category_of(started: datetime, zone: tzinfo | None) -> Category:
    """Return a backup's category: the first of a month is monthly, a Sunday weekly, any other day daily."""
    return _category_of_day(started.astimezone(zone).date())


def plan_retention(backups: Sequence[Retained], policy: RetentionPolicy, *, now: datetime) -> list[Verdict]:
    """Return a verdict for every backup of one target, the oldest first.

    Of each category the newest backup of each of the newest periods that have one stays: days, weeks, months in the
    policy's time zone, each of which has one day of its category. The newest fulls stay, what is pinned, the newest
    backup of all, the newest proven one, what a restore replaced lately, and every base of what stays. A policy of
    zeros therefore leaves the newest backup and what it needs.
    """
    ordered = sorted(backups, key=lambda backup: (backup.started, backup.name))
    reasons: dict[str, list[Reason]] = {backup.name: [] for backup in ordered}
    newest_first = ordered[::-1]
    days = {backup.name: backup.started.astimezone(policy.zone).date() for backup in newest_first}
    for reason, names in (
        (Reason.MONTHLY, _newest_of_days(days, Category.MONTHLY, policy.monthly)),
        (Reason.WEEKLY, _newest_of_days(days, Category.WEEKLY, policy.weekly)),
        (Reason.DAILY, _newest_of_days(days, Category.DAILY, policy.daily)),
        (Reason.FULL, [one.name for one in newest_first if one.type is BackupType.FULL][: policy.full]),
        (Reason.PINNED, [one.name for one in ordered if one.is_pinned]),
        (Reason.PROVEN, [one.name for one in newest_first if one.is_proven][:1]),
        (Reason.SAFETY, [one.name for one in ordered if one.is_safety and now - one.started < SAFETY_AGE]),
        (Reason.NEWEST, [one.name for one in newest_first][:1]),
    ):
        for name in names:
            reasons[name].append(reason)
    for base in _bases(ordered, {name for name, why in reasons.items() if why}):
        reasons[base].append(Reason.BASE)
    return [
        Verdict(
            name=backup.name,
            keep=bool(reasons[backup.name]),
            category=_category_of_day(days[backup.name]),
            reasons=tuple(reasons[backup.name]) or (Reason.EXCESS,),
        )
        for backup in ordered
    ]


def removal_order(verdicts: Iterable[Verdict], backups: Sequence[Retained]) -> list[str]:
    """Return the names to remove, incrementals before the fulls that they need: stopped anywhere, all that is still
    listed can be restored."""
    types = {backup.name: backup.type for backup in backups}
    removed = [verdict.name for verdict in verdicts if not verdict.keep]
    return sorted(removed, key=lambda name: types[name] is BackupType.FULL)


def _category_of_day(day: date) -> Category:
    if day.day == 1:
        return Category.MONTHLY
    return Category.WEEKLY if day.isoweekday() == 7 else Category.DAILY


def _newest_of_days(days: Mapping[str, date], category: Category, count: int) -> list[str]:
    """Return the first name of each of the first days of a category."""
    found: dict[date, str] = {}
    for name, day in days.items():
        if _category_of_day(day) is category:
            found.setdefault(day, name)
    return list(found.values())[:count]


def _bases(backups: Sequence[Retained], kept: Collection[str]) -> set[str]:
    names = {backup.name for backup in backups}
    return {backup.base for backup in backups if backup.name in kept and backup.base in names and backup.base}
