"""A group of commands that imports one when it is asked for: ``list`` must not wait for what ``backup`` needs."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from typing import Any

import click

from respaldo.language import _

Commands = Mapping[str, tuple[str, str, str]]
"""By name: the module, the command's name in it, and its summary."""


class LazyGroup(click.Group):
    """A group that knows its commands by name."""

    def __init__(self, name: str | None = None, *, commands_of: Commands, **attributes: Any) -> None:
        super().__init__(name, **attributes)
        self._commands_of = commands_of

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self._commands_of)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in self._commands_of:
            return None
        module, attribute, _summary = self._commands_of[cmd_name]
        command: click.Command = getattr(import_module(module), attribute)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section(_("Commands")):
            formatter.write_dl([(name, summary) for name, (_module, _attribute, summary) in self._commands_of.items()])
