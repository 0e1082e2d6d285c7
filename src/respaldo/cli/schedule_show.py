"""``respaldo schedule list`` and ``history``."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from itertools import islice
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

import click

from respaldo.app import App
from respaldo.cli.options import json_option, load_settings, setting_options
from respaldo.cli.printing import Output, format_table
from respaldo.cli.reports import cronjob_document
from respaldo.config.settings import Settings
from respaldo.errors import RespaldoError
from respaldo.language import N_, _
from respaldo.operations.runs import Outcome, RunRecord, read_last_runs, read_runs, run_document
from respaldo.operations.schedules import is_backup, read_schedules, schedule_document, zone_of
from respaldo.repository.manifest import format_instant
from respaldo.schedule.expression import parse_expression
from respaldo.schedule.plan import Schedule, Trigger
from respaldo.schedule.slots import next_slot
from respaldo.units import format_duration, format_size

if TYPE_CHECKING:
    from respaldo.operations.schedule_cluster import ClusterSchedule, ClusterSchedules

OUTCOMES = {
    Outcome.SUCCEEDED: N_("done"),
    Outcome.WARNED: N_("done, with warnings"),
    Outcome.FAILED: N_("FAILED"),
    Outcome.INTERRUPTED: N_("interrupted"),
}


@click.command("list", short_help=_("show the schedules, their next and last runs"))
@setting_options("environment", "namespace", "context", "time_zone")
@json_option
@click.pass_context
def list_schedules(context: click.Context, /, flags: dict[str, Any], as_json: bool) -> None:
    """List the schedules."""
    run_list_schedules_command(context.obj, load_settings(context, flags), as_json=as_json)


list_schedules.help = _(
    """Show every schedule of the repository: when, what, what starts it, the next run and how the last one ended.

Those of a Kubernetes cluster are shown where the database is there, or with --environment kubernetes. A schedule that
its crontab or systemd has lost is warned of.

\b
Examples:
  respaldo schedule list
  respaldo schedule list --environment kubernetes --namespace shop
  respaldo schedule list --json

\b
Exit codes: 0 done; 13 the document of schedules is damaged; 20 storage; 40 the cluster refuses.
"""
)


@click.command("history", short_help=_("show the runs that were, the newest first"))
@click.argument("name", required=False)
@click.option(
    "--limit",
    metavar="N",
    type=click.IntRange(1),
    default=20,
    help=_("at most so many [default: {value}]").format(value=20),
)
@click.option("--failed", is_flag=True, help=_("those that failed only"))
@json_option
@click.pass_context
def history(context: click.Context, /, name: str | None, limit: int, failed: bool, as_json: bool) -> None:
    """Show the history."""
    app = App(load_settings(context, {}))
    runs = (one for one in read_runs(app.records) if name is None or one.schedule == name)
    shown = list(islice((one for one in runs if not failed or not one.outcome.is_good), limit))
    if as_json:
        context.obj.print_json([run_document(one) for one in shown])
    elif not shown:
        print(_("No runs are noted in {directory}").format(directory=app.records))
    else:
        header = [_("begun"), _("schedule"), _("outcome"), _("took"), _("result")]
        print(format_table([header, *map(_history_row, shown)]))


history.help = _(
    """Show the runs that are noted in scheduled_backups.log, the newest first: how each ended, how long it took, and
what it made or why it failed.

\b
Examples:
  respaldo schedule history
  respaldo schedule history nightly --limit 5
  respaldo schedule history --failed --json

\b
Exit codes: 0 done; 20 storage.
"""
)


def run_list_schedules_command(output: Output, settings: Settings, *, as_json: bool) -> None:
    """Print the schedules; what ``respaldo schedule list`` and ``--list-schedules`` both do."""
    app = App(settings)
    schedules, last = read_schedules(app.records), read_last_runs(app.records)
    others = find_cluster(app).list() if is_cluster_meant(app) else []
    now = app.clock.now()
    if as_json:
        documents: list[dict[str, Any]] = [
            {
                **schedule_document(one),
                "next": _instant(next_slot(one.expression, zone_of(one, app.settings.zone), now)),
                "last": run_document(last[one.name]) if one.name in last else None,
            }
            for one in schedules
        ]
        output.print_json([*documents, *map(cronjob_document, others)])
    elif not schedules and not others:
        print(_("Nothing is scheduled in {directory}").format(directory=settings.repository))
    else:
        header = [_("name"), _("when"), _("started by"), _("command"), _("next run"), _("last run")]
        rows = [_row(app, one, last.get(one.name), now) for one in schedules]
        print(format_table([header, *rows, *(_cluster_row(one, now) for one in others)]))
    for one in schedules:
        if not _is_installed(app, one):
            output.warn(
                _("{name} is not in {place} any more: add it again with --replace, or remove it").format(
                    name=one.name, place=one.trigger.value
                )
            )


def is_cluster_meant(app: App) -> bool:
    """Tell whether the database is in a Kubernetes cluster, by what was said or by what is found."""
    settings = app.settings
    if settings.environment in {"docker", "local"} or settings.container or settings.host:
        return False
    try:
        return app.find_environment().name == "kubernetes"
    except RespaldoError:
        if settings.environment == "kubernetes":
            raise
        return False


def find_cluster(app: App) -> ClusterSchedules:
    """Return the schedules of the cluster and the namespace that are meant."""
    from respaldo.environments.kubernetes import KubernetesEnvironment
    from respaldo.operations.schedule_cluster import ClusterSchedules

    settings = app.settings
    environment = KubernetesEnvironment(context=settings.context, namespace=settings.namespace)
    return ClusterSchedules(*environment.place())


def _is_installed(app: App, schedule: Schedule) -> bool:
    from respaldo.operations import schedule_crontab, schedule_systemd

    try:
        if schedule.trigger is Trigger.CRONTAB:
            return schedule_crontab.is_installed(schedule.name, app.records)
        if schedule.trigger is Trigger.SYSTEMD:
            return schedule_systemd.Systemd().is_installed(schedule.name)
    except RespaldoError:
        return False
    return True


def _row(app: App, schedule: Schedule, last: RunRecord | None, now: datetime) -> list[str]:
    zone = zone_of(schedule, app.settings.zone)
    slot = next_slot(schedule.expression, zone, now)
    ran = f"{last.started.astimezone(zone):%Y-%m-%d %H:%M} {_(OUTCOMES[last.outcome])}" if last else ""
    return [
        schedule.name,
        f"{schedule.expression} {schedule.time_zone or ''}".rstrip(),
        schedule.trigger.value,
        " ".join(schedule.command),
        f"{slot.astimezone(zone):%Y-%m-%d %H:%M %Z}" if slot else "",
        ran,
    ]


def _cluster_row(one: ClusterSchedule, now: datetime) -> list[str]:
    slot = None if one.is_suspended else _cluster_slot(one, now)
    return [
        one.name,
        f"{one.expression} {one.time_zone or ''}".rstrip(),
        Trigger.KUBERNETES.value,
        " ".join(one.command),
        _("suspended") if one.is_suspended else f"{slot:%Y-%m-%d %H:%M %Z}" if slot else "",
        f"{one.last or ''} {_(OUTCOMES[Outcome.SUCCEEDED]) if one.last and one.last_success else ''}".strip(),
    ]


def next_cluster_backups(cluster: ClusterSchedules, now: datetime) -> Mapping[str, datetime]:
    """Return when each schedule of a cluster that makes backups runs next, by its name; suspended ones do not."""
    slots = {
        one.name: _cluster_slot(one, now) for one in cluster.list() if is_backup(one.command) and not one.is_suspended
    }
    return {name: slot for name, slot in slots.items() if slot is not None}


def _cluster_slot(one: ClusterSchedule, now: datetime) -> datetime | None:
    try:
        zone = ZoneInfo(one.time_zone or "Etc/UTC")
        slot = next_slot(parse_expression(one.expression), zone, now)
        return slot.astimezone(zone) if slot else None
    except (RespaldoError, LookupError, ValueError, OSError):
        # Whoever wrote the CronJob by hand may use what only Kubernetes knows.
        return None


def _history_row(one: RunRecord) -> list[str]:
    made = ", ".join(f"{backup.name} ({format_size(backup.stored_bytes)})" for backup in one.backups)
    return [
        f"{one.started.astimezone():%Y-%m-%d %H:%M:%S}",
        one.schedule,
        _(OUTCOMES[one.outcome]),
        format_duration(one.duration_s),
        one.error or made,
    ]


def _instant(instant: datetime | None) -> str | None:
    return format_instant(instant) if instant else None
