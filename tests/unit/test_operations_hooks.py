"""Hooks by the shell: in which order they run, what they are told, and what each of their failures comes to."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import cast

import pytest

from respaldo.errors import HookFailedError, PostgresError
from respaldo.operations.hooks import Hooks, run_hooked
from respaldo.postgres.server import Server
from respaldo.repository.records import Manifest, TargetPath
from tests.unit.manifests import make_manifest

TARGET = TargetPath(instance="pc_db", database="shop")
START = datetime(2026, 11, 25, 2, 0, tzinfo=UTC)
# Commands alone need no server.
NOWHERE = cast(Server, None)


def manifest() -> Manifest:
    return make_manifest(START, target=TARGET, finished=START + timedelta(seconds=3))


def fail() -> Manifest:
    raise PostgresError("the server refused")


def noting(log: Path, run: Callable[[], Manifest]) -> Callable[[], Manifest]:
    def noted() -> Manifest:
        with log.open("a") as file:
            file.write("backup\n")
        return run()

    return noted


def test_hooks_run_around_the_backup_and_are_told_what_came_of_it(tmp_path: Path) -> None:
    log = tmp_path / "log"
    hooks = Hooks(
        pre_command=f'echo "$RESPALDO_PHASE $RESPALDO_INSTANCE/$RESPALDO_TARGET_DATABASE" >>{log}',
        post_command='echo "$RESPALDO_PHASE $RESPALDO_OUTCOME $RESPALDO_BACKUP $RESPALDO_ROWS $RESPALDO_SECONDS"'
        f" >>{log}",
    )
    _made, failure = run_hooked(NOWHERE, TARGET, hooks, noting(log, manifest))
    assert failure is None
    assert log.read_text() == "before pc_db/shop\nbackup\nafter success b1 9 3.0\n"


def test_a_hook_before_that_fails_stops_the_backup_and_still_runs_the_one_after(tmp_path: Path) -> None:
    log = tmp_path / "log"
    hooks = Hooks(
        pre_command="echo no lock >&2; exit 7",
        post_command=f'echo "$RESPALDO_OUTCOME: $RESPALDO_ERROR" >>{log}',
    )
    with pytest.raises(HookFailedError) as caught:
        run_hooked(NOWHERE, TARGET, hooks, noting(log, manifest))
    assert "7: no lock" in caught.value.message
    assert log.read_text().startswith("failure: ")
    assert "backup\n" not in log.read_text()


def test_a_backup_that_fails_is_told_to_the_hook_after_it_and_stays_the_error(tmp_path: Path) -> None:
    log = tmp_path / "log"
    hooks = Hooks(post_command=f'echo "$RESPALDO_OUTCOME: $RESPALDO_ERROR" >>{log}; exit 1')
    with pytest.raises(PostgresError):
        run_hooked(NOWHERE, TARGET, hooks, fail)
    assert log.read_text() == "failure: the server refused\n"


def test_a_hook_after_that_fails_leaves_the_backup_good() -> None:
    made, failure = run_hooked(NOWHERE, TARGET, Hooks(post_command="exit 2"), manifest)
    assert made.name == "b1"
    assert failure is not None


def test_a_hook_that_takes_too_long_is_ended_with_all_it_started(tmp_path: Path) -> None:
    pid = tmp_path / "pid"
    hooks = Hooks(pre_command=f"sleep 600 & echo $! >{pid}; wait", timeout_s=1)
    begun_s = time.monotonic()
    with pytest.raises(HookFailedError) as caught:
        run_hooked(NOWHERE, TARGET, hooks, manifest)
    assert time.monotonic() - begun_s < 60
    assert "RESPALDO_HOOK_TIMEOUT" in (caught.value.hint or "")
    assert_gone(int(pid.read_text()))


def assert_gone(pid: int) -> None:
    deadline_s = time.monotonic() + 60
    while time.monotonic() < deadline_s:
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        except FileNotFoundError:
            return
        if state in "ZX":
            return
        time.sleep(0.01)
    pytest.fail(f"process {pid} still runs")


def test_a_hook_may_leave_something_in_the_background_and_asks_nobody(tmp_path: Path) -> None:
    pid = tmp_path / "pid"
    hooks = Hooks(post_command=f"sleep 60 & echo $! >{pid}; read answer")
    _made, failure = run_hooked(NOWHERE, TARGET, hooks, manifest)
    assert failure is not None  # there is no input: `read` ends at once, and badly
    os.kill(int(pid.read_text()), signal.SIGKILL)  # it still ran: nobody waited for it


def test_secrets_are_neither_given_to_a_hook_nor_repeated_from_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLACK_BOT_TOKEN", "xoxb-planted")
    monkeypatch.setenv("NOT_OURS", "seen")
    hooks = Hooks(
        pre_command='echo "[$SLACK_BOT_TOKEN] $NOT_OURS planted-password"; exit 1',
        hidden=("SLACK_BOT_TOKEN",),
        secrets=("planted-password",),
    )
    with pytest.raises(HookFailedError) as caught:
        run_hooked(NOWHERE, TARGET, hooks, manifest)
    assert caught.value.message.endswith("[] seen ***")
    assert "SLACK_BOT_TOKEN" in os.environ


def test_a_hook_that_this_machine_cannot_start_leaves_the_backup_good() -> None:
    too_long = ": " + "x" * 200_000
    made, failure = run_hooked(NOWHERE, TARGET, Hooks(post_command=too_long), manifest)
    assert made.name == "b1"
    assert failure is not None
    assert failure.hint
    with pytest.raises(HookFailedError):
        run_hooked(NOWHERE, TARGET, Hooks(pre_command=too_long), manifest)


def test_the_hook_after_a_failure_is_told_no_secret(tmp_path: Path) -> None:
    def refuse() -> Manifest:
        raise PostgresError("psql said planted-password")

    hooks = Hooks(post_command=f'echo "$RESPALDO_ERROR" >{tmp_path}/told', secrets=("planted-password",))
    with pytest.raises(PostgresError):
        run_hooked(NOWHERE, TARGET, hooks, refuse)
    assert (tmp_path / "told").read_text() == "psql said ***\n"


def test_what_a_hook_says_is_bounded() -> None:
    with pytest.raises(HookFailedError) as caught:
        run_hooked(NOWHERE, TARGET, Hooks(pre_command="yes 0123456789 | head -c 3000000; exit 1"), manifest)
    assert len(caught.value.message) < 2500


@pytest.mark.parametrize("behind", [1970, 1974, 1980, 1990, 1996, 2000, 2010])
def test_no_part_of_a_secret_is_shown_where_what_a_hook_says_is_cut(behind: int) -> None:
    command = f"printf 'x AVERYLONG  SECRETPASSWORD'; head -c {behind} /dev/zero | tr '\\0' y; exit 4"
    with pytest.raises(HookFailedError) as caught:
        run_hooked(
            NOWHERE,
            TARGET,
            Hooks(pre_command=command, secrets=("AVERYLONG  SECRETPASSWORD", "SECRETPASSWORD")),
            manifest,
        )
    said = caught.value.message.rpartition(": ")[2]
    assert said.strip("xy *") == ""
    assert said.count("y") >= min(behind, 1950)


@pytest.mark.parametrize("secret", ["two  blanks", "a tab\tand\nlines", " at its ends "])
def test_secret_with_blanks_is_not_repeated_from_a_hook(secret: str) -> None:
    with pytest.raises(HookFailedError) as caught:
        run_hooked(NOWHERE, TARGET, Hooks(pre_command=f"echo '[{secret}]'; exit 1", secrets=(secret,)), manifest)
    assert caught.value.message.replace(" ", "").endswith("[***]")
