"""A real systemd as process 1: the timers that are installed fire, what was missed is made up for once, and what is
removed is gone."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from respaldo.storage.base import UNFINISHED
from tests.conftest import DatabaseFactory
from tests.rig import systemd as rig
from tests.rig.embedded import EmbeddedPostgres
from tests.rig.requirements import require
from tests.rig.waiting import wait_for

ROOT = Path(__file__).parents[2]
#: From the boot to the first minute: the first test needs some of it to schedule its backup.
MINUTE_AFTER = timedelta(seconds=8)
DAYS_AGO = timedelta(days=3)
YEARLY = "0 0 1 1 *"
TIMER = "respaldo-nightly.timer"
STAMP = f"stamp-{TIMER}"
NOBODY = ("backup", "--host", "127.0.0.1", "--port", "1")
# Starts a program, and kills it as soon as a file is there.
KILL_AT = 'file=$1; shift; "$@" & until [ -e "$file" ]; do :; done; kill -KILL $!; wait'


@pytest.fixture(scope="module")
def machine(embedded_postgres: EmbeddedPostgres, tmp_path_factory: pytest.TempPathFactory) -> Iterator[rig.Machine]:
    """A machine that was booted a moment ago, with this checkout, its Python and the server's programs on it."""
    require("systemd", rig.why_unavailable())
    readable = [ROOT, Path(sys.prefix), Path(sys.base_prefix), embedded_postgres.bin_directory.parent]
    with rig.Machine(tmp_path_factory.mktemp("systemd") / "machine", readable=readable) as made:
        made.boot(minute_begins=datetime.now(UTC) + MINUTE_AFTER)
        yield made


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """A directory on the machine with a repository of its own, and a database to back up."""

    machine: rig.Machine
    directory: Path
    server: EmbeddedPostgres
    database: str
    prefix: Sequence[str] = ()
    more: Mapping[str, str] = field(default_factory=dict)

    @property
    def backup(self) -> list[str]:
        where = ["--host", "127.0.0.1", "--port", str(self.server.port)]
        return ["backup", *where, "--user", self.server.user, "--database", self.database]

    @property
    def variables(self) -> dict[str, str]:
        path = f"{self.server.bin_directory}:{os.environ['PATH']}"
        return {"PATH": path, "PYTHONPATH": str(ROOT / "src"), "RESPALDO_LANG": "en", **self.more}

    def command(self, *words: str) -> list[str]:
        return [*self.prefix, sys.executable, "-m", "respaldo", "--repository", "copies 100%", *words]

    def run(self, *words: str, status: int = 0) -> subprocess.CompletedProcess[str]:
        done = self.machine.run(*self.command(*words), directory=self.directory, variables=self.variables)
        assert done.returncode == status, done.stdout + done.stderr
        return done

    def add(self, name: str, when: str, *command: str, replace: bool = False) -> str:
        words = ["--replace"] if replace else []
        return self.run("schedule", "add", name, "--at", when, "--with", "systemd", *words, "--", *command).stdout

    def history(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = json.loads(self.run("schedule", "history", "--json").stdout)
        return found

    def systemctl(self, *words: str) -> str:
        """Return what the systemd that this place's schedules run by says."""
        of_user = ["--user"] if self.prefix else []
        return self.machine.run(*self.prefix, "systemctl", *of_user, *words, variables=self.variables).stdout

    def await_run(self, name: str) -> None:
        """Return once a run was noted, and its service has ended."""
        service, noted = f"respaldo-{name}.service", self.directory / "copies 100%/.metadata/last_status.json"
        wait_for(
            lambda: noted.exists() and self.systemctl("is-active", service) in {"inactive\n", "failed\n"},
            lambda: self.systemctl("list-timers", "--all") + self.machine.run("journalctl").stdout,
            rig.WITHIN_S,
        )

    def tidy(self) -> None:
        """Remove what a test that failed has left."""
        self.machine.run("systemctl", "stop", "respaldo-*.timer", "respaldo-*.service")
        for path in [*self.machine.units.rglob("*"), *self.machine.stamps.iterdir()]:
            if not path.is_dir() or path.is_symlink():
                path.unlink()
        self.machine.run("systemctl", "daemon-reload")
        self.machine.run("systemctl", "reset-failed")

    def is_clean(self) -> bool:
        """Tell whether there is no trace of a schedule on the machine."""
        units = self.machine.run("systemctl", "list-units", "--all", "--plain", "--no-legend", "respaldo-*").stdout
        files = [path for path in self.machine.units.rglob("*") if not path.is_dir()]
        files += self.machine.stamps.iterdir()
        return not files and [line.split()[0] for line in units.splitlines()] == ["respaldo-test.target"]


def have_run(stamp: Path, ago: timedelta) -> None:
    """Have a timer's last run be so long ago."""
    at = time.time() - ago.total_seconds()
    os.utime(stamp, (at, at))


@pytest.fixture
def place(
    machine: rig.Machine,
    embedded_postgres: EmbeddedPostgres,
    fresh_database: DatabaseFactory,
    request: pytest.FixtureRequest,
) -> Iterator[Place]:
    directory = machine.state / request.node.name
    directory.mkdir()
    dotenv = directory / ".env"
    dotenv.write_text(f"RESPALDO_PASSWORD={embedded_postgres.password}\n")
    dotenv.chmod(0o600)
    database = fresh_database(server=embedded_postgres)
    database.psql("CREATE TABLE t AS SELECT 7 AS x")
    made = Place(machine=machine, directory=directory, server=embedded_postgres, database=database.name)
    yield made
    made.tidy()


def test_timer_backs_up_at_its_minute_and_is_gone_when_removed(place: Place) -> None:
    machine, secret = place.machine, place.server.password
    place.add("minutely", "* * * * *", *place.backup)
    due = machine.property_of("respaldo-minutely.timer", "NextElapseUSecRealtime")
    assert due[-7:] == ":00 TST", due

    place.await_run("minutely")
    assert machine.property_of("respaldo-minutely.timer", "LastTriggerUSec")[:-7] == due[:-7]
    assert machine.property_of("respaldo-minutely.service", "Result") == "success"
    machine.run("systemctl", "stop", "respaldo-minutely.timer")
    (run,) = place.history()
    assert (run["schedule"], run["outcome"], run["error"]) == ("minutely", "succeeded", None), run
    (backup,) = run["backups"]
    assert (backup["rows"], backup["target"]) == (1, f"127.0.0.1_{place.server.port}/{place.database}")
    assert backup["name"] in {one["name"] for one in json.loads(place.run("list", "--json").stdout)}
    listed = place.run("schedule", "list", "--environment", "local")
    assert ("systemd" in listed.stdout, "done" in listed.stdout, listed.stderr) == (True, True, ""), listed
    journal = machine.journal("respaldo-minutely")
    assert ("committed" in journal, secret in journal) == (True, False), journal
    assert not [path for path in machine.units.glob("respaldo-*") if secret in path.read_text()]

    place.run("schedule", "run", "minutely")
    assert [run["outcome"] for run in place.history()] == ["succeeded", "succeeded"]
    place.run("schedule", "remove", "minutely")
    assert place.is_clean()
    assert "minutely" not in machine.run("systemctl", "list-timers", "--all").stdout
    place.run("schedule", "remove", "minutely", status=2)


def test_service_of_a_failed_run_fails_until_it_is_removed_and_warnings_are_no_failure(place: Place) -> None:
    machine = place.machine
    place.add("warned", YEARLY, *place.backup, "--post-hook", "false")
    assert machine.run("systemctl", "start", "respaldo-warned.service").returncode == 0
    assert machine.property_of("respaldo-warned.service", "ExecMainStatus") == "3"
    assert machine.property_of("respaldo-warned.service", "ActiveState") == "inactive"
    place.add("broken", YEARLY, *NOBODY)
    assert machine.run("systemctl", "start", "respaldo-broken.service").returncode != 0
    assert machine.property_of("respaldo-broken.service", "ActiveState") == "failed"
    runs = place.history()
    assert [(run["schedule"], run["outcome"]) for run in runs] == [("broken", "failed"), ("warned", "warned")]
    assert machine.property_of("respaldo-broken.service", "ExecMainStatus") == str(runs[0]["exit_code"])
    assert machine.run("systemctl", "is-system-running").stdout == "degraded\n"
    for name in ("warned", "broken"):
        place.run("schedule", "remove", name)
    assert machine.run("systemctl", "is-system-running").stdout == "running\n"
    assert place.is_clean()


def test_run_that_was_missed_while_off_is_made_up_for_once(place: Place) -> None:
    machine = place.machine
    place.add("nightly", "daily", *place.backup)
    machine.power_off()
    have_run(machine.stamps / STAMP, DAYS_AGO)
    machine.boot()
    place.await_run("nightly")
    # It waits for the network, and has what waits for that started.
    assert machine.property_of("network-online.target", "ActiveState") == "active"
    assert machine.property_of(TIMER, "ActiveState") == "active"
    assert machine.property_of("respaldo-nightly.service", "Result") == "success"
    (run,) = place.history()
    assert (run["outcome"], len(run["backups"])) == ("succeeded", 1), run
    place.run("schedule", "remove", "nightly")


def test_time_before_a_schedule_was_added_or_replaced_is_not_missed(place: Place) -> None:
    machine = place.machine
    # One of this name was removed before, by hand.
    (machine.stamps / STAMP).touch()
    have_run(machine.stamps / STAMP, DAYS_AGO)
    place.add("nightly", "daily", *NOBODY)
    assert machine.property_of("respaldo-nightly.service", "ExecMainStartTimestamp") == ""
    place.add("nightly", YEARLY, *NOBODY, replace=True)
    machine.run("systemctl", "stop", TIMER)
    have_run(machine.stamps / STAMP, DAYS_AGO)
    machine.run("systemctl", "start", TIMER)
    place.add("nightly", "daily", *NOBODY, replace=True)
    assert machine.property_of("respaldo-nightly.service", "ExecMainStartTimestamp") == ""
    assert machine.property_of(TIMER, "ActiveState") == "active"
    place.run("schedule", "remove", "nightly")
    assert place.is_clean()


def test_timer_that_somebody_disabled_or_removed_is_warned_of_and_leaves_nothing(place: Place) -> None:
    machine = place.machine
    place.add("nightly", "daily", *NOBODY)
    machine.run("systemctl", "disable", TIMER)
    listed = place.run("schedule", "list", "--environment", "local")
    assert "nightly is not in systemd any more" in listed.stderr
    place.add("nightly", "daily", *NOBODY, replace=True)
    assert machine.property_of(TIMER, "UnitFileState") == "enabled"
    (machine.units / TIMER).unlink()
    listed = place.run("schedule", "list", "--environment", "local")
    assert "nightly is not in systemd any more" in listed.stderr
    place.run("schedule", "remove", "nightly")
    assert place.is_clean()


def test_adding_that_was_killed_leaves_whole_units_and_can_be_repeated(place: Place) -> None:
    machine, words = place.machine, ["schedule", "add", "nightly", "--with", "systemd"]
    service = machine.units / "respaldo-nightly.service"
    killed = ["sh", "-c", KILL_AT, "sh", str(service), *place.command(*words, "--", *NOBODY)]
    machine.run(*killed, directory=place.directory, variables=place.variables)
    shown = place.run(*words, "--print", "--", *NOBODY).stdout
    found = [path for path in machine.units.iterdir() if path.is_file()]
    for path in found:
        # systemd takes no notice of files with such names.
        assert path.name.startswith(UNFINISHED) or f"# {path.name}\n{path.read_text()}" in shown, found
    place.add("nightly", "daily", *NOBODY, replace=True)
    assert machine.property_of(TIMER, "ActiveState") == "active"
    place.run("schedule", "remove", "nightly")
    for path in machine.units.glob(f"{UNFINISHED}*"):
        path.unlink()
    assert place.is_clean()


def test_timer_of_a_user_is_one_of_the_users_own_systemd(place: Place) -> None:
    machine, home = place.machine, place.directory / "home"
    closed = [path for path in (ROOT, Path(sys.prefix), Path(sys.base_prefix)) if path.stat().st_mode & 0o005 != 0o005]
    if closed:
        pytest.skip(f"a user without rights cannot read {closed[0]}")
    prefix, more = machine.start_user(home)
    place = replace(place, prefix=prefix, more=more)
    for path in (place.directory, place.directory / ".env"):
        os.chown(path, rig.UID, rig.UID)
    place.add("nightly", "daily", *place.backup)
    assert place.run("schedule", "list", "--environment", "local").stderr == ""
    assert (place.systemctl("is-enabled", TIMER), place.systemctl("is-active", TIMER)) == ("enabled\n", "active\n")
    # As it starts when the user logs in, three days later.
    stamp = home / ".local/share/systemd/timers" / STAMP
    place.systemctl("stop", TIMER)
    have_run(stamp, DAYS_AGO)
    place.systemctl("start", TIMER)
    place.await_run("nightly")
    (run,) = place.history()
    assert (run["outcome"], len(run["backups"])) == ("succeeded", 1), run
    place.run("schedule", "remove", "nightly")
    assert not [path for path in (home / ".config").rglob("*") if not path.is_dir()]
    assert not stamp.exists()
    assert "nightly" not in place.systemctl("list-units", "--all")
    machine.run("systemctl", "stop", "respaldo-user.service")
