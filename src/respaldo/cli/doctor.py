"""``respaldo doctor``: what would go wrong, before it does."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import click

from respaldo.app import App
from respaldo.cli.options import SERVER, json_option, load_settings, setting_options
from respaldo.cli.printing import Output, Progress
from respaldo.cli.reports import symptom_document
from respaldo.config.settings import Settings
from respaldo.errors import ProofFailedError, RepositoryError
from respaldo.language import _, ngettext


@click.command(short_help=_("say what would go wrong, and what to do about it"))
@setting_options(*SERVER, "rpo_objective_h")
@json_option
@click.pass_context
def doctor(context: click.Context, /, flags: dict[str, Any], as_json: bool) -> None:
    """Examine a target."""
    run_doctor_command(context.obj, load_settings(context, flags), as_json=as_json)


doctor.help = _(
    """Look at a database and its backups, and say what would go wrong on the bad day, each thing with its remedy.

Looks at rights, row security, locks, timeouts, checksums, what a backup would miss, the newest backup and its proof.
Changes nothing.

\b
Examples:
  respaldo doctor
  respaldo doctor --container pc_db
  respaldo doctor --json

\b
Exit codes: 0 nothing bad; 2 wrong use; 30 PostgreSQL; 40 environment; 50 something is bad.
"""
)


def run_doctor_command(output: Output, settings: Settings, *, as_json: bool) -> None:
    """Examine and print; raise ProofFailedError where something is bad."""
    from respaldo.operations.doctor import State, examine

    app = App(settings)
    with Progress(output, "") as listen:
        server = app.find_server(listen)
    try:
        repository = app.open_repository()
    except RepositoryError as error:
        if error.exit_code != RepositoryError.exit_code:
            raise
        repository = None
    objective = timedelta(hours=settings.rpo_objective_h)
    added = app.find_environment().added_files(server.runner.instance)
    symptoms = examine(server, repository, app.target_of(server), now=app.clock.now(), objective=objective, added=added)
    if as_json:
        output.print_json([symptom_document(one) for one in symptoms])
    else:
        marks = {State.GOOD: "✓", State.NOTE: "·", State.BAD: "✗"}
        for one in symptoms:
            print(f"{marks[one.state]} {one.text}" + (f"\n    {one.remedy}" if one.remedy else ""))
    bad = sum(one.state is State.BAD for one in symptoms)
    if bad:
        raise ProofFailedError(
            ngettext("{count} thing is bad", "{count} things are bad", bad).format(count=bad),
            hint=_("the remedy stands below each"),
        )
