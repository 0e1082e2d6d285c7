"""``respaldo restore``: put a backup back, beside the live database or in its place."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import click

from respaldo.app import App
from respaldo.cli.asking import confirm, require_typed
from respaldo.cli.choosing import choose_source
from respaldo.cli.options import SERVER, json_option, load_settings, setting_options
from respaldo.cli.printing import Output, Progress
from respaldo.config.settings import Settings
from respaldo.errors import UsageError
from respaldo.events import Listener
from respaldo.language import _
from respaldo.units import format_count, format_duration, format_size

if TYPE_CHECKING:
    from respaldo.operations.restore import Restored, RestorePlan
    from respaldo.postgres.server import Server


@dataclass(frozen=True, slots=True, kw_only=True)
class RestoreFlags:
    """What the person said beside the settings."""

    name: str | None
    to: str | None = None
    in_place: bool = False
    drop_old: bool = False
    schema_only: bool = False
    is_safe: bool = True
    yes: bool = False
    dry_run: bool = False
    as_json: bool = False


@click.command(short_help=_("restore a backup, beside the live database or in its place"))
@click.argument("name", required=False)
@click.option("--to", "to", metavar="DATABASE", help=_("restore into a new database of this name"))
@click.option("--to-container", metavar="NAME", help=_("restore into the PostgreSQL of another container"))
@click.option("--in-place", is_flag=True, help=_("drop the live database first, where there is no room for both"))
@click.option("--drop-old", is_flag=True, help=_("drop the replaced database once the new one is in its place"))
@click.option("--schema-only", is_flag=True, help=_("restore the definitions without rows"))
@click.option("--no-safety-backup", "is_unsafe", is_flag=True, help=_("make no backup of what is replaced"))
@click.option("--yes", "-y", is_flag=True, help=_("ask nothing"))
@click.option("--dry-run", is_flag=True, help=_("say what would happen, and change nothing"))
@setting_options(*SERVER, "jobs")
@json_option
@click.pass_context
def restore(
    context: click.Context, /, flags: dict[str, Any], to_container: str | None, is_unsafe: bool, **given: Any
) -> None:
    """Restore a backup."""
    if to_container is not None:
        flags = {**flags, "container": to_container}
    run_restore_command(context.obj, load_settings(context, flags), RestoreFlags(is_safe=not is_unsafe, **given))


restore.help = _(
    """Restore a backup, in the place of the live database or beside it.

NAME is a backup's name, its number in the list, or latest; without it the list is shown to choose from. A new
database is created, filled, and every row compared with the backup; only then it takes the live one's name, and the
old one is kept under a dated name. The live database answers all the while, and stays as it is when anything fails.

\b
Examples:
  respaldo restore latest --to shop_restored
  respaldo restore backup_20261124_020000
  respaldo restore latest --yes --drop-old

\b
Exit codes: 0 done; 2 wrong use; 10 no such backup; 13 damaged; 30 PostgreSQL; 40 environment; 50 rows differ.
"""
)


def run_restore_command(output: Output, settings: Settings, flags: RestoreFlags) -> None:
    """Plan, say, ask, restore and print; what ``respaldo restore`` and ``--restore`` both do."""
    from respaldo.operations.restore import RestoreRequest, execute_restore, plan_restore, require_possible

    if flags.in_place and flags.to is not None:
        raise UsageError(
            _("--in-place and --to contradict each other"), hint=_("a new database with --to touches no other")
        )
    chosen = choose_source(settings, flags.name)
    if chosen is None:
        output.line("", _("cancelled"))
        return
    app = App(settings)
    begun_s = app.clock.monotonic_s()
    with Progress(output, _("restoring")) as listen:
        server = app.find_server(listen, any_database=True)
        source = app.open_source(server, chosen)
        request = RestoreRequest(
            to=flags.to,
            in_place=flags.in_place,
            drop_old=flags.drop_old,
            schema_only=flags.schema_only,
            jobs=settings.jobs,
        )
        plan = plan_restore(server, source, app.database_of(server, chosen), request, clock=app.clock)
        _describe(output, plan, app)
        require_possible(plan)
        if flags.dry_run or not _is_agreed(plan, flags):
            return
        save = (lambda: _save(app, server, plan, listen)) if flags.is_safe else (lambda: None)
        restored = execute_restore(server, source, plan, listen=listen, save=save)
    _print(output, flags, plan, restored, app.clock.monotonic_s() - begun_s)


def _describe(output: Output, plan: RestorePlan, app: App) -> None:
    """Say what will happen."""
    age = format_duration((app.clock.now() - plan.made).total_seconds())
    output.line(_("backup"), _("{name}, {age} old").format(name=plan.source, age=age))
    if plan.live is None:
        output.line(_("into"), _("the new database {name}").format(name=plan.database))
        return
    output.line(_("replaces"), _("{name}, {size}").format(name=plan.database, size=format_size(plan.live.size_bytes)))
    if plan.live.sessions:
        count = len(plan.live.sessions)
        output.line(
            "",
            _("{count} sessions will be ended: {names}").format(
                count=count, names=", ".join(plan.live.sessions[:3]) + (", …" if count > 3 else "")
            ),
        )
    if plan.old is not None:
        output.line("", _("the old one is kept as {name}").format(name=plan.old))


def _is_agreed(plan: RestorePlan, flags: RestoreFlags) -> bool:
    """Ask where something would be replaced; typing the name is asked for where it is given up first."""
    if plan.live is None:
        return True
    if flags.in_place:
        require_typed(
            _(
                "{name} is dropped before the backup is loaded: if that fails, only the safety backup has its data."
            ).format(name=plan.database),
            plan.database,
        )
        return True
    return flags.yes or confirm(_("Replace {name}?").format(name=plan.database))


def _save(app: App, server: Server, plan: RestorePlan, listen: Listener) -> None:
    """Back up what is about to be replaced."""
    from respaldo.operations.backup import run_backup

    live = app.reconnect(server, plan.database)
    name = f"before_restore_{app.clock.now().astimezone():%Y%m%d_%H%M%S}"
    request = app.backup_request(name=name, asked=None, replace=False)
    target = replace(app.target_of(server), database=plan.database)
    run_backup(live, app.open_or_create_repository(), target, request, clock=app.clock, listen=listen)


def _print(output: Output, flags: RestoreFlags, plan: RestorePlan, restored: Restored, duration_s: float) -> None:
    if flags.as_json:
        output.print_json(
            {
                "name": plan.source,
                "database": restored.database,
                "rows": restored.rows,
                "old_database": restored.old,
                "duration_s": round(duration_s, 3),
            }
        )
        return
    if output.quiet:
        return
    print(
        _("{name} restored into {database}: {rows} rows, in {duration}").format(
            name=plan.source,
            database=restored.database,
            rows=format_count(restored.rows),
            duration=format_duration(duration_s),
        )
    )
    if restored.old is not None:
        print(_("the database as it was is kept as {old}; when it is no longer needed:").format(old=restored.old))
        print(f'  DROP DATABASE "{restored.old}";')
