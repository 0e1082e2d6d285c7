"""What a person is asked before a restore, on a pipe and on a terminal, and what no answer does."""

from __future__ import annotations

import os
import pty
import re
import select
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from tests.integration.comparison import assert_description, describe
from tests.integration.conftest import ROOT, Respaldo, RoundTrip, RoundTrips, kept_round_trip
from tests.rig.containers import PostgresContainer
from tests.rig.embedded import EmbeddedPostgres
from tests.rig.variables import shell_variables

Shared = Callable[[int], PostgresContainer]
NUMBER, REPLACE = "Number of the backup", "Replace"


@pytest.fixture(scope="module")
def kept(shared_postgres: Shared, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RoundTrip]:
    """A database with a full backup of one row and an incremental of two; now it has three."""
    with kept_round_trip(shared_postgres(17), tmp_path_factory.mktemp("asking")) as made:
        made.load("CREATE TABLE t AS SELECT 1 AS a")
        made.respaldo.backup(made.source.name, "--name", "first", expect="full")
        made.load("INSERT INTO t VALUES (2)")
        made.respaldo.backup(made.source.name, "--name", "second", expect="incremental")
        yield made


@pytest.fixture
def trip(kept: RoundTrip) -> Iterator[RoundTrip]:
    """The same for one test: three rows, two backups, and no other database."""
    kept.load("TRUNCATE t; INSERT INTO t VALUES (1), (2), (3)")
    yield kept
    others = [name for name in names(kept) if name != kept.source.name]
    kept.server.psql("".join(f'DROP DATABASE "{name}" WITH (FORCE);' for name in others) or "SELECT 1", "postgres")
    for directory in kept.respaldo.repository.glob("*/*/before_restore_*"):
        shutil.rmtree(directory)


def argv_of(
    respaldo: Respaldo, flat: bool, *words: str, language: str = "en", terminal: str = "dumb"
) -> tuple[list[str], dict[str, str]]:
    environment = shell_variables(RESPALDO_LANG=language, TERM=terminal)
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


def run_here(
    respaldo: Respaldo, answers: str, monkeypatch: pytest.MonkeyPatch, *words: str
) -> subprocess.CompletedProcess[str]:
    """The same as a call within this process; a new one is worth its second only where it is the point."""
    reading, writing = os.pipe()
    os.write(writing, answers.encode())
    os.close(writing)
    with os.fdopen(reading, encoding="utf-8") as pipe, monkeypatch.context() as patch:
        patch.setattr(sys, "stdin", pipe)
        ended = respaldo.run("restore", *words, "--container", respaldo.container.name)
    return subprocess.CompletedProcess(["respaldo"], ended.status, ended.out, ended.err)


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
def test_restore_without_a_name_does_what_is_answered(
    answers: str, status: int, left: str, trip: RoundTrip, monkeypatch: pytest.MonkeyPatch
) -> None:
    check_answered(run_here(trip.respaldo, answers, monkeypatch), trip, status, left)


@pytest.mark.parametrize("flat", [False, True])
@pytest.mark.parametrize(("answers", "status", "left"), [("7\nx\n-1\n0\n", 0, "3"), ("9\n2\ny\n", 0, "2")])
def test_each_program_does_what_is_answered(flat: bool, answers: str, status: int, left: str, trip: RoundTrip) -> None:
    check_answered(run_on_a_pipe(trip.respaldo, flat, answers), trip, status, left)


def check_answered(done: subprocess.CompletedProcess[str], trip: RoundTrip, status: int, left: str) -> None:
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


UP, ENTER = "\x1b[A", "\r"
# What is asked, in each language: which backup, and whether to replace.
SAID = {"en": ("Backup to restore", "Replace"), "es": ("Backup que restaurar", "¿")}


def choosing(trip: RoundTrip, language: str) -> Terminal:
    """The program on a terminal that has arrow keys, at its first question."""
    terminal = Terminal(*argv_of(trip.respaldo, False, language=language, terminal="xterm"))
    terminal.wait_for("second")
    assert SAID[language][0] in terminal.said
    return terminal


@pytest.mark.parametrize("language", SAID)
def test_restore_on_a_terminal_chooses_by_arrow_keys(language: str, trip: RoundTrip) -> None:
    terminal = choosing(trip, language)
    terminal.type(UP + ENTER)
    terminal.wait_for(SAID[language][1])
    terminal.type("y\n" if language == "en" else "sí\n")
    assert terminal.finish() == 0, terminal.said
    assert (rows(trip), len(names(trip))) == ("1", 2)


@pytest.mark.parametrize(
    ("typed", "status"), [("0", 0), ("\x04", 0), ("\x03", 130), (ENTER + "n\n", 0), (ENTER + "\x03", 130)]
)
def test_restore_left_at_the_arrow_keys_leaves_nothing(typed: str, status: int, trip: RoundTrip) -> None:
    terminal = choosing(trip, "en")
    first, rest = (ENTER, typed[1:]) if typed.startswith(ENTER) else (typed, "")
    terminal.type(first)
    if rest:
        terminal.wait_for(REPLACE)
        terminal.type(rest)
    assert terminal.finish() == status, terminal.said
    assert "Traceback" not in terminal.said
    assert (rows(trip), names(trip)) == ("3", [trip.source.name])
    assert [one["name"] for one in trip.respaldo.list()] == ["first", "second"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Elsewhere:
    """Another server that happens to run, with a database of the backup's name: this machine's own, which libpq's
    variables name, and no flag."""

    server: EmbeddedPostgres
    trip: RoundTrip

    def restore(self, *words: str, answers: str = "", host: str = "") -> subprocess.CompletedProcess[str]:
        path = f"{self.server.bin_directory}:{os.environ['PATH']}"
        mine = shell_variables(PATH=path, RESPALDO_LANG="en", PGPASSWORD=self.server.password)
        environment = {**mine, **self.server.variables}
        if host:
            environment["PGHOST"] = host
        argv = [sys.executable, "-m", "respaldo", "--repository", str(self.trip.respaldo.repository), "restore"]
        return subprocess.run(
            [*argv, *words, "--environment", "local"],
            env=environment,
            input=answers,
            text=True,
            capture_output=True,
            timeout=150,
            check=False,
        )

    def rows(self) -> str:
        return self.server.psql("SELECT count(*) FROM t", self.trip.source.name).strip()


@pytest.fixture
def elsewhere(trip: RoundTrip, embedded_postgres: EmbeddedPostgres) -> Iterator[Elsewhere]:
    name = trip.source.name
    embedded_postgres.psql(f'CREATE DATABASE "{name}"')
    embedded_postgres.psql("CREATE TABLE t AS SELECT 7 AS a FROM generate_series(1, 5)", name)
    yield Elsewhere(server=embedded_postgres, trip=trip)
    query = f"SELECT datname FROM pg_database WHERE starts_with(datname, '{name}')"
    for one in embedded_postgres.psql(query).split():
        embedded_postgres.psql(f'DROP DATABASE "{one}" WITH (FORCE)')


@pytest.mark.parametrize(
    ("words", "answers"),
    [
        (["first", "--yes"], ""),
        (["first"], ""),
        (["first", "--table", "t", "--replace-table", "--yes"], ""),
        (["first", "--data-only", "--yes"], ""),
    ],
)
def test_restore_over_a_server_that_the_backup_is_not_of_must_be_said(
    words: list[str], answers: str, elsewhere: Elsewhere
) -> None:
    done = elsewhere.restore(*words, answers=answers)
    assert done.returncode == 2, done.stderr
    assert f"first is of {elsewhere.trip.server.name}; " in done.stderr
    assert "found by itself, is another server" in done.stderr
    assert elsewhere.rows() == "5"
    # The hint, followed, goes further than that.
    said = re.search(r"hint: .*(--host \S+)", done.stderr)
    assert said is not None, done.stderr
    again = elsewhere.restore(*words, *said[1].split(), "--dry-run")
    assert "is another server" not in again.stderr
    assert again.returncode in {0, 2}
    assert elsewhere.rows() == "5"


@pytest.mark.parametrize(("answer", "rows"), [("n\n", "5"), ("y\n", "1")])
def test_restore_over_another_server_is_asked_by_its_name(answer: str, rows: str, elsewhere: Elsewhere) -> None:
    done = elsewhere.restore("first", answers=answer)
    assert done.returncode == 0, done.stderr
    assert "is another server" in done.stderr
    assert "Replace" in done.stderr
    assert elsewhere.rows() == rows


def test_restore_to_the_same_server_under_another_name_asks_nothing_new(elsewhere: Elsewhere, tmp_path: Path) -> None:
    """Its data directory tells: a container that was renamed, an address that changed."""
    server, name = elsewhere.server, elsewhere.trip.source.name
    mine = replace(
        elsewhere, trip=replace(elsewhere.trip, respaldo=replace(elsewhere.trip.respaldo, repository=tmp_path))
    )
    made = subprocess.run(
        [sys.executable, "-m", "respaldo", "-d", str(tmp_path), "backup", "--environment", "local", "--database", name],
        env={
            **server.variables,
            "PATH": f"{server.bin_directory}:{os.environ['PATH']}",
            "PYTHONPATH": str(ROOT / "src"),
        },
        text=True,
        capture_output=True,
        check=False,
    )
    assert made.returncode == 0, made.stderr
    server.psql("DELETE FROM t", name)
    done = mine.restore("latest", "--yes", host="127.0.0.1")
    assert done.returncode == 0, done.stderr
    assert mine.rows() == "5"
