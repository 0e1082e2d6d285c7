"""``respaldo notify``: the channels, tried."""

from __future__ import annotations

from typing import Any

import click

from respaldo.app import App
from respaldo.cli.options import json_option, load_settings, setting_options
from respaldo.cli.printing import Output, format_table
from respaldo.cli.reports import delivery_document
from respaldo.config.settings import Settings
from respaldo.errors import NotificationError, UsageError
from respaldo.language import _
from respaldo.notify.delivery import Delivery
from respaldo.units import format_duration


@click.group(short_help=_("try the channels that tell of backups"))
def notify() -> None:
    """Try the channels."""


notify.help = _("""Try the channels that tell of backups: e-mail, Slack, Apprise, a check that expects pings.""")


@notify.command("test", short_help=_("send a test message to each channel, and say what came of it"))
@setting_options("email_to", "slack_channel")
@json_option
@click.pass_context
def test(context: click.Context, /, flags: dict[str, Any], as_json: bool) -> None:
    """Send a test message."""
    run_test_command(context.obj, load_settings(context, flags), as_json=as_json)


test.help = _(
    """Send a test message to each channel that is set up, and say of each what the other side answered.

Which channels there are is said by environment variables, or by .env: RESPALDO_EMAIL_TO with RESPALDO_SMTP_HOST,
SLACK_BOT_TOKEN with SLACK_DEFAULT_CHANNEL, SLACK_WEBHOOK_URL, RESPALDO_APPRISE_URLS, RESPALDO_PING_URL. Those that are
secrets may also be in files: SLACK_BOT_TOKEN_FILE, and so on.

\b
Examples:
  respaldo notify test
  respaldo notify test --notification-email ops@example.com

\b
Exit codes: 0 all took it; 2 no channel is set up; 3 one did not take it.
"""
)


def run_test_command(output: Output, settings: Settings, *, as_json: bool) -> None:
    """Send and print; raise NotificationError where a channel failed."""
    deliveries = App(settings).announcer().test()
    if not deliveries:
        raise UsageError(
            _("no channel is set up"),
            hint=_(
                "set RESPALDO_EMAIL_TO, SLACK_BOT_TOKEN, SLACK_WEBHOOK_URL, RESPALDO_APPRISE_URLS or RESPALDO_PING_URL"
            ),
        )
    if as_json:
        output.print_json([delivery_document(one) for one in deliveries])
    else:
        rows = [[one.channel, _outcome(one), format_duration(one.seconds)] for one in deliveries]
        print(format_table([[_("channel"), _("outcome"), _("duration")], *rows]))
    failed = [one for one in deliveries if one.error is not None]
    if failed:
        hints = [one.error.hint for one in failed if one.error and one.error.hint]
        raise NotificationError(
            _("not delivered: {names}").format(names=", ".join(one.channel for one in failed)),
            hint="; ".join(dict.fromkeys(hints)) or None,
        )


def _outcome(one: Delivery) -> str:
    if one.error is None:
        return _("delivered")
    return _("FAILED: {reason}").format(reason=one.error.message)
