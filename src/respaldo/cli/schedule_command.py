"""The commands that may be scheduled: read as a person would type them, and run as if one had."""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import fields
from typing import Any

import click

from respaldo.app import App
from respaldo.cli.announcing import tell_failure
from respaldo.cli.main import cli
from respaldo.cli.printing import Output
from respaldo.config.settings import Settings
from respaldo.errors import RespaldoError, UsageError
from respaldo.language import _
from respaldo.notify.notice import Operation

SCHEDULABLE = ("backup", "retain", "check", "drill", "status")
_OPERATIONS = {"backup": Operation.BACKUP, "retain": Operation.RETENTION, "drill": Operation.DRILL}


def check_command(words: Sequence[str]) -> tuple[str, ...]:
    """Return the command as it is to be run; raise UsageError for one that is not among these, or that is wrong."""
    name, *rest = words
    if name not in SCHEDULABLE:
        raise UsageError(
            _("{name!r} cannot be scheduled").format(name=name),
            hint=_("one of: {names}").format(names=", ".join(SCHEDULABLE)),
        )
    if name == "retain" and not {"--yes", "-y", "--dry-run"} & set(rest):
        # Nobody will be there to answer.
        rest = [*rest, "--yes"]
    parse_command((name, *rest))
    return name, *rest


def settings_of_command(words: Sequence[str], settings: Settings) -> Settings:
    """Return the settings that a command will have."""
    known = {one.name for one in fields(Settings)}
    params = parse_command(words).params
    flags = {name: value for name, value in params.items() if name in known}
    return Settings.load({"repository": settings.repository, **flags}, os.environ)


def tell_failed_run(output: Output, app: App, label: str, words: Sequence[str], error: RespaldoError) -> None:
    """Tell of a scheduled run that failed and could not tell so itself: as one of the target that it names, if any.
    ``words`` may be none: a run whose command could not be read."""
    if words:
        with suppress(RespaldoError, click.UsageError):
            app = App(settings_of_command(words, app.settings), clock=app.clock)
    operation = _OPERATIONS.get(words[0], Operation.CHECK) if words else Operation.BACKUP
    tell_failure(output, app, operation, error, label=label)


def label_of(name: str) -> str:
    """Return what a person is told a schedule's run is, where its target is not known."""
    return _("schedule {name}").format(name=name)


def parse_command(words: Sequence[str], parent: click.Context | None = None) -> click.Context:
    """Read a command's words and return the context that it can be invoked in; raise click.UsageError."""
    name, *rest = words
    parent = parent or click.Context(cli, info_name="respaldo")
    command = cli.get_command(parent, name)
    if command is None or name not in SCHEDULABLE:
        raise UsageError(
            _("{name!r} cannot be scheduled").format(name=name),
            hint=_("one of: {names}").format(names=", ".join(SCHEDULABLE)),
        )
    return command.make_context(name, list(rest), parent=parent)


def invoke(context: click.Context) -> Any:
    """Run a command that was read."""
    with context:
        return context.command.invoke(context)
