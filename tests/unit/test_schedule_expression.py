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
from tests.unit.languages import raise_in_each


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
        ("0 2 1 * */2,7", "0 2 1 * */2,0"),
        ("0 2 1 * 7,*/2", "0 2 1 * 0,*/2"),
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
        ("", "tiene 0 campos"),
        ("fortnightly", "tiene 1 campo"),
        ("@reboot", "tiene 1 campo"),
        ("0 2 * *", "tiene 4 campos"),
        ("0 0 2 * * *", "tiene 6 campos"),
        ("60 2 * * *", "el campo minuto '60' no se entiende: 60 no está entre 0 y 59"),
        ("0 24 * * *", "el campo hora '24' no se entiende: 24 no está entre 0 y 23"),
        ("0 2 0 * *", "el campo día del mes '0' no se entiende: 0 no está entre 1 y 31"),
        ("0 2 * 13 *", "el campo mes '13' no se entiende: 13 no está entre 1 y 12"),
        ("0 2 * * 8", "el campo día de la semana '8' no se entiende: 8 no está entre 0 y 7"),
        (
            "0 2 * * monday",
            "el campo día de la semana 'monday' no se entiende: 'monday' no sirve como día de la semana",
        ),
        ("0 2 L * *", "el campo día del mes 'l' no se entiende: 'l' no sirve como día del mes"),
        ("0 2 * * 1#2", "el campo día de la semana '1#2' no se entiende: '1#2' no sirve como día de la semana"),
        ("0 2 ? * *", "el campo día del mes '?' no se entiende: '?' no sirve como día del mes"),
        ("*/0 2 * * *", "el campo minuto '*/0' no se entiende: el paso '0' no es un número mayor que 0"),
        ("*/x 2 * * *", "el paso 'x' no es un número mayor que 0"),
        ("5/15 2 * * *", "un paso necesita un rango o *, como 5-59/15"),
        ("30-10 2 * * *", "el rango 30-10 va hacia atrás"),
        ("1-0 2 * * *", "el rango 1-0 va hacia atrás"),
        ("1-2-3 2 * * *", "'1-2-3' no es un rango"),
        ("1,,2 2 * * *", "'' no sirve como minuto"),
        ("-1 2 * * *", "'' no sirve como minuto"),
        ("٣ 2 * * *", "'٣' no sirve como minuto"),
        ("*/٣ 2 * * *", "el paso '٣' no es un número mayor que 0"),
        ("0 2 31 4,6 *", "el campo día del mes '31' no se entiende: ese día no está en ninguno de los meses 4,6"),
        ("0 2 30 feb *", "ese día no está en ninguno de los meses feb"),
        ("0 2 * * *; rm -rf /", "campos"),
        ("0 2 * * $(id)", "no sirve como día de la semana"),
    ],
)
def test_expression_that_is_bad_names_the_field_and_the_reason(text: str, said: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_when(text)
    assert said in caught.value.message
    assert caught.value.message.startswith(repr(text.lower()))
    assert caught.value.hint is not None
    assert ", ".join(PRESETS) in caught.value.hint


@pytest.mark.parametrize("text", ["0 2 * *", "60 2 * * *", "0 2 31 4 *"])
def test_expression_that_is_bad_is_told_in_each_language_with_a_way_out(text: str) -> None:
    for hint in raise_in_each(UsageError, lambda: parse_when(text), repr(text)):
        assert ", ".join(PRESETS) in hint


def fields_of(low: int, high: int) -> st.SearchStrategy[str]:
    number = st.integers(low, high)
    span = st.lists(number, min_size=2, max_size=2, unique=True).map(lambda pair: f"{min(pair)}-{max(pair)}")
    step = st.integers(1, 70)
    part = st.one_of(
        st.just("*"), number.map(str), span, st.builds("{}/{}".format, st.one_of(span, st.just("*")), step)
    )
    return st.lists(part, min_size=1, max_size=3).map(",".join)


@settings(max_examples=60)
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
