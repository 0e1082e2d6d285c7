"""Versions: read, counted, stepped; and what a clean-up keeps, over random histories."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import partial

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from respaldo.catalog.versions import (
    BRANCHES,
    PruneReason,
    Step,
    Version,
    Versioned,
    check_branch,
    check_tag,
    is_word,
    next_version,
    plan_prune,
    prune_order,
)
from respaldo.errors import UsageError
from tests.unit.languages import raise_in_each

START = datetime(2026, 11, 24, 2, 0, tzinfo=UTC)


def version(text: str) -> Version:
    found = Version.parse(text)
    assert found is not None
    return found


@pytest.mark.parametrize("text", ["1.2.3-main.4", "0.0.0-feature/login.1", "10.0.1-añejo.12", "1.0.0-a-b.c.2"])
def test_version_written_is_read_back(text: str) -> None:
    assert str(version(text)) == text
    assert Version.parse(f"v{text}") == version(text)


@pytest.mark.parametrize(
    "text",
    ["", "1.2.3", "1.2-main.1", "01.2.3-main.1", "1.2.3-.1", "1.2.3-main.", "1.2.3-main.x", "1.2.3-ma in.1",
     "1.2.3--x.1", "1.2.3-main\n.1", "9999999999.0.0-main.1", "1.2.3-../x.1"],
)  # fmt: skip
def test_version_that_is_none_is_refused(text: str) -> None:
    assert Version.parse(text) is None


@given(st.text(max_size=80))
def test_any_text_is_a_version_or_none(text: str) -> None:
    found = Version.parse(text)
    assert found is None or str(found) == text.removeprefix("v")


@pytest.mark.parametrize("name", [*BRANCHES, "feature/login", "2026", "Ñandú", "a.b-c_d+e"])
def test_branch_or_tag_with_a_valid_name_is_taken(name: str) -> None:
    check_branch(name)
    check_tag(name)


@pytest.mark.parametrize(
    "name", ["", ".", "../x", "-x", "_x", "a b", "a.", "a/", "a" * 65, "a\u0301o", "a\tb", "a\u202eb"]
)
def test_branch_or_tag_with_another_name_is_refused_with_the_rule(name: str) -> None:
    assert not is_word(name)
    for check in (check_branch, check_tag):
        hints = raise_in_each(UsageError, partial(check, name), repr(name))
        assert all("64" in hint for hint in hints)


@pytest.mark.parametrize(
    ("last", "step", "following"),
    [
        (None, Step.PATCH, "1.0.0-main.1"),
        (None, Step.MAJOR, "1.0.0-main.1"),
        ("1.2.3-main.7", Step.PATCH, "1.2.4-main.8"),
        ("1.2.3-main.7", Step.MINOR, "1.3.0-main.8"),
        ("1.2.3-main.7", Step.MAJOR, "2.0.0-main.8"),
    ],
)
def test_step_raises_its_number_and_begins_those_behind_it_again(last: str | None, step: Step, following: str) -> None:
    assert str(next_version("main", version(last) if last else None, step=step)) == following


@pytest.mark.parametrize(
    ("asked", "given"),
    [
        ("2.0.0", "2.0.0-main.8"),
        ("v1.2.3", "1.2.3-main.8"),
        ("1.2.9-main.8", "1.2.9-main.8"),
        ("1.2.9-main.20", "1.2.9-main.20"),
    ],
)
def test_version_asked_for_is_given(asked: str, given: str) -> None:
    assert str(next_version("main", version("1.2.3-main.7"), asked=asked)) == given


@pytest.mark.parametrize(
    ("asked", "facts", "way_out"),
    [
        # What was given, the last one, its branch; and the version that is free, by the step that was asked for.
        ("1.2.2", ["1.2.2-main.8", "1.2.3-main.7"], "1.3.0-main.8"),
        ("1.2.3-main.7", ["1.2.3-main.7"], "1.3.0-main.8"),
        ("2.0.0-main.1", ["2.0.0-main.1", "1.2.3-main.7"], "1.3.0-main.8"),
        ("2.0.0-develop.9", ["2.0.0-develop.9", " develop,", " main"], "--branch"),
        ("two", ["'two'"], "2.0.0"),
        ("1.2", ["'1.2'"], "2.0.0"),
        ("", ["''"], "2.0.0"),
    ],
)
def test_version_that_cannot_be_given_is_refused_with_a_way_out(asked: str, facts: list[str], way_out: str) -> None:
    last = version("1.2.3-main.7")
    hints = raise_in_each(UsageError, lambda: next_version("main", last, step=Step.MINOR, asked=asked), *facts)
    assert all(way_out in hint for hint in hints)


def test_version_below_the_last_one_of_another_branch_is_told_with_that_branch() -> None:
    last = version("1.2.3-feature/login.7")
    raise_in_each(UsageError, lambda: next_version("feature/login", last, asked="1.0.0"), " feature/login")


def history(builds: list[tuple[str, int | None]]) -> list[Versioned]:
    counts: dict[str, int] = {}
    backups: list[Versioned] = []
    for number, (branch, base) in enumerate(builds):
        counts[branch] = counts.get(branch, 0) + 1
        fulls = [one.name for one in backups if one.base is None]
        backups.append(
            Versioned(
                name=f"b{number}",
                base=fulls[base % len(fulls)] if base is not None and fulls else None,
                started=START + timedelta(hours=number),
                version=None if branch == "-" else version(f"1.0.{number}-{branch}.{counts[branch]}"),
                is_pinned=number % 7 == 3,
                is_proven=number % 5 == 2,
            )
        )
    return backups


@settings(max_examples=300)
@given(
    st.lists(st.tuples(st.sampled_from(["main", "develop", "-"]), st.none() | st.integers(0, 9)), max_size=30),
    st.integers(0, 6),
)
def test_clean_up_keeps_what_it_must_and_a_second_removes_nothing(
    builds: list[tuple[str, int | None]], keep: int
) -> None:
    backups = history(builds)
    by_name = {one.name: one for one in backups}
    verdicts = plan_prune(backups, keep)
    removed = {verdict.name for verdict in verdicts if not verdict.keep}
    left = [one for one in backups if one.name not in removed]
    assert {verdict.name for verdict in verdicts} == {one.name for one in backups if one.version is not None}
    assert all(verdict.reasons for verdict in verdicts)
    assert all(one.base is None or one.base not in removed for one in left), "a base that is needed was removed"
    assert not any(by_name[name].is_pinned or by_name[name].version is None for name in removed)
    if backups:
        assert backups[-1].name not in removed
    assert not {one.name for one in [one for one in backups if one.is_proven][-1:]} & removed
    for branch in ("main", "develop"):
        members = [one for one in backups if one.version is not None and one.version.branch == branch]
        assert not {one.name for one in members[len(members) - keep :] if keep} & removed
        assert all(by_name[name] not in members[len(members) - keep :] for name in removed if keep)
    assert all(verdict.keep for verdict in plan_prune(left, keep))


def test_clean_up_gives_every_reason_and_removes_incrementals_first() -> None:
    backups = [
        Versioned(name="f1", base=None, started=START, version=version("1.0.0-main.1")),
        Versioned(name="i1", base="f1", started=START + timedelta(hours=1), version=version("1.0.1-main.2")),
        Versioned(name="f2", base=None, started=START + timedelta(hours=2), version=version("1.0.2-main.3")),
        Versioned(name="i2", base="f2", started=START + timedelta(hours=3), version=version("1.0.3-main.4")),
    ]
    verdicts = plan_prune(backups, 1)
    assert [one.version for one in verdicts] == [one.version for one in backups[::-1]]
    assert [(one.name, one.keep, one.reasons) for one in verdicts] == [
        ("i2", True, (PruneReason.RECENT, PruneReason.NEWEST)),
        ("f2", True, (PruneReason.BASE,)),
        ("i1", False, (PruneReason.EXCESS,)),
        ("f1", False, (PruneReason.EXCESS,)),
    ]
    assert prune_order(verdicts, {"f1", "f2"}) == ["i1", "f1"]


def test_clean_up_says_why_a_version_past_the_number_stays() -> None:
    def backup(number: int, **changes: bool) -> Versioned:
        started = START + timedelta(hours=number)
        return Versioned(
            name=f"b{number}", base=None, started=started, version=version(f"1.0.{number}-main.{number}"), **changes
        )

    proven = {"is_proven": True}
    backups = [
        backup(1, **proven),
        backup(2, **proven),
        backup(3, is_pinned=True),
        backup(4, is_recent_safety=True),
        backup(5),
    ]
    assert {one.name: one.reasons for one in plan_prune(backups, 0)} == {
        "b1": (PruneReason.EXCESS,),
        "b2": (PruneReason.PROVEN,),
        "b3": (PruneReason.PINNED,),
        "b4": (PruneReason.SAFETY,),
        "b5": (PruneReason.NEWEST,),
    }
