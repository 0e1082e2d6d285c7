"""``respaldo restore``: put a backup back, beside the live database or in its place."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from respaldo.app import App
from respaldo.cli.asking import confirm, require_typed
from respaldo.cli.choosing import choose_source
from respaldo.cli.destination import Stranger, find_stranger
from respaldo.cli.documents import replacement_document, restored_document
from respaldo.cli.options import SERVER, json_option, load_settings, setting_options
from respaldo.cli.printing import Output, Progress
from respaldo.cli.restore_flags import RestoreFlags
from respaldo.cli.restore_parts import run_parts_command
from respaldo.cli.safety import save_live
from respaldo.clock import CORRECTION
from respaldo.config.settings import Settings
from respaldo.counting import count_rows
from respaldo.errors import EnvironmentFailedError, UsageError
from respaldo.events import Warned
from respaldo.language import _, ngettext
from respaldo.repository.records import Manifest
from respaldo.units import format_duration, format_size

if TYPE_CHECKING:
    from respaldo.operations.restore import Restored, RestorePlan
    from respaldo.postgres.server import Server


@click.command(short_help=_("restore a backup, beside the live database or in its place"))
@click.argument("name", required=False)
@click.option("--to", "to", metavar="DATABASE", help=_("restore into a new database of this name"))
@click.option("--to-container", metavar="NAME", help=_("restore into the PostgreSQL of another container"))
@click.option("--in-place", is_flag=True, help=_("drop the live database first, where there is no room for both"))
@click.option("--drop-old", is_flag=True, help=_("drop the replaced database once the new one is in its place"))
@click.option("--schema-only", is_flag=True, help=_("restore the definitions without rows"))
@click.option("--data-only", is_flag=True, help=_("load rows into the empty tables of a database that is there"))
@click.option(
    "--table",
    "tables",
    metavar="PATTERN",
    multiple=True,
    help=_("restore this table alone, beside the live one; may be repeated"),
)
@click.option("--replace-table", is_flag=True, help=_("with --table: put its rows in the place of the live table's"))
@click.option("--globals", "with_roles", is_flag=True, help=_("create the roles that the server lacks"))
@click.option(
    "--map-role", "role_map", metavar="OLD=NEW", multiple=True, help=_("another role as owner; may be repeated")
)
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

NAME is a backup's name, its number in the list, latest, or a dump file (.sql, .sql.gz, .sql.zst, .dump, .tar, or a
directory of pg_dump's); without it the list is shown to choose from. A new database is created, filled, and every row
compared with the backup; only then it takes the live one's name, and the old one is kept under a dated name. The live
database answers all the while, and stays as it is when anything fails.

\b
Examples:
  respaldo restore latest --to shop_restored
  respaldo restore backup_20261124_020000
  respaldo restore latest --yes --drop-old
  respaldo restore latest --table pedidos
  respaldo restore /srv/old/shop.sql.gz --to shop_2019

\b
Exit codes: 0 done; 2 wrong use; 10 no such backup; 13 damaged; 30 PostgreSQL; 40 environment; 50 rows differ.
"""
)


@dataclass(frozen=True, slots=True, kw_only=True)
class RestoreOutcome:
    """What was restored, and the backup of what it replaced; None where nothing was there, or none was wanted."""

    restored: Restored
    safety: Manifest | None


def run_restore_command(output: Output, settings: Settings, flags: RestoreFlags) -> None:
    """Plan, say, ask, restore and print; what ``respaldo restore`` and ``--restore`` both do."""
    _require_sense(flags)
    chosen = choose_source(settings, flags.name, output=output)
    if chosen is None:
        output.line("", _("cancelled"))
        return
    if flags.tables or flags.data_only:
        run_parts_command(output, settings, flags, chosen)
        return
    restore_chosen(output, settings, flags, chosen)


def restore_chosen(
    output: Output, settings: Settings, flags: RestoreFlags, chosen: Manifest | Path
) -> RestoreOutcome | None:
    """Restore what is chosen already; None where nothing was done: a dry run, or a person's no."""
    from respaldo.operations.restore import RestoreRequest, execute_restore, plan_restore, require_possible
    from respaldo.operations.roles import drop_roles, parse_role_map

    app = App(settings)
    begun_s = app.clock.monotonic_s()
    with Progress(output, _("restoring")) as listen:
        try:
            preferred = chosen.environment if isinstance(chosen, Manifest) else ""
            server = app.find_server(listen, any_database=True, preferred=preferred)
        except (EnvironmentFailedError, UsageError) as error:
            error.hint = _hint_of_new_server(error.hint, chosen)
            raise
        role_map = parse_role_map(flags.role_map)
        source = app.open_source(server, chosen, role_map)
        request = RestoreRequest(
            to=flags.to,
            in_place=flags.in_place,
            drop_old=flags.drop_old,
            schema_only=flags.schema_only,
            creates_roles=flags.with_roles,
            jobs=settings.jobs,
        )
        plan = plan_restore(server, source, app.database_of(server, chosen), request, clock=app.clock)
        stranger = None
        if plan.live is not None and not flags.is_elsewhere:
            stranger = find_stranger(settings, server, chosen)
        _describe(output, plan, app)
        if stranger is not None:
            listen(Warned(message=stranger.warning))
        require_possible(plan)
        # Before the question: who is told afterwards has agreed to something else.
        for problem in plan.problems:
            listen(Warned(message=problem.message))
        if flags.dry_run and flags.as_json:
            output.print_json(replacement_document(plan))
        if flags.dry_run or not _is_agreed(plan, flags, stranger):
            return None
        created: Sequence[str] = ()
        if flags.with_roles and isinstance(chosen, Manifest):
            created = _create_roles(app, server, chosen, role_map, output)
        safety: list[Manifest] = []

        def save() -> None:
            if flags.is_safe:
                safety.append(save_live(app, server, plan.database, output))

        try:
            restored = execute_restore(server, source, replace(plan, problems=()), listen=listen, save=save)
        except BaseException:
            drop_roles(server, created, listen)
            raise
    _print(output, flags, plan, restored, app.clock.monotonic_s() - begun_s)
    return RestoreOutcome(restored=restored, safety=safety[0] if safety else None)


def _hint_of_new_server(hint: str | None, chosen: Manifest | Path) -> str | None:
    """Add, where a backup of a container or a pod finds no server, the way to an empty one: its own may be gone."""
    if isinstance(chosen, Path) or chosen.environment == "local" or not chosen.server.get("image"):
        return hint
    way = (
        _(
            "{name} is of {instance}; if that server is gone: docker run -d --name NEW -e POSTGRES_PASSWORD=… {image}, "
            "then restore with --container NEW --globals"
        )
        if chosen.environment == "docker"
        else _(
            "{name} is of {instance}; if that pod is gone: start one of {image} by its manifest, then restore with "
            "--pod NEW --globals"
        )
    ).format(name=chosen.name, instance=chosen.target.instance, image=chosen.server["image"])
    return f"{hint}; {way}" if hint else way


def _require_sense(flags: RestoreFlags) -> None:
    """Raise UsageError for flags that contradict each other."""
    contradictions = (
        (flags.in_place and flags.to is not None, "--in-place", "--to"),
        (flags.schema_only and flags.data_only, "--schema-only", "--data-only"),
        (bool(flags.tables) and flags.in_place, "--table", "--in-place"),
        (bool(flags.tables) and flags.schema_only, "--table", "--schema-only"),
        (bool(flags.tables) and flags.data_only, "--table", "--data-only"),
        (flags.replace_table and not flags.tables, "--replace-table", _("no --table")),
    )
    for is_so, first, second in contradictions:
        if is_so:
            raise UsageError(
                _("{first} and {second} contradict each other").format(first=first, second=second),
                hint=_("respaldo restore --help says what each does"),
            )


def _create_roles(
    app: App, server: Server, chosen: Manifest, role_map: Mapping[str, str], output: Output
) -> Sequence[str]:
    """Create the roles that are missing, say which, and return them."""
    from respaldo.operations.layout import GLOBALS
    from respaldo.operations.roles import restore_roles
    from respaldo.repository.codec import decompress

    reader = app.open_repository().reader(chosen.target, chosen.name)
    script = decompress(reader.read_object(GLOBALS), limit=1 << 30).decode(errors="surrogateescape")
    roles = restore_roles(server, script, role_map)
    if roles.created:
        output.line(_("roles"), _("created: {names}").format(names=", ".join(roles.created)))
    if roles.kept:
        output.line(_("roles"), _("kept as they are: {names}").format(names=", ".join(roles.kept)))
    if roles.withheld:
        output.warn(_("nothing could be granted on the parameters {names}").format(names=", ".join(roles.withheld)))
    return roles.created


def _describe(output: Output, plan: RestorePlan, app: App) -> None:
    """Say what will happen."""
    age_s = (app.clock.now() - plan.made).total_seconds()
    if age_s < -CORRECTION.total_seconds():
        said = _("{name}, dated in the future: {time}").format(
            name=plan.source, time=f"{plan.made.astimezone():%Y-%m-%d %H:%M}"
        )
    else:
        said = _("{name}, {age} old").format(name=plan.source, age=format_duration(max(0.0, age_s)))
    output.line(_("backup"), said)
    if plan.live is None:
        output.line(_("into"), _("the new database {name}").format(name=plan.database))
        return
    output.line(_("replaces"), _("{name}, {size}").format(name=plan.database, size=format_size(plan.live.size_bytes)))
    if plan.live.sessions:
        count = len(plan.live.sessions)
        output.line(
            "",
            ngettext("{count} session will be ended: {names}", "{count} sessions will be ended: {names}", count).format(
                count=count, names=", ".join(plan.live.sessions[:3]) + (", …" if count > 3 else "")
            ),
        )
    if plan.old is not None:
        output.line("", _("the old one is kept as {name}").format(name=plan.old))


def _is_agreed(plan: RestorePlan, flags: RestoreFlags, stranger: Stranger | None) -> bool:
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
    if stranger is not None:
        question = _("Replace {name} of that other server?").format(name=plan.database)
        return stranger.is_meant(question, yes=flags.yes)
    return flags.yes or confirm(_("Replace {name}?").format(name=plan.database))


def _print(output: Output, flags: RestoreFlags, plan: RestorePlan, restored: Restored, duration_s: float) -> None:
    if flags.as_json:
        output.print_json(restored_document(plan.source, restored, duration_s))
        return
    if output.quiet:
        return
    print(
        _("{name} restored into {database}: {rows}, in {duration}").format(
            name=plan.source,
            database=restored.database,
            rows=count_rows(restored.rows),
            duration=format_duration(duration_s),
        )
    )
    if restored.old is not None:
        print(_("the database as it was is kept as {old}; when it is no longer needed:").format(old=restored.old))
        print(f'  DROP DATABASE "{restored.old}";')
