"""``respaldo export``: a backup as a file for other tools."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import click

from respaldo.app import App
from respaldo.cli.choosing import choose_backup
from respaldo.cli.options import SERVER, load_settings, setting_options
from respaldo.cli.printing import Output, Progress
from respaldo.config.settings import Settings
from respaldo.errors import StorageError, StorageFullError, UsageError
from respaldo.language import _
from respaldo.units import format_size

SCRIPTS = ("sql", "sql.gz", "sql.zst")
FORMATS = (*SCRIPTS, "dump", "directory")


@click.command(short_help=_("write a backup as a file for other tools"))
@click.argument("name")
@click.option("--format", "form", type=click.Choice(FORMATS), default="sql", help=_("what to write [default: sql]"))
@click.option("--output", "-o", "path", metavar="FILE|-", help=_("where to write; - is standard output"))
@setting_options(*SERVER, "jobs")
@click.pass_context
def export(context: click.Context, /, flags: dict[str, Any], name: str, form: str, path: str | None) -> None:
    """Export a backup."""
    run_export_command(context.obj, load_settings(context, flags), name, form, path)


export.help = _(
    """Write a backup, full or incremental, as one file that psql or pg_restore reads.

A script is made from the repository with the server's pg_restore; for dump and directory (packed as a tar) the backup
is restored into a throwaway database, dumped, and that database dropped. Every byte is compared with the backup.

\b
Examples:
  respaldo export latest --output shop.sql
  respaldo export latest --format sql.gz --output - | ssh other 'zcat | psql shop'
  respaldo export backup_20261124_020000 --format dump

\b
Exit codes: 0 done; 2 wrong use; 10 no such backup; 13 damaged; 20 storage; 30 PostgreSQL; 40 environment.
"""
)


def run_export_command(output: Output, settings: Settings, name: str, form: str, path: str | None) -> None:
    """Export and say what was written; an export that fails leaves no file."""
    from respaldo.operations.export import export_archive, export_script

    manifest = choose_backup(settings, name, output=output)
    if manifest is None:
        return
    ending = "tar" if form == "directory" else form
    target = path or f"{manifest.name}.{ending}"
    app = App(settings)
    reader = app.open_repository().reader(manifest.target, manifest.name)
    with Progress(output, _("exporting")) as listen, _opened(target) as file:
        server = app.find_server(listen, any_database=True, preferred=manifest.environment)
        if form in SCRIPTS:
            export_script(server, reader, file, form)
        else:
            export_archive(server, reader, file.write, form, jobs=settings.jobs, clock=app.clock, listen=listen)
    if target != "-":
        output.line(_("written"), f"{target}  {format_size(Path(target).stat().st_size)}")


@contextmanager
def _opened(target: str) -> Iterator[IO[bytes]]:
    """Open what is written; a file gets its name only once it is whole, and only its owner may read it."""
    if target == "-":
        if sys.stdout.isatty():
            raise UsageError(_("a backup is not written to a terminal"), hint=_("name a file with --output"))
        yield sys.stdout.buffer
        sys.stdout.buffer.flush()
        return
    unfinished = Path(f"{target}.unfinished")
    try:
        descriptor = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        unfinished.rename(target)
    except OSError as error:
        kind = StorageFullError if error.errno in {27, 28, 122} else StorageError
        raise kind(
            _("{path} cannot be written: {error}").format(path=target, error=error.strerror),
            hint=_("choose another place with --output"),
        ) from error
    finally:
        unfinished.unlink(missing_ok=True)
