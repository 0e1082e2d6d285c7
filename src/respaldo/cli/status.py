"""``respaldo status``: whether the backups are fresh, for people and for probes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import click

from respaldo.app import App
from respaldo.cli.announcing import say_undelivered, write_metrics_file
from respaldo.cli.options import json_option, load_settings, setting_options
from respaldo.cli.printing import Output, format_table, raise_first
from respaldo.cli.reports import status_document
from respaldo.config.settings import Settings
from respaldo.errors import DONE_WITH_WARNINGS, StaleError
from respaldo.language import _
from respaldo.operations.status import TargetStatus
from respaldo.units import format_duration


@click.command(short_help=_("say whether the backups are fresh; a probe's exit code"))
@click.option("--notify", is_flag=True, help=_("tell of what is late, once a day, and deliver what is still to be"))
@setting_options("rpo_objective_h", "rto_objective_s", "retired", "metrics_file")
@json_option
@click.pass_context
def status(context: click.Context, /, flags: dict[str, Any], notify: bool, as_json: bool) -> None:
    """Say whether the backups are fresh."""
    run_status_command(context.obj, load_settings(context, flags), notify=notify, as_json=as_json)


status.help = _(
    """Say of each target how old its newest good backup is against the objective, when a proof was last made, and what
failed since. Fast, and asks no server: fit for a health check or a probe. Changes no backup.

With --notify it tells of targets that are late, each day once: call it every hour from cron, on another machine if you
can, and a schedule that stopped is noticed. It also delivers the messages that a channel did not take before.

\b
Examples:
  respaldo status
  respaldo status --rpo-objective 26 --json
  respaldo status --notify
  respaldo status --retired old_db/old_db

\b
Exit codes: 0 all are fresh; 2 wrong use; 3 fresh, but somebody was not told; 10 no repository; 13 a backup is damaged,
20 cannot be read: the others are told of; 51 a target is late, or there is no backup.
"""
)


def run_status_command(output: Output, settings: Settings, *, notify: bool, as_json: bool) -> None:
    """Read, print, tell; raise StaleError where a target is late."""
    app = App(settings)
    targets = app.read_status()
    is_told = True
    if notify:
        deliveries = app.announcer().look(app.open_repository(), next_runs=app.next_runs())
        say_undelivered(output, deliveries)
        is_told = not deliveries
    is_told &= write_metrics_file(output, app)
    if as_json:
        output.print_json([status_document(one) for one in targets])
    elif not targets:
        print(_("No backups found in {directory}").format(directory=settings.repository))
    else:
        print(_table(targets))
    late = [str(one.target) for one in targets if not one.is_fresh]
    damaged = [damaged.error for one in targets for damaged in one.damaged]
    if late or not targets:
        for error in damaged:
            output.warn(error.message)
        raise StaleError(
            _("late: {names}").format(names=", ".join(late)) if late else _("there is no backup"),
            hint=_("respaldo backup makes one; respaldo doctor says what is in its way"),
        )
    raise_first(output, damaged)
    if not is_told:
        raise click.exceptions.Exit(DONE_WITH_WARNINGS)


def _table(targets: Sequence[TargetStatus]) -> str:
    facts = [_("age"), _("objective"), _("newest backup"), _("proof"), _("failed runs"), _("next run")]
    rows = [
        [
            _state(one),
            str(one.target),
            "" if one.age is None else format_duration(one.age.total_seconds()),
            format_duration(one.rpo.total_seconds()),
            one.newest.name if one.newest else "",
            f"{one.proof.made.astimezone():%Y-%m-%d %H:%M}" if one.proof else _("never"),
            str(one.remembered.in_a_row or ""),
            f"{one.next_run.astimezone():%Y-%m-%d %H:%M}" if one.next_run else "",
        ]
        for one in targets
    ]
    errors = [
        f"{one.target}: {one.remembered.last_error}"
        for one in targets
        if one.remembered.in_a_row and not one.is_retired
    ]
    return "\n".join([format_table([["", _("target"), *facts], *rows]), *errors])


def _state(one: TargetStatus) -> str:
    if one.is_retired:
        return _("retired")
    return _("fresh") if one.is_fresh else _("LATE")
