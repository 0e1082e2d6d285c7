"""``respaldo drill``: prove that a backup restores, in a throwaway instance."""

from __future__ import annotations

import errno
import os
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from respaldo.app import App
from respaldo.cli.announcing import Announcing
from respaldo.cli.choosing import choose_backup
from respaldo.cli.documents import drill_document
from respaldo.cli.options import json_option, load_settings, setting_options
from respaldo.cli.printing import Output, Progress
from respaldo.config.settings import Settings
from respaldo.errors import InterruptedRunError, ProofFailedError, RespaldoError, StorageError
from respaldo.language import N_, _
from respaldo.notify.notice import Operation
from respaldo.repository.proof import Proof, ProofKind, Verdict
from respaldo.repository.records import Manifest
from respaldo.repository.repository import Repository
from respaldo.units import format_duration

if TYPE_CHECKING:
    from respaldo.operations.drill import Drilled

_VERDICTS = {"proven": N_("proven"), "failed": N_("failed"), "inconclusive": N_("inconclusive")}
_PHASES = {
    "start": N_("start"),
    "restore": N_("restore"),
    "compare": N_("comparison"),
    "disaster": N_("disaster"),
}


@click.command(short_help=_("prove that a backup restores, in a throwaway instance"))
@click.argument("name", default="latest")
@click.option(
    "--disaster",
    type=click.Choice(["volume", "table-drop", "scramble", "index-corruption", "random"]),
    help=_("destroy the throwaway copy like this, and recover it"),
)
@click.option(
    "--due", metavar="DAYS", type=click.IntRange(0), help=_("drill each target whose newest proof is older than this")
)
@setting_options("environment", "namespace", "context", "host", "port", "database", "user", "jobs")
@click.option("--html", metavar="FILE", help=_("write the report as one HTML file"))
@json_option
@click.pass_context
def drill(
    context: click.Context,
    /,
    flags: dict[str, Any],
    name: str,
    disaster: str | None,
    due: int | None,
    html: str | None,
    as_json: bool,
) -> None:
    """Drill a backup."""
    settings = load_settings(context, flags)
    if html is not None:
        _check_report(html)
    manifests = [choose_backup(settings, name, output=context.obj)] if due is None else find_due(settings, due)
    run_drill_command(context.obj, settings, [one for one in manifests if one], disaster, html, as_json=as_json)


drill.help = _(
    """Restore a backup into a throwaway instance made from the source's own image, and compare everything with it.

Every row, definition, sequence, large object, privilege and index is compared, each phase is timed, and the proof is
kept beside the backup. With --disaster the copy is then destroyed for real and recovered. The instance that the
backup came from is never touched, and the throwaway one is always removed.

\b
Examples:
  respaldo drill
  respaldo drill backup_20261124_020000
  respaldo drill latest --disaster random
  respaldo drill --due 7 --html drills.html

\b
Exit codes: 0 proven; 2 wrong use; 10 no such backup; 20 the report; 40 environment; 50 failed or inconclusive.
"""
)


def find_due(settings: Settings, days: int) -> list[Manifest]:
    """Return the newest backup of each target that no drill has proven for so many days."""
    app = App(settings)
    repository = app.open_repository()
    due = []
    for target in repository.targets():
        manifests = repository.backups(target).manifests
        proven = [
            proof.made
            for manifest in manifests
            for proof in repository.proofs(manifest)
            if proof.kind is ProofKind.DRILL and proof.verdict is Verdict.PROVEN
        ]
        if manifests and (not proven or app.clock.now() - max(proven) > timedelta(days=days)):
            due.append(manifests[-1])
    return due


def run_drill_command(
    output: Output,
    settings: Settings,
    manifests: Sequence[Manifest],
    disaster: str | None,
    html: str | None,
    *,
    as_json: bool,
) -> None:
    """Drill and print; raise ProofFailedError where a verdict is not proven, once all were drilled."""
    app = App(settings)
    with Announcing(output, app, Operation.DRILL) as announcing:
        _drill_all(output, app, announcing, manifests, disaster, html, as_json=as_json)


def _drill_all(
    output: Output,
    app: App,
    announcing: Announcing,
    manifests: Sequence[Manifest],
    disaster: str | None,
    html: str | None,
    *,
    as_json: bool,
) -> None:
    repository = app.open_repository()
    proofs: list[tuple[Manifest, Proof]] = []
    failures: list[tuple[Manifest, RespaldoError]] = []
    for manifest in manifests:
        announcing.target = str(manifest.target)
        try:
            done = _drill_one(output, app, repository, manifest, disaster)
        except InterruptedRunError:
            raise
        except RespaldoError as error:
            # One target's engine that does not answer must not leave the others undrilled.
            failures.append((manifest, error))
            announcing.note(target=str(manifest.target), manifest=manifest, error=error)
            continue
        proof = done.proof
        proofs.append((manifest, proof))
        failure = None if proof.verdict is Verdict.PROVEN else _failure(manifest, proof)
        failures += [(manifest, failure)] if failure is not None else []
        announcing.note(
            target=str(manifest.target),
            manifest=manifest,
            error=failure,
            seconds=sum(proof.seconds.values()),
            warnings=proof.findings,
        )
        if not as_json:
            _print(manifest, proof)
        announcing.warn_unkept(done.unkept)
    if html is not None:
        _write_report(html, proofs)
    if as_json:
        output.print_json([drill_document(manifest.name, proof) for manifest, proof in proofs])
    elif not manifests:
        print(_("no drill is due"))
    if failures:
        raise _sum_up(failures)


def _drill_one(output: Output, app: App, repository: Repository, manifest: Manifest, disaster: str | None) -> Drilled:
    from respaldo.operations.disaster import Disaster
    from respaldo.operations.drill import DrillRequest, run_drill

    reader = repository.reader(manifest.target, manifest.name)
    request = DrillRequest(
        disaster=Disaster.parse(disaster), jobs=app.settings.jobs, overrides=app.connection_overrides(None)
    )
    environment = app.find_environment(manifest.environment)
    with Progress(output, _("restoring")) as listen:
        return run_drill(environment, repository, reader, request, clock=app.clock, listen=listen)


def _failure(manifest: Manifest, proof: Proof) -> ProofFailedError:
    return ProofFailedError(
        _("the drill of {name} ended {verdict}").format(name=manifest.name, verdict=_(_VERDICTS[proof.verdict])),
        hint=_("make a full backup now, and drill that one")
        if proof.verdict is Verdict.FAILED
        else _("that says nothing of the backup: see to what kept the drill from it, and drill again"),
    )


def _sum_up(failures: Sequence[tuple[Manifest, RespaldoError]]) -> RespaldoError:
    """Return one error that tells each; what a drill found out weighs more than one that could not begin."""
    errors = [error for _manifest, error in failures]
    if len(errors) == 1:
        return errors[0]
    worst = next((error for error in errors if isinstance(error, ProofFailedError)), errors[0])
    lines = (f"{manifest.target}: {error.message}" for manifest, error in failures)
    return type(worst)("\n".join(lines), hint=next((error.hint for error in errors if error.hint), None))


def _check_report(path: str) -> None:
    """See that the report can be written there: a drill is long, and must not turn out to be for nothing."""
    place = Path(path)
    if place.is_dir():
        raise _unwritable(path, errno.EISDIR)
    if not place.parent.is_dir():
        raise _unwritable(path, errno.ENOENT)
    if not os.access(place if place.exists() else place.parent, os.W_OK):
        raise _unwritable(path, errno.EACCES)


def _unwritable(path: str, number: int | None) -> StorageError:
    reason = os.strerror(number or errno.EIO)
    return StorageError(_("the report cannot be written to {path}: {error}").format(path=path, error=reason))


def _write_report(path: str, proofs: Sequence[tuple[Manifest, Proof]]) -> None:
    from respaldo.cli.drill_report import render_report

    names = ({key: _(text) for key, text in texts.items()} for texts in (_VERDICTS, _PHASES))
    verdicts, phases = names
    try:
        Path(path).write_text(render_report(proofs, verdicts=verdicts, phases=phases), encoding="utf-8")
    except OSError as error:
        raise _unwritable(path, error.errno) from error


def _print(manifest: Manifest, proof: Proof) -> None:
    print(f"{manifest.name}  {_(_VERDICTS[proof.verdict])}")
    for name, seconds in proof.seconds.items():
        print(f"  {_(_PHASES[name]):<15}{format_duration(seconds)}")
    for finding in proof.findings:
        print(f"  {finding}")
