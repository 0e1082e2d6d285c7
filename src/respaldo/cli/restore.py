"""``respaldo restore``: restore a backup into a new database."""

from __future__ import annotations

from typing import Any

import click

from respaldo.app import App
from respaldo.cli.list import read_backups
from respaldo.cli.options import SERVER, json_option, load_settings, setting_options
from respaldo.cli.printing import Output, Progress
from respaldo.config.settings import Settings
from respaldo.errors import RepositoryError, UsageError
from respaldo.language import _
from respaldo.repository.records import Manifest
from respaldo.units import format_count, format_duration


@click.command(short_help=_("restore a backup into a new database"))
@click.argument("name")
@click.option("--to", "to", metavar="DATABASE", help=_("the new database's name"))
@setting_options(*SERVER, "jobs")
@json_option
@click.pass_context
def restore(context: click.Context, flags: dict[str, Any], name: str, to: str | None, as_json: bool) -> None:
    """Restore a backup."""
    run_restore_command(context.obj, load_settings(context, flags), name, to, as_json=as_json)


restore.help = _(
    """Restore a backup into a new database, beside whatever is there.

NAME is a backup's name, or latest. The new database is created, filled, and each table's number of rows compared
with the backup; when anything fails it is dropped again. No existing database is changed.

\b
Examples:
  respaldo restore latest --to shop_restored
  respaldo restore backup_20261124_020000 --to shop_restored
  respaldo restore latest --to shop_copy --container staging_db

\b
Exit codes: 0 done; 2 wrong use; 10 no such backup; 13 damaged; 30 PostgreSQL; 40 environment; 50 rows differ.
"""
)


def run_restore_command(output: Output, settings: Settings, name: str, to: str | None, *, as_json: bool) -> None:
    """Restore and print."""
    from respaldo.operations.restore import restore_into_new

    if to is None:
        raise UsageError(
            _("the new database's name is missing"),
            hint=_("name it: respaldo restore {name} --to NEW").format(name=name),
        )
    manifest = choose_backup(settings, name)
    app = App(settings)
    begun_s = app.clock.monotonic_s()
    with Progress(output, _("restoring")) as listen:
        server = app.find_server(listen)
        reader = app.open_repository().reader(manifest.target, manifest.name)
        rows = restore_into_new(server, reader, to, jobs=settings.jobs, listen=listen)
    duration_s = app.clock.monotonic_s() - begun_s
    if as_json:
        output.print_json({"name": manifest.name, "database": to, "rows": rows, "duration_s": round(duration_s, 3)})
    elif not output.quiet:
        print(
            _("{name} restored into {database}: {tables} tables, {rows} rows, in {duration}").format(
                name=manifest.name,
                database=to,
                tables=format_count(manifest.totals.tables),
                rows=format_count(rows),
                duration=format_duration(duration_s),
            )
        )


def choose_backup(settings: Settings, name: str) -> Manifest:
    """Return the backup that a person means by a name or ``latest``, of the target that the flags name.

    Raise RepositoryError where there is none, UsageError where several targets have one.
    """
    manifests, _damaged = read_backups(settings)
    if settings.database is not None:
        manifests = [manifest for manifest in manifests if manifest.target.database == settings.database]
    found = manifests if name == "latest" else [manifest for manifest in manifests if manifest.name == name]
    if not found:
        raise RepositoryError(
            _("there is no backup {name} in {directory}").format(name=name, directory=settings.repository),
            hint=_("respaldo list shows those that there are"),
        )
    targets = sorted({str(manifest.target) for manifest in found})
    if len(targets) > 1:
        raise UsageError(
            _("several targets have a backup {name}: {targets}").format(name=name, targets=", ".join(targets)),
            hint=_("pick one with --database"),
        )
    return found[-1]
