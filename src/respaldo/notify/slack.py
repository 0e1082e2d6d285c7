"""Slack: a bot's token and a channel, or an incoming webhook."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field

from respaldo.errors import NotificationError
from respaldo.language import _
from respaldo.notify.channel import TIMEOUT_S, secrets_of_url
from respaldo.notify.notice import Kind, Message
from respaldo.notify.post import post

API = "https://slack.com/api"
_SIGNS = {
    Kind.SUCCESS: ":white_check_mark:",
    Kind.FAILURE: ":x:",
    Kind.WARNING: ":warning:",
    Kind.RECOVERY: ":white_check_mark:",
    Kind.OVERDUE: ":alarm_clock:",
    Kind.TEST: ":wave:",
}
_JSON = {"Content-Type": "application/json; charset=utf-8"}
_TEMPORARY = {"ratelimited", "rate_limited", "internal_error", "fatal_error", "service_unavailable", "request_timeout"}
"""Of chat.postMessage's errors (https://docs.slack.dev/reference/methods/chat.postMessage) those that pass."""


def write_text(message: Message) -> str:
    """Return the message in Slack's mark-up. Names of a database cannot call people: ``&``, ``<`` and ``>`` are
    escaped (https://docs.slack.dev/messaging/formatting-message-text)."""
    headline, _newline, rest = message.body.partition("\n")
    escaped = [text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;") for text in (headline, rest)]
    # A fence inside of the block would end it.
    block = escaped[1].strip().replace("```", "'''")
    return f"{_SIGNS[message.kind]} *{escaped[0]}*" + (f"\n```{block}```" if block else "")


@dataclass(frozen=True, slots=True, kw_only=True)
class SlackBotChannel:
    """``chat.postMessage`` of Slack's API, with a bot's token that has ``chat:write``."""

    token: str = field(repr=False)
    channel: str
    api: str = API
    timeout_s: float = TIMEOUT_S
    name: str = "slack"

    @property
    def secrets(self) -> Sequence[str]:
        return [self.token]

    def send(self, message: Message) -> None:
        document = {"channel": self.channel, "text": write_text(message), "unfurl_links": False}
        if not self.token.isascii() or not self.token.isprintable():
            raise NotificationError(_("the Slack token holds characters that none has"))
        headers = {**_JSON, "Authorization": f"Bearer {self.token}"}
        data = post(f"{self.api}/chat.postMessage", json.dumps(document).encode(), headers, timeout_s=self.timeout_s)
        try:
            answer = json.loads(data)
            is_ok, error = answer["ok"] is True, str(answer.get("error", ""))
        except (ValueError, KeyError, TypeError, AttributeError):
            raise NotificationError(_("what answered is not Slack"), is_temporary=True) from None
        if not is_ok:
            raise NotificationError(
                _("Slack refused the message: {error}").format(error=error),
                hint=_HINTS[error]() if error in _HINTS else None,
                is_temporary=error in _TEMPORARY,
            )


_HINTS = {
    "invalid_auth": lambda: _("SLACK_BOT_TOKEN is not a valid token of a bot"),
    "not_authed": lambda: _("SLACK_BOT_TOKEN is not a valid token of a bot"),
    "channel_not_found": lambda: _("SLACK_DEFAULT_CHANNEL names no channel that the bot can see"),
    "not_in_channel": lambda: _("invite the bot to the channel: /invite @name"),
    "missing_scope": lambda: _("give the bot the scope chat:write, and install it again"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class SlackWebhookChannel:
    """An incoming webhook, whose address is its secret."""

    url: str = field(repr=False)
    timeout_s: float = TIMEOUT_S
    name: str = "slack-webhook"

    @property
    def secrets(self) -> Sequence[str]:
        return secrets_of_url(self.url)

    def send(self, message: Message) -> None:
        post(self.url, json.dumps({"text": write_text(message)}).encode(), _JSON, timeout_s=self.timeout_s)
