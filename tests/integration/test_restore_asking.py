"""What a person is asked before a restore, on a pipe and on a terminal, and what no answer does."""

from __future__ import annotations

import os
import pty
import select
import subprocess
import sys
import time
from collections.abc import Callable, Sequence

import pytest

from tests.integration.comparison import assert_description, describe
from tests.integration.conftest import ROOT, Respaldo, RoundTrip, RoundTrips
from tests.rig.containers import PostgresContainer

Shared = Callable[[int], PostgresContainer]
NUMBER, REPLACE = "Number of the backup", "Replace"


@pytest.fixture
def trip(shared_postgres: Shared, round_trip: RoundTrips) -> RoundTrip:
    """A database with a full backup of one row and an incremental of two; now it has three."""
    made = round_trip(shared_postgres(17))
    made.load("CREATE TABLE t AS SELECT 1 AS a")
    made.respaldo.backup(made.source.name, "--name", "first", expect="full")
    made.load("INSERT INTO t VALUES (2)")
    made.respaldo.backup(made.source.name, "--name", "second", expect="incremental")
    made.load("INSERT INTO t VALUES (3)")
    return made


def argv_of(respaldo: Respaldo, flat: bool, *words: str) -> tuple[list[str], dict[str, str]]:
    keep = {name: os.environ[name] for name in ("PATH", "HOME", "DOCKER_HOST", "LANG") if name in os.environ}
    environment = {**keep, "RESPALDO_LANG": "en", "PYTHONPATH": str(ROOT / "src"), "TERM": "dumb"}
    place = ["--container", respaldo.container.name, *words]
    if flat:
        return [
            sys.executable,
            "backup_orchestrator.py",
            "--dir",
            str(respaldo.repository),
            "--restore",
            *place,
        ], environment
    return [sys.executable, "-m", "respaldo", "--repository", str(respaldo.repository), "restore", *place], environment


def run_on_a_pipe(respaldo: Respaldo, flat: bool, answers: str, *words: str) -> subprocess.CompletedProcess[str]:
    argv, environment = argv_of(respaldo, flat, *words)
    return subprocess.run(
        argv, cwd=ROOT, env=environment, input=answers, text=True, capture_output=True, timeout=150, check=False
    )


def rows(trip: RoundTrip) -> str:
    return trip.source.psql("SELECT count(*) FROM t")


def names(trip: RoundTrip) -> list[str]:
    query = f"SELECT datname FROM pg_database WHERE starts_with(datname, '{trip.source.name}') ORDER BY 1"
    found = trip.server.psql(query, "postgres").splitlines()
    trip.made += [name for name in found if name != trip.source.name]
    return found


@pytest.mark.parametrize(
    ("answers", "status", "left"),
    [
        ("0\n", 0, "3"),
        ("\n", 0, "3"),
        ("", 0, "3"),
        ("7\nx\n-1\n0\n", 0, "3"),
        ("1\nn\n", 0, "3"),
        ("1\n\n", 0, "3"),
        ("1\n", 2, "3"),
        ("²\n0\n", 0, "3"),
        ("9\n2\ny\n", 0, "2"),
        ("1\nsí\n", 0, "1"),
    ],
)
@pytest.mark.parametrize("flat", [False, True])
def test_restore_without_a_name_does_what_is_answered(
    flat: bool, answers: str, status: int, left: str, trip: RoundTrip
) -> None:
    done = run_on_a_pipe(trip.respaldo, flat, answers)
    assert done.returncode == status, done.stderr
    assert "Traceback" not in done.stderr
    for line in ("1  first", "2  second"):
        assert line in done.stdout
    assert rows(trip) == left
    assert len(names(trip)) == (1 if left == "3" else 2)
    if status == 2:
        assert "--yes" in done.stderr


@pytest.mark.parametrize("flat", [False, True])
def test_restore_that_nobody_can_confirm_is_wrong_use_with_a_hint(flat: bool, trip: RoundTrip) -> None:
    words = ("--restore-file", "first") if flat else ("first",)
    done = run_on_a_pipe(trip.respaldo, flat, "", *words)
    assert done.returncode == 2
    assert "--yes" in done.stderr
    assert (rows(trip), len(names(trip))) == ("3", 1)


@pytest.mark.parametrize("flat", [False, True])
def test_restore_with_nothing_to_choose_from_says_how_to_make_one(
    flat: bool, shared_postgres: Shared, round_trip: RoundTrips
) -> None:
    trip = round_trip(shared_postgres(17))
    done = run_on_a_pipe(trip.respaldo, flat, "1\n")
    assert done.returncode == 10
    assert "respaldo backup" in done.stderr


class Terminal:
    """The program on a terminal of its own."""

    def __init__(self, argv: Sequence[str], environment: dict[str, str]) -> None:
        self._master, slave = pty.openpty()
        # setsid's -c makes the terminal the program's own, so that Ctrl-C reaches it.
        self.process = subprocess.Popen(
            ["setsid", "--wait", "--ctty", *argv], cwd=ROOT, env=environment, stdin=slave, stdout=slave, stderr=slave
        )
        os.close(slave)
        self.said = ""

    def wait_for(self, text: str, timeout_s: float = 100) -> None:
        """Read until the program has said this."""
        start, deadline = len(self.said), time.monotonic() + timeout_s
        while text not in self.said[start:]:
            assert time.monotonic() < deadline, self.said
            if select.select([self._master], [], [], 0.2)[0]:
                self.said += os.read(self._master, 4096).decode(errors="replace")

    def type(self, text: str) -> None:
        os.write(self._master, text.encode())

    def finish(self) -> int:
        try:
            while data := os.read(self._master, 4096):
                self.said += data.decode(errors="replace")
        except OSError:
            pass  # Linux: the terminal's other end is closed
        status = self.process.wait(timeout=100)
        os.close(self._master)
        return status


@pytest.mark.parametrize("flat", [False, True])
def test_restore_on_a_terminal_asks_and_restores(flat: bool, trip: RoundTrip) -> None:
    terminal = Terminal(*argv_of(trip.respaldo, flat))
    terminal.wait_for(NUMBER)
    terminal.type("8\n")
    terminal.wait_for(NUMBER)
    terminal.type("1\n")
    terminal.wait_for(REPLACE)
    terminal.type("y\n")
    assert terminal.finish() == 0, terminal.said
    assert (rows(trip), len(names(trip))) == ("1", 2)


@pytest.mark.parametrize("question", [NUMBER, REPLACE])
def test_restore_ended_by_ctrl_c_at_a_question_leaves_nothing(question: str, trip: RoundTrip) -> None:
    was = describe(trip.server, trip.source.name)
    terminal = Terminal(*argv_of(trip.respaldo, False))
    terminal.wait_for(NUMBER)
    if question is REPLACE:
        terminal.type("1\n")
        terminal.wait_for(REPLACE)
    terminal.type("\x03")
    assert terminal.finish() == 130, terminal.said
    assert "Traceback" not in terminal.said
    assert names(trip) == [trip.source.name]
    assert_description(was, trip.server, trip.source.name)
    assert [one["name"] for one in trip.respaldo.list()] == ["first", "second"]


def test_restore_of_a_terminal_that_is_closed_with_ctrl_d_cancels(trip: RoundTrip) -> None:
    terminal = Terminal(*argv_of(trip.respaldo, False))
    terminal.wait_for(NUMBER)
    terminal.type("\x04")
    assert terminal.finish() == 0, terminal.said
    assert rows(trip) == "3"
