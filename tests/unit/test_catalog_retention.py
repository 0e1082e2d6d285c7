"""The retention rule over random histories, over years of simulated days, and over the calendar's odd days."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta, tzinfo
from pathlib import Path
from random import Random
from zoneinfo import ZoneInfo

import pytest

from respaldo.catalog.retention import (
    Category,
    Reason,
    Retained,
    RetentionPolicy,
    Verdict,
    category_of,
    plan_retention,
    removal_order,
)
from respaldo.catalog.strategy import BackupType

NOW = datetime(2026, 11, 25, tzinfo=UTC)
GOLDEN = Path(__file__).parents[1] / "golden"
ZONES: list[tzinfo] = [
    UTC,
    *(ZoneInfo(name) for name in ("Europe/Madrid", "America/Sao_Paulo", "Pacific/Apia", "Asia/Kathmandu", "Asia/Gaza")),
]
# In tenths, which processes may share.
HISTORIES = [range(begin, begin + 1000) for begin in range(0, 10_000, 1000)]


def policy_of(dice: Random) -> RetentionPolicy:
    return RetentionPolicy(
        daily=dice.randint(0, 9),
        weekly=dice.randint(0, 5),
        monthly=dice.randint(0, 13),
        full=dice.randint(0, 4),
        zone=dice.choice(ZONES),
    )


def history_of(dice: Random) -> list[Retained]:
    """Fulls and incrementals of one target in any order; some bases are missing, as damaged ones are."""
    at = datetime(2010, 12, 20, tzinfo=UTC)
    longest_gap = dice.choice((0, 60, 36 * 60, 40 * 24 * 60))
    backups: list[Retained] = []
    fulls: list[str] = []
    for number in range(dice.randint(0, 14)):
        at += timedelta(minutes=dice.randint(0, longest_gap))
        name = f"b{number:02}"
        is_full = dice.random() < (0.3 if fulls else 0.9)
        base = None if is_full else dice.choice(fulls[-2:]) if fulls else "damaged"
        fulls += [name] if is_full else []
        backups.append(
            Retained(
                name=name,
                type=BackupType.FULL if is_full else BackupType.INCREMENTAL,
                base=base,
                started=at,
                is_pinned=dice.random() < 0.06,
                is_proven=dice.random() < 0.2,
            )
        )
    dice.shuffle(backups)
    return backups


def period_of(backup: Retained, zone: tzinfo | None) -> tuple[Category, tuple[int, ...]]:
    local = backup.started.astimezone(zone)
    category = category_of(backup.started, zone)
    if category is Category.WEEKLY:
        return category, tuple(local.isocalendar())[:2]
    return category, (local.year, local.month, local.day if category is Category.DAILY else 0)


def check_plan_keeps_what_must_never_go(backups: list[Retained], plan: list[Verdict]) -> None:
    verdicts = {verdict.name: verdict for verdict in plan}
    assert set(verdicts) == {backup.name for backup in backups}
    assert all(verdict.reasons for verdict in verdicts.values())
    newest_first = sorted(backups, key=lambda backup: (backup.started, backup.name), reverse=True)
    for newest in (newest_first[:1], [backup for backup in newest_first if backup.is_proven][:1]):
        assert all(verdicts[backup.name].keep for backup in newest)
    for backup in backups:
        verdict = verdicts[backup.name]
        assert verdict.keep is (verdict.reasons != (Reason.EXCESS,))
        assert verdict.keep or not backup.is_pinned
        if verdict.keep and backup.base in verdicts:
            assert verdicts[backup.base].keep


def check_plan_keeps_as_many_of_each_category_as_the_policy_says(
    backups: list[Retained], policy: RetentionPolicy, plan: list[Verdict]
) -> None:
    verdicts = {verdict.name: verdict for verdict in plan}
    period = {backup.name: period_of(backup, policy.zone) for backup in backups}
    counts = {Reason.MONTHLY: policy.monthly, Reason.WEEKLY: policy.weekly, Reason.DAILY: policy.daily}
    for reason, count in counts.items():
        periods: dict[tuple[Category, tuple[int, ...]], list[Retained]] = {}
        for backup in backups:
            if verdicts[backup.name].category.value == reason.value:
                periods.setdefault(period[backup.name], []).append(backup)
        kept = [backup for backup in backups if reason in verdicts[backup.name].reasons]
        assert len(kept) == min(count, len(periods))
        for backup in kept:
            same = periods[period[backup.name]]
            assert backup == max(same, key=lambda one: (one.started, one.name))
    fulls = [backup for backup in backups if backup.type is BackupType.FULL]
    kept_fulls = [backup for backup in fulls if Reason.FULL in verdicts[backup.name].reasons]
    newest = sorted(fulls, key=lambda one: (one.started, one.name))[max(0, len(fulls) - policy.full) :]
    assert sorted(kept_fulls, key=lambda one: one.name) == sorted(newest, key=lambda one: one.name)


def check_plan_of_the_survivors_removes_nothing(
    backups: list[Retained], policy: RetentionPolicy, plan: list[Verdict]
) -> None:
    kept = {verdict.name for verdict in plan if verdict.keep}
    survivors = [backup for backup in backups if backup.name in kept]
    assert [verdict.name for verdict in plan_retention(survivors, policy, now=NOW) if not verdict.keep] == []


def check_removal_stopped_anywhere_leaves_no_incremental_without_its_base(
    backups: list[Retained], plan: list[Verdict]
) -> None:
    order = removal_order(plan, backups)
    assert sorted(order) == sorted(verdict.name for verdict in plan if not verdict.keep)
    left = {backup.name: backup for backup in backups}
    had_base = {backup.name for backup in backups if backup.base in left}
    for name in order:
        del left[name]
        assert [one.name for one in left.values() if one.name in had_base and one.base not in left] == []


@pytest.mark.parametrize("seeds", HISTORIES, ids=str)
def test_what_holds_for_any_history(seeds: range) -> None:
    """Ten thousand, the same ones each time."""
    for seed in seeds:
        dice = Random(seed)
        backups, policy = history_of(dice), policy_of(dice)
        try:
            plan = plan_retention(backups, policy, now=NOW)
            check_plan_keeps_what_must_never_go(backups, plan)
            check_plan_keeps_as_many_of_each_category_as_the_policy_says(backups, policy, plan)
            check_plan_of_the_survivors_removes_nothing(backups, policy, plan)
            check_removal_stopped_anywhere_leaves_no_incremental_without_its_base(backups, plan)
        except Exception as error:  # nothing is muted: it is raised again, with which history it was
            error.add_note(f"history {seed}")
            raise


def test_plan_of_nothing_is_nothing() -> None:
    assert plan_retention([], RetentionPolicy(), now=NOW) == []


def full(name: str, started: datetime) -> Retained:
    return Retained(name=name, type=BackupType.FULL, base=None, started=started)


@pytest.mark.parametrize(
    ("started", "zone", "expected"),
    [
        # Sunday, 1 March 2026: the first of a month comes before the Sunday.
        ("2026-03-01T02:00", "UTC", Category.MONTHLY),
        ("2026-03-08T02:00", "UTC", Category.WEEKLY),
        ("2026-03-09T02:00", "UTC", Category.DAILY),
        # 23:30 UTC on the last of February is the first of March in Madrid, still February in New York.
        ("2026-02-28T23:30", "Europe/Madrid", Category.MONTHLY),
        ("2026-03-01T03:30", "America/New_York", Category.DAILY),
        # The nights in which clocks are put forward and back, both Sundays, 29 March and 25 October 2026.
        ("2026-03-29T01:00", "Europe/Madrid", Category.WEEKLY),
        ("2026-10-25T00:30", "Europe/Madrid", Category.WEEKLY),
        ("2026-10-25T01:30", "Europe/Madrid", Category.WEEKLY),
        ("2026-10-24T22:30", "Europe/Madrid", Category.WEEKLY),
        # Samoa had no 30 December 2011: from Thursday 29 to Saturday 31.
        ("2011-12-30T09:59", "Pacific/Apia", Category.DAILY),
        ("2011-12-31T10:00", "Pacific/Apia", Category.MONTHLY),
    ],
)
def test_category_is_read_in_the_policy_s_zone(started: str, zone: str, expected: Category) -> None:
    assert category_of(datetime.fromisoformat(started).replace(tzinfo=UTC), ZoneInfo(zone)) is expected


def test_sundays_around_a_year_of_53_weeks_are_weeks_of_their_own() -> None:
    # 2026 has an ISO week 53: its Sunday is 3 January 2027, and the 27 December before it is week 52.
    sundays = [datetime(2026, 12, 20, 2, tzinfo=UTC) + timedelta(weeks=week) for week in range(4)]
    assert [tuple(day.isocalendar())[:2] for day in sundays] == [(2026, 51), (2026, 52), (2026, 53), (2027, 1)]
    policy = RetentionPolicy(daily=0, weekly=3, monthly=0, full=0, zone=UTC)
    verdicts = plan_retention([full(f"{day:%m%d}", day) for day in sundays], policy, now=NOW)
    assert [verdict.name for verdict in verdicts if verdict.keep] == ["1227", "0103", "0110"]


def test_two_backups_of_the_hour_that_comes_twice_are_one_day() -> None:
    # 02:30 on 25 October 2026 comes twice in Madrid; the later one in time stays.
    zone = ZoneInfo("Europe/Madrid")
    first, second = datetime(2026, 10, 25, 0, 30, tzinfo=UTC), datetime(2026, 10, 25, 1, 30, tzinfo=UTC)
    assert first.astimezone(zone).replace(fold=0) == second.astimezone(zone).replace(fold=0)
    policy = RetentionPolicy(daily=5, weekly=5, monthly=5, full=0, zone=zone)
    later = full("later", datetime(2026, 10, 26, 12, tzinfo=UTC))
    verdicts = plan_retention([full("b", first), full("a", second), later], policy, now=NOW)
    assert [verdict.name for verdict in verdicts if verdict.keep] == ["a", "later"]


# Three databases, 400 nights each from 1 January 2026, 02:00 in Madrid: a full every seventh run, the rest on it.
# ``shop`` every night, ``crm`` every night but Sundays (no weekly ones), ``logs`` every six hours (four runs a day).
POLICY_FILES = {
    "default": RetentionPolicy(),
    "short": RetentionPolicy(daily=3, weekly=2, monthly=1, full=1),
    "long": RetentionPolicy(daily=31, weekly=8, monthly=24, full=0),
}
FIRST_DAY = datetime(2026, 1, 1, 2, tzinfo=ZoneInfo("Europe/Madrid"))


def simulate(database: str, policy: RetentionPolicy) -> Sequence[Retained]:
    """Run 400 days, retention after every backup, and return the survivors."""
    backups: list[Retained] = []
    base: str | None = None
    runs = 0
    for day in range(400):
        night = FIRST_DAY + timedelta(days=day)
        if database == "crm" and night.isoweekday() == 7:
            continue
        for hour in (2, 8, 14, 20) if database == "logs" else (2,):
            local = night.replace(hour=hour)
            name = f"{local:%Y%m%d_%H%M%S}"
            is_full = runs % 7 == 0
            kind = BackupType.FULL if is_full else BackupType.INCREMENTAL
            started = local.astimezone(UTC)
            backups.append(Retained(name=name, type=kind, base=None if is_full else base, started=started))
            base = name if is_full else base
            runs += 1
            kept = {verdict.name for verdict in plan_retention(backups, policy, now=NOW) if verdict.keep}
            backups = [backup for backup in backups if backup.name in kept]
    return backups


def survivors_text(policy: RetentionPolicy) -> str:
    policy = replace(policy, zone=FIRST_DAY.tzinfo)
    lines = []
    for database in ("shop", "crm", "logs"):
        survivors = simulate(database, policy)
        types = {backup.name: backup for backup in survivors}
        for verdict in plan_retention(survivors, policy, now=NOW):
            reasons = " ".join(reason.value for reason in verdict.reasons)
            lines.append(f"{database} {verdict.name} {types[verdict.name].type.value} {reasons}\n")
    return "".join(lines)


@pytest.mark.parametrize("name", POLICY_FILES)
def test_survivors_of_400_days_are_those_of_the_golden_file(name: str) -> None:
    assert survivors_text(POLICY_FILES[name]) == (GOLDEN / f"retention_{name}.txt").read_text()


def test_survivors_of_400_days_are_those_that_a_calendar_tells() -> None:
    # Counted by hand for ``shop``: the last night is Thursday 4 February 2027. Daily are the last seven nights that are
    # no Sunday and no first: 4, 3, 2 February, 30, 29, 28, 27 January (31 is a Sunday, 1 a first).
    lines = [line.split() for line in (GOLDEN / "retention_default.txt").read_text().splitlines()]
    shop = {words[1][:8]: set(words[3:]) for words in lines if words[0] == "shop"}
    daily = {day for day, reasons in shop.items() if "daily" in reasons}
    assert daily == {"20270204", "20270203", "20270202", "20270130", "20270129", "20270128", "20270127"}
    # Sundays: 31, 24, 17, 10 January 2027.
    assert {day for day, reasons in shop.items() if "weekly" in reasons} == {
        "20270131", "20270124", "20270117", "20270110",
    }  # fmt: skip
    # Firsts: February 2027 and the eleven months before it, to March 2026 (a Sunday, which counts as monthly).
    monthly = {day for day, reasons in shop.items() if "monthly" in reasons}
    assert monthly == {"20270201", "20270101", *(f"2026{month:02}01" for month in range(3, 13))}
    # A full every seventh night from Thursday 1 January 2026: the newest are 4 February, 28 and 21 January 2027.
    assert {day for day, reasons in shop.items() if "full" in reasons} == {"20270204", "20270128", "20270121"}
    # 1 March 2026 is night 59 = 8 x 7 + 3: it needs the full of three nights before, 26 February.
    assert shop["20260226"] == {"base"}
    # ``crm`` makes none on Sundays.
    assert not [words for words in lines if words[0] == "crm" and "weekly" in words[3:]]


@pytest.mark.parametrize(("days", "stays"), [(0, True), (13, True), (14, False), (400, False)])
def test_what_a_restore_replaced_stays_for_two_weeks(days: int, stays: bool) -> None:
    made = NOW - timedelta(days=days)
    safety = replace(full("before_restore", made), is_safety=True)
    later = [full("later", NOW), full("latest", NOW + timedelta(minutes=1))]
    policy = RetentionPolicy(daily=0, weekly=0, monthly=0, full=0, zone=UTC)
    verdict = next(one for one in plan_retention([safety, *later], policy, now=NOW) if one.name == "before_restore")
    assert (verdict.keep, verdict.reasons) == (stays, (Reason.SAFETY,) if stays else (Reason.EXCESS,))


def test_of_the_proven_backups_the_newest_stays() -> None:
    nights = [replace(full(f"{day:02}", NOW + timedelta(days=day)), is_proven=day < 3) for day in range(4)]
    policy = RetentionPolicy(daily=0, weekly=0, monthly=0, full=0, zone=UTC)
    kept = {one.name: one.reasons for one in plan_retention(nights, policy, now=NOW) if one.keep}
    assert kept == {"02": (Reason.PROVEN,), "03": (Reason.NEWEST,)}
