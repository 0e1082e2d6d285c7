"""``respaldo version tag`` and ``prune``: what changes labels, or removes versions."""

from __future__ import annotations

from typing import Any

import click

from respaldo.app import App
from respaldo.catalog.labels import add_tags, describe, remove_tag
from respaldo.catalog.versions import check_tag
from respaldo.cli.asking import confirm
from respaldo.cli.choosing import choose_labelled
from respaldo.cli.documents import labelled_document
from respaldo.cli.options import json_option, load_settings, setting_options
from respaldo.cli.printing import Output, format_table
from respaldo.cli.reports import prune_document
from respaldo.cli.version_show import open_targets
from respaldo.config.settings import Settings
from respaldo.counting import count_backups
from respaldo.errors import UsageError
from respaldo.language import _, ngettext
from respaldo.operations.versions import PrunePlan, apply_version_prune, change_backup, plan_version_prune
from respaldo.repository.labels import Labels
from respaldo.repository.records import Manifest
from respaldo.units import format_size


@click.command(short_help=_("give a backup a tag, or take one away"))
@click.argument("version")
@click.argument("tag")
@click.option("--description", metavar="TEXT", help=_("describe the backup, too"))
@click.option("--remove", is_flag=True, help=_("take the tag away"))
@setting_options("database")
@json_option
@click.pass_context
def tag(
    context: click.Context,
    /,
    flags: dict[str, Any],
    version: str,
    tag: str,
    description: str | None,
    remove: bool,
    as_json: bool,
) -> None:
    """Tag a backup."""
    if remove and description is not None:
        raise UsageError(
            _("{first} and {second} contradict each other").format(first="--remove", second="--description")
        )
    settings = load_settings(context, flags)
    run_tag_command(context.obj, settings, version, tag, description, remove=remove, as_json=as_json)


tag.help = _(
    """Give a backup a tag, or with --remove take one away.

VERSION is a version, a tag, a backup's name, its number in the list, or latest. Several backups may bear one tag; as
a name it means the newest of them. What has a tag is not removed by retention. Needs no server, and does not wait for
a backup that runs.

\b
Examples:
  respaldo version tag 1.2.0-main.4 stable
  respaldo version tag latest before_migration --description "schema 41"
  respaldo version tag 1.2.0-main.4 stable --remove

\b
Exit codes: 0 done; 2 wrong use; 10 no such version; 11 others change labels; 13 labels are damaged; 20 storage.
"""
)


@click.command(short_help=_("keep the newest versions of each branch"))
@click.argument("keep", type=click.IntRange(min=0), metavar="N")
@click.option("--dry-run", is_flag=True, help=_("say what would be removed, and why; remove nothing"))
@click.option("--yes", "-y", is_flag=True, help=_("ask nothing"))
@setting_options("database")
@json_option
@click.pass_context
def prune(context: click.Context, /, flags: dict[str, Any], keep: int, dry_run: bool, yes: bool, as_json: bool) -> None:
    """Clean up versions."""
    settings = load_settings(context, flags)
    run_prune_command(context.obj, settings, keep, dry_run=dry_run, yes=yes, as_json=as_json)


prune.help = _(
    """Remove the backups of all but the N newest versions of each branch.

Backups without a version are not touched. What is pinned or tagged stays, and the newest backup, the newest proven one,
what a restore replaced lately, and every base of what stays. A branch's numbers are not given again.

\b
Examples:
  respaldo version prune 5 --dry-run
  respaldo version prune 5 --yes
  respaldo version prune 10 --database shop

\b
Exit codes: 0 done; 2 wrong use; 10 no repository; 11 locked; 13 labels are damaged; 20 storage.
"""
)


def run_tag_command(
    output: Output, settings: Settings, word: str, name: str, description: str | None, *, remove: bool, as_json: bool
) -> None:
    """Tag and say so; what ``version tag`` and ``--create-tag`` both do."""
    check_tag(name)
    manifest = choose_labelled(settings, word, output=output).manifest

    def change(labels: Labels, of: Manifest) -> Labels:
        if remove:
            return remove_tag(labels, of, name)
        labels = add_tags(labels, of, [name])
        return labels if description is None else describe(labels, of, description)

    one = change_backup(App(settings).open_repository(), manifest, change)
    if as_json:
        output.print_json(labelled_document(one))
    elif not output.quiet:
        tags = ", ".join(one.labels.tags) or _("none")
        print(_("{name}: tags {tags}").format(name=manifest.name, tags=tags))


def run_prune_command(
    output: Output, settings: Settings, keep: int, *, dry_run: bool, yes: bool, as_json: bool
) -> None:
    """Plan, say, ask, remove; what ``version prune`` and ``--cleanup-versions`` both do."""
    app = App(settings)
    repository = app.open_repository()
    _opened, targets = open_targets(settings)
    plans = [plan_version_prune(repository, target, keep=keep, now=app.clock.now()) for target in targets]
    if as_json:
        output.print_json([prune_document(plan) for plan in plans])
    else:
        _print(plans, settings)
    removals = sum(len(plan.removals) for plan in plans)
    if (
        dry_run
        or not removals
        or not (
            yes
            or confirm(ngettext("Remove {count} backup?", "Remove {count} backups?", removals).format(count=removals))
        )
    ):
        return
    for plan in plans:
        if plan.removals:
            done = apply_version_prune(repository, plan.target, keep=keep, now=app.clock.now())
            removed = _("{backups}, {size}: {names}").format(
                backups=count_backups(len(done.removals)),
                size=format_size(done.freed_bytes),
                names=", ".join(done.removals),
            )
            output.line(_("removed"), removed)


def _print(plans: list[PrunePlan], settings: Settings) -> None:
    shown = [plan for plan in plans if plan.verdicts]
    if not shown:
        print(_("No versions found in {directory}").format(directory=settings.repository))
    for plan in shown:
        print(f"{plan.target}")
        rows = [["", _("version"), _("name"), _("reason")]]
        rows += [
            [_("keep") if one.keep else _("remove"), str(one.version), one.name, one.text] for one in plan.verdicts
        ]
        print(format_table(rows))
