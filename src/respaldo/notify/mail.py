"""E-mail: to a server by SMTP, encrypted and with a password; or to this machine's sendmail."""

from __future__ import annotations

import smtplib
import socket
import ssl
import subprocess
from base64 import b64encode
from collections.abc import Sequence
from dataclasses import dataclass, field
from email.errors import MessageError
from email.message import EmailMessage
from email.utils import format_datetime, parseaddr
from pathlib import Path

from respaldo.errors import NotificationError
from respaldo.language import _
from respaldo.notify.channel import TIMEOUT_S
from respaldo.notify.notice import Kind, Message
from respaldo.notify.post import connection_error

PORTS = {"starttls": 587, "tls": 465, "none": 25}
_GO_ON, _LOGGED_IN = 334, 235
"""RFC 4954, sections 4 and 6."""
_TEMPFAIL = 75
"""sysexits.h: try again later."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Envelope:
    """From whom and to whom; ``sender`` None: respaldo at this machine."""

    recipients: tuple[str, ...]
    sender: str | None = None


def write_email(message: Message, envelope: Envelope) -> EmailMessage:
    """Return the e-mail. Raise NotificationError for an address that cannot be one."""
    email = EmailMessage()
    try:
        email["From"] = envelope.sender or f"respaldo@{socket.gethostname()}"
        email["To"] = ", ".join(envelope.recipients)
        email["Subject"] = message.subject
    except (ValueError, MessageError, IndexError) as error:
        raise NotificationError(_("an e-mail address cannot be used: {reason}").format(reason=error)) from error
    if not all("@" in parseaddr(address)[1] for address in envelope.recipients):
        raise NotificationError(
            _("{address} is no e-mail address").format(address=", ".join(envelope.recipients)),
            hint=_("RESPALDO_EMAIL_TO holds addresses like ops@example.com"),
        )
    email["Date"] = format_datetime(message.at)
    email["Message-ID"] = f"<{message.uid}@respaldo>"
    email["Auto-Submitted"] = "auto-generated"
    if message.kind in {Kind.FAILURE, Kind.OVERDUE}:
        email["Importance"] = "high"
    email.set_content(message.body + "\n", cte="quoted-printable")
    return email


@dataclass(frozen=True, slots=True, kw_only=True)
class SmtpChannel:
    """A mail server. ``security``: starttls, tls or none; with none, a password goes to this very machine only."""

    host: str
    envelope: Envelope
    port: int | None = None
    security: str = "starttls"
    user: str | None = None
    password: str | None = field(default=None, repr=False)
    timeout_s: float = TIMEOUT_S
    name: str = "email"

    @property
    def secrets(self) -> Sequence[str]:
        return [self.password] if self.password else []

    def send(self, message: Message) -> None:
        email = write_email(message, self.envelope)
        if self.security == "none" and self.user and self.host not in {"localhost", "127.0.0.1", "::1"}:
            raise NotificationError(
                _("the password for {host} would travel unencrypted").format(host=self.host),
                hint=_("set RESPALDO_SMTP_SECURITY to starttls or tls"),
            )
        try:
            with self._connect() as server:
                if self.security == "starttls":
                    server.starttls(context=ssl.create_default_context())
                if self.user:
                    self._log_in(server, self.user, self.password or "")
                refused = server.send_message(email)
        except smtplib.SMTPRecipientsRefused as error:
            raise self._refused(error.recipients) from None
        except smtplib.SMTPResponseException as error:
            raise NotificationError(
                _("{host} answered {status}: {text}").format(
                    host=self.host, status=error.smtp_code, text=_text(error.smtp_error)
                ),
                is_temporary=400 <= error.smtp_code < 500 or error.smtp_code < 0,
            ) from None
        except smtplib.SMTPNotSupportedError as error:
            raise NotificationError(
                _("{host}: {reason}").format(host=self.host, reason=error),
                hint=_("RESPALDO_SMTP_SECURITY says how the server is spoken to: starttls, tls or none"),
            ) from None
        except (OSError, smtplib.SMTPException) as error:
            raise connection_error(self.host, error) from None
        if refused:
            raise self._refused(refused, some=True)

    def _connect(self) -> smtplib.SMTP:
        port = self.port or PORTS[self.security]
        here = socket.gethostname()
        if self.security == "tls":
            context = ssl.create_default_context()
            return smtplib.SMTP_SSL(self.host, port, local_hostname=here, timeout=self.timeout_s, context=context)
        return smtplib.SMTP(self.host, port, local_hostname=here, timeout=self.timeout_s)

    def _log_in(self, server: smtplib.SMTP, user: str, password: str) -> None:
        """Log in, with letters other than ASCII's in UTF-8 (RFC 4616): smtplib cannot."""
        if user.isascii() and password.isascii():
            server.login(user, password)
            return
        server.ehlo_or_helo_if_needed()
        offered = server.esmtp_features.get("auth", "").split()
        if "PLAIN" in offered:
            status, said = server.docmd("AUTH", "PLAIN " + _base64(f"\0{user}\0{password}"))
        elif "LOGIN" in offered:
            status, said = server.docmd("AUTH", "LOGIN " + _base64(user))
            if status == _GO_ON:
                status, said = server.docmd(_base64(password))
        else:
            raise NotificationError(
                _("{host} offers no login for a user or a password with letters other than ASCII's").format(
                    host=self.host
                ),
                hint=_("RESPALDO_SMTP_USER and RESPALDO_SMTP_PASSWORD hold them: choose others for respaldo"),
            )
        if status != _LOGGED_IN:
            raise smtplib.SMTPAuthenticationError(status, said)

    def _refused(self, refused: dict[str, tuple[int, bytes]], *, some: bool = False) -> NotificationError:
        reasons = "; ".join(f"{address}: {code} {_text(text)}" for address, (code, text) in refused.items())
        # The same again would reach those who were not refused a second time.
        is_temporary = not some and all(400 <= code < 500 for code, _reason in refused.values())
        return NotificationError(
            _("{host} refused recipients: {reasons}").format(host=self.host, reasons=reasons),
            hint=_("RESPALDO_EMAIL_TO holds the addresses"),
            is_temporary=is_temporary,
            is_partial=some,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class SendmailChannel:
    """This machine's mail program, which takes recipients from the headers: none is on its command line."""

    program: str
    envelope: Envelope
    timeout_s: float = 30.0
    name: str = "email"

    @property
    def secrets(self) -> Sequence[str]:
        return []

    def send(self, message: Message) -> None:
        email = write_email(message, self.envelope)
        if not Path(self.program).exists():
            raise NotificationError(
                _("there is no {program} on this machine").format(program=self.program),
                hint=_("RESPALDO_SMTP_HOST names a server that takes e-mails"),
            )
        try:
            done = subprocess.run(
                [self.program, "-i", "-t"], input=bytes(email), capture_output=True, timeout=self.timeout_s, check=False
            )
        except subprocess.TimeoutExpired:
            raise NotificationError(
                _("{program} did not end in time").format(program=self.program), is_temporary=True
            ) from None
        except OSError as error:
            raise NotificationError(
                _("{program}: {reason}").format(program=self.program, reason=error.strerror)
            ) from error
        if done.returncode != 0:
            raise NotificationError(
                _("{program} ended with status {status}: {text}").format(
                    program=self.program, status=done.returncode, text=_text(done.stderr)
                ),
                is_temporary=done.returncode == _TEMPFAIL,
            )


def _base64(text: str) -> str:
    return b64encode(text.encode(errors="surrogateescape")).decode()


def _text(said: bytes | str) -> str:
    return said.decode(errors="replace") if isinstance(said, bytes) else said
