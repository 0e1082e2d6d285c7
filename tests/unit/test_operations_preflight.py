"""Preflight says everything that is wrong at once, what stops the restore first."""

from __future__ import annotations

from dataclasses import replace

import pytest

from respaldo.operations.preflight import Problem, find_problems, stopping
from respaldo.postgres.database import Creation
from respaldo.postgres.requirements import Requirements
from respaldo.postgres.surroundings import LiveDatabase, Surroundings

NEEDS = Requirements(
    extensions={"postgis": "3.4", "plpgsql": "1.0"},
    roles=("ana", "postgres"),
    tablespaces=(),
    collation_version="2.36",
    size_bytes=1000,
)
CREATION = Creation(
    encoding="UTF8", collation="es_ES.UTF-8", ctype="es_ES.UTF-8", provider="libc", locale="", icu_rules="", owner="ana"
)
FITS = Surroundings(
    version="17.6",
    major=17,
    role="postgres",
    extensions={"postgis": "3.4", "plpgsql": "1.0"},
    roles=frozenset({"ana", "postgres"}),
    tablespaces=frozenset({"pg_default"}),
    locales=frozenset({"C", "es_ES.utf8"}),
    collation_version="2.36",
    free_bytes=1_000_000,
)
LIVE = LiveDatabase(name="shop", size_bytes=500)


def find(
    surroundings: Surroundings = FITS,
    *,
    needs: Requirements = NEEDS,
    creation: Creation = CREATION,
    major: int | None = 15,
    replaces: bool = True,
    in_place: bool = False,
    creates_roles: bool = False,
) -> list[Problem]:
    return find_problems(
        needs,
        creation,
        surroundings,
        source_major=major,
        replaces=replaces,
        in_place=in_place,
        creates_roles=creates_roles,
    )


def test_server_that_has_all_has_no_problem() -> None:
    assert find() == []
    assert find(replace(FITS, live=LIVE)) == []
    assert find(major=None) == []
    assert find(major=17) == []


@pytest.mark.parametrize(
    ("surroundings", "words"),
    [
        (replace(FITS, major=14, version="14.9"), ["15", "14.9"]),
        (replace(FITS, is_standby=True), []),
        (replace(FITS, may_create=False, role="weak"), ["weak"]),
        (replace(FITS, is_behind_pooler=True), []),
        (replace(FITS, extensions={"plpgsql": "1.0"}), ["postgis 3.4"]),
        (replace(FITS, roles=frozenset({"postgres"})), ["ana"]),
        (replace(FITS, locales=frozenset({"C"})), ["es_ES.UTF-8"]),
        (replace(FITS, free_bytes=1099), []),
        (replace(FITS, live=replace(LIVE, slots=("s1", "s2"))), ["shop", "s1, s2"]),
        (replace(FITS, live=replace(LIVE, subscriptions=("sub",))), ["shop", "sub"]),
        (replace(FITS, live=replace(LIVE, prepared=3)), ["shop", "3"]),
        (replace(FITS, role="weak", live=replace(LIVE, owner="ana", is_ours=False)), ["shop", "ana", "weak"]),
    ],
)
def test_each_thing_that_is_wrong_stops_the_restore_and_is_named(surroundings: Surroundings, words: list[str]) -> None:
    problems = find(surroundings)
    assert len(problems) == 1
    assert stopping(problems) == problems
    assert problems[0].hint
    assert [word for word in words if word not in problems[0].message] == []


def test_tablespace_that_is_missing_stops_no_restore() -> None:
    problems = find(needs=replace(NEEDS, tablespaces=("fast",)))
    assert [("fast" in problem.message, problem.is_warning) for problem in problems] == [(True, True)]


@pytest.mark.parametrize(
    ("surroundings", "words"),
    [
        (replace(FITS, extensions={**FITS.extensions, "postgis": "3.5"}), ["postgis", "3.4", "3.5"]),
        (replace(FITS, collation_version="2.41"), ["2.36", "2.41"]),
    ],
)
def test_what_may_be_otherwise_is_a_warning_only(surroundings: Surroundings, words: list[str]) -> None:
    problems = find(surroundings)
    assert len(problems) == 1
    assert stopping(problems) == []
    assert all(word in problems[0].message for word in words)


def test_all_that_is_wrong_is_said_at_once_and_warnings_last() -> None:
    worst = replace(
        FITS, major=13, version="13.1", is_standby=True, may_create=False, is_behind_pooler=True, roles=frozenset(),
        extensions={"plpgsql": "1.1"}, locales=frozenset({"C"}), collation_version="1", free_bytes=1,
        live=replace(LIVE, slots=("s",), subscriptions=("b",), prepared=1),
    )  # fmt: skip
    problems = find(worst, needs=replace(NEEDS, tablespaces=("fast",)))
    assert len(stopping(problems)) == 11
    assert [problem.is_warning for problem in problems] == [False] * 11 + [True] * 3


def test_roles_that_will_be_created_are_no_problem() -> None:
    assert find(replace(FITS, roles=frozenset()), creates_roles=True) == []


def test_what_holds_the_live_database_is_no_problem_for_a_new_one() -> None:
    assert find(replace(FITS, live=replace(LIVE, slots=("s",), prepared=1)), replaces=False) == []


def test_space_is_enough_in_place_where_both_do_not_fit() -> None:
    tight = replace(FITS, free_bytes=700, live=LIVE)
    assert len(find(tight)) == 1
    assert find(tight, in_place=True) == []
    assert find(replace(tight, free_bytes=599), in_place=True) != []
    assert find(replace(FITS, free_bytes=1100)) == []
    assert find(replace(FITS, free_bytes=None)) == []


def test_locale_is_the_same_however_it_is_written() -> None:
    for name in ("C", "POSIX", "es_ES.utf8", "ES_es.UTF8", ""):
        assert find(creation=replace(CREATION, collation=name, ctype=name)) == []
    assert find(replace(FITS, locales=frozenset())) == []
    assert find(creation=replace(CREATION, collation="xx", provider="icu")) == []
