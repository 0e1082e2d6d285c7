"""The commands as a person runs them: status as a probe, notify test, the flat flags; and no secret anywhere."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.exceptions import Exit

from respaldo.app import App
from respaldo.cli.announcing import Announcing
from respaldo.cli.printing import Output
from respaldo.clock import SystemClock
from respaldo.config.settings import Settings
from respaldo.errors import EnvironmentFailedError
from respaldo.notify.notice import Operation
from respaldo.repository.manifest import seal
from respaldo.repository.repository import Repository
from respaldo.storage.directory import DirectoryStorage
from tests.commands.command import ROOT, orchestrator, respaldo
from tests.rig.receivers import Certificate, Inbox, http_server, make_certificate, smtp_server
from tests.unit.manifests import write_backups
from tests.unit.repositories import fill

SECRETS = {
    "RESPALDO_SMTP_PASSWORD": "planted-smtp-password",
    "SLACK_BOT_TOKEN": "xoxb-planted-slack-token",
    "RESPALDO_PASSWORD": "planted-database-password",
}


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    return make_certificate(tmp_path_factory.mktemp("certificate"))


@pytest.fixture
def inbox() -> Iterator[Inbox]:
    with http_server() as inbox:
        yield inbox


def test_status_is_a_probe(tmp_path: Path) -> None:
    none = respaldo(tmp_path, "status")
    assert none.returncode == 10
    write_backups(tmp_path / "backups", 1)
    late = respaldo(tmp_path, "status")
    assert late.returncode == 51
    assert "LATE" in late.stdout
    assert "late: pc_db/pc_db" in late.stderr
    fresh = respaldo(tmp_path, "status", "--rpo-objective", "1000000", "--json")
    assert fresh.returncode == 0
    (document,) = json.loads(fresh.stdout)
    assert (document["fresh"], document["newest"], document["failures_in_a_row"]) == (True, "b1", 0)
    assert respaldo(tmp_path, "status", RESPALDO_RETIRED="pc_db/pc_db").returncode == 0


def test_status_writes_metrics_and_tells_of_what_is_late_once(tmp_path: Path, inbox: Inbox) -> None:
    write_backups(tmp_path / "backups", 1)
    file = tmp_path / "respaldo.prom"
    for _again in range(2):
        done = respaldo(
            tmp_path, "status", "--notify", "--metrics-file", str(file), SLACK_WEBHOOK_URL=f"{inbox.url}/planted-hook"
        )
        assert done.returncode == 51
    (request,) = inbox.requests
    assert "pc_db/pc_db" in request.body
    assert 'respaldo_last_backup_rows{target="pc_db/pc_db"} 9' in file.read_text()
    assert file.stat().st_mode & 0o777 == 0o644
    assert [path.name for path in tmp_path.iterdir() if "prom" in path.name] == ["respaldo.prom"]


def test_status_tells_of_what_has_no_good_backup_once_a_day(tmp_path: Path, inbox: Inbox) -> None:
    write_backups(tmp_path / "backups", 1)
    manifest = tmp_path / "backups/pc_db/pc_db/b1/manifest.json"
    manifest.write_bytes(manifest.read_bytes()[:-20])
    for _again in range(2):
        assert respaldo(tmp_path, "status", "--notify", SLACK_WEBHOOK_URL=f"{inbox.url}/hook").returncode == 51
    (request,) = inbox.requests
    text = json.loads(request.body)["text"]
    assert "backup of pc_db/pc_db is LATE" in text
    assert "no good backup can be read" in text
    assert "Next: respaldo --repository backups backup --type full" in text


def test_status_tells_of_schedules_that_made_no_backup(tmp_path: Path, inbox: Inbox) -> None:
    Repository.open_or_create(DirectoryStorage(tmp_path / "backups"), SystemClock())
    hook = {"SLACK_WEBHOOK_URL": f"{inbox.url}/hook"}
    assert respaldo(tmp_path, "status", "--notify", **hook).returncode == 51
    assert inbox.requests == []
    added = respaldo(tmp_path, "schedule", "add", "nightly", "--with", "serve")
    assert added.returncode == 0, added.stderr
    path = tmp_path / "backups/schedules.json"
    document = json.loads(path.read_bytes())
    document["schedules"][0]["created"] = "2026-01-02T03:04:05Z"
    document.popitem()  # its checksum
    path.write_bytes(seal(document))
    for _again in range(2):
        assert respaldo(tmp_path, "status", "--notify", **hook).returncode == 51
    (request,) = inbox.requests
    assert "backups are scheduled, and there is none yet" in json.loads(request.body)["text"]


def test_status_whose_message_is_refused_ends_with_three_where_all_is_fresh(tmp_path: Path, inbox: Inbox) -> None:
    write_backups(tmp_path / "backups", 1)
    inbox.answers = [403]
    hook = f"{inbox.url}/planted-hook"
    assert respaldo(tmp_path, "status", "--notify", SLACK_WEBHOOK_URL=hook).returncode == 51
    inbox.answers = [403]
    waiting = respaldo(tmp_path, "status", "--notify", "--rpo-objective", "1000000", SLACK_WEBHOOK_URL=hook)
    assert waiting.returncode == 3
    assert "slack-webhook was not told" in waiting.stderr
    assert "planted" not in waiting.stderr
    assert (
        respaldo(tmp_path, "status", "--notify", "--rpo-objective", "1000000", SLACK_WEBHOOK_URL=hook).returncode == 0
    )
    assert len(inbox.requests) == 3


def test_notify_test_says_of_each_channel_what_happened(tmp_path: Path, inbox: Inbox, certificate: Certificate) -> None:
    with smtp_server(certificate, user="ops", password=SECRETS["RESPALDO_SMTP_PASSWORD"]) as mailbox:
        password = tmp_path / "password"
        password.write_text(SECRETS["RESPALDO_SMTP_PASSWORD"] + "\n")
        variables = {
            "SSL_CERT_FILE": str(certificate.certificate),
            "RESPALDO_EMAIL_TO": "ops@example.com",
            "RESPALDO_SMTP_HOST": "localhost",
            "RESPALDO_SMTP_PORT": str(mailbox.port),
            "RESPALDO_SMTP_USER": "ops",
            "RESPALDO_SMTP_PASSWORD_FILE": str(password),
            "SLACK_BOT_TOKEN": SECRETS["SLACK_BOT_TOKEN"],
            "SLACK_DEFAULT_CHANNEL": "#ops",
            "RESPALDO_SLACK_API": inbox.url,
            "RESPALDO_PING_URL": f"{inbox.url}/planted-check",
        }
        good = respaldo(tmp_path, "notify", "test", "--json", **variables)
        assert good.returncode == 0, good.stderr
        assert {one["channel"]: one["delivered"] for one in json.loads(good.stdout)} == {
            "email": True,
            "slack": True,
            "ping": True,
        }
        assert "This channel works" in mailbox.emails[0].get_content()
        inbox.body = '{"ok": false, "error": "invalid_auth"}'
        bad = respaldo(tmp_path, "notify", "test", **variables)
    assert bad.returncode == 3
    assert "invalid_auth" in bad.stdout
    assert "SLACK_BOT_TOKEN is not a valid token" in bad.stderr
    assert not [secret for secret in (*SECRETS.values(), "planted") if secret in bad.stdout + bad.stderr]
    # Nothing happened to a backup, so nothing is remembered.
    assert not (tmp_path / "backups").exists()


def test_notify_test_without_a_channel_is_wrong_use(tmp_path: Path) -> None:
    done = respaldo(tmp_path, "notify", "test")
    assert done.returncode == 2
    assert "no channel is set up" in done.stderr


def test_the_flat_flags_and_dotenv_reach_slack(tmp_path: Path, inbox: Inbox) -> None:
    (tmp_path / ".env").write_text("SLACK_BOT_TOKEN=xoxb-of-the-file\nSLACK_DEFAULT_CHANNEL=#of-the-file\n")
    variables = {"RESPALDO_SLACK_API": inbox.url}
    done = orchestrator(tmp_path, "--test-notifications", **variables)
    assert done.returncode == 0, done.stderr
    words = ["--test-notifications", "--slack-token", "xoxb-of-the-flag", "--slack-channel", "#of-the-flag"]
    done = orchestrator(tmp_path, *words, **variables)
    assert done.returncode == 0, done.stderr
    assert "every user of this machine can see --slack-token" in done.stderr
    assert "xoxb" not in done.stdout + done.stderr
    assert [request.headers["Authorization"] for request in inbox.requests] == [
        "Bearer xoxb-of-the-file",
        "Bearer xoxb-of-the-flag",
    ]
    assert [json.loads(request.body)["channel"] for request in inbox.requests] == ["#of-the-file", "#of-the-flag"]


def test_a_failed_backup_is_told_by_the_flat_flags(tmp_path: Path) -> None:
    words = ["--force-docker", "--notification-email", "ops@example.com"]
    with smtp_server() as mailbox:
        variables = {
            "DOCKER_HOST": f"unix://{tmp_path}/none.sock",
            "RESPALDO_SMTP_HOST": "127.0.0.1",
            "RESPALDO_SMTP_PORT": str(mailbox.port),
            "RESPALDO_SMTP_SECURITY": "none",
            **SECRETS,
            "SLACK_BOT_TOKEN": "",
        }
        for _again in range(2):
            assert orchestrator(tmp_path, *words, **variables).returncode == 40
    (email,) = mailbox.emails
    assert email["To"] == "ops@example.com"
    assert "FAILED" in str(email["Subject"])
    text = email.get_content()
    assert "respaldo --repository backups doctor" in text
    kept = "".join(path.read_text() for path in (tmp_path / "backups").rglob("*") if path.is_file())
    assert not [secret for secret in SECRETS.values() if secret in text + kept]


@pytest.mark.parametrize("error", [KeyError("no such thing"), OSError(28, "No space left"), RuntimeError("odd")])
def test_a_run_that_a_fault_of_this_program_ends_is_told(tmp_path: Path, inbox: Inbox, error: Exception) -> None:
    settings = Settings.load(
        {"repository": str(tmp_path / "backups"), "container": "pc_db"},
        {"SLACK_WEBHOOK_URL": f"{inbox.url}/hook", "RESPALDO_PING_URL": f"{inbox.url}/check"},
    )
    with (
        pytest.raises(type(error)) as caught,
        Announcing(Output(quiet=True), App(settings), Operation.BACKUP),
    ):
        raise error
    assert caught.value is error
    assert sorted(inbox.paths) == ["/check/fail", "/check/start", "/hook"]
    assert type(error).__name__ in inbox.requests[-1].body


@pytest.mark.parametrize("container", ["pc_db", None])
def test_status_counts_runs_that_did_not_find_their_instance(tmp_path: Path, container: str | None) -> None:
    write_backups(tmp_path / "backups", 1)
    app = App(Settings.load({"repository": str(tmp_path / "backups"), "container": container}, {}))
    for number in (1, 2):
        with (
            pytest.raises(EnvironmentFailedError),
            Announcing(Output(quiet=True), app, Operation.BACKUP),
        ):
            raise EnvironmentFailedError(f"no container, try {number}")
        (one,) = app.read_status()
        assert (one.remembered.in_a_row, one.remembered.failures) == (number, number)
        assert one.remembered.last_error == f"no container, try {number}"
        assert f'respaldo_backup_failures_in_a_row{{target="pc_db/pc_db"}} {number}' in app.metrics_text()


def test_a_container_that_is_gone_has_not_recovered_when_another_is_backed_up(tmp_path: Path, inbox: Inbox) -> None:
    write_backups(tmp_path / "backups", 1)
    variables = {"SLACK_WEBHOOK_URL": f"{inbox.url}/hook"}
    flags = {"repository": str(tmp_path / "backups"), "container": "pc_db"}
    app = App(Settings.load(flags, variables))
    with pytest.raises(EnvironmentFailedError), Announcing(Output(quiet=True), app, Operation.BACKUP):
        raise EnvironmentFailedError("no container is called pc_db")
    other = App(Settings.load({**flags, "container": "other"}, variables))
    with Announcing(Output(quiet=True), other, Operation.BACKUP) as announcing:
        announcing.note(target="other/shop")
    assert "other/shop" in inbox.requests[-1].body
    assert "vuelve a funcionar" not in inbox.requests[-1].body
    with Announcing(Output(quiet=True), app, Operation.BACKUP) as announcing:
        announcing.note(target="pc_db/pc_db")
    assert "pc_db/pc_db vuelve a funcionar" in inbox.requests[-1].body


def test_each_container_that_is_not_there_is_told_and_no_other_is_blamed(tmp_path: Path, inbox: Inbox) -> None:
    write_backups(tmp_path / "backups", 1)
    variables = {"DOCKER_HOST": f"unix://{tmp_path}/none.sock", "SLACK_WEBHOOK_URL": f"{inbox.url}/hook"}
    for name in ("nope1", "nope1", "nope2", "nope1"):
        done = respaldo(tmp_path, "backup", "--environment", "docker", "--container", name, **variables)
        assert done.returncode == 40
    told = [json.loads(request.body)["text"].partition("\n")[0] for request in inbox.requests]
    assert told == [":x: *backup of nope1 FAILED*", ":x: *backup of nope2 FAILED*"]
    (document,) = json.loads(respaldo(tmp_path, "status", "--json").stdout)
    assert (document["failures"], document["failures_in_a_row"], document["last_error"]) == (0, 0, None)


def test_a_run_that_is_done_with_warnings_is_no_failure(tmp_path: Path, inbox: Inbox) -> None:
    settings = Settings.load({"repository": str(tmp_path / "backups")}, {"SLACK_WEBHOOK_URL": f"{inbox.url}/hook"})
    with pytest.raises(Exit), Announcing(Output(quiet=True), App(settings), Operation.BACKUP):
        raise Exit(3)
    assert inbox.requests == []


def test_the_daemon_waits_for_no_channel(tmp_path: Path) -> None:
    write_backups(tmp_path / "backups", 1)  # an old one: it is late
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        listening.settimeout(60)
        environment = {**os.environ, "PYTHONPATH": str(ROOT / "src"), "RESPALDO_LANG": "en"}
        environment["SLACK_WEBHOOK_URL"] = f"http://127.0.0.1:{listening.getsockname()[1]}/hook"
        daemon = subprocess.Popen(
            [sys.executable, "-m", "respaldo", "serve", "--listen", "off"], cwd=tmp_path, env=environment
        )
        try:
            connection, _address = listening.accept()  # and nothing is ever said
            with connection:
                daemon.terminate()
                assert daemon.wait(timeout=8) == 0
        finally:
            daemon.kill()
            daemon.wait()


def test_a_failed_run_begins_nothing_where_nobody_is_to_be_told(tmp_path: Path) -> None:
    assert orchestrator(tmp_path, "--force-docker", DOCKER_HOST=f"unix://{tmp_path}/none.sock").returncode == 40
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("content", [b"", b"\xff\xfe", b"x" * 70_000])
def test_a_secret_file_that_holds_none_is_refused_without_it(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "token"
    file.write_bytes(content)
    done = respaldo(tmp_path, "notify", "test", SLACK_BOT_TOKEN_FILE=str(file))
    assert done.returncode == 2
    assert "x" * 10 not in done.stderr


def test_a_secret_that_cannot_be_meant_is_not_shown(tmp_path: Path) -> None:
    done = respaldo(tmp_path, "notify", "test", RESPALDO_PING_URL="ftp://planted-key@host")
    assert done.returncode == 2
    assert "RESPALDO_PING_URL: ***" in done.stderr
    assert "planted" not in done.stderr


def test_a_check_tells_of_damage_once_and_of_its_end_and_retention_of_nothing(tmp_path: Path, inbox: Inbox) -> None:
    fill(DirectoryStorage(tmp_path / "backups"))
    manifest = tmp_path / "backups/i/d/inc/manifest.json"
    whole = manifest.read_bytes()
    hook = {"SLACK_WEBHOOK_URL": f"{inbox.url}/planted-hook"}
    manifest.write_bytes(whole[:-20])
    assert [respaldo(tmp_path, "check", "--quick", **hook).returncode for _again in range(2)] == [13, 13]
    manifest.write_bytes(whole)
    assert respaldo(tmp_path, "check", "--quick", **hook).returncode == 0
    assert respaldo(tmp_path, "retain", "--yes", **hook).returncode == 0
    assert respaldo(tmp_path, "retain", "--dry-run", **hook).returncode == 0
    told = [json.loads(request.body)["text"].partition("\n")[0] for request in inbox.requests]
    assert told == [
        ":x: *check of all targets FAILED*",
        ":white_check_mark: *check of all targets finds all whole again*",
    ]
