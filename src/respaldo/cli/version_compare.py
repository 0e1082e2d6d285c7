"""``respaldo version compare``: what changed between two backups, from the repository alone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import click

from respaldo.app import App
from respaldo.cli.choosing import choose_labelled
from respaldo.cli.documents import comparison_document
from respaldo.cli.options import json_option, load_settings, setting_options
from respaldo.cli.printing import Output, Progress, format_table
from respaldo.config.settings import Settings
from respaldo.language import _, ngettext
from respaldo.operations.compare import Comparison, TableComparison, changed_tables, compare_backups
from respaldo.operations.versions import LabelledBackup
from respaldo.postgres.definitions import SchemaObject
from respaldo.units import format_count, format_size


@click.command(short_help=_("show what changed between two backups"))
@click.argument("old")
@click.argument("new")
@setting_options("database")
@json_option
@click.pass_context
def compare(context: click.Context, /, flags: dict[str, Any], old: str, new: str, as_json: bool) -> None:
    """Compare two backups."""
    run_compare_command(context.obj, load_settings(context, flags), old, new, as_json=as_json)


compare.help = _(
    """Show what changed from one backup to another: definitions added, removed and altered, rows and bytes by table,
and, for tables with a primary key, how many rows were added, removed and changed.

OLD and NEW are versions, tags, names of backups, their numbers in the list, or latest. Needs no server and no engine.
Segments that both backups have are not read; of the others each row is.

\b
Examples:
  respaldo version compare 1.0.0-main.1 1.0.1-main.2
  respaldo version compare before_migration latest
  respaldo version compare stable latest --json

\b
Exit codes: 0 done, changed or not; 2 several targets have it; 10 no such version; 13 damaged; 20 storage.
"""
)


def run_compare_command(output: Output, settings: Settings, old: str, new: str, *, as_json: bool) -> None:
    """Compare and print; what ``version compare`` and ``--compare-versions`` both do."""
    sides = [choose_labelled(settings, word, output=output) for word in (old, new)]
    repository = App(settings).open_repository()
    readers = [repository.reader(one.manifest.target, one.manifest.name) for one in sides]
    with Progress(output, _("comparing")) as listen:
        comparison = compare_backups(*readers, listen=listen)
    if as_json:
        output.print_json(comparison_document(sides, comparison))
    else:
        _print(sides, comparison)


def _name(one: LabelledBackup) -> str:
    return f"{one.manifest.name} ({one.version})" if one.version else one.manifest.name


def _print(sides: Sequence[LabelledBackup], comparison: Comparison) -> None:
    print(f"{_name(sides[0])}  ->  {_name(sides[1])}")
    print()
    schema = comparison.schema
    if schema is None:
        print(_("definitions: not compared, one of the backups is of an earlier version"))
    elif not (schema.added or schema.removed or schema.altered):
        print(_("definitions: the same"))
    else:
        print(_("definitions:"))
        _print_objects("+", schema.added)
        _print_objects("-", schema.removed)
        _print_objects("~", schema.altered)
    print()
    changed = changed_tables(comparison.tables)
    if changed:
        header = [_("table"), _("rows"), _("change"), _("data"), _("added"), _("removed"), _("changed")]
        print(format_table([header, *map(_row, changed)]))
    same = len(comparison.tables) - len(changed)
    if same:
        print(
            ngettext(
                "{count} table has the same rows in both", "{count} tables have the same rows in both", same
            ).format(count=format_count(same))
        )
    if comparison.statements_differ:
        print(_("values of sequences, or large objects, differ"))


def _print_objects(mark: str, objects: Sequence[SchemaObject]) -> None:
    for one in objects:
        where = "" if one.schema in {"", "-"} else f"{one.schema}."
        print(f"  {mark} {one.type} {where}{one.name}".replace("\n", " "))


def _row(one: TableComparison) -> list[str]:
    rows, before = one.new_rows or 0, one.old_rows or 0
    size = f"{format_size(one.old_bytes)} -> {format_size(one.new_bytes)}"
    if one.changes is None:
        details = [_(one.remark), "", ""]
    else:
        details = [format_count(number) for number in (one.changes.added, one.changes.removed, one.changes.changed)]
    sign = "+" if rows >= before else "-"
    table = one.table.replace('"', "") if one.table.count('"') == 4 else one.table
    return [table, format_count(rows), f"{sign}{format_count(abs(rows - before))}", size, *details]
