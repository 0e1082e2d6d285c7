"""Real backups that are told of by real mail and HTTP servers: hooks, anomalies, outages, and no secret anywhere."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from respaldo.operations.alert_state import ALERTS
from tests.conftest import DatabaseFactory
from tests.faults.program import wait_until
from tests.integration.conftest import Respaldo
from tests.integration.test_secrets import CommandLines, run
from tests.rig.containers import PostgresContainer
from tests.rig.database import Database
from tests.rig.receivers import Inbox, Mailbox, http_server, make_certificate, smtp_server
from tests.rig.variables import shell_variables
from tests.unit.test_operations_hooks import assert_gone

SECRETS = {
    "RESPALDO_SMTP_PASSWORD": "planted-smtp-password",
    "SLACK_BOT_TOKEN": "xoxb-planted-slack-token",
    "RESPALDO_PING_URL": "/planted-ping-key",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """A database that is backed up, and everybody who is told."""

    respaldo: Respaldo
    database: Database
    mailbox: Mailbox
    inbox: Inbox
    variables: dict[str, str]

    def backup(self, *words: str, **more: str) -> tuple[int, str, str]:
        """Back up in a process of its own; return status, output, errors."""
        container = self.respaldo.container
        command = ["backup", "--container", container.name, "--database", self.database.name, *words]
        done = run(self.respaldo.repository, container, *command, **{**self.variables, **more})
        return done.returncode, done.stdout, done.stderr


@pytest.fixture
def told(
    shared_postgres: Callable[[int], PostgresContainer], fresh_database: DatabaseFactory, tmp_path: Path
) -> Iterator[Told]:
    server = shared_postgres(15)
    database = fresh_database(server=server)
    database.psql("CREATE TABLE a (x int); INSERT INTO a SELECT generate_series(1, 100); CREATE TABLE log (t text)")
    certificate = make_certificate(tmp_path)
    with (
        smtp_server(certificate, user="ops", password=SECRETS["RESPALDO_SMTP_PASSWORD"]) as mailbox,
        http_server(certificate) as inbox,
    ):
        variables = {
            "SSL_CERT_FILE": str(certificate.certificate),
            "RESPALDO_EMAIL_TO": "ops@example.com",
            "RESPALDO_SMTP_HOST": "localhost",
            "RESPALDO_SMTP_PORT": str(mailbox.port),
            "RESPALDO_SMTP_USER": "ops",
            "RESPALDO_SLACK_API": inbox.url,
            "SLACK_DEFAULT_CHANNEL": "#ops",
            **SECRETS,
            "RESPALDO_PING_URL": inbox.url + SECRETS["RESPALDO_PING_URL"],
        }
        respaldo = Respaldo(repository=tmp_path / "repository", container=server)
        yield Told(respaldo=respaldo, database=database, mailbox=mailbox, inbox=inbox, variables=variables)


def test_a_backup_is_told_on_every_channel_and_no_secret_is_anywhere(told: Told) -> None:
    with CommandLines() as lines:
        status, out, err = told.backup(
            RESPALDO_PRE_HOOK='[ -z "$SLACK_BOT_TOKEN$RESPALDO_SMTP_PASSWORD$RESPALDO_PING_URL" ]',
            RESPALDO_PRE_SQL="INSERT INTO log VALUES ('before')",
            RESPALDO_POST_SQL="INSERT INTO log VALUES ('after')",
        )
    assert status == 0, err
    (email,) = told.mailbox.emails
    text = email.get_content()
    assert f"{told.respaldo.container.name}/{told.database.name}" in str(email["Subject"])
    assert "101 rows in 2 tables" in text
    assert told.inbox.paths[0] == "/planted-ping-key/start"
    # Side by side: a slow one holds up no other.
    assert sorted(told.inbox.paths[1:]) == ["/chat.postMessage", "/planted-ping-key"]
    assert told.database.psql("SELECT string_agg(t, ',') FROM log").strip() == "before,after"
    kept = "".join(
        path.read_bytes().decode(errors="replace") for path in told.respaldo.repository.rglob("*") if path.is_file()
    )
    seen = out + err + kept + text + b"\n".join(lines.seen).decode(errors="replace")
    assert [secret for secret in SECRETS.values() if secret in seen] == []


def test_a_hook_before_that_fails_stops_the_backup_and_is_told(told: Told) -> None:
    for hook in (
        {"RESPALDO_PRE_HOOK": "echo cannot quiesce; exit 3"},
        {"RESPALDO_PRE_SQL": "SELECT 'unfinished"},
        {"RESPALDO_PRE_SQL": "SELECT 1/0"},
        {"RESPALDO_PRE_SQL": "SELECT pg_sleep(60)", "RESPALDO_HOOK_TIMEOUT": "1"},
    ):
        status, _out, err = told.backup(**hook)
        assert status == 1, err
    assert told.respaldo.list() == []
    # All on one day, so one message; then it works again.
    assert [str(email["Subject"]).endswith("FAILED") for email in told.mailbox.emails] == [True]
    assert "cannot quiesce" in told.mailbox.emails[0].get_content()
    assert told.backup()[0] == 0
    assert "works again" in str(told.mailbox.emails[1]["Subject"])


def test_a_hook_after_that_fails_leaves_a_good_backup_with_a_warning(told: Told) -> None:
    status, _out, err = told.backup(RESPALDO_POST_HOOK="exit 1", RESPALDO_POST_SQL="SELECT 1/0")
    assert status == 3
    assert "division by zero" in err
    assert len(told.respaldo.list()) == 1
    assert "with warnings" in str(told.mailbox.emails[0]["Subject"])


def start_in_a_shell(told: Told, script: str, *words: str, **hooks: str) -> subprocess.Popen[bytes]:
    """Start a backup as ``"$@"`` of a shell's script, at the head of a session of its own."""
    place = ["--container", told.respaldo.container.name, "--database", told.database.name]
    argv = [sys.executable, "-m", "respaldo", "--repository", str(told.respaldo.repository), "backup", *place]
    variables = shell_variables(RESPALDO_LANG="en", TERM="xterm", **told.variables, **hooks)
    return subprocess.Popen(["/bin/sh", "-c", script, *words, *argv], env=variables, start_new_session=True)


def test_a_terminal_that_goes_away_ends_the_backup_as_ctrl_c_does_and_everybody_is_told(
    told: Told, tmp_path: Path
) -> None:
    started, after = tmp_path / "started", tmp_path / "after"
    controlling, terminal = pty.openpty()
    process = start_in_a_shell(
        told,
        'exec "$@" <"$0" >"$0" 2>&1',
        os.ttyname(terminal),
        RESPALDO_PRE_HOOK=f"echo $$ >{started}.new; mv {started}.new {started}; sleep 600; :",
        RESPALDO_POST_HOOK=f'echo "$RESPALDO_OUTCOME: $RESPALDO_ERROR" >{after}',
    )
    os.close(terminal)
    wait_until(started.exists, "the hook runs")
    os.close(controlling)
    assert process.wait(60) == 130
    assert_gone(int(started.read_text()))
    assert after.read_text() == "failure: interrupted\n"
    assert "/planted-ping-key/fail" in told.inbox.paths
    assert [str(email["Subject"]).endswith("FAILED") for email in told.mailbox.emails] == [True]
    assert told.respaldo.list() == []


@pytest.mark.parametrize(("script", "status", "count"), [('exec "$@"', 130, 0), ('trap "" HUP; exec "$@"', 0, 1)])
def test_sighup_ends_a_backup_unless_it_is_ignored(told: Told, script: str, status: int, count: int) -> None:
    process = start_in_a_shell(told, script, "sh", RESPALDO_PRE_HOOK="kill -HUP $PPID; kill -HUP $PPID")
    assert process.wait(60) == status
    assert len(told.respaldo.list()) == count


def test_outages_never_fail_a_good_backup_and_are_made_up_for(told: Told) -> None:
    told.inbox.answers = [403] * 3
    status, _out, err = told.backup(RESPALDO_SMTP_PORT="1")
    assert status == 3, err
    assert all(f"{channel} was not told" in err for channel in ("email", "slack", "ping"))
    assert len(told.respaldo.list()) == 1
    pending = json.loads((told.respaldo.repository / ALERTS).read_text())["pending"]
    assert {one["channel"] for one in pending} == {"email", "slack"}
    # The next run delivers both, the older first.
    assert told.backup()[0] == 0
    assert len(told.mailbox.emails) == 2
    assert told.inbox.paths.count("/chat.postMessage") == 3
    assert json.loads((told.respaldo.repository / ALERTS).read_text())["pending"] == []


def test_a_table_that_emptied_and_rows_that_halved_are_warned_of(told: Told) -> None:
    for number in range(4):
        told.database.psql(f"INSERT INTO a VALUES ({number})")
        status, out, _err = told.backup("--json", "--type", "full", "--retention-full", "9", RESPALDO_EMAIL_TO="")
        assert json.loads(out)["anomalies"] == []
    told.database.psql("TRUNCATE a")
    status, out, err = told.backup("--json", "--type", "full")
    assert status == 0
    anomalies = json.loads(out)["anomalies"]
    assert any('"public"."a" is empty; it had 104 rows' in text for text in anomalies)
    assert "less than half" in err
    assert "with warnings" in str(told.mailbox.emails[-1]["Subject"])
