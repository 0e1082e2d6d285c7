"""A replacement or a removal that fails, wherever it fails, leaves the schedule as it was: its units, its lines, the
document. Real systemd and a real cron that fails at a chosen step can be had nowhere: theirs are fakes here."""

from __future__ import annotations

import io
import os
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from respaldo.cli.main import cli, run_guarded
from respaldo.errors import EnvironmentFailedError, RespaldoError, UsageError
from respaldo.operations.schedule_systemd import Systemd
from respaldo.schedule.expression import parse_when
from respaldo.schedule.plan import Launch, Schedule, Trigger
from respaldo.schedule.systemd import write_units

SCHEDULE = Schedule(
    name="nightly",
    expression=parse_when("daily"),
    command=("backup",),
    trigger=Trigger.SYSTEMD,
    created=datetime(2026, 11, 25, tzinfo=UTC),
)
LAUNCH = Launch(argv=("/bin/true",), directory=Path("/tmp"), variables={"PATH": "/bin"}, output=Path("/tmp/out"))
WEEKLY = replace(SCHEDULE, expression=parse_when("weekly"))
THEIRS = "0 0 29 2 * echo theirs\n"
# Notes what it was asked, and fails at what the file beside it names.
FAKE_SYSTEMCTL = """#!/bin/sh
echo "$*" >>"$0.asked"
[ "$(id -u)" = 0 ] || shift
if [ -e "$0.fails" ] && [ "$1" = "$(cat "$0.fails")" ]; then rm "$0.fails"; echo no >&2; exit 1; fi
"""
FAKE_CRONTAB = """#!/bin/sh
how=$(cat "$0.fails" 2>/dev/null)
if [ "$1" = -l ]; then cat "$0.lines" 2>/dev/null && exit; echo "no crontab for you" >&2; exit 1; fi
rm -f "$0.fails"
[ "$how" != refuses ] || { echo bad minute >&2; exit 1; }
if [ "$1" = -r ]; then rm "$0.lines"; else cat >"$0.lines"; fi
[ "$how" != "fails late" ] || exit 1
[ "$how" != changes ] || echo "# a line more" >>"$0.lines"
"""


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory at the head of PATH with the two fakes."""
    directory = tmp_path / "bin"
    directory.mkdir()
    for name, text in (("systemctl", FAKE_SYSTEMCTL), ("crontab", FAKE_CRONTAB)):
        (directory / name).write_text(text)
        (directory / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{directory}{os.pathsep}{os.environ['PATH']}")
    return directory


@pytest.fixture
def systemd(tmp_path: Path, programs: Path) -> Systemd:
    return Systemd(units=tmp_path / "units", stamps=tmp_path / "stamps", runs=tmp_path)


def contents(directory: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in directory.iterdir()} if directory.is_dir() else {}


def asked(programs: Path) -> list[str]:
    return [line.removeprefix("--user ") for line in (programs / "systemctl.asked").read_text().splitlines()]


def units_of_schedule(schedule: Schedule) -> dict[str, bytes]:
    return {name: text.encode() for name, text in write_units(schedule, LAUNCH).items()}


def test_units_are_replaced_and_the_timer_goes_by_its_new_times(systemd: Systemd, programs: Path) -> None:
    systemd.install(SCHEDULE, LAUNCH, replace=False)
    with pytest.raises(UsageError):
        systemd.install(WEEKLY, LAUNCH, replace=False)
    assert contents(systemd.units) == units_of_schedule(SCHEDULE)
    systemd.install(WEEKLY, LAUNCH, replace=True)
    assert contents(systemd.units) == units_of_schedule(WEEKLY)
    assert asked(programs)[-3:] == [
        "stop respaldo-nightly.timer", "daemon-reload", "enable --now respaldo-nightly.timer"
    ]  # fmt: skip
    systemd.uninstall(SCHEDULE)
    assert contents(systemd.units) == {}
    assert asked(programs)[-1] == "reset-failed respaldo-nightly.service respaldo-nightly.timer"


def test_what_was_due_before_a_schedule_was_added_was_not_missed_by_it(systemd: Systemd) -> None:
    stamp = systemd.stamps / "stamp-respaldo-nightly.timer"
    for replace_it in (False, True):
        systemd.stamps.mkdir(exist_ok=True)
        stamp.touch()
        os.utime(stamp, (0, 0))
        systemd.install(SCHEDULE, LAUNCH, replace=replace_it)
        assert stamp.stat().st_mtime > 0
    systemd.uninstall(SCHEDULE)
    assert not stamp.exists()


def test_timer_without_its_file_is_stopped_and_disabled_all_the_same(systemd: Systemd, programs: Path) -> None:
    systemd.install(SCHEDULE, LAUNCH, replace=False)
    (systemd.units / "respaldo-nightly.timer").unlink()
    systemd.uninstall(SCHEDULE)
    assert contents(systemd.units) == {}
    assert asked(programs)[2:4] == ["stop respaldo-nightly.timer", "disable respaldo-nightly.timer"]


def test_timer_that_is_not_enabled_is_not_installed(systemd: Systemd) -> None:
    systemd.install(SCHEDULE, LAUNCH, replace=False)
    assert not systemd.is_installed("nightly")
    wants = systemd.units / "timers.target.wants"
    wants.mkdir()
    (wants / "respaldo-nightly.timer").symlink_to("../respaldo-nightly.timer")
    assert systemd.is_installed("nightly")
    (systemd.units / "respaldo-nightly.timer").unlink()
    assert not systemd.is_installed("nightly")


@pytest.mark.parametrize("step", ["daemon-reload", "enable"])
def test_replacement_that_systemd_does_not_take_leaves_the_old_units(
    systemd: Systemd, programs: Path, step: str
) -> None:
    systemd.install(SCHEDULE, LAUNCH, replace=False)
    (programs / "systemctl.fails").write_text(step)
    with pytest.raises(EnvironmentFailedError, match=f"{step}.*no"):
        systemd.install(WEEKLY, LAUNCH, replace=True)
    assert contents(systemd.units) == units_of_schedule(SCHEDULE)
    # And what runs is the old one.
    assert asked(programs)[-2:] == ["daemon-reload", "enable --now respaldo-nightly.timer"]


@pytest.mark.parametrize("step", ["daemon-reload", "enable"])
def test_first_installation_that_fails_leaves_nothing(systemd: Systemd, programs: Path, step: str) -> None:
    (programs / "systemctl.fails").write_text(step)
    with pytest.raises(EnvironmentFailedError):
        systemd.install(SCHEDULE, LAUNCH, replace=False)
    assert contents(systemd.units) == {}


@pytest.mark.parametrize("step", ["daemon-reload", "disable"])
def test_removal_that_fails_leaves_the_units(systemd: Systemd, programs: Path, step: str) -> None:
    systemd.install(SCHEDULE, LAUNCH, replace=False)
    (programs / "systemctl.fails").write_text(step)
    with pytest.raises(EnvironmentFailedError):
        systemd.uninstall(SCHEDULE)
    assert contents(systemd.units) == units_of_schedule(SCHEDULE)


def test_unit_that_cannot_be_written_leaves_the_other_too(systemd: Systemd) -> None:
    systemd.install(SCHEDULE, LAUNCH, replace=False)
    timer = systemd.units / "respaldo-nightly.timer"
    timer.unlink()
    timer.mkdir()
    with pytest.raises(RespaldoError, match="units"):
        systemd.install(WEEKLY, LAUNCH, replace=True)
    service = "respaldo-nightly.service"
    assert (systemd.units / service).read_bytes() == units_of_schedule(SCHEDULE)[service]
    assert sorted(path.name for path in systemd.units.iterdir()) == [service, timer.name]


def respaldo(directory: Path, *words: str) -> tuple[int, str]:
    err = io.StringIO()
    with redirect_stdout(io.StringIO()), redirect_stderr(err):
        code = run_guarded(lambda: cli.main(args=["-d", str(directory), *words], standalone_mode=False))
    return code, err.getvalue()


@pytest.fixture
def scheduled(tmp_path: Path, programs: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[], tuple[bytes, bytes]]:
    """A schedule in the crontab, beside a line of others; what is called returns the crontab and the document."""
    monkeypatch.chdir(tmp_path)
    (programs / "crontab.lines").write_text(THEIRS)
    added = respaldo(tmp_path / "copies", "schedule", "add", "nightly", "--with", "crontab", "--", "backup")
    assert added[0] == 0, added[1]
    lines, document = programs / "crontab.lines", tmp_path / "copies/schedules.json"
    return lambda: (lines.read_bytes().removesuffix(b"# a line more\n"), document.read_bytes())


@pytest.mark.parametrize("how", ["refuses", "fails late", "changes"])
@pytest.mark.parametrize(
    "words", [["add", "nightly", "--with", "crontab", "--at", "weekly", "--replace"], ["remove", "nightly"]]
)
def test_crontab_that_fails_keeps_the_lines_and_the_document(
    scheduled: Callable[[], tuple[bytes, bytes]], tmp_path: Path, programs: Path, how: str, words: list[str]
) -> None:
    before = scheduled()
    assert before[0].startswith(THEIRS.encode())
    (programs / "crontab.fails").write_text(how)
    code, err = respaldo(tmp_path / "copies", "schedule", *words)
    assert (code, bool(err)) == (40, True)
    if how == "changes" and words[0] == "remove":
        # Its place was lost, not it.
        assert sorted(scheduled()[0].splitlines()) == sorted([*before[0].splitlines(), b"# a line more"])
        assert scheduled()[1] == before[1]
    else:
        assert scheduled() == before


def test_move_to_another_that_fails_leaves_it_where_it_was(
    scheduled: Callable[[], tuple[bytes, bytes]], tmp_path: Path, programs: Path
) -> None:
    before = scheduled()
    if not Path("/run/systemd/system").is_dir():
        words = ["--with", "systemd", "--replace"]
        assert respaldo(tmp_path / "copies", "schedule", "add", "nightly", *words)[0] == 40
        assert scheduled() == before
    # The new one is in force already when the old one does not go.
    (programs / "crontab.fails").write_text("refuses")
    assert respaldo(tmp_path / "copies", "schedule", "add", "nightly", "--with", "serve", "--replace")[0] == 40
    assert scheduled() == before
    assert respaldo(tmp_path / "copies", "schedule", "add", "nightly", "--with", "serve", "--replace")[0] == 0
    assert scheduled()[0] == THEIRS.encode()


@pytest.mark.usefixtures("in_english")
def test_crontab_that_may_not_be_read_is_left_alone(
    tmp_path: Path, programs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    words = ["schedule", "add", "nightly", "--with", "crontab"]
    (tmp_path / ".env").write_text("RESPALDO_PASSWORD=x\n")
    (tmp_path / ".env").chmod(0o644)
    assert "chmod 600 .env" in said(tmp_path, 0, *words)
    (programs / "crontab").write_text("#!/bin/sh\necho you are not allowed >&2; exit 1\n")
    assert "crontab -l failed: you are not allowed" in said(tmp_path, 40, *words, "--replace")
    assert "/etc/cron.allow" in said(tmp_path, 40, "schedule", "remove", "nightly")


def said(directory: Path, code: int, *words: str) -> str:
    out, err = io.StringIO(), io.StringIO()
    with redirect_stdout(out), redirect_stderr(err):
        ended = run_guarded(lambda: cli.main(args=["-d", str(directory / "backups"), *words], standalone_mode=False))
    assert ended == code, err.getvalue()
    return err.getvalue()
