"""``respaldo move``: bring a database from one environment to another: a backup of the one, restored into the other."""

from __future__ import annotations

import dataclasses
import sys
from contextlib import ExitStack, redirect_stdout
from typing import TYPE_CHECKING, Any

import click

from respaldo.app import App
from respaldo.cli.destination import NAMED_BY
from respaldo.cli.documents import moved_document, moving_document
from respaldo.cli.options import json_option, load_settings, setting_options
from respaldo.cli.printing import Output, Progress, describe_result
from respaldo.cli.restore import restore_chosen
from respaldo.cli.restore_flags import RestoreFlags
from respaldo.config.settings import Settings
from respaldo.counting import count_tables
from respaldo.errors import PostgresError, UsageError
from respaldo.language import _
from respaldo.units import format_size

if TYPE_CHECKING:
    from respaldo.postgres.server import Server


@click.command(short_help=_("bring a database from Docker to Kubernetes, or back"))
@click.argument("source")
@click.argument("destination")
@click.option("--to", "to", metavar="DATABASE", help=_("its name there, new; without it what is there is replaced"))
@click.option("--to-context", metavar="NAME", help=_("the destination's context, where it is another cluster"))
@click.option("--drop-old", is_flag=True, help=_("drop the replaced database once the new one is in its place"))
@click.option(
    "--map-role", "role_map", metavar="OLD=NEW", multiple=True, help=_("another role as owner; may be repeated")
)
@click.option("--no-safety-backup", "is_unsafe", is_flag=True, help=_("make no backup of what is replaced"))
@click.option("--yes", "-y", is_flag=True, help=_("ask nothing"))
@click.option("--dry-run", is_flag=True, help=_("say what would happen, and change nothing"))
@setting_options("namespace", "context", "k8s_container", "database", "user", "jobs", "lock_timeout_s")
@json_option
@click.pass_context
def move(
    context: click.Context,
    /,
    flags: dict[str, Any],
    source: str,
    destination: str,
    to_context: str | None,
    is_unsafe: bool,
    **given: Any,
) -> None:
    """Bring a database from one environment to another."""
    settings = load_settings(context, flags)
    there = dataclasses.replace(settings, context=to_context or settings.context)
    run_move_command(
        context.obj,
        place_settings(settings, source),
        place_settings(there, destination),
        RestoreFlags(name=None, is_safe=not is_unsafe, with_roles=True, is_elsewhere=True, **given),
    )


move.help = _(
    """Bring a database from Docker to Kubernetes, from Kubernetes to Docker, or between two of a kind.

SOURCE and DESTINATION are docker:CONTAINER, kubernetes:[NAMESPACE/]POD, or local:HOST; without a name the instance is
found by itself. Backs up the source into the repository, restores that into the destination, and compares every row
of every table before the database takes its name there. Roles that the destination lacks are created. The source
stays as it is: what is written to it after its backup began is not moved, so stop its application first.

\b
Examples:
  respaldo move docker:pc_db kubernetes:shop/postgres-0
  respaldo move kubernetes:shop/postgres-0 docker:pc_db --to pc_db_copy
  respaldo move kubernetes:postgres-0 kubernetes:postgres-0 --context old --to-context new

\b
Exit codes: 0 done; 2 wrong use; 11 locked; 20 storage; 30 PostgreSQL; 40 environment; 50 rows differ.
"""
)


def place_settings(settings: Settings, place: str) -> Settings:
    """Return the settings that mean the instance of ``environment[:name]``; raise UsageError for another form."""
    environment, _colon, name = place.partition(":")
    if environment not in NAMED_BY:
        raise UsageError(
            _("{place} names no environment").format(place=place),
            hint=_("write docker:CONTAINER, kubernetes:NAMESPACE/POD or local:HOST"),
        )
    named: dict[str, Any] = {NAMED_BY[environment]: name} if name else {}
    return dataclasses.replace(settings, environment=environment, **named)


def run_move_command(output: Output, settings: Settings, there: Settings, flags: RestoreFlags) -> None:
    """Back up, restore and compare. Both ends are looked at before anything is read."""
    from respaldo.operations.backup import run_backup

    source, destination = App(settings), App(there)
    begun_s = source.clock.monotonic_s()
    with Progress(output, _("backing up")) as listen:
        server = source.find_server(listen)
        with Progress(output, _("restoring")) as listen_there:
            other = destination.find_server(listen_there, any_database=True)
        _require_another(server, other, flags)
        _require_free(other, flags.to)
        if flags.dry_run:
            _describe(output, server, other, flags)
            return
        repository, target = source.open_or_create_repository(), source.target_of(server)
        request = source.backup_request(name=None)
        manifest = run_backup(server, repository, target, request, clock=source.clock, listen=listen)
    output.backups.append(manifest)
    totals = manifest.totals
    output.line(
        _("stored"), describe_result(totals.raw_bytes, totals.stored_bytes, source.clock.monotonic_s() - begun_s)
    )
    with ExitStack() as stack:
        if flags.as_json:  # one document: the restore's own words go to the progress
            stack.enter_context(redirect_stdout(sys.stderr))
        outcome = restore_chosen(output, there, dataclasses.replace(flags, as_json=False), manifest)
    if outcome is None:
        output.line("", _("cancelled; the backup {name} stays").format(name=manifest.name))
        return
    if flags.as_json:
        duration_s = source.clock.monotonic_s() - begun_s
        output.print_json(moved_document(manifest, outcome.restored, duration_s))
    elif not output.quiet:
        print(
            _("moved: every row of {tables} compared; {source} still has its own").format(
                tables=count_tables(totals.tables), source=target.instance
            )
        )


def _require_another(server: Server, there: Server, flags: RestoreFlags) -> None:
    """Raise UsageError where a database would be moved onto itself."""
    one, other = server.runner.instance, there.runner.instance
    is_same = server.facts.system_identifier == there.facts.system_identifier and one.id == other.id
    if is_same and flags.to in {None, server.connection.database}:
        raise UsageError(
            _("{name} is both source and destination").format(name=one.name),
            hint=_("name another instance, or another database with --to"),
        )


def _require_free(there: Server, name: str | None) -> None:
    """Raise PostgresError where a new database is asked for and there is one, before anything is read."""
    from respaldo.postgres.databases import database_names

    if name is not None and name in database_names(there):
        raise PostgresError(
            _("the database {name} exists already").format(name=name), hint=_("choose another name with --to")
        )


def _describe(output: Output, server: Server, there: Server, flags: RestoreFlags) -> None:
    """Say what would be moved, and what it would replace."""
    from respaldo.postgres.surroundings import read_surroundings

    database, to = server.connection.database, flags.to or server.connection.database
    live, replaced = read_surroundings(server, database).live, read_surroundings(there, to).live
    size_bytes = live.size_bytes if live else 0
    output.line(_("moves"), _("{name}, {size}, as {to}").format(name=database, size=format_size(size_bytes), to=to))
    if replaced:
        size = format_size(replaced.size_bytes)
        output.line(_("replaces"), _("{name}, {size}").format(name=replaced.name, size=size))
    if flags.as_json:
        source, destination = server.runner.instance, there.runner.instance
        replaces_bytes = replaced.size_bytes if replaced else None
        output.print_json(moving_document(source, database, size_bytes, destination, to, replaces_bytes))
