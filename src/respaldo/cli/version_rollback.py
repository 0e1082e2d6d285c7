"""``respaldo version rollback`` and ``history``: a version in the place of the live database, and when it was put."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import click

from respaldo.app import App
from respaldo.cli.choosing import choose_labelled
from respaldo.cli.documents import rollback_document
from respaldo.cli.options import SERVER, json_option, load_settings, setting_options
from respaldo.cli.printing import Output, format_table
from respaldo.cli.version_show import open_targets
from respaldo.config.settings import Settings
from respaldo.errors import DONE_WITH_WARNINGS, RespaldoError
from respaldo.language import _
from respaldo.operations.versions import read_rollbacks, record_rollback
from respaldo.repository.records import Manifest


@click.command(short_help=_("put a version in the place of the live database"))
@click.argument("version")
@click.option("--drop-old", is_flag=True, help=_("drop the replaced database once the new one is in its place"))
@click.option("--yes", "-y", is_flag=True, help=_("ask nothing"))
@click.option("--dry-run", is_flag=True, help=_("say what would happen, and change nothing"))
@setting_options(*SERVER, "jobs")
@json_option
@click.pass_context
def rollback(
    context: click.Context,
    /,
    flags: dict[str, Any],
    version: str,
    drop_old: bool,
    yes: bool,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Roll back to a version."""
    settings = load_settings(context, flags)
    run_rollback_command(context.obj, settings, version, drop_old=drop_old, yes=yes, dry_run=dry_run, as_json=as_json)


rollback.help = _(
    """Restore a version in the place of the live database, and write that into the history.

A safety backup of what is there now is made first; there is no way around it. Then it is an atomic restore: the live
database answers until the version is loaded and every row compared, and stays as it is when anything fails. Of a
container's backup that container is meant, unless another place is named.

\b
Examples:
  respaldo version rollback 1.2.0-main.4
  respaldo version rollback stable --yes
  respaldo version rollback 1.2.0-main.4 --dry-run

\b
Exit codes: 0 done; 2 wrong use; 3 done, not in the history; 10 no such version; 13 damaged; 30 PostgreSQL; 40
environment; 50 rows differ.
"""
)


@click.command(short_help=_("show the rollbacks that were made"))
@setting_options("database")
@json_option
@click.pass_context
def history(context: click.Context, /, flags: dict[str, Any], as_json: bool) -> None:
    """Show the rollbacks."""
    run_history_command(context.obj, load_settings(context, flags), as_json=as_json)


history.help = _(
    """Show every rollback, the newest last: when, to which version, and the safety backup of what it replaced.

Reads the repository alone. What was restored with respaldo restore is not a rollback and not in the list.

\b
Examples:
  respaldo version history
  respaldo version history --json
  respaldo version history --database shop

\b
Exit codes: 0 done, also when there is none; 13 labels are damaged; 20 storage.
"""
)


def run_rollback_command(
    output: Output,
    settings: Settings,
    word: str,
    *,
    drop_old: bool = False,
    yes: bool = False,
    dry_run: bool = False,
    as_json: bool = False,
) -> None:
    """Roll back and write it down; what ``version rollback`` and ``--rollback-to`` both do."""
    from respaldo.cli.restore import restore_chosen
    from respaldo.cli.restore_flags import RestoreFlags

    app = App(settings)
    manifest = choose_labelled(settings, word, output=output).manifest
    flags = RestoreFlags(name=manifest.name, drop_old=drop_old, yes=yes, dry_run=dry_run, as_json=as_json)
    outcome = restore_chosen(output, _where_it_came_from(settings, manifest), flags, manifest)
    if outcome is None:
        return
    safety = outcome.safety.name if outcome.safety else None
    try:
        record_rollback(
            app.open_repository(),
            manifest,
            made=app.clock.now(),
            database=outcome.restored.database,
            safety=safety,
        )
    except RespaldoError as error:
        output.warn(_("the rollback is done, but not in the history: {reason}").format(reason=error.message))
        raise click.exceptions.Exit(DONE_WITH_WARNINGS) from error
    if safety is not None:
        output.line(_("safety backup"), safety)


def _where_it_came_from(settings: Settings, manifest: Manifest) -> Settings:
    """Return settings that mean the container that the backup is of, where the person names no place: another one that
    happens to be the only one running, with a database of that name, must not be replaced."""
    named = (settings.container, settings.pod, settings.labels, settings.host, settings.context)
    if manifest.environment != "docker" or settings.environment not in {"auto", "docker"} or any(named):
        return settings
    return replace(settings, environment="docker", container=manifest.target.instance)


def run_history_command(output: Output, settings: Settings, *, as_json: bool) -> None:
    """Print the history; what ``version history`` and ``--rollback-history`` both do."""
    repository, targets = open_targets(settings)
    found = read_rollbacks(repository, targets) if repository is not None else []
    if as_json:
        output.print_json([rollback_document(target, one) for target, one in found])
    elif not found:
        print(_("No rollbacks were made"))
    else:
        rows = [[_("date"), _("version"), _("name"), _("database"), _("safety backup")]]
        rows += [
            [
                f"{one.made.astimezone():%Y-%m-%d %H:%M:%S}",
                one.version or "-",
                one.backup,
                f"{target.instance}/{one.database}",
                one.safety or "-",
            ]
            for target, one in found
        ]
        print(format_table(rows))
