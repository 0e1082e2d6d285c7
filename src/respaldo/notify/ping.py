"""The dead man's switch: a check that expects pings and tells when none comes, also when this machine is gone.

The addresses are those of healthchecks.io (https://healthchecks.io/docs/http_api/): ``URL/start``, ``URL``,
``URL/fail``. A ping is of its moment: one that fails is not sent later.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from urllib.parse import urlsplit, urlunsplit

from respaldo.notify.channel import TIMEOUT_S, secrets_of_url
from respaldo.notify.notice import Kind, Message
from respaldo.notify.post import post


class Beat(StrEnum):
    """What is pinged, as the end of the address."""

    START = "start"
    SUCCESS = ""
    FAILURE = "fail"
    LOG = "log"


@dataclass(frozen=True, slots=True, kw_only=True)
class PingChannel:
    """One check. As a channel it pings success or failure with the message's text; a test is only logged there."""

    url: str = field(repr=False)
    timeout_s: float = TIMEOUT_S
    name: str = "ping"

    @property
    def secrets(self) -> Sequence[str]:
        return secrets_of_url(self.url)

    def send(self, message: Message) -> None:
        if message.kind is Kind.TEST:
            beat = Beat.LOG
        else:
            beat = Beat.FAILURE if message.kind in {Kind.FAILURE, Kind.OVERDUE} else Beat.SUCCESS
        self.beat(beat, message.body)

    def beat(self, beat: Beat, text: str = "") -> None:
        """Ping; raise NotificationError."""
        parts = urlsplit(self.url)
        path = f"{parts.path.rstrip('/')}/{beat.value}" if beat.value else parts.path
        headers = {"Content-Type": "text/plain; charset=utf-8"}
        post(urlunsplit(parts._replace(path=path)), text.encode(), headers, timeout_s=self.timeout_s)
