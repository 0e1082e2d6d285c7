"""A real crontab and a real cron daemon: what was scheduled is backed up; no line of others, and no secret, moves."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.conftest import ContainerFactory
from tests.integration.test_secrets import CommandLines
from tests.rig.containers import PostgresContainer
from tests.rig.program import run_program
from tests.rig.requirements import require
from tests.rig.waiting import wait_for

ROOT = Path(__file__).parents[2]
SECRET = "clave-plantada-7731"
# Bytes that no program of ours would write: a percent sign, no UTF-8, a mark of somebody else's.
THEIRS = b'# \xe9\xff no UTF-8\nMAILTO=""\n0 0 29 2 * echo 100\\% >/dev/null\n\n# respaldo begin other /nowhere\n'
# cron looks once a minute; the run itself takes a second.
WITHIN_S = 150


@pytest.fixture
def crontab(as_root: None) -> Iterator[None]:
    """The crontab of root, with lines of others in it; what it was comes back."""
    require("cron", None if shutil.which("crontab") and shutil.which("cron") else "no cron on this machine")
    before = read_crontab()
    subprocess.run(["crontab", "-"], input=THEIRS, check=True)
    yield
    subprocess.run(["crontab", "-"] if before else ["crontab", "-r"], input=before, check=False, capture_output=True)


def read_crontab() -> bytes:
    return subprocess.run(["crontab", "-l"], capture_output=True, check=False).stdout


@contextmanager
def cron_daemon() -> Iterator[None]:
    """Have a cron daemon run: this machine's own, or one of the test's."""
    comms = [path.read_text().strip() for path in Path("/proc").glob("[0-9]*/comm")]
    if "cron" in comms:
        yield
        return
    daemon = subprocess.Popen(["cron", "-f"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        yield
    finally:
        daemon.terminate()
        daemon.wait(10)


def run(directory: Path, *words: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src"), "RESPALDO_LANG": "en", "RESPALDO_PASSWORD": SECRET}
    return run_program(["-m", "respaldo", "--repository", "copies 100%", *words], cwd=directory, env=environment)


def guard(server: PostgresContainer) -> None:
    """Let nobody into a server without its password, and take that out of reach of whoever asks the engine."""
    server.psql(f"CREATE ROLE backup SUPERUSER LOGIN PASSWORD '{SECRET}'; CREATE TABLE t AS SELECT 7 AS x")
    server.exec(["sh", "-c", 'sed -i "s/trust$/scram-sha-256/" "$PGDATA/pg_hba.conf" && kill -HUP 1'])


def test_cron_runs_what_was_scheduled_and_no_line_of_others_and_no_secret_moves(
    crontab: None, postgres_container: ContainerFactory, tmp_path: Path
) -> None:
    server = postgres_container(15)
    guard(server)
    dotenv = tmp_path / ".env"
    dotenv.write_text(f"RESPALDO_PASSWORD={SECRET}\n")
    dotenv.chmod(0o600)
    repository = tmp_path / "copies 100%"
    command = ["backup", "--container", server.name, "--user", "backup"]

    done = run(tmp_path, "schedule", "add", "each-minute", "--at", "* * * * *", "--with", "crontab", "--", *command)
    assert done.returncode == 0, done.stderr
    assert read_crontab().startswith(THEIRS)
    again = run(tmp_path, "schedule", "add", "each-minute", "--at", "hourly", "--with", "crontab", "--", *command)
    assert (again.returncode, "already" in again.stderr) == (2, True)

    status = repository / ".metadata/last_status.json"
    with CommandLines() as lines, cron_daemon():
        wait_for(status.exists, lambda: read_crontab().decode(errors="replace"), WITHIN_S, pause_s=0.2)
    document = json.loads(status.read_text())
    assert (document["schedule"], document["outcome"]) == ("each-minute", "succeeded"), document
    assert document["targets"] == [f"{server.name}/postgres"]
    assert [backup["rows"] for backup in document["backups"]] == [1]
    assert [one["name"] for one in json.loads(run(tmp_path, "list", "--json").stdout)][:1] == [
        document["backups"][0]["name"]
    ]
    assert document["backups"][0]["name"] in run(tmp_path, "schedule", "history").stdout
    assert "committed" in (repository / "scheduled_backups.out").read_text()

    assert any(b"each-minute" in line for line in lines.seen)
    assert not [line for line in lines.seen if SECRET.encode() in line]
    assert SECRET.encode() not in read_crontab()
    assert not [file for file in repository.rglob("*") if file.is_file() and SECRET.encode() in file.read_bytes()]

    removed = run(tmp_path, "schedule", "remove", "each-minute")
    assert removed.returncode == 0, removed.stderr
    assert read_crontab() == THEIRS
    unknown = run(tmp_path, "schedule", "remove", "each-minute")
    assert unknown.returncode == 2


def test_secret_of_the_session_is_not_written_down_and_missing_it_is_said(crontab: None, tmp_path: Path) -> None:
    done = run(tmp_path, "schedule", "add", "nightly", "--with", "crontab", "--", "backup", "--container", "x")
    assert done.returncode == 0, done.stderr
    assert "RESPALDO_PASSWORD" in done.stderr
    assert SECRET.encode() not in read_crontab()
    for trigger in ("crontab", "systemd", "kubernetes", "serve"):
        words = ["schedule", "add", "other", "--with", trigger, "--print", "--", "backup", "--container", "x"]
        shown = run(tmp_path, *words)
        assert (shown.returncode, SECRET in shown.stdout + shown.stderr) == (0, False), shown.stderr
    assert run(tmp_path, "schedule", "remove", "nightly").returncode == 0


def test_schedule_lost_from_the_crontab_is_warned_of(crontab: None, tmp_path: Path) -> None:
    words = ["--with", "crontab", "--", "backup", "--container", "x"]
    assert run(tmp_path, "schedule", "add", "nightly", *words).returncode == 0
    subprocess.run(["crontab", "-"], input=THEIRS, check=True)
    listed = run(tmp_path, "schedule", "list", "--environment", "docker")
    assert (listed.returncode, "nightly is not in crontab any more" in listed.stderr) == (0, True)
    assert run(tmp_path, "schedule", "add", "nightly", "--replace", *words).returncode == 0
    assert run(tmp_path, "schedule", "list", "--environment", "docker").stderr == ""


def test_flat_flags_schedule_show_and_remove(crontab: None, tmp_path: Path) -> None:
    def flat(*words: str) -> subprocess.CompletedProcess[str]:
        command = [str(ROOT / "backup_orchestrator.py"), "--dir", "copies", *words]
        return run_program(command, cwd=tmp_path, env={**os.environ, "RESPALDO_LANG": "en"})

    daily = flat("--schedule", "daily", "--container", "pc_db", "--notification-email", "ops@example.com")
    assert daily.returncode == 0, daily.stderr
    custom = ["--schedule-custom", "30 1 * * 1-5", "--schedule-prefix", "shop", "--container", "pc_db", "--force-full"]
    assert flat(*custom).returncode == 0
    assert flat(*custom).returncode == 2
    lines = read_crontab().removeprefix(THEIRS).decode().splitlines()
    assert [line[:12] for line in lines if not line.startswith("#")] == ["0 2 * * * cd", "30 1 * * 1-5"]
    assert "RESPALDO_EMAIL_TO=ops@example.com" in lines[1]
    token = flat("--schedule", "weekly", "--container", "pc_db", "--slack-token", SECRET)
    assert (token.returncode, SECRET in token.stderr + read_crontab().decode(errors="replace")) == (2, False)
    listed = {
        one["name"]: one["command"] for one in json.loads(flat("--list-schedules", "--json", "--force-docker").stdout)
    }
    assert listed == {
        "respaldo-daily": ["backup", "--container", "pc_db"],
        "shop-custom": ["backup", "--container", "pc_db", "--type", "full"],
    }
    assert flat("--remove-schedule", "respaldo-daily").returncode == 0
    assert flat("--remove-schedule", "shop-custom").returncode == 0
    assert read_crontab() == THEIRS
    assert flat("--remove-schedule", "shop-custom", "--force-docker").returncode == 2
