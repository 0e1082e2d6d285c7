"""Which backup, or which dump file, a person means."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from respaldo.app import App
from respaldo.catalog.strategy import Reason
from respaldo.cli.asking import ask_backup
from respaldo.cli.list import read_backups, read_proofs
from respaldo.cli.printing import Output, raise_first
from respaldo.config.settings import Settings
from respaldo.errors import RepositoryError, UsageError
from respaldo.language import _
from respaldo.repository.records import Manifest

if TYPE_CHECKING:
    from respaldo.operations.versions import LabelledBackup

_ENDINGS = (".sql.gz", ".sql.zst", ".sql", ".dump", ".tar")


def choose_source(settings: Settings, name: str | None, *, output: Output) -> Manifest | Path | None:
    """Return the backup or the dump file that is meant; None where the person cancelled.

    A file that is there is a dump file; ``backups/NAME.sql`` without one is the backup NAME, as the original program
    called it.
    """
    if name is not None:
        path = Path(name)
        if path.exists() and (path.is_file() or (path / "toc.dat").exists()):
            return path
        ending = next((ending for ending in _ENDINGS if name.endswith(ending)), None)
        if ending is not None:
            return _of_file_name(settings, path, ending, output)
    return choose_backup(settings, name, output=output)


def _of_file_name(settings: Settings, path: Path, ending: str, output: Output) -> Manifest | None:
    try:
        return choose_backup(settings, path.name.removesuffix(ending), output=output)
    except RepositoryError as error:
        raise UsageError(
            _("there is no file {path}, and no backup of that name").format(path=path),
            hint=_("respaldo list shows the backups and the files"),
        ) from error


def choose_labelled(settings: Settings, name: str, *, output: Output) -> LabelledBackup:
    """Return what ``choose_backup`` does, with what it is called."""
    from respaldo.operations.versions import list_labelled

    chosen = choose_backup(settings, name, output=output)
    assert chosen is not None, "only who is asked can cancel"
    labelled = list_labelled(App(settings).open_repository(), [chosen.target])
    return next(one for one in labelled if one.manifest.uid == chosen.uid)


def _labelled(settings: Settings, manifests: Sequence[Manifest], word: str) -> list[Manifest]:
    """Return what a version or a tag names: the newest of each target."""
    from respaldo.operations.versions import find_labelled, list_labelled

    if not manifests:
        return []
    targets = sorted({manifest.target for manifest in manifests})
    found = find_labelled(list_labelled(App(settings).open_repository(), targets), word)
    return [one.manifest for one in found]


def choose_backup(settings: Settings, name: str | None, *, output: Output) -> Manifest | None:
    """Return the backup that a person means by a name, a version, a tag, a number in the list or ``latest``; asked
    for where not said.

    None where the person cancelled. Warn of backups that cannot be read where one of them could have been chosen. Raise
    RepositoryError where there is none, UsageError where several targets have one of that name.
    """
    listed, damaged = read_backups(settings)
    if name in {None, "latest"}:
        for one in damaged:
            output.warn(one.error.message)
    manifests = [one for one in listed if settings.database in {None, one.target.database}]
    if name is None:
        if not manifests:
            App(settings).open_repository()  # says so where there is none at all
            raise RepositoryError(
                _("No backups found in {directory}").format(directory=settings.repository),
                hint=_("make one: respaldo backup"),
            )
        return ask_backup(manifests, read_proofs(settings, manifests))
    if name == "latest":
        # Not what a restore replaced: that is what the person wants to get away from.
        found = [manifest for manifest in manifests if manifest.decision.code != Reason.SAFETY] or manifests
    else:
        found = [manifest for manifest in manifests if manifest.name == name]
    if not found:
        found = _labelled(settings, manifests, name)
    if not found and name.isdecimal():
        # The list shows every target, whichever database is meant here.
        found = [one for one in listed[max(0, int(name) - 1) : int(name)] if one in manifests]
    if not found:
        raise_first(output, [one.error for one in damaged if one.name == name])
        App(settings).open_repository()
        raise RepositoryError(
            _("there is no backup {name} in {directory}").format(name=name, directory=settings.repository),
            hint=_("respaldo list shows those that there are"),
        )
    targets = sorted({manifest.target for manifest in found})
    if len(targets) > 1 and settings.container is not None:
        found = [one for one in found if one.target.instance == settings.container] or found
        targets = sorted({manifest.target for manifest in found})
    if len(targets) > 1:
        # Two servers may have a database of one name each: the flag does not tell them apart.
        is_enough = len({target.database for target in targets}) == len(targets)
        raise UsageError(
            _("several targets have a backup {name}: {targets}").format(
                name=name, targets=", ".join(map(str, targets))
            ),
            hint=_("pick one with --database") if is_enough else _("say its number in respaldo list"),
        )
    return found[-1]
