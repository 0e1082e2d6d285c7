"""Every rule of decision, each at its boundary."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import partial

import pytest

from respaldo.catalog.history import identity
from respaldo.catalog.strategy import BackupType, PastBackup, Reason, StrategyPolicy, decide
from tests.unit.languages import say_in_each

NOW = datetime(2026, 11, 24, 2, 0, tzinfo=UTC)
SAME = ("15", "7300", "shop")
SECOND = timedelta(seconds=1)


def full(name: str = "f", *, age: timedelta = timedelta(days=2), size: int = 1000, **changes: object) -> PastBackup:
    given = {"identity": SAME, "has_failed": False, **changes}
    return PastBackup(
        name=name,
        type=BackupType.FULL,
        base=None,
        started=NOW - age,
        stored_bytes=size,
        **given,  # type: ignore[arg-type]
    )


def incremental(number: int, *, base: str = "f", size: int = 10) -> PastBackup:
    started = NOW - timedelta(days=1) + number * SECOND
    return PastBackup(
        name=f"i{number}", type=BackupType.INCREMENTAL, base=base, started=started, stored_bytes=size, identity=SAME
    )


WEEK = timedelta(days=7)
CASES = {
    "no history": ([], None, Reason.NO_FULL, None),
    "incrementals whose full is gone": ([incremental(1)], None, Reason.NO_FULL, None),
    "a fresh full": ([full()], None, Reason.FULL_IS_FRESH, "f"),
    "as old as the limit": ([full(age=WEEK)], None, Reason.FULL_IS_FRESH, "f"),
    "a second past it": ([full(age=WEEK + SECOND)], None, Reason.FULL_TOO_OLD, None),
    "a clock that ran backwards": ([full(age=-WEEK)], None, Reason.FULL_IS_FRESH, "f"),
    "four used": ([full(), *map(incremental, range(4))], None, Reason.FULL_IS_FRESH, "f"),
    "five used": ([full(), *map(incremental, range(5))], None, Reason.TOO_MANY_INCREMENTALS, None),
    "five used another full": (
        [full(), full("g", age=WEEK), *(incremental(n, base="g") for n in range(5))],
        None,
        Reason.FULL_IS_FRESH,
        "f",
    ),
    "the newest full counts": ([full("old"), full("new", age=SECOND)], None, Reason.FULL_IS_FRESH, "new"),
    "60 % of a full": ([full(), incremental(1, size=600)], None, Reason.FULL_IS_FRESH, "f"),
    "a byte more": ([full(), incremental(1, size=601)], None, Reason.INCREMENTAL_TOO_LARGE, None),
    "only the newest incremental counts": (
        [full(), incremental(1, size=900), incremental(2, size=1)],
        None,
        Reason.FULL_IS_FRESH,
        "f",
    ),
    "an empty full": ([full(size=0), incremental(1, size=1)], None, Reason.INCREMENTAL_TOO_LARGE, None),
    "another major version": ([full(identity=("14", "7300", "shop"))], None, Reason.SERVER_CHANGED, None),
    "another system": ([full(identity=("15", "7301", "shop"))], None, Reason.SERVER_CHANGED, None),
    "a failed check": ([full(has_failed=True)], None, Reason.BASE_FAILED, None),
    "the check of an older one": ([full("old", has_failed=True), full(age=SECOND)], None, Reason.FULL_IS_FRESH, "f"),
    "a full that is asked for": ([full()], BackupType.FULL, Reason.ASKED, None),
    "an incremental that is asked for": ([full()], BackupType.INCREMENTAL, Reason.ASKED, "f"),
    "asked for past the age": ([full(age=2 * WEEK)], BackupType.INCREMENTAL, Reason.ASKED, "f"),
    "asked for past the number": (
        [full(), *map(incremental, range(9))],
        BackupType.INCREMENTAL,
        Reason.ASKED,
        "f",
    ),
    "asked for without a full": ([], BackupType.INCREMENTAL, Reason.NO_FULL, None),
    "asked for on another server": (
        [full(identity=("14", "7300", "shop"))],
        BackupType.INCREMENTAL,
        Reason.SERVER_CHANGED,
        None,
    ),
    "asked for on a failed full": ([full(has_failed=True)], BackupType.INCREMENTAL, Reason.BASE_FAILED, None),
}


@pytest.mark.parametrize("case", CASES)
def test_decide_by_the_rules(case: str) -> None:
    history, asked, reason, base = CASES[case]
    decision = decide(history, now=NOW, identity=SAME, policy=StrategyPolicy(), asked=asked)
    assert (decision.reason, decision.base) == (reason, base)
    assert decision.type is (BackupType.FULL if base is None else BackupType.INCREMENTAL)
    assert decision.text
    assert "{" not in decision.text


SAID = {
    # What must stand in the text that a person reads: the numbers and names that made the decision.
    "no history": ([], None, []),
    "a full that is asked for": ([full()], BackupType.FULL, []),
    "an incremental that is asked for": ([full()], BackupType.INCREMENTAL, []),
    "another system": ([full("monday", identity=("15", "7301", "shop"))], None, ["monday"]),
    "a failed check": ([full("monday", has_failed=True)], None, ["monday"]),
    "nine days old": ([full(age=timedelta(days=9))], None, ["9", "7"]),
    "six used": ([full(), *map(incremental, range(6))], None, ["6", "5"]),
    "three quarters of a full": ([full(), incremental(1, size=750)], None, ["75", "60"]),
    "three used": ([full(), *map(incremental, range(3))], None, ["2", "3", "5"]),
    "from the future": ([full(age=-WEEK)], None, ["0", "0", "5"]),
}


@pytest.mark.parametrize("case", SAID)
def test_decision_says_why_with_its_numbers_in_each_language(case: str) -> None:
    history, asked, facts = SAID[case]
    texts = say_in_each(
        lambda: decide(history, now=NOW, identity=SAME, policy=StrategyPolicy(), asked=asked).text,
    )
    for text in texts.values():
        assert sorted(re.findall(r"[0-9]+|monday", text)) == sorted(facts)


@pytest.mark.parametrize(
    "count",
    [
        lambda number: ([full(age=timedelta(days=number, hours=1))], StrategyPolicy(full_every=timedelta())),
        lambda number: ([full(), *map(incremental, range(number))], StrategyPolicy(incrementals_per_full=0)),
        lambda number: ([full(age=timedelta(days=number, hours=1))], StrategyPolicy()),
    ],
    ids=["too old", "too many", "fresh"],
)
def test_decision_says_one_in_the_singular(count: Callable[[int], tuple[list[PastBackup], StrategyPolicy]]) -> None:
    def text(number: int) -> str:
        history, policy = count(number)
        return re.sub("[0-9]+", "#", decide(history, now=NOW, identity=SAME, policy=policy).text)

    none, one, two = (say_in_each(partial(text, number)) for number in range(3))
    for language, said in two.items():
        assert said == none[language] != one[language]


def test_decide_with_another_policy_takes_its_numbers() -> None:
    policy = StrategyPolicy(full_every=timedelta(days=1), incrementals_per_full=0, largest_share=0.1)
    young = [full(age=timedelta(hours=1))]
    assert decide(young, now=NOW, identity=SAME, policy=policy).reason is Reason.TOO_MANY_INCREMENTALS
    assert decide([full()], now=NOW, identity=SAME, policy=policy).reason is Reason.FULL_TOO_OLD


def test_decide_does_not_depend_on_the_order_of_history() -> None:
    history = [full(), full("g", age=SECOND), *map(incremental, range(3))]
    forward = decide(history, now=NOW, identity=SAME, policy=StrategyPolicy())
    assert decide(history[::-1], now=NOW, identity=SAME, policy=StrategyPolicy()) == forward


@pytest.mark.parametrize(
    ("version_num", "major"), [("130022", "13"), ("150004", "15"), ("180001", "18"), ("100000", "10")]
)
def test_identity_holds_the_major_version_alone(version_num: str, major: str) -> None:
    found = identity(version_num=version_num, system_identifier="7300", database="shop")
    assert found == (major, "7300", "shop")
