"""``respaldo schedule`` on a machine without cron, systemd or cluster: what it says, and what it leaves."""

from __future__ import annotations

import io
import json
import os
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

import pytest

from respaldo.app import App
from respaldo.cli.main import cli, run_guarded
from respaldo.cli.schedule_command import SCHEDULABLE
from respaldo.cli.schedule_launch import build_launch, cluster_variables, is_dotenv_open, unwritten_secrets
from respaldo.config.settings import Settings
from respaldo.operations.schedules import read_schedules
from respaldo.storage.files import held

SECRET = "clave-plantada-3345"


def respaldo(directory: Path, *words: str) -> tuple[int, str, str]:
    out, err = io.StringIO(), io.StringIO()
    with redirect_stdout(out), redirect_stderr(err):
        code = run_guarded(lambda: cli.main(args=["-d", str(directory), *words], standalone_mode=False))
    return code, out.getvalue(), err.getvalue()


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_schedule_of_the_daemon_is_added_shown_and_removed(tmp_path: Path) -> None:
    words = ["--at", "workdays", "--with", "serve", "--time-zone", "Europe/Madrid", "--jitter", "60"]
    code, out, err = respaldo(tmp_path, "schedule", "add", "nightly", *words, "--", "retain")
    assert (code, "0 2 * * 1-5" in out) == (0, True), err
    code, out, _err = respaldo(tmp_path, "schedule", "list", "--json", "--environment", "docker")
    (shown,) = json.loads(out)
    assert (shown["name"], shown["time_zone"], shown["jitter_s"]) == ("nightly", "Europe/Madrid", 60)
    # Nobody will be there to answer.
    assert shown["command"] == ["retain", "--yes"]
    assert shown["next"].endswith("Z")
    code, out, _err = respaldo(tmp_path, "schedule", "list", "--environment", "docker")
    assert "nightly" in out
    assert respaldo(tmp_path, "schedule", "remove", "nightly", "--dry-run", "--environment", "docker")[0] == 0
    assert [one.name for one in read_schedules(tmp_path)] == ["nightly"]
    assert respaldo(tmp_path, "schedule", "remove", "nightly")[0] == 0
    assert read_schedules(tmp_path) == []
    assert respaldo(tmp_path, "schedule", "remove", "nightly", "--environment", "docker")[0] == 2


@pytest.mark.parametrize(
    "words",
    [
        ["nightly", "--at", "never"],
        ["Nightly"],
        ["nightly", "--with", "at"],
        ["nightly", "--time-zone", "No/Where"],
        ["nightly", "--jitter", "60", "--with", "crontab"],
        ["nightly", "--", "restore", "latest"],
        ["nightly", "--", "schedule", "run", "nightly"],
        ["nightly", "--", "backup", "--no-such-flag"],
        ["nightly", "--", "drill", "--due", "soon"],
    ],
)
def test_schedule_that_cannot_be_meant_leaves_nothing(tmp_path: Path, words: list[str]) -> None:
    code, _out, err = respaldo(tmp_path, "schedule", "add", *words)
    assert (code, bool(err)) == (2, True)
    assert list(tmp_path.iterdir()) == []


def test_cron_of_another_zone_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "Europe/Madrid")
    words = ["schedule", "add", "nightly", "--with", "crontab", "--print", "--time-zone"]
    assert respaldo(tmp_path, *words, "Asia/Tokyo")[0] == 2
    assert respaldo(tmp_path, *words, "Europe/Paris")[0] == 0


def test_machine_without_cron_or_systemd_is_told_what_to_take(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    code, _out, err = respaldo(tmp_path, "schedule", "add", "nightly", "--with", "crontab")
    assert (code, "--with serve" in err) == (40, True)
    assert read_schedules(tmp_path) == []


def test_run_of_an_unknown_schedule_lists_those_that_are(tmp_path: Path) -> None:
    assert respaldo(tmp_path, "schedule", "add", "nightly", "--with", "serve")[0] == 0
    code, _out, err = respaldo(tmp_path, "schedule", "run", "weekly")
    assert (code, "nightly" in err) == (2, True)


def test_run_is_noted_however_it_ends(tmp_path: Path) -> None:
    code, _out, _err = respaldo(tmp_path, "schedule", "run", "x", "--", "check")
    assert code == 10
    code, out, _err = respaldo(tmp_path, "schedule", "history", "--json", "--failed")
    (noted,) = json.loads(out)
    assert (code, noted["schedule"], noted["exit_code"], noted["outcome"]) == (0, "x", 10, "failed")
    assert noted["error"]
    assert respaldo(tmp_path, "schedule", "run", "x", "--slot", "soon", "--", "check")[0] == 2
    assert respaldo(tmp_path, "schedule", "run", "../x", "--", "check")[0] == 2
    assert respaldo(tmp_path, "schedule", "history", "y")[0] == 0


def test_history_of_nothing_says_so(tmp_path: Path) -> None:
    code, out, _err = respaldo(tmp_path, "schedule", "history")
    assert (code, str(tmp_path) in out) == (0, True)


@pytest.mark.parametrize("language", ["en", "es"])
def test_help_of_add_names_each_command_that_can_be_scheduled(language: str) -> None:
    reference = (Path(__file__).parents[2] / "docs" / language / "api-reference.md").read_text()
    told = reference.partition(" respaldo schedule add [")[2].partition("--.")[0]
    assert [name for name in SCHEDULABLE if name not in told] == []


def test_launch_holds_what_a_run_needs_and_no_secret(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / ".env").write_text("RETENTION_DAILY=9\nSLACK_BOT_TOKEN=x\n")
    given = {
        "POSTGRES_CONTAINER": "pc_db",
        "RETENTION_DAILY": "9",
        "RETENTION_WEEKLY": "5",
        "DOCKER_HOST": "unix:///x",
        "KUBECONFIG": "a:/b",
        "BACKUP_DIR": "elsewhere",
        "RESPALDO_PASSWORD": SECRET,
        "SLACK_BOT_TOKEN": SECRET,
        "RESPALDO_PING_URL": f"https://hc.example/{SECRET}",
        "RESPALDO_SMTP_PASSWORD_FILE": "secrets/smtp",
        "PATH": "/bin:/usr/bin:/bin",
    }
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    launch = build_launch(App(Settings(repository="copies")), "nightly", {"RESPALDO_EMAIL_TO": "ops@example.com"})
    assert SECRET not in repr(launch)
    expected = {
        "POSTGRES_CONTAINER": "pc_db",
        "RETENTION_WEEKLY": "5",
        "DOCKER_HOST": "unix:///x",
        "KUBECONFIG": f"{tmp_path}/a:/b",
        "RESPALDO_EMAIL_TO": "ops@example.com",
        "RESPALDO_SMTP_PASSWORD_FILE": f"{tmp_path}/secrets/smtp",
        "PATH": "/bin:/usr/bin",
    }
    assert expected.items() <= launch.variables.items()
    assert not {"BACKUP_DIR", "RETENTION_DAILY"} & launch.variables.keys()
    assert launch.argv[3:5] == ("--repository", f"{tmp_path}/copies")
    assert unwritten_secrets() == ["RESPALDO_PASSWORD", "RESPALDO_PING_URL"]
    cluster = cluster_variables("es")
    assert SECRET not in repr(cluster)
    assert cluster["BACKUP_DIR"] == "/backups"
    assert "POSTGRES_CONTAINER" not in cluster


def test_launch_trusts_and_reaches_whom_this_moment_does(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given = {
        "SSL_CERT_FILE": "/etc/own/ca.pem",
        "SSL_CERT_DIR": "/etc/own",
        "HTTPS_PROXY": "http://proxy.example:3128",
        "no_proxy": ".example,10.0.0.1",
        "PGPASSFILE": "/root/pass",
        "PGSERVICEFILE": "/root/services",
        "PGSERVICE": "shop",
        "PGSSLMODE": "verify-full",
        "PGSSLROOTCERT": "system",
        "PGSSLCERT": "/root/own.pem",
        "PGSSLKEY": "/root/own.key",
    }
    secret = {
        "PGPASSWORD": SECRET,
        "http_proxy": f"http://ops:{SECRET}@proxy.example:3128",
        "ALL_PROXY": f"ops:{SECRET}@proxy.example",
    }
    for name, value in {**given, **secret}.items():
        monkeypatch.setenv(name, value)
    launch = build_launch(App(Settings(repository="copies")), "nightly", {})
    assert given.items() <= launch.variables.items()
    assert SECRET not in repr(launch)
    assert unwritten_secrets() == ["ALL_PROXY", "PGPASSWORD", "http_proxy"]
    # Files of this machine, and its way out: a cluster has its own.
    assert not {*given, *secret} & cluster_variables("es").keys()
    env = tmp_path / ".env"
    env.write_text("".join(f"{name}={value}\n" for name, value in secret.items()))
    env.chmod(0o644)
    assert (unwritten_secrets(), is_dotenv_open()) == ([], True)


def test_lock_that_is_held_is_waited_for_or_told(tmp_path: Path) -> None:
    path = str(tmp_path / "x" / "lock")
    with held(path):
        with pytest.raises(BlockingIOError), held(path, wait=False):
            pass
        assert os.stat(path).st_mode & 0o777 == 0o600
    with held(path, wait=False):
        pass
