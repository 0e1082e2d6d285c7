"""Cron expressions: what is good comes out in the form that every cron takes; what is bad is told field by field."""

from __future__ import annotations

from contextlib import suppress
from datetime import UTC, datetime

import pytest
from cronsim import CronSim
from hypothesis import given, settings
from hypothesis import strategies as st

from respaldo.errors import UsageError
from respaldo.schedule.expression import PRESETS, parse_expression, parse_when


@pytest.mark.parametrize(
    ("text", "expression"),
    [
        ("hourly", "0 * * * *"),
        ("daily", "0 2 * * *"),
        ("weekly", "0 2 * * 0"),
        ("monthly", "0 2 1 * *"),
        ("workdays", "0 2 * * 1-5"),
        ("Daily", "0 2 * * *"),
        ("@daily", "0 0 * * *"),
        ("@weekly", "0 0 * * 0"),
        (" 30  2 * * 1-5 ", "30 2 * * 1-5"),
        ("*/15 0-23/2 1,15 * *", "*/15 0-23/2 1,15 * *"),
        ("0 2 * jan,JUL *", "0 2 * 1,7 *"),
        ("0 2 * * mon-fri", "0 2 * * 1,2,3,4,5"),
        ("0 2 * * 7", "0 2 * * 0"),
        ("0 2 * * 5-7", "0 2 * * 0,5,6"),
        ("0 2 * * */7", "0 2 * * */7"),
        ("0-0/1 2-2 * * 7-7/3", "0 2 * * 0"),
        ("0 2 29 2 *", "0 2 29 2 *"),
        ("0 2 31 4 mon", "0 2 31 4 1"),
    ],
)
def test_expression_that_is_good_has_one_form(text: str, expression: str) -> None:
    assert parse_when(text).text == expression


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "has 0 fields"),
        ("fortnightly", "has 1 fields"),
        ("@reboot", "has 1 fields"),
        ("0 2 * *", "has 4 fields"),
        ("0 0 2 * * *", "has 6 fields"),
        ("60 2 * * *", "the minute '60' cannot be meant: 60 is not between 0 and 59"),
        ("0 24 * * *", "the hour '24' cannot be meant: 24 is not between 0 and 23"),
        ("0 2 0 * *", "the day of the month '0' cannot be meant: 0 is not between 1 and 31"),
        ("0 2 * 13 *", "the month '13' cannot be meant: 13 is not between 1 and 12"),
        ("0 2 * * 8", "the day of the week '8' cannot be meant: 8 is not between 0 and 7"),
        ("0 2 * * monday", "the day of the week 'monday' cannot be meant: 'monday' is no day of the week"),
        ("0 2 L * *", "the day of the month 'l' cannot be meant: 'l' is no day of the month"),
        ("0 2 * * 1#2", "the day of the week '1#2' cannot be meant: '1#2' is no day of the week"),
        ("0 2 ? * *", "the day of the month '?' cannot be meant: '?' is no day of the month"),
        ("*/0 2 * * *", "the minute '*/0' cannot be meant: the step '0' is no number above 0"),
        ("*/x 2 * * *", "the step 'x' is no number above 0"),
        ("5/15 2 * * *", "a step needs a range or *, such as 5-59/15"),
        ("30-10 2 * * *", "the range 30-10 runs backwards"),
        ("1-2-3 2 * * *", "'1-2-3' is no range"),
        ("1,,2 2 * * *", "'' is no minute"),
        ("-1 2 * * *", "'' is no minute"),
        ("٣ 2 * * *", "'٣' is no minute"),
        ("*/٣ 2 * * *", "the step '٣' is no number above 0"),
        ("0 2 31 4,6 *", "no such day is in any of the months 4,6"),
        ("0 2 30 feb *", "no such day is in any of the months feb"),
        ("0 2 * * *; rm -rf /", "fields"),
        ("0 2 * * $(id)", "is no day of the week"),
    ],
)
def test_expression_that_is_bad_names_the_field_and_the_reason(
    text: str, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(UsageError) as caught:
        parse_when(text)
    assert said in caught.value.message
    assert caught.value.hint is not None
    assert ", ".join(PRESETS) in caught.value.hint


def fields_of(low: int, high: int) -> st.SearchStrategy[str]:
    number = st.integers(low, high)
    span = st.lists(number, min_size=2, max_size=2, unique=True).map(lambda pair: f"{min(pair)}-{max(pair)}")
    step = st.integers(1, 70)
    part = st.one_of(
        st.just("*"), number.map(str), span, st.builds("{}/{}".format, st.one_of(span, st.just("*")), step)
    )
    return st.lists(part, min_size=1, max_size=3).map(",".join)


@settings(deadline=None, max_examples=60)
@given(st.tuples(fields_of(0, 59), fields_of(0, 23), fields_of(1, 31), fields_of(1, 12), fields_of(0, 7)))
def test_every_expression_of_the_grammar_means_what_cronsim_reads(fields: tuple[str, ...]) -> None:
    text = " ".join(fields)
    with suppress(UsageError):  # of the thirtieth of February
        parse_expression(text)
        assert_reads_alike(text)


def assert_reads_alike(text: str) -> None:
    expression = parse_expression(text)
    assert parse_expression(expression.text) == expression
    read = CronSim(text, datetime(2026, 1, 1, tzinfo=UTC))
    said = CronSim(expression.text, datetime(2026, 1, 1, tzinfo=UTC))
    assert [set(expression.values(0)), set(expression.values(1))] == [read.minutes, read.hours]
    assert (read.minutes, read.hours, read.days, read.months) == (said.minutes, said.hours, said.days, said.months)
    assert {day % 7 for day in read.weekdays if isinstance(day, int)} == set(expression.values(4))
    assert read.day_and == said.day_and or set(expression.values(4)) == set(range(7))
