"""The settings of who is told what, of hooks, and of what counts as late."""

from __future__ import annotations

from dataclasses import dataclass

from respaldo.config.declaring import (
    parse_addresses,
    parse_choice,
    parse_choices,
    parse_text,
    parse_url,
    parse_whole,
    parse_words,
    secret,
    setting,
)
from respaldo.language import N_

KINDS = ("success", "failure", "warning", "recovery", "overdue")


@dataclass(frozen=True, slots=True, kw_only=True)
class TellingSettings:
    """A channel is used where its address is set: e-mail by ``email_to``, Slack by a token or a webhook, and so on."""

    notify_on: tuple[str, ...] = setting(
        KINDS,
        parse_choices(*KINDS),
        "RESPALDO_NOTIFY_ON",
        flag=None,
        kind="KIND[,KIND]",
        summary=N_("what is told: success, failure, warning, recovery, overdue; all by default"),
    )
    email_to: tuple[str, ...] | None = setting(
        None,
        parse_addresses,
        "RESPALDO_EMAIL_TO",
        flag="--notification-email",
        kind="ADDRESS[,ADDRESS]",
        summary=N_("who is told by e-mail"),
    )
    email_from: str | None = setting(
        None,
        parse_text,
        "RESPALDO_EMAIL_FROM",
        flag=None,
        kind="ADDRESS",
        summary=N_("sender of the e-mails; otherwise respaldo@ and this machine's name"),
    )
    smtp_host: str | None = setting(
        None,
        parse_text,
        "RESPALDO_SMTP_HOST",
        flag=None,
        kind="HOST",
        summary=N_("server that e-mails are handed to; otherwise this machine's sendmail takes them"),
    )
    smtp_port: int | None = setting(
        None,
        parse_whole(1, 65535),
        "RESPALDO_SMTP_PORT",
        flag=None,
        kind="PORT",
        summary=N_("its port; otherwise 587 with starttls, 465 with tls, 25 with none"),
    )
    smtp_security: str = setting(
        "starttls",
        parse_choice("starttls", "tls", "none"),
        "RESPALDO_SMTP_SECURITY",
        flag=None,
        kind="HOW",
        summary=N_("how the connection is encrypted: starttls (default), tls, none"),
    )
    smtp_user: str | None = setting(
        None, parse_text, "RESPALDO_SMTP_USER", flag=None, kind="NAME", summary=N_("user of that server")
    )
    smtp_password: str | None = secret("RESPALDO_SMTP_PASSWORD", kind="TEXT", summary=N_("password of that user"))
    sendmail: str = setting(
        "/usr/sbin/sendmail",
        parse_text,
        "RESPALDO_SENDMAIL",
        flag=None,
        kind="FILE",
        summary=N_("program that takes e-mails where no server is named"),
    )
    slack_token: str | None = secret(
        "SLACK_BOT_TOKEN", flag="--slack-token", kind="TOKEN", summary=N_("token of a Slack bot (chat:write)")
    )
    slack_channel: str | None = setting(
        None,
        parse_text,
        "SLACK_DEFAULT_CHANNEL",
        flag="--slack-channel",
        kind="CHANNEL",
        summary=N_("Slack channel that the bot writes to"),
    )
    slack_webhook: str | None = secret(
        "SLACK_WEBHOOK_URL", parse=parse_url, kind="URL", summary=N_("incoming webhook of Slack, in place of a bot")
    )
    slack_api: str = setting(
        "https://slack.com/api",
        parse_url,
        "RESPALDO_SLACK_API",
        flag=None,
        kind="URL",
        summary=N_("address of Slack's API, another one for GovSlack"),
    )
    apprise_urls: tuple[str, ...] | None = secret(
        "RESPALDO_APPRISE_URLS",
        parse=parse_words,
        kind="URL[,URL]",
        summary=N_("Apprise URLs: Telegram, ntfy, Discord, Teams and a hundred others"),
    )
    ping_url: str | None = secret(
        "RESPALDO_PING_URL",
        parse=parse_url,
        kind="URL",
        summary=N_("check of healthchecks.io or the like, which tells when no ping comes"),
    )
    rpo_warning_h: int = setting(
        0,
        parse_whole(0),
        "RESPALDO_RPO_WARNING",
        flag=None,
        kind="HOURS",
        summary=N_("hours before the objective is missed at which a warning is sent; 0: none"),
    )
    retired: tuple[str, ...] | None = setting(
        None,
        parse_words,
        "RESPALDO_RETIRED",
        flag="--retired",
        kind="TARGET[,TARGET]",
        summary=N_("targets (INSTANCE/DATABASE) that are no longer backed up, and so never late"),
    )
    metrics_file: str | None = setting(
        None,
        parse_text,
        "RESPALDO_METRICS_FILE",
        flag="--metrics-file",
        kind="FILE",
        summary=N_("file that node_exporter reads, NAME.prom: written anew after each run"),
    )
    pre_hook: str | None = setting(
        None,
        parse_text,
        "RESPALDO_PRE_HOOK",
        flag="--pre-hook",
        kind="COMMAND",
        summary=N_("shell command before a backup; one that fails stops the backup"),
    )
    post_hook: str | None = setting(
        None,
        parse_text,
        "RESPALDO_POST_HOOK",
        flag="--post-hook",
        kind="COMMAND",
        summary=N_("shell command after a backup, good or failed: RESPALDO_OUTCOME says which"),
    )
    pre_sql: str | None = setting(
        None,
        parse_text,
        "RESPALDO_PRE_SQL",
        flag="--pre-sql",
        kind="SQL",
        summary=N_("statements in the database before a backup; an error stops the backup"),
    )
    post_sql: str | None = setting(
        None,
        parse_text,
        "RESPALDO_POST_SQL",
        flag="--post-sql",
        kind="SQL",
        summary=N_("statements in the database after a backup, good or failed"),
    )
    hook_timeout_s: int = setting(
        300,
        parse_whole(1, 86400),
        "RESPALDO_HOOK_TIMEOUT",
        flag="--hook-timeout",
        kind="SECONDS",
        summary=N_("how long a hook may take"),
    )
