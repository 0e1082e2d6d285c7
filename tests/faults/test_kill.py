"""kill -9, SIGTERM and SIGINT of the program at every kind of moment."""

from __future__ import annotations

import random
import signal
import subprocess
from contextlib import suppress
from pathlib import Path

import pytest

from tests.faults.program import Program, finish

TYPES = ("full", "incremental")
# Of all changes to the repository: from the first to the last, and each of those that make the commit, which both types
# share.
POSITIONS = {"full": (0.0, 0.5, -5, -4, -3, -1), "incremental": (0.5, -4, -3)}
_random = random.Random(20261124)
DELAYS_S = [round(_random.uniform(0.2, 1.4), 2) for _number in range(3)]


@pytest.fixture(scope="session")
def changes(faulty_server: object, kept_full: tuple[Path, str]) -> dict[str, int]:
    """How many changes a backup of each type makes, learnt when first asked."""
    return {}


def _count(program: Program, tmp_path: Path, kind: str, known: dict[str, int]) -> int:
    if kind not in known:
        report = tmp_path / "changes"
        done = program.run(
            "backup", "--type", kind, "--name", "counted", module=("tests.faults.dying", "0", str(report))
        )
        assert done.returncode == 0, done.stderr
        known[kind] = int(report.read_text())
        for path in sorted((program.repository / program.container.name / "shop" / "counted").iterdir()):
            path.unlink()
    return known[kind]


@pytest.mark.parametrize(("kind", "position"), [(kind, place) for kind in TYPES for place in POSITIONS[kind]])
def test_backup_killed_at_a_change_leaves_whole_backups_and_the_next_run_cleans_up(
    with_full: Program, tmp_path: Path, changes: dict[str, int], kind: str, position: float
) -> None:
    count = _count(with_full, tmp_path, kind, changes)
    number = 1 + int(position * count) if position >= 0 else count + 1 + int(position)
    killed = with_full.run(
        "backup", "--type", kind, "--name", "second", module=("tests.faults.dying", str(number), "unused")
    )
    assert killed.returncode == -signal.SIGKILL, killed.stderr

    listed = with_full.listed()
    # Once it is committed it stays, although its run was killed before it could say so.
    assert listed in (["first"], ["first", "second"])
    with_full.check_listed(listed)

    assert with_full.back_up("--name", "third") == "third"
    # A name pins a backup; one that died before that is a day's second incremental, and retention's to remove.
    after = with_full.listed()
    assert after in ([*listed, "third"], ["first", "third"])
    with_full.check_listed(after)
    with_full.check_no_strays()
    with_full.check_server_is_left_alone()


@pytest.mark.parametrize("kind", TYPES)
@pytest.mark.parametrize("delay_s", DELAYS_S)
def test_backup_killed_at_any_time_leaves_whole_backups_and_no_session(
    with_full: Program, kind: str, delay_s: float
) -> None:
    process = with_full.start("backup", "--type", kind, "--name", "second")
    with suppress(subprocess.TimeoutExpired):
        process.wait(delay_s)
    process.kill()
    finish(process)
    with_full.check_server_is_left_alone()
    with_full.check_listed(with_full.listed())
    with_full.back_up()
    with_full.check_no_strays()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
@pytest.mark.parametrize("moment", ["environment", "backing up", "definitions and roles", '"public".'])
def test_backup_asked_to_stop_exits_130_with_nothing_half_made(
    with_full: Program, number: signal.Signals, moment: str
) -> None:
    process = with_full.start("backup", "--type", "full", "--name", "second")
    assert process.stderr is not None
    assert any(moment in line for line in process.stderr)
    process.send_signal(number)
    done = finish(process)
    assert (done.returncode, done.stdout) == (130, "")
    assert "error: interrupted" in done.stderr
    with_full.check_listed(["first"])
    with_full.check_no_strays()
    with_full.check_server_is_left_alone()
