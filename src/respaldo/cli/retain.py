"""``respaldo retain``: remove backups by policy, or say what would be removed and why."""

from __future__ import annotations

from typing import Any

import click

from respaldo.app import App
from respaldo.catalog.retention import Category
from respaldo.cli.announcing import ALL, Announcing
from respaldo.cli.asking import confirm
from respaldo.cli.options import json_option, load_settings, setting_options
from respaldo.cli.printing import Output, format_table
from respaldo.cli.reports import retention_document
from respaldo.config.settings import Settings
from respaldo.counting import count_backups
from respaldo.language import N_, _, ngettext
from respaldo.notify.notice import Operation
from respaldo.operations.retain import RetentionPlan, apply_retention, plan_target
from respaldo.units import format_size

RETENTION = ("retention_daily", "retention_weekly", "retention_monthly", "retention_full", "time_zone")
CATEGORIES = {Category.MONTHLY: N_("monthly"), Category.WEEKLY: N_("weekly"), Category.DAILY: N_("daily")}


@click.command(short_help=_("remove backups by policy"))
@click.option("--dry-run", is_flag=True, help=_("say what would be removed, and why; remove nothing"))
@click.option("--yes", "-y", is_flag=True, help=_("ask nothing"))
@setting_options(*RETENTION)
@json_option
@click.pass_context
def retain(context: click.Context, /, flags: dict[str, Any], dry_run: bool, yes: bool, as_json: bool) -> None:
    """Remove by policy."""
    run_retain_command(context.obj, load_settings(context, flags), dry_run=dry_run, yes=yes, as_json=as_json)


retain.help = _(
    """Remove the backups that the policy does not keep, target by target.

Kept are the newest backup of each of the newest days, weeks and months, the newest fulls, everything pinned, tagged
or with a version, the newest backup of all and the newest proven one, and every base of what is kept. Files of other
programs and damaged backups are not touched. After each successful backup the same happens by itself.

\b
Examples:
  respaldo retain --dry-run
  respaldo retain --yes
  respaldo retain --retention-daily 14 --dry-run

\b
Exit codes: 0 done; 2 wrong use; 10 no repository; 11 locked; 20 storage.
"""
)


def run_retain_command(output: Output, settings: Settings, *, dry_run: bool, yes: bool, as_json: bool) -> None:
    """Plan, say, ask, remove; what ``respaldo retain`` and the flat flags both do."""
    app = App(settings)
    if dry_run:
        _retain(output, app, dry_run=True, yes=yes, as_json=as_json)
        return
    with Announcing(output, app, Operation.RETENTION) as announcing:
        announcing.target = ALL
        _retain(output, app, dry_run=False, yes=yes, as_json=as_json)
        announcing.note(target=ALL)


def _retain(output: Output, app: App, *, dry_run: bool, yes: bool, as_json: bool) -> None:
    repository = app.open_repository()
    policy = app.retention_policy()
    plans = [plan_target(repository, target, policy, now=app.clock.now()) for target in repository.targets()]
    removals = sum(len(plan.removals) for plan in plans)
    if as_json:
        output.print_json([retention_document(plan) for plan in plans])
    else:
        for plan in plans:
            print_plan(plan)
    if dry_run or removals == 0:
        return
    if not (
        yes or confirm(ngettext("Remove {count} backup?", "Remove {count} backups?", removals).format(count=removals))
    ):
        return
    for plan in plans:
        done = apply_retention(repository, plan.target, policy, now=app.clock.now())
        output.line(_("removed"), describe_removal(done))


def print_plan(plan: RetentionPlan) -> None:
    """Print every verdict of one target with its reasons."""
    header = ["", _("name"), _("category"), _("reason")]
    rows = [
        [_("keep") if verdict.keep else _("remove"), verdict.name, _(CATEGORIES[verdict.category]), verdict.text]
        for verdict in plan.verdicts
    ]
    print(f"{plan.target}")
    print(format_table([header, *rows]))


def describe_removal(plan: RetentionPlan) -> str:
    """Say what retention did, in one line."""
    if not plan.removals:
        return _("nothing to remove")
    return _("{backups}, {size}: {names}").format(
        backups=count_backups(len(plan.removals)), size=format_size(plan.freed_bytes), names=", ".join(plan.removals)
    )
