"""``respaldo list``: show the backups of a repository."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import click

from respaldo.app import App
from respaldo.catalog.labels import labels_of, version_of
from respaldo.cli.documents import labelled_document
from respaldo.cli.options import json_option, load_settings
from respaldo.cli.printing import Output, format_table, raise_first
from respaldo.config.settings import Settings
from respaldo.errors import DamagedError, RepositoryError, StorageError
from respaldo.language import _
from respaldo.operations.proofs import newest_proofs
from respaldo.operations.versions import LabelledBackup
from respaldo.repository.format import REPOSITORY
from respaldo.repository.labels import Labels
from respaldo.repository.proof import Proof, ProofKind
from respaldo.repository.records import DamagedBackup, Manifest, TargetPath
from respaldo.units import format_count, format_size

FOREIGN_ENDINGS = (".sql", ".sql.gz", ".sql.zst", ".dump", ".tar")


@click.command(name="list", short_help=_("show the backups, newest last"))
@json_option
@click.pass_context
def list_command(context: click.Context, as_json: bool) -> None:
    """Show the backups."""
    run_list_command(context.obj, load_settings(context, {}), as_json=as_json)


list_command.help = _(
    """Show the backups of the repository, the oldest first, numbered.

Reads the repository alone: no server and no engine. Dump files of other programs that lie in the directory are
shown as files. Removes and changes nothing.

\b
Examples:
  respaldo list
  respaldo list --json
  respaldo --verbose list

\b
Exit codes: 0 done, also when there is none; 13 a manifest or the labels are damaged, or a base is missing;
20 something cannot be read: the rest is listed.
"""
)


def run_list_command(output: Output, settings: Settings, *, as_json: bool) -> list[Manifest]:
    """Print the table; what ``respaldo list`` and ``--list`` both do. Return what was listed."""
    manifests, damaged = read_backups(settings)
    proofs = read_proofs(settings, manifests)
    labelled, unlabelled = read_labelled(settings, manifests)
    files = [] if as_json else _foreign_files(Path(settings.repository))
    if as_json:
        output.print_json([labelled_document(one, proofs.get(one.manifest.uid)) for one in labelled])
    elif manifests:
        print_table(manifests, proofs, labelled if output.verbose else None)
    elif not damaged:
        print(_("No backups found in {directory}").format(directory=settings.repository))
    if files:
        print(_("Files of other programs in {directory}:").format(directory=settings.repository))
        for path in files:
            print(f"  {path.name}  {format_size(path.stat().st_size)}")
    if not manifests and not damaged:
        hint_at_nothing(output, settings)
    raise_first(output, [*(one.error for one in damaged), *unlabelled])
    return manifests


def hint_at_nothing(output: Output, settings: Settings) -> None:
    """Say what to do where there is no repository yet: nothing was backed up, or the directory is mistyped."""
    place = Path(settings.repository).absolute()
    if "://" in settings.repository or (place / REPOSITORY).exists():
        return
    above = next((parent for parent in place.parents[:3] if (parent / REPOSITORY).exists()), None)
    if above is not None:
        output.hint(_("{location} is inside a repository: -d {above}").format(location=place, above=above))
    else:
        text = _("there is no repository in {location}: respaldo backup begins one; another directory is named by -d")
        output.hint(text.format(location=place))


def print_table(
    manifests: Sequence[Manifest], proofs: Mapping[str, Proof], labelled: Sequence[LabelledBackup] | None = None
) -> None:
    """Print the numbered table; with each one's target where there are several. ``labelled``: say more of each, these
    labels too."""
    print("\n".join(table_lines(manifests, proofs, labelled)))


def table_lines(
    manifests: Sequence[Manifest], proofs: Mapping[str, Proof], labelled: Sequence[LabelledBackup] | None = None
) -> list[str]:
    """Return the lines of ``print_table``: the heading, and one for each backup."""
    several = len({manifest.target for manifest in manifests}) > 1
    return _table(manifests, proofs, labelled, with_target=several or labelled is not None).split("\n")


def read_backups(settings: Settings) -> tuple[list[Manifest], list[DamagedBackup]]:
    """Return every backup of the repository, the oldest first; none where there is no repository yet."""
    app = App(settings)
    try:
        repository = app.open_repository()
    except RepositoryError as error:
        is_other = (Path(settings.repository) / REPOSITORY).exists()
        if error.exit_code != RepositoryError.exit_code or is_other or _has_content(Path(settings.repository)):
            raise
        return [], []
    manifests: list[Manifest] = []
    damaged: list[DamagedBackup] = []
    for target in repository.targets():
        try:
            listing = repository.backups(target)
        except StorageError as error:  # of one target: the others are shown
            damaged.append(DamagedBackup(name=str(target), error=error))
        else:
            manifests += listing.manifests
            damaged += listing.damaged
    manifests.sort(key=lambda manifest: (manifest.started, manifest.name))
    return manifests, damaged


def read_proofs(settings: Settings, manifests: Sequence[Manifest]) -> dict[str, Proof]:
    """Return each backup's newest conclusive proof by the backup's uid."""
    if not manifests:
        return {}
    repository = App(settings).open_repository()
    return {manifest.uid: proof for manifest in manifests for proof in newest_proofs(repository, [manifest]).values()}


def read_labelled(
    settings: Settings, manifests: Sequence[Manifest]
) -> tuple[list[LabelledBackup], list[DamagedError | StorageError]]:
    """Return the backups with what they are called, and what kept some from it: they are listed all the same."""
    if not manifests:
        return [], []
    repository = App(settings).open_repository()
    labels: dict[TargetPath, Labels] = {}
    errors: list[DamagedError | StorageError] = []
    for target in sorted({manifest.target for manifest in manifests}):
        try:
            labels[target] = repository.labels(target).read()
        except (DamagedError, StorageError) as error:
            labels[target] = Labels()
            errors.append(error)
    found = [
        LabelledBackup(
            manifest=one, labels=labels_of(labels[one.target], one), version=version_of(labels[one.target], one)
        )
        for one in manifests
    ]
    return found, errors


def describe_proof(proof: Proof | None) -> str:
    """Say what is known of a backup: proven by a drill, read through by a check, failed, or nothing yet."""
    if proof is None:
        return _("none")
    if proof.has_failed:
        return _("FAILED {date}").format(date=f"{proof.made.astimezone():%Y-%m-%d}")
    what = _("proven {date}") if proof.kind is ProofKind.DRILL else _("checked {date}")
    return what.format(date=f"{proof.made.astimezone():%Y-%m-%d}")


def _has_content(directory: Path) -> bool:
    """Tell whether backups lie there without the document that makes it a repository."""
    return directory.is_dir() and any(directory.glob("*/*/*/manifest.json"))


def _foreign_files(directory: Path) -> list[Path]:
    if not directory.is_dir():
        return []
    return sorted(path for path in directory.iterdir() if path.is_file() and path.name.endswith(FOREIGN_ENDINGS))


def _table(
    manifests: Sequence[Manifest],
    proofs: Mapping[str, Proof],
    labelled: Sequence[LabelledBackup] | None,
    *,
    with_target: bool,
) -> str:
    header = ["#", _("name"), _("type"), _("size"), _("date"), _("proof")]
    if with_target:
        header.append(_("target"))
    if labelled is not None:
        header += [_("tables"), _("rows"), _("data"), _("base"), _("version"), _("tags")]
    rows = [header]
    for number, manifest in enumerate(manifests, 1):
        totals = manifest.totals
        row = [
            str(number),
            manifest.name,
            _(manifest.type.value),
            format_size(totals.stored_bytes),
            f"{manifest.started.astimezone():%Y-%m-%d %H:%M}",
            describe_proof(proofs.get(manifest.uid)),
        ]
        if with_target:
            row.append(str(manifest.target))
        if labelled is not None:
            one = labelled[number - 1]
            counts = [format_count(totals.tables), format_count(totals.rows), format_size(totals.raw_bytes)]
            tags = [*one.labels.tags, *([_("pinned")] if one.labels.is_pinned else [])]
            row += [*counts, manifest.base or "", str(one.version or ""), ", ".join(tags)]
        rows.append(row)
    return format_table(rows)
