"""``respaldo summary``: the state of every target on one screen."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import datetime
from typing import Any

import click

from respaldo.app import App
from respaldo.cli.list import describe_proof, hint_at_nothing
from respaldo.cli.options import json_option, load_settings, setting_options
from respaldo.cli.printing import LABEL_WIDTH, Output, format_table, raise_first
from respaldo.cli.reports import summary_document
from respaldo.cli.retain import CATEGORIES, RETENTION, describe_removal
from respaldo.config.settings import Settings
from respaldo.counting import count_backups
from respaldo.errors import RepositoryError, RespaldoError
from respaldo.language import _, ngettext
from respaldo.operations.summary import Amount, Growth, TargetSummary, summarize
from respaldo.repository.records import BackupType
from respaldo.units import format_count, format_duration, format_size

POINTS = 40
_BARS = "▁▂▃▄▅▆▇█"
_SHOWN_NAMES = 3


@click.command(short_help=_("show the state of every target on one screen"))
@setting_options(
    *("rpo_objective_h", "full_every_days", "incrementals_per_full", "largest_share"),
    *("environment", "namespace", "context"),
    *RETENTION,
)
@json_option
@click.pass_context
def summary(context: click.Context, /, flags: dict[str, Any], as_json: bool) -> None:
    """Show the state of every target."""
    run_summary_command(context.obj, load_settings(context, flags), as_json=as_json)


summary.help = _(
    """Show, target by target: the newest backup and its age against the objective, the last proof, how many backups
there are of each category and type and what they take, how the data grew, versions, and what comes next, and when.

What comes next supposes the server as it was at the last backup. Reads the repository alone: no server and no engine;
in Kubernetes the next run is asked of the cluster. Removes and changes nothing.

\b
Examples:
  respaldo summary
  respaldo summary --rpo-objective 12
  respaldo summary --json

\b
Exit codes: 0 done, also where an objective is missed; 10 no repository; 13 a backup or labels are damaged, 20 cannot be
read: the other backups are summed up.
"""
)


def run_summary_command(output: Output, settings: Settings, *, as_json: bool) -> None:
    """Summarize and print; what ``respaldo summary`` and ``--backup-summary`` both do."""
    app = App(settings)
    now = app.clock.now()
    try:
        targets = summarize(app.open_repository(), app.summary_policy(), now=now, next_runs=_next_runs(app))
    except RepositoryError as error:
        if error.exit_code != RepositoryError.exit_code:
            raise
        targets = []
    if as_json:
        output.print_json([summary_document(one) for one in targets])
    elif not targets:
        print(_("No backups found in {directory}").format(directory=settings.repository))
    else:
        print("\n\n".join(_describe(one) for one in targets))
    if not targets:
        hint_at_nothing(output, settings)
    raise_first(output, [damaged.error for one in targets for damaged in one.damaged])


def _next_runs(app: App) -> Mapping[str, datetime]:
    """Return when each target is backed up next. A cluster is asked where it is said to be the place, or is all around:
    its CronJobs stand in no document."""
    if app.settings.environment != "kubernetes" and "KUBERNETES_SERVICE_HOST" not in os.environ:
        return app.next_runs()
    from respaldo.cli.schedule_show import find_cluster, next_cluster_backups

    others: Mapping[str, datetime] = {}
    # A time that is not known keeps nobody from the rest: who may look at the repository may not see CronJobs.
    with suppress(RespaldoError):
        others = next_cluster_backups(find_cluster(app), app.clock.now())
    return app.next_runs(others)


def _describe(one: TargetSummary) -> str:
    lines = [str(one.target)]

    def say(label: str, text: str) -> None:
        lines.append(f"  {label:<{LABEL_WIDTH}} {text}".rstrip())

    if one.last is not None and one.age is not None:
        say(
            _("last backup"),
            _("{name}, {type}, {size}, {age} old").format(
                name=one.last.name,
                type=_(one.last.type.value),
                size=format_size(one.last.totals.stored_bytes),
                age=format_duration(one.age.total_seconds()),
            ),
        )
        verdict = _("met: at most {limit} old") if one.meets_rpo else _("MISSED: at most {limit} old")
        say("RPO", verdict.format(limit=format_duration(one.rpo.total_seconds())))
    else:
        say(_("last backup"), _("there is none"))
    proof = describe_proof(one.last_proof.proof if one.last_proof else None)
    say(_("last proof"), f"{one.last_proof.backup}  {proof}" if one.last_proof else proof)
    say(_("backups"), _amount_text(one.total))
    lines += [f"  {'':<{LABEL_WIDTH}} {line}" for line in _amounts_table(one).splitlines()]
    if len(one.growth) > 1:
        say(_("data"), plot([(point.raw_bytes) for point in one.growth]))
        say(_("stored"), plot([(point.stored_bytes) for point in one.growth]))
        say("", _period(one.growth))
    for number, branch in enumerate(one.branches):
        newest = str(branch.newest.version) if branch.newest else _("none left")
        text = ngettext(
            "{branch}: {count} version, newest {version}", "{branch}: {count} versions, newest {version}", branch.count
        ).format(branch=branch.name, count=format_count(branch.count), version=newest)
        say(_("versions") if number == 0 else "", text)
    if one.pinned:
        text = ngettext("{count} pinned or tagged", "{count} pinned or tagged", one.pinned)
        say(_("pinned"), text.format(count=format_count(one.pinned)))
    if one.damaged:
        names = [damaged.name for damaged in one.damaged]
        say(_("damaged"), ", ".join(names[:_SHOWN_NAMES]) + (", …" if len(names) > _SHOWN_NAMES else ""))
    say(_("retention"), describe_removal(one.retention))
    say(_("next"), f"{_(one.following.type.value)}: {one.following.text}")
    when = f"{one.next_run.astimezone():%Y-%m-%d %H:%M %Z}" if one.next_run else _("no schedule is known to back it up")
    say(_("next run"), when)
    return "\n".join(lines)


def _amount_text(amount: Amount) -> str:
    return _("{count}, {size}").format(count=format_count(amount.count), size=format_size(amount.stored_bytes))


def _amounts_table(one: TargetSummary) -> str:
    header = ["", *(_(kind.value) for kind in BackupType)]
    rows = [header]
    for category, word in CATEGORIES.items():
        amounts = [one.amounts.get((category, kind)) for kind in BackupType]
        if any(amounts):
            rows.append([_(word), *(_amount_text(amount) if amount else "-" for amount in amounts)])
    return format_table(rows) if len(rows) > 1 else ""


def plot(values: Sequence[int]) -> str:
    """Return values over time as a row of bars between the first and the last, from the lowest to the highest."""
    shown = values[-POINTS:]
    low, high = min(shown), max(shown)
    bars = "".join(
        _BARS[round((value - low) * (len(_BARS) - 1) / (high - low))] if high > low else _BARS[3] for value in shown
    )
    return f"{format_size(shown[0])} {bars} {format_size(shown[-1])}"


def _period(growth: Sequence[Growth]) -> str:
    shown = growth[-POINTS:]
    return _("{backups}, {first} to {last}").format(
        backups=count_backups(len(shown)),
        first=f"{shown[0].at.astimezone():%Y-%m-%d}",
        last=f"{shown[-1].at.astimezone():%Y-%m-%d}",
    )
