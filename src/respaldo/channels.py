"""Builds the channels that the settings name: a part of ``app`` of its own size."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

from respaldo.config.settings import Settings
from respaldo.notify.apprise_channel import AppriseChannel
from respaldo.notify.channel import Channel
from respaldo.notify.mail import Envelope, SendmailChannel, SmtpChannel
from respaldo.notify.notice import Kind
from respaldo.notify.ping import PingChannel
from respaldo.notify.slack import SlackBotChannel, SlackWebhookChannel
from respaldo.operations.announcing import Policy


def telling_policy(settings: Settings) -> Policy:
    """Return who is told of what."""
    return Policy(
        channels=tuple(_channels(settings)),
        ping=PingChannel(url=settings.ping_url) if settings.ping_url else None,
        kinds=[Kind(kind) for kind in settings.notify_on],
        zone=settings.zone,
        rpo=timedelta(hours=settings.rpo_objective_h),
        rpo_warning=timedelta(hours=settings.rpo_warning_h),
        retired=settings.retired or (),
        secrets=settings.secrets(),
    )


def _channels(settings: Settings) -> Iterator[Channel]:
    if settings.email_to:
        envelope = Envelope(recipients=settings.email_to, sender=settings.email_from)
        if settings.smtp_host:
            yield SmtpChannel(
                host=settings.smtp_host,
                envelope=envelope,
                port=settings.smtp_port,
                security=settings.smtp_security,
                user=settings.smtp_user,
                password=settings.smtp_password,
            )
        else:
            yield SendmailChannel(program=settings.sendmail, envelope=envelope)
    if settings.slack_token:
        yield SlackBotChannel(
            token=settings.slack_token, channel=settings.slack_channel or "", api=settings.slack_api.rstrip("/")
        )
    if settings.slack_webhook:
        yield SlackWebhookChannel(url=settings.slack_webhook)
    for number, url in enumerate(settings.apprise_urls or (), start=1):
        yield AppriseChannel(url=url, number=number)
