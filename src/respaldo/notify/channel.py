"""The seam of the channels: what all of them have in common, and how no secret gets out of one."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol
from urllib.parse import unquote, urlsplit

from respaldo.errors import NotificationError
from respaldo.notify.notice import Message
from respaldo.redaction import redact

TIMEOUT_S = 10.0
"""How long one step of a server may take: connecting, or one answer."""
_SHOWN = 500


class Channel(Protocol):
    """One way to somebody. ``name``: what a person is shown; no secret in it. ``secrets``: what no error may hold."""

    @property
    def name(self) -> str: ...

    @property
    def secrets(self) -> Iterable[str]: ...

    def send(self, message: Message) -> None:
        """Deliver, or raise NotificationError that says what the other side answered."""


def redact_error(error: NotificationError, secrets: Iterable[str]) -> NotificationError:
    """Return the error without the secrets, on one line, and cut: a server may say as much as it likes."""
    known = list(secrets)
    message = " ".join(redact(error.message, known).split())[:_SHOWN]
    hint = redact(error.hint, known) if error.hint else None
    return NotificationError(message, hint=hint, is_temporary=error.is_temporary, is_partial=error.is_partial)


def secrets_of_url(url: str) -> list[str]:
    """Return what a URL may hide: all of it, and each part of it that could be a key."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return [url]
    pieces = [*parts.path.split("/"), *(pair.partition("=")[2] for pair in parts.query.split("&")), parts.netloc]
    pieces += [parts.username or "", parts.password or ""]
    return [url, *(form for piece in pieces if len(piece) >= 8 for form in (piece, unquote(piece)))]
