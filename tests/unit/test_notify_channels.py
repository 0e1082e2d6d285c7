"""Channels to real servers: what arrives, and how each of their outages ends."""

from __future__ import annotations

import json
import stat
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from email import message_from_bytes, policy
from pathlib import Path

import pytest

from respaldo.config.settings import Settings
from respaldo.errors import NotificationError
from respaldo.notify.apprise_channel import AppriseChannel
from respaldo.notify.channel import Channel
from respaldo.notify.delivery import deliver
from respaldo.notify.mail import Envelope, SendmailChannel, SmtpChannel
from respaldo.notify.notice import Kind, Message
from respaldo.notify.ping import Beat, PingChannel
from respaldo.notify.slack import SlackBotChannel, SlackWebhookChannel
from tests.rig.receivers import (
    Certificate,
    Inbox,
    Mailbox,
    free_port,
    http_server,
    make_certificate,
    silent_server,
    smtp_server,
)

PASSWORD = "pa$$-word-of-smtp"
TOKEN = "xoxb-1234-planted-token"
TO = Envelope(recipients=("ops@example.com", "dba@example.com"), sender="respaldo@example.com")


# Of Python's own modules that Apprise still uses.
apprise_warns = pytest.mark.filterwarnings("ignore::DeprecationWarning")


def message(
    kind: Kind = Kind.FAILURE, *, body: str = "backup of pc_db/pc_db FAILED\n\nreason: ñandú <!channel>"
) -> Message:
    return Message(
        uid="a" * 32, kind=kind, subject="[respaldo] ñ FAILED", body=body, at=datetime(2026, 11, 25, tzinfo=UTC)
    )


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    return make_certificate(tmp_path_factory.mktemp("certificate"))


@pytest.fixture
def trusting(certificate: Certificate, monkeypatch: pytest.MonkeyPatch) -> Certificate:
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate.certificate))
    return certificate


@pytest.fixture(params=["starttls", "tls"])
def mail(request: pytest.FixtureRequest, trusting: Certificate) -> Iterator[tuple[Mailbox, str]]:
    is_starttls = request.param == "starttls"
    with smtp_server(trusting, user="ops", password=PASSWORD, starttls=is_starttls) as mailbox:
        yield mailbox, request.param


def smtp(port: int, security: str = "starttls", *, password: str = PASSWORD, timeout_s: float = 5.0) -> SmtpChannel:
    return SmtpChannel(
        host="localhost",
        port=port,
        security=security,
        user="ops",
        password=password,
        envelope=TO,
        timeout_s=timeout_s,
    )


def failure_of(channel: Channel, one: Message | None = None) -> NotificationError:
    with pytest.raises(NotificationError) as caught:
        channel.send(one or message())
    return caught.value


def test_smtp_delivers_encrypted_and_with_a_password(mail: tuple[Mailbox, str]) -> None:
    mailbox, security = mail
    smtp(mailbox.port, security).send(message())
    email = mailbox.emails[0]
    assert email["Subject"] == "[respaldo] ñ FAILED"
    assert email["To"] == "ops@example.com, dba@example.com"
    assert email["Message-ID"] == f"<{'a' * 32}@respaldo>"
    assert email["Importance"] == "high"
    assert "ñandú <!channel>" in email.get_content()
    assert mailbox.recipients == [["ops@example.com", "dba@example.com"]]
    assert mailbox.users == ["ops"]


def test_recipients_with_names_are_all_written_to(tmp_path: Path) -> None:
    named = [f'"Ruiz{number}, Íñigo" <r{number}@example.com>' for number in range(20)]
    plain = [f"r{number}@example.com" for number in range(20)]
    settings = Settings.load({}, {"RESPALDO_EMAIL_TO": ", ".join(named)})
    envelope = Envelope(recipients=settings.email_to or (), sender="Íñigo <respaldo@example.com>")
    program = tmp_path / "sendmail"
    program.write_text(f"#!/bin/sh\ncat >{tmp_path}/email\n")
    program.chmod(0o700)
    SendmailChannel(program=str(program), envelope=envelope).send(message())
    with smtp_server() as mailbox:
        SmtpChannel(host="127.0.0.1", port=mailbox.port, security="none", envelope=envelope).send(message())
    assert mailbox.recipients == [plain]
    piped = message_from_bytes((tmp_path / "email").read_bytes(), policy=policy.default)
    assert [str(email["To"]) for email in (mailbox.emails[0], piped)] == [", ".join(plain)] * 2


def test_smtp_with_a_wrong_password_says_so_without_it(mail: tuple[Mailbox, str]) -> None:
    mailbox, security = mail
    error = failure_of(smtp(mailbox.port, security, password="wr0ng-secret"))
    assert "535" in error.message
    assert not error.is_temporary
    assert "wr0ng-secret" not in error.message
    assert mailbox.emails == []


@pytest.mark.parametrize(("user", "password"), [("añil@x.org", "pa$$"), ("ops", "contraseña €"), ("ñ", "")])
@pytest.mark.parametrize("without", ["PLAIN", "LOGIN"])
def test_smtp_user_and_password_may_have_any_letter(
    user: str, password: str, without: str, trusting: Certificate
) -> None:
    with smtp_server(trusting, user=user, password=password, without=[without]) as mailbox:
        channel = replace(smtp(mailbox.port), user=user, password=password)
        channel.send(message())
        error = failure_of(replace(channel, password="wröng-secret"))
    assert (mailbox.users, len(mailbox.emails)) == ([user], 1)
    assert ("535" in error.message, error.is_temporary) == (True, False)


def test_smtp_that_takes_no_such_letter_is_said(trusting: Certificate) -> None:
    with smtp_server(trusting, user="ñ", password="ñ", without=["PLAIN", "LOGIN"]) as mailbox:
        error = failure_of(replace(smtp(mailbox.port), user="ñ"))
    assert "RESPALDO_SMTP_PASSWORD" in (error.hint or "")
    assert not error.is_temporary


def test_smtp_with_a_certificate_of_nobody_sends_nothing(certificate: Certificate) -> None:
    for starttls in (True, False):
        with smtp_server(certificate, user="ops", password=PASSWORD, starttls=starttls) as mailbox:
            error = failure_of(smtp(mailbox.port, "starttls" if starttls else "tls"))
            assert "certificate" in error.message or "certificado" in error.message
            assert (error.is_temporary, mailbox.emails, mailbox.users) == (False, [], [])


def test_smtp_that_offers_no_encryption_is_given_no_password() -> None:
    with smtp_server() as mailbox:
        error = failure_of(smtp(mailbox.port))
        assert error.hint
        assert "RESPALDO_SMTP_SECURITY" in error.hint
    elsewhere = SmtpChannel(host="mail.example.com", security="none", user="ops", password=PASSWORD, envelope=TO)
    assert "RESPALDO_SMTP_SECURITY" in (failure_of(elsewhere).hint or "")


@pytest.mark.parametrize(("answer", "is_temporary"), [("451 later", True), ("554 never", False)])
def test_smtp_refusal_is_temporary_by_its_code(answer: str, is_temporary: bool) -> None:
    with smtp_server() as mailbox:
        mailbox.refuses = [answer]
        error = failure_of(SmtpChannel(host="127.0.0.1", port=mailbox.port, security="none", envelope=TO))
    assert answer.split()[1] in error.message
    assert error.is_temporary is is_temporary


def test_smtp_that_is_not_there_or_silent_is_temporary() -> None:
    assert failure_of(smtp(free_port())).is_temporary
    with silent_server() as port:
        begun_s = time.monotonic()
        assert failure_of(smtp(port, timeout_s=0.3)).is_temporary
        assert time.monotonic() - begun_s < 20


def test_email_of_what_is_no_address_is_refused_before_a_connection() -> None:
    for address in ("nobody", "a@b\r\nBcc: c@d", ""):
        channel = SmtpChannel(host="127.0.0.1", port=1, envelope=Envelope(recipients=(address,)))
        assert not failure_of(channel).is_temporary


def test_sendmail_gets_the_email_on_its_input(tmp_path: Path) -> None:
    program = tmp_path / "sendmail"
    program.write_text(f'#!/bin/sh\necho "$@" >{tmp_path}/arguments\ncat >{tmp_path}/email\n')
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    SendmailChannel(program=str(program), envelope=TO).send(message())
    assert (tmp_path / "arguments").read_text() == "-i -t\n"
    assert "To: ops@example.com, dba@example.com" in (tmp_path / "email").read_text()


@pytest.mark.parametrize(("status", "is_temporary"), [(75, True), (64, False)])
def test_sendmail_that_fails_says_why(tmp_path: Path, status: int, is_temporary: bool) -> None:
    program = tmp_path / "sendmail"
    program.write_text(f"#!/bin/sh\ncat >/dev/null; echo the queue is full >&2; exit {status}\n")
    program.chmod(0o700)
    error = failure_of(SendmailChannel(program=str(program), envelope=TO))
    assert "the queue is full" in error.message
    assert error.is_temporary is is_temporary


def test_sendmail_that_is_not_there_hints_at_a_server(tmp_path: Path) -> None:
    error = failure_of(SendmailChannel(program=str(tmp_path / "none"), envelope=TO))
    assert "RESPALDO_SMTP_HOST" in (error.hint or "")


@pytest.fixture
def inbox() -> Iterator[Inbox]:
    with http_server() as inbox:
        yield inbox


def bot(url: str, *, timeout_s: float = 5.0) -> SlackBotChannel:
    return SlackBotChannel(token=TOKEN, channel="#ops", api=url, timeout_s=timeout_s)


def test_slack_bot_posts_to_its_channel(inbox: Inbox) -> None:
    bot(inbox.url).send(message())
    (request,) = inbox.requests
    assert request.path == "/chat.postMessage"
    assert request.headers["Authorization"] == f"Bearer {TOKEN}"
    document = json.loads(request.body)
    assert document["channel"] == "#ops"
    assert document["text"].startswith(":x: *backup of pc_db/pc_db FAILED*\n```reason: ñandú &lt;!channel&gt;")


@pytest.mark.parametrize(
    ("error", "hint", "is_temporary"),
    [
        ("invalid_auth", "SLACK_BOT_TOKEN", False),
        ("channel_not_found", "SLACK_DEFAULT_CHANNEL", False),
        ("ratelimited", "", True),
    ],
)
def test_slack_bot_says_what_slack_said(inbox: Inbox, error: str, hint: str, is_temporary: bool) -> None:
    inbox.body = json.dumps({"ok": False, "error": error})
    failure = failure_of(bot(inbox.url))
    assert error in failure.message
    assert hint in (failure.hint or "")
    assert failure.is_temporary is is_temporary


def test_slack_answer_of_another_program_is_a_failure(inbox: Inbox) -> None:
    for body in ("<html>", "[]", '{"ok": 1}', ""):
        inbox.body = body
        failure_of(bot(inbox.url))


def test_slack_webhook_posts(inbox: Inbox) -> None:
    SlackWebhookChannel(url=f"{inbox.url}/services/T0/B0/secretpart").send(message(Kind.RECOVERY))
    assert inbox.paths == ["/services/T0/B0/secretpart"]
    assert ":white_check_mark:" in json.loads(inbox.requests[0].body)["text"]


@pytest.mark.parametrize(
    ("status", "is_temporary"), [(500, True), (503, True), (429, True), (403, False), (404, False), (302, False)]
)
def test_http_status_is_temporary_where_it_may_pass(inbox: Inbox, status: int, is_temporary: bool) -> None:
    inbox.answers = [status]
    inbox.headers = {"Location": inbox.url}
    error = failure_of(bot(inbox.url))
    assert str(status) in error.message
    assert error.is_temporary is is_temporary
    # A redirect is not followed: it would carry the token to another host.
    assert len(inbox.requests) == 1


def test_http_server_that_is_not_there_or_slow_is_temporary(inbox: Inbox) -> None:
    assert failure_of(bot(f"http://127.0.0.1:{free_port()}")).is_temporary
    inbox.delay_s = 1.0
    assert failure_of(bot(inbox.url, timeout_s=0.2)).is_temporary


def test_https_needs_a_certificate_that_is_trusted(certificate: Certificate, monkeypatch: pytest.MonkeyPatch) -> None:
    with http_server(certificate) as inbox:
        error = failure_of(bot(inbox.url))
        assert "SSL_CERT_FILE" in (error.hint or "")
        assert (error.is_temporary, inbox.requests) == (False, [])
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate.certificate))
        bot(inbox.url).send(message())
        assert len(inbox.requests) == 1


def test_ping_beats_start_success_and_failure(inbox: Inbox) -> None:
    channel = PingChannel(url=f"{inbox.url}/ping/uuid-of-check?rid=1")
    channel.beat(Beat.START)
    channel.send(message(Kind.SUCCESS))
    channel.send(message(Kind.FAILURE))
    assert inbox.paths == [
        "/ping/uuid-of-check/start?rid=1",
        "/ping/uuid-of-check?rid=1",
        "/ping/uuid-of-check/fail?rid=1",
    ]
    assert inbox.requests[2].body.startswith("backup of pc_db/pc_db FAILED")


@apprise_warns
def test_apprise_reaches_a_server_of_another_kind(inbox: Inbox) -> None:
    AppriseChannel(url=inbox.url.replace("http://", "json://") + "/hook").send(message())
    assert inbox.paths == ["/hook"]
    assert json.loads(inbox.requests[0].body)["type"] == "failure"


@apprise_warns
def test_apprise_failure_is_told_without_the_url(inbox: Inbox) -> None:
    inbox.answers = [500]
    url = inbox.url.replace("http://", "json://user:planted-password@") + "/planted-key-in-path"
    (delivery,) = deliver({"json-1": [message()]}, {"json-1": AppriseChannel(url=url)}, attempts=1)
    assert delivery.error is not None
    assert "500" in delivery.error.message
    assert "planted" not in delivery.error.message
    assert "planted" not in repr(AppriseChannel(url=url))


@apprise_warns
def test_apprise_of_an_unknown_scheme_is_refused() -> None:
    assert not failure_of(AppriseChannel(url="nosuch://x")).is_temporary


def test_deliver_retries_what_may_pass_and_no_more_than_three_times(inbox: Inbox) -> None:
    pauses: list[float] = []
    channel = bot(inbox.url)
    inbox.answers = [500, 503]
    (delivery,) = deliver({"slack": [message()]}, {"slack": channel}, pause=pauses.append)
    assert (delivery.error, delivery.attempts, pauses) == (None, 3, [1.0, 4.0])
    inbox.answers = [500] * 9
    (delivery,) = deliver({"slack": [message()]}, {"slack": channel}, pause=pauses.append)
    assert (delivery.error is not None, delivery.attempts, len(inbox.requests)) == (True, 3, 6)
    inbox.answers = [403]
    (delivery,) = deliver({"slack": [message()]}, {"slack": channel}, pause=pauses.append)
    assert (delivery.error is not None, delivery.attempts, len(inbox.requests)) == (True, 1, 7)


def test_deliver_waits_for_no_server_beyond_its_budget_and_tells_the_others(inbox: Inbox) -> None:
    with silent_server() as port:
        channels: dict[str, Channel] = {"email": smtp(port, timeout_s=60), "slack": bot(inbox.url)}
        begun_s = time.monotonic()
        deliveries = deliver({"email": [message()], "slack": [message()]}, channels, budget_s=0.5)
        assert time.monotonic() - begun_s < 30
    assert [(one.channel, one.error is None) for one in deliveries] == [("email", False), ("slack", True)]


def test_deliver_keeps_the_order_after_a_failure(inbox: Inbox) -> None:
    inbox.answers = [200, 500, 500, 500]
    deliveries = deliver({"slack": [message()] * 3}, {"slack": bot(inbox.url)}, pause=lambda _seconds: None)
    assert [one.error is None for one in deliveries] == [True, False, False]
    assert len(inbox.requests) == 4


def test_deliver_passes_by_a_message_that_is_refused_for_good_but_not_two(inbox: Inbox) -> None:
    inbox.answers = [403]
    deliveries = deliver({"slack": [message()] * 2}, {"slack": bot(inbox.url)})
    assert [one.error is None for one in deliveries] == [False, True]
    inbox.answers = [403, 403]
    deliveries = deliver({"slack": [message()] * 5}, {"slack": bot(inbox.url)})
    assert [one.error is None for one in deliveries] == [False] * 5
    assert len(inbox.requests) == 4


def test_smtp_that_refuses_one_recipient_of_two_tells_the_other_every_message_once() -> None:
    with smtp_server() as mailbox:
        mailbox.unknown = {"dba@example.com"}
        channel = SmtpChannel(host="127.0.0.1", port=mailbox.port, security="none", envelope=TO)
        deliveries = deliver({"email": [message(), message(Kind.RECOVERY)]}, {"email": channel})
    assert mailbox.recipients == [["ops@example.com"]] * 2
    for delivery in deliveries:
        assert delivery.is_over
        assert delivery.error is not None
        assert "dba@example.com: 550" in delivery.error.message


def test_no_channel_tells_the_secret_of_another() -> None:
    class FakeTellTale:
        name = "odd"
        secrets = ()

        def send(self, message: Message) -> None:
            raise NotificationError(f"of another: {TOKEN}")

    channels: dict[str, Channel] = {"odd": FakeTellTale(), "slack": bot("http://x"), "bad": AppriseChannel(url="x://[")}
    (delivery,) = deliver({"odd": [message()]}, channels)
    assert delivery.error is not None
    assert delivery.error.message == "of another: ***"


@pytest.mark.parametrize("before", [176, 188, 196, 280, 292, 460, 476, 490])
def test_no_part_of_a_secret_is_told_where_an_answer_is_cut(before: int, inbox: Inbox, tmp_path: Path) -> None:
    said = "." * before + TOKEN + "." * 1000
    inbox.answers, inbox.body = [403], said
    program = tmp_path / "sendmail"
    program.write_text(f"#!/bin/sh\ncat >/dev/null; echo {said} >&2; exit 1\n")
    program.chmod(0o700)
    with smtp_server() as mailbox:
        mailbox.refuses = [f"554 {said}"]
        channels: dict[str, Channel] = {
            "slack": bot(inbox.url),
            "sendmail": SendmailChannel(program=str(program), envelope=TO),
            "smtp": SmtpChannel(host="127.0.0.1", port=mailbox.port, security="none", envelope=TO),
        }
        deliveries = deliver({name: [message()] for name in channels}, channels)
    assert len(deliveries) == 3
    for delivery in deliveries:
        assert delivery.error is not None
        assert "...." in delivery.error.message
        assert "xo" not in delivery.error.message
        assert len(delivery.error.message) <= 500


def test_answer_that_breaks_off_is_told_by_its_status(inbox: Inbox) -> None:
    inbox.answers, inbox.headers = [403], {"Content-Length": "100000"}
    error = failure_of(bot(inbox.url, timeout_s=0.5))
    assert "403" in error.message
    assert not error.is_temporary


def test_deliver_outlives_an_error_of_any_kind() -> None:
    class FakeSurprisingChannel:
        name = "odd"
        secrets = ("planted",)

        def send(self, message: Message) -> None:
            raise KeyError("planted")

    (delivery,) = deliver({"odd": [message()]}, {"odd": FakeSurprisingChannel()})
    assert delivery.error is not None
    assert delivery.error.message.endswith(": KeyError")


def test_no_channel_shows_its_secret() -> None:
    channels: list[Channel] = [
        smtp(1),
        bot("http://x"),
        SlackWebhookChannel(url="http://h/planted-1"),
        PingChannel(url="http://h/planted-2"),
    ]
    shown = repr(channels) + "".join(channel.name for channel in channels)
    assert not any(secret in shown for secret in (PASSWORD, TOKEN, "planted"))
