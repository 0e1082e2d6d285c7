"""The flat flags of schedules, translated to ``respaldo schedule``."""

from __future__ import annotations

import argparse

from respaldo.cli.printing import Output
from respaldo.cli.schedule_change import AddRequest, run_add_command, run_remove_command
from respaldo.cli.schedule_show import run_list_schedules_command
from respaldo.config.settings import Settings
from respaldo.errors import UsageError
from respaldo.language import _

PREFIX = "respaldo"
CUSTOM = "custom"
# Flags that say which database is meant, and how it is backed up: the scheduled backup has them too.
_OPTIONS = (
    "container", "pod", "namespace", "k8s_container", "labels", "database", "user",
    "retention_daily", "retention_weekly", "retention_monthly", "retention_full",
)  # fmt: skip


def dispatch_schedules(output: Output, settings: Settings, action: str, arguments: argparse.Namespace) -> None:
    """Call the one command of schedules that the flags mean."""
    if action == "list_schedules":
        run_list_schedules_command(output, settings, as_json=arguments.as_json)
    elif action == "remove_schedule":
        run_remove_command(output, settings, arguments.remove_schedule)
    else:
        kind = arguments.schedule or CUSTOM
        told = {"RESPALDO_EMAIL_TO": arguments.email_to, "SLACK_DEFAULT_CHANNEL": arguments.slack_channel}
        if arguments.slack_token is not None:
            raise UsageError(
                _("a token is written into no schedule"), hint=_("put it into .env, mode 0600: SLACK_BOT_TOKEN=…")
            )
        request = AddRequest(
            name=f"{arguments.schedule_prefix or PREFIX}-{kind}",
            when=arguments.schedule or arguments.schedule_custom,
            words=backup_words(arguments),
            replace=arguments.force,
            variables={name: value for name, value in told.items() if value is not None},
        )
        run_add_command(output, settings, request, as_json=arguments.as_json)


def backup_words(arguments: argparse.Namespace) -> tuple[str, ...]:
    """Return the words of ``respaldo backup`` that do what these flags would do now."""
    words = ["backup"]
    for name in _OPTIONS:
        value = getattr(arguments, name)
        if value is not None:
            words += [f"--{name.replace('_', '-')}", str(value)]
    if arguments.force_docker or arguments.force_kubernetes:
        words += ["--environment", "docker" if arguments.force_docker else "kubernetes"]
    kind = "full" if arguments.force_full else arguments.backup_type
    return tuple(words + (["--type", kind] if kind else []))
