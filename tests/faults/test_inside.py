"""What runs beside the server is killed, or the server itself, in the middle of a backup or a restore."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import cast

import pytest

from respaldo.postgres.rowstream import RowStream
from respaldo.postgres.session import Session
from respaldo.postgres.tools import Tools
from tests.faults.program import Program, finish, wait_until
from tests.rig import engine
from tests.rig.containers import PostgresContainer
from tests.rig.requirements import require

# One session that looks every few milliseconds: a psql for each look would take longer than what it looks for.
UNTIL_ROWS_ARE_READ = """
SET application_name = 'looks';
DO $$ BEGIN
  FOR i IN 1..4000 LOOP
    PERFORM pg_stat_clear_snapshot();
    EXIT WHEN EXISTS (SELECT FROM pg_stat_activity WHERE application_name = 'respaldo' AND query LIKE 'COPY%');
    PERFORM pg_sleep(0.005);
  END LOOP;
END $$;
SELECT pid FROM pg_stat_activity WHERE application_name = 'respaldo' AND query LIKE 'COPY%'
"""


def _kill(program: Program, name: str) -> bool:
    # One exec finds one and kills it: between two the process would end by itself. Never a child of its own kind, as a
    # parallel pg_restore has: once orphaned it is the server's child, and one of those that is killed is a crash.
    script = (
        'for d in /proc/[0-9]*; do read -r comm < "$d/comm" && [ "$comm" = "$1" ] || continue; above=;'
        ' read -r _ _ _ parent _ < "$d/stat" || continue; read -r above < "/proc/$parent/comm";'
        ' [ "$above" != "$1" ] && kill -9 "${d#/proc/}" && exit 0; done 2>/dev/null; exit 1'
    )
    return program.container.exec(["sh", "-c", script, "sh", name], check=False).returncode == 0


def _kill_while(program: Program, process: subprocess.Popen[str], name: str) -> None:
    """Kill the program as soon as it is there; nothing where the run ended before it was seen."""
    wait_until(lambda: process.poll() is not None or _kill(program, name), f"{name} runs")


def _check_failed(done: subprocess.CompletedProcess[str], *codes: int) -> None:
    assert done.returncode in codes, done.stderr
    assert done.stdout == ""
    errors = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1, done.stderr
    assert len(errors[0]) > len("error: ") + 10


def _failed_run(
    program: Program, harm: Callable[[subprocess.Popen[str]], object], mend: Callable[[], object] = lambda: None
) -> subprocess.CompletedProcess[str]:
    """Run until the harm came before what was harmed had done its part; a run that it did not reach is whole."""
    for _attempt in range(5):
        process = program.start("backup", "--type", "full", "--name", "second", "--replace")
        harm(process)
        done = finish(process)
        if done.returncode != 0:
            return done
        assert "second" in program.listed()
        mend()
    pytest.fail("five runs succeeded")


@pytest.mark.parametrize("name", ["pg_dump", "psql", "zstd"])
def test_backup_whose_program_is_killed_fails_and_lists_nothing(with_full: Program, name: str) -> None:
    done = _failed_run(with_full, lambda process: _kill_while(with_full, process, name))
    _check_failed(done, 30, 40)
    listed = with_full.listed()
    assert listed in (["first"], ["first", "second"])
    with_full.check_listed(listed)
    with_full.check_no_strays()
    with_full.check_server_is_left_alone()
    with_full.back_up()


def test_backup_whose_backend_is_killed_fails_and_lists_nothing(
    with_full: Program, own_server: Callable[[], PostgresContainer]
) -> None:
    container = own_server()
    program = Program(container=container, database="shop", repository=with_full.repository / "other")

    def kill_backend(_process: subprocess.Popen[str]) -> None:
        backends = container.psql(UNTIL_ROWS_ARE_READ).split()
        container.exec(["sh", "-c", 'kill -9 "$@"', "sh", *backends], check=False)

    done = _failed_run(program, kill_backend)
    _check_failed(done, 30, 40)
    container.wait()
    program.check_no_strays()
    # The server ends all of its sessions after that; the next backup finds it well.
    assert program.crashes()
    program.back_up()


def test_backup_whose_session_is_terminated_says_what_the_server_said(with_full: Program) -> None:
    terminate = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'respaldo'"
    done = _failed_run(with_full, lambda _process: with_full.container.psql(f"{UNTIL_ROWS_ARE_READ};{terminate}"))
    _check_failed(done, 30)
    # pg_dump may be the first to fail, because the snapshot went with the session that exported it.
    assert "terminating connection" in done.stderr or "snapshot" in done.stderr or "closed" in done.stderr
    listed = with_full.listed()
    assert listed in (["first"], ["first", "second"])
    with_full.check_listed(listed)
    with_full.check_no_strays()
    with_full.check_server_is_left_alone()


@pytest.mark.parametrize("how", ["stop", "kill", "restart"])
def test_backup_whose_container_ends_fails_and_lists_nothing(
    with_full: Program, own_server: Callable[[], PostgresContainer], how: str
) -> None:
    container = own_server()
    program = Program(container=container, database="shop", repository=with_full.repository)

    def end(_process: subprocess.Popen[str]) -> None:
        container.psql(UNTIL_ROWS_ARE_READ)
        if how == "kill":
            container.kill()
        else:
            container.stop()
        if how == "restart":
            container.start()

    done = _failed_run(program, end, container.start)
    _check_failed(done, 30, 40)
    listed = program.listed()
    assert listed in (["first"], ["first", "second"])
    program.check_listed(listed)
    program.check_no_strays()
    if how != "restart":
        container.start()
    program.back_up()
    program.check_no_strays()


def test_backups_of_one_target_at_once_the_second_is_told_who_runs(with_full: Program) -> None:
    waits = "SELECT 1 FROM pg_stat_activity WHERE application_name = 'respaldo' AND wait_event_type = 'Lock'"
    holds = "SELECT pid FROM pg_stat_activity WHERE query LIKE '%pg_sleep(90)%' AND pid <> pg_backend_pid()"
    holding = ["psql", "-U", with_full.container.user, "-d", with_full.database, "-c"]
    holding.append("BEGIN; LOCK TABLE small IN ACCESS EXCLUSIVE MODE; SELECT pg_sleep(90);")
    with subprocess.Popen(["docker", "exec", with_full.container.id, *holding], stderr=subprocess.DEVNULL) as held:
        wait_until(lambda: with_full.container.psql(holds), "a table is held")
        first = with_full.start("backup", "--type", "full", "--name", "second")
        wait_until(lambda: with_full.container.psql(waits), "the first waits for the table")
        second = with_full.run("backup", "--name", "third")
        with_full.container.psql(holds.replace("SELECT pid", "SELECT pg_terminate_backend(pid)"))
        held.wait()
    assert second.returncode == 11
    assert f"locked by process {first.pid} on " in second.stderr
    assert "hint: " in second.stderr
    assert finish(first).returncode == 0
    with_full.check_listed(["first", "second"])
    with_full.check_no_strays()


def test_backups_of_two_targets_at_once_both_succeed(with_full: Program) -> None:
    with_full.container.psql("CREATE DATABASE other TEMPLATE shop")
    try:
        other = Program(container=with_full.container, database="other", repository=with_full.repository)
        runs = [with_full.start("backup", "--name", "second"), other.start("backup", "--name", "other")]
        assert [finish(run).returncode for run in runs] == [0, 0]
        assert sorted(with_full.listed()) == ["first", "other", "second"]
        with_full.check_no_strays()
    finally:
        with_full.container.psql("DROP DATABASE other")


@pytest.mark.parametrize("name", ["zstd"])
def test_restore_whose_program_is_killed_fails_and_drops_the_new_database(with_full: Program, name: str) -> None:
    made = "SELECT 1 FROM pg_database WHERE datname LIKE 'broken%'"
    for _attempt in range(8):
        process = with_full.start("restore", "first", "--to", "broken")
        wait_until(lambda: with_full.container.psql(made), "it is made")
        _kill_while(with_full, process, name)
        done = finish(process)
        if done.returncode != 0:
            break
        with_full.container.psql("DROP DATABASE broken")
    else:
        return  # it had always done its part before it was killed
    _check_failed(done, 30, 40)
    assert not with_full.container.psql(made)
    with_full.check_server_is_left_alone()


class _FakeSession:
    """Keeps the command that a row stream would send."""

    def __init__(self, tools: Tools) -> None:
        self.tools = tools
        self.command = ""

    def begin(self, command: str) -> str:
        self.command = command
        return ""


# The reader of psql's output reads nothing, ends psql as the kernel does where memory is short, and goes away.
_LEAVING = r"""
psql -X -U postgres -d postgres -c "$1" | {
  sleep 1
  for d in /proc/[0-9]*; do read -r comm < "$d/comm" && [ "$comm" = psql ] && kill -9 "${d#/proc/}"; done 2>/dev/null
  sleep 1
}
"""


@pytest.mark.parametrize("major", [13, 15, 17, 18])
@pytest.mark.parametrize("compressor", ["zstd", "gzip"])
def test_compressor_left_behind_by_psql_does_not_restart_the_server(
    shared_postgres: Callable[[int], PostgresContainer], major: int, compressor: str, tmp_path: Path
) -> None:
    # Its parent gone, it falls to process 1, the postmaster, to which a child that a signal ended, or that ended with
    # a status above 1, is a crashed backend.
    require(f"postgres:{major}", None if engine.has_image(f"postgres:{major}") else "no such image")
    server = Program(container=shared_postgres(major), database="postgres", repository=tmp_path)
    server = replace(server, crashes_before=server.crashes())
    tools = Tools(psql="psql", pg_dump="", pg_dumpall="", pg_restore="", compressor=compressor)
    session = _FakeSession(tools)
    query = "SELECT md5(random()::text) || md5(random()::text) FROM generate_series(1, 2000000)"
    RowStream(cast("Session", session), query)
    assert "PROGRAM" in session.command
    server.container.exec(["sh", "-c", _LEAVING, "sh", session.command], check=False)
    server.check_server_is_left_alone()
