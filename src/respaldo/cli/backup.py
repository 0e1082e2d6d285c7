"""``respaldo backup``: back up a database."""

from __future__ import annotations

import dataclasses
from typing import Any

import click

from respaldo.app import App
from respaldo.cli.announcing import Announcing
from respaldo.cli.documents import made_document
from respaldo.cli.fleet_flags import FleetFlags, fleet_options
from respaldo.cli.labelling import label_options
from respaldo.cli.options import SERVER, json_option, load_settings, setting_options
from respaldo.cli.printing import Output, Progress, describe_result
from respaldo.cli.retain import RETENTION, describe_removal
from respaldo.config.settings import Settings
from respaldo.counting import count_rows, count_tables
from respaldo.errors import DONE_WITH_WARNINGS, RespaldoError, UsageError
from respaldo.language import _
from respaldo.notify.notice import Operation
from respaldo.operations.backup import BackupRequest
from respaldo.operations.versions import LabelledBackup, LabelRequest, check_request, label_backup
from respaldo.operations.watch import watch_backup
from respaldo.repository.labels import BackupLabels
from respaldo.repository.records import Manifest
from respaldo.repository.repository import Repository

POLICY = ("jobs", "lock_timeout_s", "full_every_days", "incrementals_per_full", "largest_share")
HOOKS = ("pre_hook", "post_hook", "pre_sql", "post_sql", "hook_timeout_s")


@click.command(short_help=_("back up a database, full or incremental"))
@click.option(
    "--name", "-n", metavar="NAME", help=_("the backup's name, which also pins it [default: backup_DATE_TIME]")
)
@click.option(
    "--type",
    "asked",
    type=click.Choice(["full", "incremental", "auto"]),
    default="auto",
    help=_("override the decision [default: auto]"),
)
@click.option("--replace", is_flag=True, help=_("replace the backup of that name, once the new one is committed"))
@fleet_options
@label_options
@setting_options(*SERVER, "standby", *POLICY, *RETENTION, *HOOKS, "metrics_file")
@json_option
@click.pass_context
def backup(
    context: click.Context,
    flags: dict[str, Any],
    name: str | None,
    asked: str,
    replace: bool,
    fleet: FleetFlags,
    naming: LabelRequest,
    as_json: bool,
) -> None:
    """Back up one database into the repository."""
    if fleet.is_meant:
        if name is not None or flags["database"] is not None:
            raise UsageError(
                _("{first} and {second} contradict each other").format(
                    first=fleet.name,
                    second="--name" if name is not None else "--database",
                ),
                hint=_("one backup of each target is made, named by the time"),
            )
        if not naming.is_empty:
            raise UsageError(
                _("{first} and {second} contradict each other").format(
                    first=fleet.name,
                    second="--branch, --tag, --description, --pin",
                ),
                hint=_("label them afterwards: respaldo version tag"),
            )
        from respaldo.cli.fleet import run_fleet_command

        settings = load_settings(context, flags)
        run_fleet_command(context.obj, settings, asked, fleet, as_json=as_json)
        return
    settings = load_settings(context, flags)
    run_backup_command(context.obj, settings, name, asked, replace=replace, labels=naming, as_json=as_json)


def run_backup_command(
    output: Output,
    settings: Settings,
    name: str | None,
    asked: str | None,
    *,
    replace: bool,
    labels: LabelRequest | None = None,
    as_json: bool,
) -> Manifest:
    """Back up, label, print, retain; what ``respaldo backup`` and the flat flags both do."""
    app = App(settings)
    labels = labels or LabelRequest()
    if name is not None:
        # Who names a backup means to find it again: retention would remove the second of a day with the next one.
        labels = dataclasses.replace(labels, is_pinned=True)
    request = app.backup_request(name=name, asked=asked, replace=replace)
    with Announcing(output, app, Operation.BACKUP) as announcing:
        return _back_up(output, app, announcing, request, labels, as_json=as_json)


def _back_up(
    output: Output, app: App, announcing: Announcing, request: BackupRequest, labels: LabelRequest, *, as_json: bool
) -> Manifest:
    from respaldo.operations.backup import run_backup
    from respaldo.operations.hooks import run_hooked

    begun_s = app.clock.monotonic_s()
    progress = Progress(output, _("backing up"))
    with progress as listen:
        server = app.find_server(listen)
        repository, target = app.open_or_create_repository(), app.target_of(server)
        announcing.target = str(target)
        check_request(repository, target, labels)
        manifest, hook_failure = run_hooked(
            server,
            target,
            app.hooks(),
            lambda: run_backup(server, repository, target, request, clock=app.clock, listen=listen),
        )
    output.backups.append(manifest)
    totals = manifest.totals
    output.line(_("stored"), describe_result(totals.raw_bytes, totals.stored_bytes, app.clock.monotonic_s() - begun_s))
    anomalies = watch_backup(repository, manifest)
    for anomaly in anomalies:
        output.warn(anomaly.text)
    announcing.note(target=str(target), manifest=manifest, warnings=progress.warnings, anomalies=anomalies)
    labelled, failure = _label(repository, manifest, labels)
    if labelled.version is not None:
        output.line(_("version"), str(labelled.version))
    if as_json:
        output.print_json(made_document(labelled, anomalies))
    elif not output.quiet:
        print(
            _("{name}  committed, {tables}, {rows}").format(
                name=manifest.name, tables=count_tables(totals.tables), rows=count_rows(totals.rows)
            )
        )
    if hook_failure is not None:
        announcing.warn(hook_failure.message)
    if failure is not None:
        announcing.warn(_("the backup got no version, tag or pin: {reason}").format(reason=failure.message))
    is_retained = _retain(output, app, manifest, announcing)
    if failure is not None or hook_failure is not None or not is_retained:
        raise click.exceptions.Exit(DONE_WITH_WARNINGS)
    return manifest


def _label(
    repository: Repository, manifest: Manifest, labels: LabelRequest
) -> tuple[LabelledBackup, RespaldoError | None]:
    """Give the backup its labels, and return what failed: it is good without them."""
    bare = LabelledBackup(manifest=manifest, labels=BackupLabels(uid=manifest.uid), version=None)
    if labels.is_empty:
        return bare, None
    try:
        return label_backup(repository, manifest, labels), None
    except RespaldoError as error:
        return bare, error


def _retain(output: Output, app: App, manifest: Manifest, announcing: Announcing) -> bool:
    """Remove by policy. The backup is good whatever comes of this, so a failure is a warning; return False then."""
    from respaldo.operations.retain import apply_retention

    try:
        plan = apply_retention(app.open_repository(), manifest.target, app.retention_policy(), now=app.clock.now())
    except RespaldoError as error:
        announcing.warn(_("old backups were not removed: {reason}").format(reason=error.message))
        return False
    output.line(_("retention"), describe_removal(plan))
    return True


backup.help = _(
    """Back up one database into the repository.

Finds the environment and the instance by itself, decides between a full and an incremental backup, and reads
everything under one snapshot while the database goes on working. A backup is listed only once it is whole.
Changes nothing in the database and installs nothing beside it.

\b
Examples:
  respaldo backup
  respaldo backup --container pc_db --name before_migration
  respaldo --repository /srv/backups backup --type full
  respaldo backup --all
  respaldo backup --branch main --tag stable --description "before schema 42"

\b
Exit codes: 0 done; 1 a hook before it failed; 2 wrong use; 3 done, but not labelled, old backups not removed, a hook
after it failed, with --all a target that is gone, or somebody not told; 11 locked; 20 storage; 30 PostgreSQL;
40 environment.
"""
)
