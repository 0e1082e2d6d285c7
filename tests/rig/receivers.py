"""Servers that receive what is told: SMTP with TLS and passwords, HTTP and HTTPS; and their outages."""

from __future__ import annotations

import contextlib
import json
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from email import message_from_bytes, policy
from email.message import EmailMessage
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session


@dataclass(frozen=True, slots=True, kw_only=True)
class Certificate:
    """A certificate for localhost that signed itself; who trusts it names it in SSL_CERT_FILE."""

    certificate: Path
    key: Path

    def server_context(self) -> ssl.SSLContext:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(self.certificate, self.key)
        return context


def make_certificate(directory: Path, *, name: str = "localhost") -> Certificate:
    """Make a certificate for ``name`` and 127.0.0.1."""
    made = Certificate(certificate=directory / f"{name}.pem", key=directory / f"{name}.key")
    names = f"subjectAltName=DNS:{name}" + (",IP:127.0.0.1" if name == "localhost" else "")
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    files = ["-keyout", str(made.key), "-out", str(made.certificate)]
    subprocess.run(
        [*command, *files, "-days", "2", "-subj", f"/CN={name}", "-addext", names], check=True, capture_output=True
    )
    return made


@dataclass(slots=True)
class Mailbox:
    """What an SMTP server took. ``refuses``: the code and text that it answers a message with, in its place;
    ``unknown``: recipients that it does not know."""

    port: int = 0
    emails: list[EmailMessage] = field(default_factory=list)
    recipients: list[list[str]] = field(default_factory=list)
    users: list[str] = field(default_factory=list)
    were_encrypted: list[bool] = field(default_factory=list)
    refuses: list[str] = field(default_factory=list)
    unknown: set[str] = field(default_factory=set)
    delay_s: float = 0.0

    async def handle_RCPT(  # noqa: N802 - its name
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        if address in self.unknown:
            return "550 no such user"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:  # noqa: N802 - its name
        if self.delay_s:
            import asyncio

            await asyncio.sleep(self.delay_s)
        if self.refuses:
            return self.refuses.pop(0)
        content = envelope.original_content or b""
        email = message_from_bytes(content, policy=policy.default)
        assert isinstance(email, EmailMessage)
        self.emails.append(email)
        self.recipients.append(list(envelope.rcpt_tos))
        self.were_encrypted.append(session.ssl is not None or bool(getattr(server, "_tls_protocol", None)))
        return "250 OK"


@contextlib.contextmanager
def smtp_server(
    certificate: Certificate | None = None,
    *,
    user: str | None = None,
    password: str | None = None,
    starttls: bool = True,
    port: int = 0,
    without: Iterable[str] = (),
) -> Iterator[Mailbox]:
    """Run a server on 127.0.0.1: with STARTTLS, or TLS from the first byte; with a password where one is given, and
    ``without`` these ways to log in."""
    mailbox = Mailbox()
    port = port or free_port()

    def authenticate(server: SMTP, session: Session, envelope: Envelope, mechanism: str, data: Any) -> AuthResult:
        is_right = (
            isinstance(data, LoginPassword)
            and data.login == (user or "").encode()
            and data.password == (password or "").encode()
        )
        if is_right:
            mailbox.users.append(user or "")
        return AuthResult(success=is_right, handled=True) if is_right else AuthResult(success=False, handled=False)

    options: dict[str, Any] = {"hostname": "127.0.0.1", "port": port, "ready_timeout": 10}
    options |= {"auth_exclude_mechanism": without}
    if user is not None:
        options |= {"authenticator": authenticate, "auth_required": True, "auth_require_tls": certificate is not None}
    if certificate is not None and starttls:
        options |= {"tls_context": certificate.server_context(), "require_starttls": True}
    elif certificate is not None:
        options |= {"ssl_context": certificate.server_context(), "auth_require_tls": False, "auth_required": False}
    controller = Controller(mailbox, **options)
    controller.start()
    mailbox.port = port
    try:
        yield mailbox
    finally:
        controller.stop()


@dataclass(frozen=True, slots=True, kw_only=True)
class Received:
    """One HTTP request."""

    path: str
    headers: dict[str, str]
    body: str


@dataclass(slots=True)
class Inbox:
    """What an HTTP server took, and how it answers: ``answers`` one after the other, then 200 with ``body``."""

    url: str = ""
    requests: list[Received] = field(default_factory=list)
    answers: list[int] = field(default_factory=list)
    body: str = '{"ok": true}'
    headers: dict[str, str] = field(default_factory=dict)
    delay_s: float = 0.0

    @property
    def texts(self) -> list[str]:
        """What Slack was told, message by message."""
        return [json.loads(one.body)["text"] for one in self.requests]

    @property
    def paths(self) -> list[str]:
        return [one.path for one in self.requests]


@contextlib.contextmanager
def http_server(certificate: Certificate | None = None, *, port: int = 0) -> Iterator[Inbox]:
    """Run a server on 127.0.0.1 (or, where it has a certificate, on localhost)."""
    inbox = Inbox()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", "0"))).decode()
            time.sleep(inbox.delay_s)
            status = inbox.answers.pop(0) if inbox.answers else 200
            inbox.requests.append(Received(path=self.path, headers=dict(self.headers), body=body))
            # A client that has given up is part of what is tested.
            with contextlib.suppress(OSError):
                self.send_response(status)
                for name, value in inbox.headers.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(inbox.body.encode())

        do_GET = do_POST  # noqa: N815 - its name

        def log_message(self, format: str, *values: object) -> None:
            return

    class QuietServer(ThreadingHTTPServer):
        def handle_error(self, request: Any, client_address: Any) -> None:
            """A client that does not like the certificate ends the connection."""

    server = QuietServer(("127.0.0.1", port), Handler)
    if certificate is not None:
        server.socket = certificate.server_context().wrap_socket(server.socket, server_side=True)
    scheme, host = ("http", "127.0.0.1") if certificate is None else ("https", "localhost")
    inbox.url = f"{scheme}://{host}:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, args=(0.005,), daemon=True)
    thread.start()
    try:
        yield inbox
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def free_port() -> int:
    """Return a port on which nothing listens: what connects there is refused."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port: int = found.getsockname()[1]
        return port


@contextlib.contextmanager
def silent_server() -> Iterator[int]:
    """Take connections and say nothing: yield the port."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        yield listening.getsockname()[1]
