"""Which flat flags go together: what is done, and what says nothing about it."""

from __future__ import annotations

import argparse

from respaldo.errors import UsageError
from respaldo.language import _

BACKUP = "backup"
ACTIONS = (
    "list_backups",
    "restore",
    "apply_retention",
    "backup_summary",
    "test_notifications",
    "list_versions",
    "version_info",
    "compare_versions",
    "list_branches",
    "list_tags",
    "create_tag",
    "rollback_to",
    "rollback_history",
    "cleanup_versions",
    "schedule",
    "schedule_custom",
    "list_schedules",
    "remove_schedule",
)
"""The flags that do something in place of a backup; argparse lets one of them pass."""
SCHEDULING = ("schedule", "schedule_custom")
SCHEDULE_ACTIONS = (*SCHEDULING, "list_schedules", "remove_schedule")

# What is told of.
_TELLING = (BACKUP, "test_notifications", "apply_retention", *SCHEDULING)
# What each of these says something about; the others say something about everything.
_BELONGS: dict[str, tuple[str, ...]] = {
    "name": (BACKUP,),
    "force": (BACKUP, *SCHEDULING),
    "backup_type": (BACKUP, *SCHEDULING),
    "force_full": (BACKUP, *SCHEDULING),
    "enable_versioning": (BACKUP,),
    "branch": (BACKUP,),
    "version": (BACKUP,),
    "version_increment": (BACKUP,),
    "tags": (BACKUP,),
    "description": (BACKUP, "create_tag"),
    "restore_file": ("restore",),
    "to": ("restore",),
    "retention_dry_run": ("apply_retention",),
    "filter_branch": ("list_versions",),
    "filter_tag": ("list_versions",),
    "limit": ("list_versions",),
    "cleanup_dry_run": ("cleanup_versions",),
    "email_to": _TELLING,
    "slack_token": _TELLING,
    "slack_channel": _TELLING,
    "schedule_prefix": SCHEDULING,
}
_CONTRADICTIONS = (
    ("version", "version_increment"),
    ("container", "pod"),
    ("force_docker", "pod"),
    ("force_docker", "namespace"),
    ("force_docker", "k8s_container"),
    ("force_kubernetes", "container"),
)
_FLAGS = {"list_backups": "--list", "email_to": "--notification-email"}


def action_of(arguments: argparse.Namespace) -> str:
    """Return what is to be done: one of ``ACTIONS``, or a backup."""
    chosen = next((action for action in ACTIONS if _is_given(arguments, action)), None)
    if chosen is None and arguments.retention_dry_run:
        return "apply_retention"
    return chosen or BACKUP


def require_sense(arguments: argparse.Namespace) -> None:
    """Raise UsageError for flags that contradict each other, and for those that would silently say nothing."""
    for first, second in _CONTRADICTIONS:
        if _is_given(arguments, first) and _is_given(arguments, second):
            raise UsageError(
                _("{first} and {second} contradict each other").format(first=flag_of(first), second=flag_of(second)),
                hint=_("leave one of them out"),
            )
    action = action_of(arguments)
    for name, actions in _BELONGS.items():
        if not _is_given(arguments, name) or action in actions:
            continue
        if action == BACKUP:
            raise UsageError(
                _("{flag} says nothing about a backup").format(flag=flag_of(name)),
                hint=_("add {flag}, or leave it out").format(flag=flag_of(actions[0])),
            )
        raise UsageError(
            _("{flag} says nothing about {action}").format(flag=flag_of(name), action=flag_of(action)),
            hint=_("leave one of them out"),
        )


def flag_of(name: str) -> str:
    """Return the flag as it is typed."""
    return _FLAGS.get(name, f"--{name.replace('_', '-')}")


def _is_given(arguments: argparse.Namespace, name: str) -> bool:
    return getattr(arguments, name) not in (None, False)
