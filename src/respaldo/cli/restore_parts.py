"""``respaldo restore`` of a part: single tables, or rows alone, into a database that exists."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from respaldo.app import App
from respaldo.cli.asking import confirm
from respaldo.cli.destination import find_stranger
from respaldo.cli.documents import loaded_document, part_document, restored_table_document
from respaldo.cli.printing import Output, Progress
from respaldo.cli.restore_flags import RestoreFlags
from respaldo.cli.safety import save_live
from respaldo.config.settings import Settings
from respaldo.counting import count_rows
from respaldo.errors import UsageError
from respaldo.language import _
from respaldo.repository.records import Manifest

if TYPE_CHECKING:
    from respaldo.postgres.server import Server


def run_parts_command(output: Output, settings: Settings, flags: RestoreFlags, chosen: Manifest | Path) -> None:
    """Restore tables or rows into the database that ``--to`` names, or the backup's own."""
    if isinstance(chosen, Path):
        raise UsageError(
            _("parts can be restored from a backup only, not from a file"),
            hint=_("restore the file into a new database: --to NEW"),
        )
    if flags.data_only:
        _restore_rows(output, settings, flags, chosen)
    else:
        _restore_tables(output, settings, flags, chosen)


def _restore_tables(output: Output, settings: Settings, flags: RestoreFlags, chosen: Manifest) -> None:
    from respaldo.operations.layout import table_of
    from respaldo.operations.tables import choose_tables, restore_tables

    app = App(settings)
    reader = app.open_repository().reader(chosen.target, chosen.name)
    tables = choose_tables(reader, flags.tables)
    wanted = list(dict.fromkeys(map(table_of, tables)))
    names = ", ".join(wanted)
    database = flags.to or chosen.target.database
    if flags.dry_run:
        output.line(_("tables"), names)
        if flags.as_json:
            output.print_json(part_document(chosen.name, database, wanted))
        return
    if flags.replace_table and not (flags.yes or confirm(_("Replace the rows of {names}?").format(names=names))):
        return
    with Progress(output, _("restoring")) as listen:
        server = app.find_server(listen, any_database=True, preferred=chosen.environment)
        if not _is_meant(output, settings, server, chosen, flags):
            return
        if flags.replace_table and flags.is_safe:
            save_live(app, server, database, output)
        restored = restore_tables(
            server,
            reader,
            database,
            tables,
            over=flags.replace_table,
            jobs=settings.jobs,
            clock=app.clock,
            listen=listen,
        )
    if flags.as_json:
        output.print_json([restored_table_document(one) for one in restored])
        return
    for one in restored:
        print(
            _("{table}: {rows} restored as {name}").format(
                table=one.table, rows=count_rows(one.rows), name=one.restored_as
            )
        )


def _is_meant(output: Output, settings: Settings, server: Server, chosen: Manifest, flags: RestoreFlags) -> bool:
    """Ask where the server is not the backup's, and nobody named it."""
    stranger = find_stranger(settings, server, chosen)
    if stranger is None:
        return True
    output.warn(stranger.warning)
    question = _("Load it into {database} of that other server?").format(database=flags.to or chosen.target.database)
    return stranger.is_meant(question, yes=flags.yes)


def _restore_rows(output: Output, settings: Settings, flags: RestoreFlags, chosen: Manifest) -> None:
    from respaldo.operations.dataonly import restore_rows
    from respaldo.operations.layout import table_of

    app = App(settings)
    database = flags.to or chosen.target.database
    reader = app.open_repository().reader(chosen.target, chosen.name)
    with Progress(output, _("restoring")) as listen:
        server = app.find_server(listen, any_database=True, preferred=chosen.environment)
        if flags.dry_run:
            if flags.as_json:
                tables = [table_of(series) for series in reader.series if series.head]
                output.print_json(part_document(chosen.name, database, list(dict.fromkeys(tables))))
            return
        if not _is_meant(output, settings, server, chosen, flags):
            return
        rows = restore_rows(server, reader, database, jobs=settings.jobs, listen=listen)
    if flags.as_json:
        output.print_json(loaded_document(chosen.name, database, rows))
    else:
        print(_("{rows} loaded into {database}").format(rows=count_rows(rows), database=database))
