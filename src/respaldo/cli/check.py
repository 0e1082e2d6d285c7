"""``respaldo check``: read the repository and say what is damaged."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import click

from respaldo.app import App
from respaldo.cli.announcing import ALL, Announcing
from respaldo.cli.choosing import choose_backup
from respaldo.cli.list import read_backups
from respaldo.cli.options import json_option, load_settings, setting_options
from respaldo.cli.printing import Output, Progress
from respaldo.cli.reports import check_document
from respaldo.config.settings import Settings
from respaldo.counting import count_backups, count_rows
from respaldo.errors import DamagedError, StorageError, UsageError
from respaldo.language import _, ngettext
from respaldo.notify.notice import Operation
from respaldo.operations.check import CheckReport, CheckRequest, Depth, run_check
from respaldo.units import format_size


@click.command(short_help=_("read the backups and say what is damaged"))
@click.argument("name", required=False)
@click.option("--quick", is_flag=True, help=_("manifests and sizes only"))
@click.option("--sample", metavar="PERCENT", help=_("every byte of this share of the segments"))
@setting_options("jobs")
@json_option
@click.pass_context
def check(
    context: click.Context, /, flags: dict[str, Any], name: str | None, quick: bool, sample: str | None, as_json: bool
) -> None:
    """Check the repository."""
    settings = load_settings(context, flags)
    run_check_command(context.obj, settings, _request(settings, name, quick, sample), as_json=as_json)


check.help = _(
    """Read every backup of the repository, or the one named, and compare every byte with what was written.

NAME is a backup's name, its number in the list, a version, a tag or latest.

Needs no server and no engine. Each fault is said with the table and the rows that it puts at stake, and kept beside
the backup: a full whose check failed is not used as a base again. Changes no backup.

\b
Examples:
  respaldo check
  respaldo check --quick
  respaldo check backup_20261124_020000
  respaldo check --sample 5%

\b
Exit codes: 0 all is whole; 2 wrong use; 10 no such backup; 13 something is damaged; 20 something
cannot be read: the rest is checked.
"""
)


def _request(settings: Settings, name: str | None, quick: bool, sample: str | None) -> CheckRequest:
    if quick and sample is not None:
        raise UsageError(_("{first} and {second} contradict each other").format(first="--quick", second="--sample"))
    depth, share = (Depth.QUICK if quick else Depth.FULL), 1.0
    if sample is not None:
        depth = Depth.SAMPLE
        try:
            share = float(sample.removesuffix("%")) / 100
        except ValueError:
            share = 0.0
        if not 0 < share <= 1:
            raise UsageError(
                _("{origin}: {value} is not a valid value").format(origin="--sample", value=sample),
                hint=_("a share above 0 and up to 100, such as 5%"),
            )
    return CheckRequest(depth=depth, share=share, backup=name, jobs=settings.jobs)


def _meant(output: Output, settings: Settings, request: CheckRequest) -> CheckRequest:
    """Return the request with the name of what a number, a version or a tag means; a name means that of each target."""
    word = request.backup
    if word is None:
        return request
    manifests, damaged = read_backups(settings)
    if word in {one.name for one in manifests} | {one.name for one in damaged}:
        return request
    chosen = choose_backup(settings, word, output=output)
    return replace(request, backup=chosen.name, target=chosen.target) if chosen else request


def run_check_command(output: Output, settings: Settings, request: CheckRequest, *, as_json: bool) -> None:
    """Check and print; raise DamagedError where something is."""
    app = App(settings)
    with Announcing(output, app, Operation.CHECK) as announcing:
        announcing.target = request.backup or ALL
        with Progress(output, _("checking")) as listen:
            report = run_check(app.open_repository(), _meant(output, settings, request), clock=app.clock, listen=listen)
        _print(output, report, as_json=as_json)
        failure = _failure(report)
        findings = [finding.message for finding in report.findings]
        announcing.note(target=announcing.target, error=failure, warnings=findings)
        announcing.warn_unkept(report.unkept)
        if failure is not None:
            raise failure


def _print(output: Output, report: CheckReport, *, as_json: bool) -> None:
    if as_json:
        output.print_json(check_document(report))
    elif not report.findings:
        print(
            _("{backups} checked, {size}: all is whole").format(
                backups=count_backups(report.backups), size=format_size(report.read_bytes)
            )
        )
    else:
        for finding in report.findings:
            stake = _("; at stake: {rows} of {table}").format(rows=count_rows(finding.rows), table=finding.table)
            print(finding.message + (stake if finding.table else ""))


def _failure(report: CheckReport) -> DamagedError | StorageError | None:
    if not report.findings:
        return None
    unread = [finding for finding in report.findings if not finding.is_damage]
    if len(unread) == len(report.findings):
        unread_names = ", ".join(sorted({finding.backup for finding in unread}))
        return StorageError(
            _("not everything could be read: {names}").format(names=unread_names), hint=unread[0].remedy or None
        )
    names = ", ".join(sorted({finding.backup for finding in report.findings}))
    return DamagedError(
        ngettext("{count} fault in {names}", "{count} faults in {names}", len(report.findings)).format(
            count=len(report.findings), names=names
        ),
        hint=_("make a full backup now, and bring the damaged objects back from a copy of the repository"),
    )
