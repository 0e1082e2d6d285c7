"""Channels that cannot send at all: what is told then, and whether it is tried again."""

from __future__ import annotations

import sys
from datetime import UTC
from pathlib import Path

import pytest

from respaldo.channels import telling_policy
from respaldo.config.settings import Settings
from respaldo.notify.apprise_channel import AppriseChannel
from respaldo.notify.mail import SendmailChannel, SmtpChannel
from respaldo.notify.slack import SlackBotChannel, SlackWebhookChannel
from respaldo.notify.wording import MAX_BODY
from tests.rig.receivers import smtp_server
from tests.unit.announcing import World
from tests.unit.test_notify_channels import TO, failure_of

pytestmark = pytest.mark.usefixtures("in_english")


def test_mail_program_that_hangs_or_may_not_be_run_is_said(tmp_path: Path) -> None:
    program = tmp_path / "sendmail"
    program.write_text("#!/bin/sh\nexec sleep 60\n")
    error = failure_of(SendmailChannel(program=str(program), envelope=TO))
    assert ("Permission denied" in error.message, error.is_temporary) == (True, False)
    program.chmod(0o700)
    error = failure_of(SendmailChannel(program=str(program), envelope=TO, timeout_s=0.1))
    assert ("did not end in time" in error.message, error.is_temporary) == (True, True)


def test_email_whose_recipients_are_all_unknown_is_refused_for_good() -> None:
    with smtp_server() as mailbox:
        mailbox.unknown = set(TO.recipients)
        error = failure_of(SmtpChannel(host="127.0.0.1", port=mailbox.port, envelope=TO, security="none"))
    assert "ops@example.com" in error.message
    assert not error.is_temporary


def test_address_or_token_that_cannot_be_one_is_said_without_it() -> None:
    error = failure_of(SlackBotChannel(token="xoxb-\u00e9", channel="#ops"))
    assert ("token" in error.message, "xoxb" in error.message) == (True, False)
    error = failure_of(SlackWebhookChannel(url="https://no-such-host.invalid/secret"))
    assert ("no-such-host.invalid is not known" in error.message, error.is_temporary) == (True, True)


def test_apprise_that_is_not_installed_or_breaks_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "apprise", None)
    error = failure_of(AppriseChannel(url="json://127.0.0.1"))
    assert ("Apprise is not installed" in error.message, error.hint) == (True, "pip install apprise, beside respaldo")


def test_reason_without_end_is_cut_and_told() -> None:
    world = World(zone=UTC)
    world.fail(reason="x" * (MAX_BODY + 1000))
    (message,) = world.channel.taken
    assert (len(message.body), message.body[-1]) == (MAX_BODY + 1, "…")


def test_each_apprise_url_is_a_channel_of_its_own() -> None:
    policy = telling_policy(Settings(repository="x", apprise_urls=("json://a", "json://b")))
    assert len({channel.name for channel in policy.channels}) == 2
