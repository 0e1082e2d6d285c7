"""``respaldo rto``: recovery times that drills measured, against their objective."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from respaldo.app import App
from respaldo.cli.options import json_option, load_settings, setting_options
from respaldo.cli.printing import Output, format_table
from respaldo.cli.reports import recovery_document, trend_document
from respaldo.config.settings import Settings
from respaldo.errors import StorageError
from respaldo.language import N_, _
from respaldo.metrics.plot import plot_svg, plot_text
from respaldo.metrics.recovery import Recovery, Trend, find_trends, summarize
from respaldo.units import format_duration, format_size

_MONTH_DAYS = 30
GRADES = (N_("excelente"), N_("bueno"), N_("aceptable"), N_("deficiente"))


@click.command(short_help=_("show recovery times against their objective"))
@click.option("--svg", metavar="FILE", help=_("write the plot as a picture"))
@setting_options("rto_objective_s")
@json_option
@click.pass_context
def rto(context: click.Context, /, flags: dict[str, Any], svg: str | None, as_json: bool) -> None:
    """Show recovery times."""
    run_rto_command(context.obj, load_settings(context, flags), svg, as_json=as_json)


rto.help = _(
    """Show how long the recoveries of proven drills took, against the objective: by target and disaster, the trend, and
when the objective will be missed if it goes on so. The grade is of the mean: up to 50 % of the objective excelente,
to 80 % bueno, to 100 % aceptable, above deficiente.

\b
Examples:
  respaldo rto
  respaldo rto --rto-objective 120 --svg rto.svg
  respaldo rto --json

\b
Exit codes: 0 done; 2 wrong use; 10 no repository; 20 storage.
"""
)


def run_rto_command(output: Output, settings: Settings, svg: str | None, *, as_json: bool) -> None:
    """Count and print."""
    from respaldo.operations.recovery import read_recoveries

    app = App(settings)
    recoveries = read_recoveries(app.open_repository())
    objective_s = settings.rto_objective_s
    groups = _groups(recoveries)
    trends = find_trends(recoveries, objective_s, now=app.clock.now())
    if as_json:
        shown = [*map(trend_document, trends)]
        output.print_json(
            {
                "objective_s": objective_s,
                "groups": [
                    {"target": target, "disaster": disaster or None, **recovery_document(summarize(group, objective_s))}
                    for (target, disaster), group in groups.items()
                ],
                "all": recovery_document(summarize(recoveries, objective_s)),
                "trends": shown,
                "missed_on": min((one["missed_on"] for one in shown if one["missed_on"]), default=None),
            }
        )
    elif not recoveries:
        print(_("No drill has proven a recovery yet: respaldo drill makes one."))
    else:
        print(_table(groups, recoveries, objective_s))
        print(plot_text(recoveries, objective_s))
        for trend in trends:
            print(_describe(trend))
    if svg is not None and recoveries:
        objective = _("objective {duration}").format(duration=format_duration(objective_s))
        picture = plot_svg(recoveries, objective_s, title=_("Recovery times"), objective=objective)
        try:
            Path(svg).write_text(picture, encoding="utf-8")
        except OSError as error:
            raise StorageError(
                _("the plot cannot be written to {path}: {error}").format(path=svg, error=error.strerror)
            ) from error


def _groups(recoveries: Sequence[Recovery]) -> dict[tuple[str, str], list[Recovery]]:
    groups: dict[tuple[str, str], list[Recovery]] = {}
    for recovery in sorted(recoveries, key=lambda one: (one.target, one.disaster, one.made)):
        groups.setdefault((recovery.target, recovery.disaster), []).append(recovery)
    return groups


def _describe(trend: Trend) -> str:
    """Return one line on where a target is heading."""
    parts = [
        _("{target}: {seconds:+.1f} s and {size} of data a month").format(
            target=trend.target,
            seconds=_MONTH_DAYS * trend.seconds_per_day,
            size=("-" if trend.bytes_per_day < 0 else "+") + format_size(round(_MONTH_DAYS * abs(trend.bytes_per_day))),
        )
    ]
    if trend.limit_bytes is not None:
        parts.append(_("the objective allows {size}").format(size=format_size(trend.limit_bytes)))
    if trend.missed_on is not None:
        parts.append(_("if it goes on so, it is missed on {date}").format(date=f"{trend.missed_on:%Y-%m-%d}"))
    return "; ".join(parts)


def _table(groups: dict[tuple[str, str], list[Recovery]], recoveries: Sequence[Recovery], objective_s: float) -> str:
    header = [
        _("target"),
        _("disaster"),
        "n",
        _("mean"),
        _("median"),
        "p95",
        _("best"),
        _("worst"),
        _("kept"),
        _("grade"),
    ]
    rows = [header]
    every = [((target, disaster), group) for (target, disaster), group in groups.items()]
    for (target, disaster), group in [*every, ((_("all"), ""), list(recoveries))]:
        found = summarize(group, objective_s)
        if found is not None:
            times = (found.mean_s, found.median_s, found.p95_s, found.best_s, found.worst_s)
            share = f"{100 * found.compliance:.0f} %"
            rows.append([target, disaster, str(found.count), *map(format_duration, times), share, _(found.grade.value)])
    return format_table(rows)
