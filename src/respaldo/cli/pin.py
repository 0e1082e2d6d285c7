"""``respaldo pin`` and ``respaldo unpin``: keep a backup from retention."""

from __future__ import annotations

from typing import Any

import click

from respaldo.app import App
from respaldo.catalog.labels import set_pinned
from respaldo.cli.choosing import choose_labelled
from respaldo.cli.documents import labelled_document
from respaldo.cli.options import json_option, load_settings, setting_options
from respaldo.cli.printing import Output
from respaldo.config.settings import Settings
from respaldo.language import _
from respaldo.operations.versions import change_backup


@click.command(short_help=_("keep a backup from retention"))
@click.argument("name")
@setting_options("database")
@json_option
@click.pass_context
def pin(context: click.Context, /, flags: dict[str, Any], name: str, as_json: bool) -> None:
    """Pin a backup."""
    run_pin_command(context.obj, load_settings(context, flags), name, is_pinned=True, as_json=as_json)


pin.help = _(
    """Pin a backup: neither retention nor a clean-up of versions removes it until it is unpinned.

NAME is a backup's name, its number in the list, a version, a tag or latest. Needs no server, and does not wait for a
backup that runs. It does not keep anybody from deleting the files.

\b
Examples:
  respaldo pin before_migration
  respaldo pin latest
  respaldo pin 1.2.0-main.4

\b
Exit codes: 0 done; 2 several targets have it; 10 no such backup; 11 others change labels; 13 damaged; 20 storage.
"""
)


@click.command(short_help=_("leave a pinned backup to retention again"))
@click.argument("name")
@setting_options("database")
@json_option
@click.pass_context
def unpin(context: click.Context, /, flags: dict[str, Any], name: str, as_json: bool) -> None:
    """Unpin a backup."""
    run_pin_command(context.obj, load_settings(context, flags), name, is_pinned=False, as_json=as_json)


unpin.help = _(
    """Unpin a backup: retention treats it like any other again. Removes nothing itself.

NAME is a backup's name, its number in the list, a version, a tag or latest. A backup that has a tag stays nonetheless.

\b
Examples:
  respaldo unpin before_migration
  respaldo unpin latest
  respaldo unpin 1.2.0-main.4

\b
Exit codes: 0 done; 2 several targets have it; 10 no such backup; 11 others change labels; 13 damaged; 20 storage.
"""
)


def run_pin_command(output: Output, settings: Settings, name: str, *, is_pinned: bool, as_json: bool) -> None:
    """Pin or unpin, and say so."""
    manifest = choose_labelled(settings, name, output=output).manifest
    repository = App(settings).open_repository()
    one = change_backup(repository, manifest, lambda labels, of: set_pinned(labels, of, is_pinned=is_pinned))
    if as_json:
        output.print_json(labelled_document(one))
    elif not output.quiet:
        text = _("{name} is pinned: it is not removed") if is_pinned else _("{name} is not pinned")
        print(text.format(name=manifest.name))
