"""Sizes, durations and counts as people read them; errors in one line with a hint, never in colour into a file."""

from __future__ import annotations

import pytest

from respaldo.cli.printing import Output, Progress
from respaldo.errors import StorageError
from respaldo.events import Waiting, Warned
from respaldo.units import KIB, MIB, format_count, format_duration, format_size


@pytest.mark.parametrize(
    ("size", "text"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1000, "1.0 KiB"),
        (KIB, "1.0 KiB"),
        (1000 * KIB, "1.0 MiB"),
        (99 * MIB, "99.0 MiB"),
        (116 * MIB, "116 MiB"),
        (5 * 1024 * MIB, "5.0 GiB"),
        (1 << 62, "4096 PiB"),
    ],
)
def test_format_size_in_binary_units(size: int, text: str) -> None:
    assert format_size(size) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0.0 s"),
        (4.06, "4.1 s"),
        (59.94, "59.9 s"),
        (60, "1 min 0 s"),
        (125, "2 min 5 s"),
        (3599.7, "1 h 0 min"),
        (3780, "1 h 3 min"),
        (187200, "2 d 4 h"),
    ],
)
def test_format_duration_in_two_units(seconds: float, text: str) -> None:
    assert format_duration(seconds) == text


def test_format_count_parts_thousands_by_a_narrow_space() -> None:
    assert format_count(1234567) == "1\u202f234\u202f567"


def test_what_is_waited_for_is_said_at_once_and_is_no_warning_of_the_run(capsys: pytest.CaptureFixture[str]) -> None:
    progress = Progress(Output(), "backing up")
    with progress as show:
        show(Waiting(message="nothing has come for a minute"))
        assert "nothing has come for a minute" in capsys.readouterr().err
        show(Warned(message="odd"))
    assert progress.warnings == ["odd"]


def test_fail_says_one_line_and_the_hint(capsys: pytest.CaptureFixture[str]) -> None:
    Output(quiet=True).fail(StorageError("no space", hint="free some"))
    out, err = capsys.readouterr()
    assert out == ""
    assert len(err.splitlines()) == 2
    assert "no space" in err
    assert "free some" in err
    assert "\033" not in err


def test_quiet_output_says_nothing_but_errors(capsys: pytest.CaptureFixture[str]) -> None:
    output = Output(quiet=True)
    output.line("label", "text")
    output.warn("careful")
    assert capsys.readouterr() == ("", "")
