"""What is odd about a backup, by rules that a person can check."""

from __future__ import annotations

from dataclasses import replace

import pytest

from respaldo.operations.anomalies import PastRun, find_anomalies

TABLES = {'"public"."a"': 100, '"public"."b"': 5, '"public"."empty"': 0}


def run(raw: int = 1000, rows: int = 100, seconds: float = 10.0, **changes: object) -> PastRun:
    return replace(PastRun(type="full", raw_bytes=raw, rows=rows, seconds=seconds, tables=TABLES), **changes)  # type: ignore[arg-type]


def growing(count: int) -> list[PastRun]:
    return [run(raw=1000 + number, rows=100 + number) for number in range(count)]


def codes(one: PastRun, history: list[PastRun]) -> list[str]:
    return [anomaly.code for anomaly in find_anomalies(one, history)]


@pytest.mark.parametrize(
    ("one", "history", "expected"),
    [
        (run(raw=1050, rows=110), growing(8), []),
        (run(raw=499, rows=110), growing(8), ["size"]),
        (run(raw=1050, rows=40), growing(8), ["rows"]),
        (run(raw=10, rows=1), growing(4), ["size", "rows"]),
        # The first backups are like nothing yet.
        (run(raw=10, rows=1), growing(3), []),
        (run(raw=10, rows=1, seconds=9999, tables={}), [], []),
        # Half of the median is still usual; one outlier among the last does not shift it.
        (run(raw=500), [run(raw=1000 + n) for n in (0, 0, 1, 0, 0, 90_000)], []),
        # What grows is never odd.
        (run(raw=10**9, rows=10**6), growing(8), []),
        (run(seconds=71), growing(8), ["slow"]),
        (run(seconds=69), growing(8), []),
        # A minute more is not enough for what takes hours, three times not for what takes a second.
        (run(seconds=3700), [run(raw=n, seconds=3600) for n in (900, 901, 902, 903)], []),
        (run(seconds=4), [run(raw=n, seconds=1) for n in (900, 901, 902, 903)], []),
        # An incremental is measured by incrementals.
        (run(seconds=500), [run(raw=n, seconds=1, type="incremental") for n in range(990, 996)], []),
        (run(), [run()] * 6, ["unchanging"]),
        (run(), [run()] * 5, []),
        (run(), [*[run()] * 5, run(raw=1001)], []),
    ],
)
def test_find_anomalies(one: PastRun, history: list[PastRun], expected: list[str]) -> None:
    assert codes(one, history) == expected


def test_a_table_that_vanished_or_emptied_is_named_with_its_rows() -> None:
    anomalies = find_anomalies(run(tables={'"public"."a"': 0, '"public"."empty"': 0}), growing(3))
    assert [anomaly.code for anomaly in anomalies] == ['emptied "public"."a"', 'vanished "public"."b"']
    assert "100" in anomalies[0].text
    assert '"public"."b"' in anomalies[1].text


@pytest.mark.parametrize(
    "history",
    [
        growing(2),
        # A queue is often empty, and a table of yesterday is no loss yet.
        [run(tables={'"public"."a"': 1}), run(tables={'"public"."a"': 0}), run(tables={'"public"."a"': 1})],
        [run(tables={}), run(tables={}), run(tables={'"public"."a"': 1})],
        [run(tables=None), *growing(2)],
    ],
)
def test_a_table_without_a_past_is_missed_by_nobody(history: list[PastRun]) -> None:
    assert codes(run(tables={}), history) == []


def test_many_lost_tables_are_counted_and_not_listed() -> None:
    tables = {f'"t{number:02}"': 1 for number in range(30)}
    anomalies = find_anomalies(run(tables={}), [run(raw=n, tables=tables) for n in range(990, 993)])
    assert len(anomalies) == 6
    assert "25" in anomalies[-1].text


def test_texts_hold_the_numbers() -> None:
    size, rows = find_anomalies(run(raw=300, rows=7), growing(4))
    assert "300 B" in size.text
    assert "4" in size.text
    assert "filas: 7," in rows.text


def test_texts_count_one_thing_as_one() -> None:
    tables = {f'"t{number}"': 1 for number in range(6)}
    texts = [one.text for one in find_anomalies(run(tables={}), [run(raw=n, tables=tables) for n in range(990, 993)])]
    assert "tenía 1 fila en" in texts[0]
    assert texts[-1] == "1 tabla más ya no está o está vacía"
