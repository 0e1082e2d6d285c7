"""``respaldo schedule run``: what cron, systemd, a cluster and ``respaldo serve`` call."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click

from respaldo.app import App
from respaldo.cli.printing import Output
from respaldo.cli.schedule_command import invoke, label_of, parse_command, tell_failed_run
from respaldo.cli.schedule_launch import OUTPUT
from respaldo.config.settings import Settings
from respaldo.errors import DONE_WITH_WARNINGS, InterruptedRunError, RespaldoError, StaleError, UsageError
from respaldo.language import _
from respaldo.operations.runs import ROTATED_AT_BYTES, RunBackup, RunRecord, record_run, rotate
from respaldo.operations.schedules import find_schedule, read_schedules
from respaldo.schedule.plan import check_name


@click.command("run", short_help=_("run a schedule's command now, and note what came of it"))
@click.argument("name")
@click.argument("words", nargs=-1, metavar="[-- COMMAND]")
@click.option("--slot", metavar="TIME", help=_("the time that the run was due at, in UTC"))
@click.pass_context
def run(context: click.Context, /, name: str, words: tuple[str, ...], slot: str | None) -> Any:
    """Run a schedule."""
    settings, error = Settings.load_usable(context.obj.flags, os.environ)
    app = App(settings)
    _tend_output(app.records / OUTPUT)
    with _recording(app, context.obj, check_name(name), words, _parse_slot(slot)) as ending:
        if error is not None:
            raise error
        ending.command = words or _command_of(app, name)
        # The context of `respaldo` itself: the command's errors and its `--repository` are those of one typed there.
        above = context.parent.parent if context.parent else None
        result = invoke(parse_command(ending.command, above))
        ending.exit_code = result if isinstance(result, int) else 0
        return result


run.help = _(
    """Run a schedule's command now, as if it was typed, and note what came of it.

One line is added to scheduled_backups.log, and .metadata/last_status.json is written anew, in the directory of the
repository. cron, systemd and respaldo serve call this. A CronJob gives the command itself, after --.

\b
Examples:
  respaldo schedule run nightly
  respaldo schedule run nightly -- backup --container pc_db

\b
Exit codes: those of the command; 2 no such schedule; 3 done, but it could not be noted.
"""
)


def _command_of(app: App, name: str) -> tuple[str, ...]:
    schedules = read_schedules(app.records)
    if all(one.name != name for one in schedules):
        namespace = _namespace_of(app, name)
        if namespace is not None:
            raise UsageError(
                _("{name} is a CronJob, which runs in its cluster").format(name=name),
                hint=f"kubectl create job --namespace {namespace} --from=cronjob/{name} {name}-now",
            )
        if not schedules:
            # A disk that is not mounted has none either.
            app.open_repository()
    return find_schedule(schedules, name).command


def _namespace_of(app: App, name: str) -> str | None:
    """Return the namespace that has a schedule, where the database is in a cluster."""
    from respaldo.cli.schedule_show import find_cluster, is_cluster_meant

    with suppress(RespaldoError):
        if is_cluster_meant(app):
            cluster = find_cluster(app)
            return cluster.namespace if any(one.name == name for one in cluster.list()) else None
    return None


@dataclass(slots=True)
class _Ending:
    command: tuple[str, ...]
    exit_code: int = 0
    failure: RespaldoError | None = None


@contextmanager
def _recording(
    app: App, output: Output, name: str, command: tuple[str, ...], slot: datetime | None
) -> Iterator[_Ending]:
    """Note how the block ends, whichever way."""
    ending, started = _Ending(command), app.clock.now()
    try:
        yield ending
    except click.exceptions.Exit as error:
        ending.exit_code = error.exit_code
        raise
    except click.UsageError as error:
        ending.exit_code, ending.failure = error.exit_code, RespaldoError(error.format_message())
        raise
    except (KeyboardInterrupt, click.Abort):
        ending.failure = InterruptedRunError(_("interrupted; nothing half-made is left"))
        ending.exit_code = ending.failure.exit_code
        raise
    except RespaldoError as error:
        ending.exit_code, ending.failure = error.exit_code, error
        raise
    except BaseException as error:
        ending.exit_code, ending.failure = 1, RespaldoError(f"{type(error).__name__}: {error}")
        raise
    finally:
        failure = ending.failure
        record = RunRecord(
            schedule=name,
            command=ending.command,
            slot=slot,
            started=started,
            ended=app.clock.now(),
            exit_code=ending.exit_code,
            targets=tuple(dict.fromkeys(output.targets)),
            error=failure.message if failure else None,
            hint=failure.hint if failure else None,
            backups=tuple(map(RunBackup.of, output.backups)),
        )
        # Who mistypes a name at a terminal knows.
        if ending.command or not sys.stderr.isatty():
            _note(app, output, record)
            # ``status`` tells of what is late itself.
            if failure is not None and not output.is_announced and not isinstance(failure, StaleError):
                tell_failed_run(output, app, label_of(name), ending.command, failure)


def _note(app: App, output: Output, record: RunRecord) -> None:
    try:
        record_run(app.records, record, secrets=app.settings.secrets())
    except RespaldoError as error:
        output.warn(_("the run could not be noted: {reason}").format(reason=error.message))
        if record.outcome.is_good:
            raise click.exceptions.Exit(DONE_WITH_WARNINGS) from error


def _tend_output(path: Path) -> None:
    """Keep what cron appends from growing without end. Where this program itself writes there, it goes on in the new
    file."""
    with suppress(OSError):
        before = path.stat()
        if not rotate(path, ROTATED_AT_BYTES):
            return
        for stream in (sys.stdout, sys.stderr):
            there = os.fstat(stream.fileno())
            if (there.st_dev, there.st_ino) == (before.st_dev, before.st_ino):
                stream.flush()
                descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
                os.dup2(descriptor, stream.fileno())
                os.close(descriptor)


def _parse_slot(text: str | None) -> datetime | None:
    if text is None:
        return None
    try:
        return datetime.fromisoformat(text).astimezone(UTC)
    except ValueError as error:
        raise UsageError(_("{origin}: {value} is not a valid value").format(origin="--slot", value=text)) from error
