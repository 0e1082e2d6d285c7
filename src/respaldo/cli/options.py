"""Options that several commands share, made from the declarations of the settings."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import MISSING, fields
from functools import wraps
from typing import Any, TypeVar

import click

from respaldo.config.settings import Settings
from respaldo.language import _

Command = TypeVar("Command", bound=Callable[..., Any])

_DECLARED = {one.name: one for one in fields(Settings)}
KUBERNETES = ("pod", "namespace", "all_namespaces", "k8s_container", "context")
SERVER = ("environment", "container", *KUBERNETES, "labels", "host", "port", "database", "user")
_SHORT = {"all_namespaces": "-A"}


def setting_options(*names: str) -> Callable[[Command], Command]:
    """Add the flags of these settings; the command receives one ``flags`` mapping of what was given."""

    def decorate(command: Command) -> Command:
        @wraps(command)
        def with_flags(**values: Any) -> Any:
            flags = {name: values.pop(name) for name in names}
            return command(flags=flags, **values)

        for name in reversed(names):
            with_flags = _option(name)(with_flags)
        return with_flags  # type: ignore[return-value]  # click's decorators keep what they decorate

    return decorate


def help_of(name: str) -> str:
    """Return a setting's help: what it is, its default, its environment variables."""
    declared = _DECLARED[name]
    text = _(declared.metadata["summary"])
    if declared.default is not MISSING and declared.default is not None and declared.metadata["kind"]:
        shown = declared.metadata.get("shown")
        text += " " + _("[default: {value}]").format(value=_(shown) if shown else declared.default)
    return text + f" [env: {', '.join(declared.metadata['variables'])}]"


def _option(name: str) -> Callable[[Any], Any]:
    metadata = _DECLARED[name].metadata
    flags = [metadata["flag"], *([_SHORT[name]] if name in _SHORT else []), name]
    if not metadata["kind"]:
        return click.option(*flags, is_flag=True, flag_value="true", default=None, type=str, help=help_of(name))
    return click.option(*flags, metavar=metadata["kind"], default=None, help=help_of(name))


def load_settings(context: click.Context, flags: dict[str, Any]) -> Settings:
    """Return the run's settings from the global flags, the command's own, and the environment."""
    return Settings.load({**context.obj.flags, **flags}, os.environ)


def json_option(command: Command) -> Command:
    """Add ``--json``."""
    return click.option("--json", "as_json", is_flag=True, help=_("print the result as JSON"))(command)
