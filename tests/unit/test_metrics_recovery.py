"""Recovery times: the numbers of each group, the grades, where each target is heading, and the plots."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import pytest

from respaldo.metrics.plot import plot_svg, plot_text
from respaldo.metrics.recovery import Recovery, find_trends, grade, summarize

NOW = datetime(2026, 11, 25, tzinfo=UTC)
GIB = 1 << 30


def recovery(days_ago: float, seconds: float, size: int = GIB, target: str = "i/d") -> Recovery:
    return Recovery(target=target, disaster="", made=NOW - timedelta(days=days_ago), seconds=seconds, raw_bytes=size)


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [
        (0, "excelente"),
        (150, "excelente"),
        (150.1, "bueno"),
        (240, "bueno"),
        (240.1, "aceptable"),
        (300, "aceptable"),
        (300.1, "deficiente"),
    ],
)
def test_grade_changes_at_half_four_fifths_and_the_whole_of_the_objective(seconds: float, expected: str) -> None:
    assert grade(seconds, 300) == expected


def test_statistics_are_those_of_the_times() -> None:
    times = [10.0, 20.0, 30.0, 40.0, 400.0]
    found = summarize([recovery(1, seconds) for seconds in times], 300)
    assert found is not None
    assert (found.count, found.mean_s, found.median_s, found.p95_s) == (5, 100, 30, 400)
    assert (found.best_s, found.worst_s, found.compliance, found.grade) == (10, 400, 0.8, "excelente")
    assert summarize([], 300) is None
    alone = summarize([recovery(1, 7)], 300)
    assert alone is not None
    assert (alone.median_s, alone.p95_s, alone.best_s, alone.worst_s, alone.compliance) == (7, 7, 7, 7, 1)


def test_95th_percentile_of_a_hundred_leaves_five_above() -> None:
    found = summarize([recovery(1, seconds) for seconds in range(1, 101)], 300)
    assert found is not None
    assert found.p95_s == 95


def test_objective_is_missed_when_the_data_reach_the_size_that_takes_so_long() -> None:
    # 100 s a GiB, a GiB every ten days, 1 GiB today: 3 GiB, in twenty days.
    grown = [recovery(ago, 100 - 10 * ago, round(GIB * (1 - ago / 10))) for ago in (8, 4, 0)]
    (trend,) = find_trends(grown, 300, now=NOW)
    assert trend.limit_bytes == pytest.approx(3 * GIB, rel=1e-6)
    assert trend.bytes_per_day == pytest.approx(GIB / 10, rel=1e-6)
    assert trend.missed_on is not None
    assert trend.missed_on - NOW == pytest.approx(timedelta(days=20), abs=timedelta(minutes=1))


def test_date_follows_the_data_where_a_slow_day_bends_the_times() -> None:
    steady = [recovery(ago, 100 + ago, GIB - ago * 1000) for ago in (8, 4, 0)]
    (trend,) = find_trends(steady, 300, now=NOW)
    assert trend.missed_on is None
    assert trend.limit_bytes is None


def test_times_that_grow_without_data_are_carried_on() -> None:
    (trend,) = find_trends([recovery(ago, 200 - 10 * ago) for ago in (10, 5, 0)], 300, now=NOW)
    assert trend.limit_bytes is None
    assert trend.missed_on is not None
    assert trend.missed_on - NOW == pytest.approx(timedelta(days=10), abs=timedelta(minutes=1))


@pytest.mark.parametrize("seconds", [(100, 100, 100), (120, 110, 100)])
def test_times_that_do_not_grow_never_miss_it(seconds: Sequence[float]) -> None:
    (trend,) = find_trends([recovery(9 - 3 * n, each) for n, each in enumerate(seconds)], 300, now=NOW)
    assert trend.missed_on is None


def test_objective_that_is_missed_already_is_missed_today() -> None:
    for times in ((310, 320, 330), (400, 400, 400)):
        (trend,) = find_trends([recovery(9 - 3 * n, each) for n, each in enumerate(times)], 300, now=NOW)
        assert trend.missed_on == NOW


def test_forecast_for_the_day_after_tomorrow_s_century_is_none() -> None:
    (trend,) = find_trends([recovery(9 - 3 * n, 100 + n * 1e-9) for n in range(3)], 300, now=NOW)
    assert trend.missed_on is None


def test_targets_do_not_bend_each_other_s_trend() -> None:
    small = [recovery(ago, 1, GIB // 100, "i/small") for ago in (8, 6, 4)]
    large = [recovery(ago, 250, GIB, "i/large") for ago in (3, 2, 1)]
    trends = find_trends(small + large, 300, now=NOW)
    assert [(trend.target, round(trend.seconds_per_day, 6), trend.missed_on) for trend in trends] == [
        ("i/large", 0, None),
        ("i/small", 0, None),
    ]


def test_two_recoveries_or_one_instant_are_no_trend() -> None:
    assert find_trends([recovery(1, 1), recovery(2, 2)], 300, now=NOW) == []
    assert find_trends([recovery(1, seconds) for seconds in (1, 2, 3)], 300, now=NOW) == []


def test_plots_show_every_recovery_and_the_objective() -> None:
    recoveries = [recovery(ago, 100 + ago) for ago in (3, 2, 1)]
    lines = plot_text(recoveries, 300).splitlines()
    assert [line[:10] for line in lines] == ["2026-11-22", "2026-11-23", "2026-11-24"]
    assert all("│" in line and "█" in line for line in lines)
    picture = ET.fromstring(plot_svg(recoveries, 300, title="<times> & more", objective="5 min"))
    space = "{http://www.w3.org/2000/svg}"
    # Each recovery, and the one that says whose line it is.
    assert len(picture.findall(f".//{space}circle")) == 3 + 1
    assert len(picture.findall(f"{space}line")) == 1
    assert {"<times> & more", "5 min", "2026-11-22", "2026-11-24"} <= {
        text.text for text in picture.iter(f"{space}text")
    }


def test_plots_draw_one_line_a_target_and_say_whose_it_is() -> None:
    recoveries = [recovery(ago, seconds, target=t) for ago in (3, 2, 1) for t, seconds in (("i/<a>", 100), ("i/b", 9))]
    picture = ET.fromstring(plot_svg(recoveries, 300, title="t", objective="o"))
    space = "{http://www.w3.org/2000/svg}"
    groups = picture.findall(f"{space}g")
    assert [group.findtext(f"{space}title") for group in groups] == ["i/<a>", "i/b"]
    assert len({group.get("fill") for group in groups}) == 2
    heights = []
    for group in groups:
        (line,) = group.findall(f"{space}polyline")
        points = [point.split(",") for point in str(line.get("points")).split()]
        assert len(points) == 3
        heights.append({y for _x, y in points})
    assert [len(one) for one in heights] == [1, 1]
    assert {"i/<a>", "i/b"} <= {text.text for text in picture.iter(f"{space}text")}
    lines = plot_text(recoveries, 300).splitlines()
    assert [line for line in lines if line.startswith("i/")] == ["i/<a>", "i/b"]
    assert lines.index("i/b") == 4


def test_plots_of_one_recovery_above_the_objective_are_plots() -> None:
    assert "█" in plot_text([recovery(0, 900)], 300)
    ET.fromstring(plot_svg([recovery(0, 900)], 300, title="t", objective="o"))
