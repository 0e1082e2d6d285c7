"""``respaldo version list``, ``info``, ``branches``, ``tags``: what there is. Read the repository alone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import click

from respaldo.app import App
from respaldo.cli.choosing import choose_labelled
from respaldo.cli.documents import branch_document, labelled_document, tag_document
from respaldo.cli.list import describe_proof, hint_at_nothing, read_proofs
from respaldo.cli.options import json_option, load_settings, setting_options
from respaldo.cli.printing import Output, format_table, raise_first
from respaldo.config.settings import Settings
from respaldo.errors import RepositoryError
from respaldo.language import _
from respaldo.operations.versions import (
    LabelledBackup,
    list_branches,
    list_tags,
    read_labelled,
    select_versions,
)
from respaldo.repository.records import DamagedBackup, TargetPath
from respaldo.repository.repository import Repository
from respaldo.units import format_count, format_size

INDENT = 15


@click.command(name="list", short_help=_("show the versions, the newest first"))
@click.option("--branch", metavar="NAME", help=_("those of this branch only"))
@click.option("--tag", metavar="NAME", help=_("those with this tag only"))
@click.option("--limit", type=click.IntRange(min=1), metavar="N", help=_("at most so many"))
@setting_options("database")
@json_option
@click.pass_context
def list_versions(
    context: click.Context,
    /,
    flags: dict[str, Any],
    branch: str | None,
    tag: str | None,
    limit: int | None,
    as_json: bool,
) -> None:
    """Show the versions."""
    settings = load_settings(context, flags)
    run_list_versions_command(context.obj, settings, branch=branch, tag=tag, limit=limit, as_json=as_json)


list_versions.help = _(
    """Show the backups that have a version, the newest first, with their tags and descriptions.

Reads the repository alone: no server and no engine. Backups without a version are in respaldo list only.

\b
Examples:
  respaldo version list
  respaldo version list --branch main --limit 5
  respaldo version list --tag stable --json

\b
Exit codes: 0 done, also when there is none; 13 labels or a backup are damaged; 20 storage.
"""
)


@click.command(short_help=_("show all that is known of one version"))
@click.argument("version")
@setting_options("database")
@json_option
@click.pass_context
def info(context: click.Context, /, flags: dict[str, Any], version: str, as_json: bool) -> None:
    """Show one version."""
    run_info_command(context.obj, load_settings(context, flags), version, as_json=as_json)


info.help = _(
    """Show a backup's version, branch, tags, description, size, type, base, proof and where it came from.

VERSION is a version, its three numbers, a tag, a backup's name, its number in the list, or latest.

\b
Examples:
  respaldo version info 1.2.0-main.4
  respaldo version info stable
  respaldo version info latest --json

\b
Exit codes: 0 done; 2 several targets have it; 10 no such version; 13 damaged; 20 storage.
"""
)


@click.command(short_help=_("show the branches and the newest version of each"))
@setting_options("database")
@json_option
@click.pass_context
def branches(context: click.Context, /, flags: dict[str, Any], as_json: bool) -> None:
    """Show the branches."""
    run_branches_command(context.obj, load_settings(context, flags), as_json=as_json)


branches.help = _(
    """Show each branch: how many versions it has, the newest, and the one that the next backup would get.

A branch whose versions were all removed stays in the list: its numbers are not given again.

\b
Examples:
  respaldo version branches
  respaldo version branches --json
  respaldo version branches --database shop

\b
Exit codes: 0 done, also when there is none; 13 labels or a backup are damaged; 20 storage.
"""
)


@click.command(short_help=_("show the tags and what bears them"))
@setting_options("database")
@json_option
@click.pass_context
def tags(context: click.Context, /, flags: dict[str, Any], as_json: bool) -> None:
    """Show the tags."""
    run_tags_command(context.obj, load_settings(context, flags), as_json=as_json)


tags.help = _(
    """Show each tag with the backups that bear it, those without a version too.

What has a tag is not removed by retention, nor by a clean-up of versions.

\b
Examples:
  respaldo version tags
  respaldo version tags --json
  respaldo version tags --database shop

\b
Exit codes: 0 done, also when there is none; 13 labels or a backup are damaged; 20 storage.
"""
)


def open_targets(settings: Settings) -> tuple[Repository | None, list[TargetPath]]:
    """Return the repository and the targets that are meant; None where there is no repository yet."""
    try:
        repository = App(settings).open_repository()
    except RepositoryError as error:
        if error.exit_code != RepositoryError.exit_code:
            raise
        return None, []
    meant = [target for target in repository.targets() if settings.database in (None, target.database)]
    return repository, meant


def run_list_versions_command(
    output: Output, settings: Settings, *, branch: str | None, tag: str | None, limit: int | None, as_json: bool
) -> None:
    """Print the versions; what ``version list`` and ``--list-versions`` both do."""
    repository, targets = open_targets(settings)
    backups, damaged = read_labelled(repository, targets) if repository is not None else ([], [])
    chosen = select_versions(backups, branch=branch, tag=tag, limit=limit)
    if as_json:
        output.print_json([labelled_document(one) for one in chosen])
    elif not chosen:
        print(_("No versions found in {directory}").format(directory=settings.repository))
    else:
        print(_table(chosen))
    _conclude(output, settings, repository, damaged)


def _conclude(
    output: Output, settings: Settings, repository: Repository | None, damaged: Sequence[DamagedBackup]
) -> None:
    """Raise the error of a backup that is not among those shown, since it cannot be read; hint where there is none."""
    if repository is None:
        hint_at_nothing(output, settings)
    else:
        raise_first(output, [one.error for one in damaged])


def _table(chosen: Sequence[LabelledBackup]) -> str:
    several = len({one.manifest.target for one in chosen}) > 1
    header = [_("version"), _("name"), _("type"), _("size"), _("date"), _("tags"), _("description")]
    rows = [[*header, _("target")] if several else header]
    for one in chosen:
        row = [
            str(one.version),
            one.manifest.name,
            _(one.manifest.type.value),
            format_size(one.manifest.totals.stored_bytes),
            f"{one.manifest.started.astimezone():%Y-%m-%d %H:%M}",
            ", ".join(one.labels.tags),
            one.labels.description,
        ]
        rows.append([*row, str(one.manifest.target)] if several else row)
    return format_table(rows)


def run_info_command(output: Output, settings: Settings, word: str, *, as_json: bool) -> None:
    """Print one version; what ``version info`` and ``--version-info`` both do."""
    one = choose_labelled(settings, word, output=output)
    manifest = one.manifest
    proof = read_proofs(settings, [manifest]).get(manifest.uid)
    if as_json:
        output.print_json(labelled_document(one, proof))
        return
    totals = manifest.totals
    lines = [
        (_("version"), str(one.version) if one.version else _("none")),
        (_("branch"), one.version.branch if one.version else ""),
        (_("tags"), ", ".join(one.labels.tags)),
        (_("description"), one.labels.description),
        (_("pinned"), _("yes") if one.labels.is_pinned else _("no")),
        (_("name"), manifest.name),
        (_("target"), str(manifest.target)),
        (_("type"), _(manifest.type.value)),
        (_("base"), manifest.base or ""),
        (_("date"), f"{manifest.started.astimezone():%Y-%m-%d %H:%M:%S}"),
        (_("tables"), format_count(totals.tables)),
        (_("rows"), format_count(totals.rows)),
        (_("data"), format_size(totals.raw_bytes)),
        (_("size"), format_size(totals.stored_bytes)),
        (_("proof"), describe_proof(proof)),
        ("PostgreSQL", manifest.server.get("version", "")),
    ]
    for label, text in lines:
        if text:
            print(f"{label:<{INDENT}} {text}")


def run_branches_command(output: Output, settings: Settings, *, as_json: bool) -> None:
    """Print the branches; what ``version branches`` and ``--list-branches`` both do."""
    repository, targets = open_targets(settings)
    found = list_branches(repository, targets) if repository is not None else []
    damaged = [one for target in targets for one in repository.backups(target).damaged] if repository else []
    if as_json:
        output.print_json([branch_document(one) for one in found])
    elif not found:
        print(_("No versions found in {directory}").format(directory=settings.repository))
    else:
        several = len({one.target for one in found}) > 1
        header = [_("branch"), _("versions"), _("newest"), _("next")]
        rows = [[*header, _("target")] if several else header]
        for one in found:
            newest = str(one.newest.version) if one.newest else _("none left")
            row = [one.name, format_count(one.count), newest, str(one.following)]
            rows.append([*row, str(one.target)] if several else row)
        print(format_table(rows))
    _conclude(output, settings, repository, damaged)


def run_tags_command(output: Output, settings: Settings, *, as_json: bool) -> None:
    """Print the tags; what ``version tags`` and ``--list-tags`` both do."""
    repository, targets = open_targets(settings)
    backups, damaged = read_labelled(repository, targets) if repository is not None else ([], [])
    found = list_tags(backups)
    if as_json:
        output.print_json([tag_document(tag, tagged) for tag, tagged in found.items()])
    elif not found:
        print(_("No tags found in {directory}").format(directory=settings.repository))
    else:
        rows = [[_("tag"), _("version"), _("name"), _("date"), _("target")]]
        rows += [
            [
                tag,
                str(one.version) if one.version else "-",
                one.manifest.name,
                f"{one.manifest.started.astimezone():%Y-%m-%d %H:%M}",
                str(one.manifest.target),
            ]
            for tag, tagged in found.items()
            for one in tagged
        ]
        print(format_table(rows))
    _conclude(output, settings, repository, damaged)
