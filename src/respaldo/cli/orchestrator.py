"""The original project's class, for programs that were written with it. New ones take ``respaldo.api``."""

from __future__ import annotations

import argparse
from typing import Any

from respaldo.cli.flat import build_parser, dispatch, load_flat_settings
from respaldo.cli.flat_sense import ACTIONS
from respaldo.cli.list import read_backups
from respaldo.cli.main import run_guarded

_OTHER_NAMES = {"dir": "repository", "list": "list_backups", "json": "as_json", "notification_email": "email_to"}


class UnifiedBackupOrchestrator:
    """Built from an ``argparse.Namespace`` or from keyword arguments named like the flags.

    Its methods return whether all went well, and say on standard error what did not. Exit code 3, done with warnings,
    is well: the backup is there. An attribute of a namespace that is no flag of ours is left alone; an unknown keyword
    is a TypeError.
    """

    def __init__(self, arguments: argparse.Namespace | None = None, **flags: Any) -> None:
        known = vars(build_parser().parse_args([]))
        given = {_OTHER_NAMES.get(name, name): value for name, value in vars(arguments or argparse.Namespace()).items()}
        named = {_OTHER_NAMES.get(name, name): value for name, value in flags.items()}
        unknown = sorted(named.keys() - known.keys())
        if unknown:
            raise TypeError(f"unknown arguments: {', '.join(unknown)}")
        given = {name: value for name, value in given.items() if name in known}
        self._arguments = argparse.Namespace(**{**known, **given, **named})

    def create_backup(self, custom_name: str | None = None, force_overwrite: bool = False) -> bool:
        """Back up; ``custom_name`` and ``force_overwrite`` are ``--name`` and ``--force``."""
        return self._run(name=custom_name or self._arguments.name, force=force_overwrite or self._arguments.force)

    def restore_database(self, path: str | None = None) -> bool:
        """Restore the backup, or the dump file, named ``path``, into the database that ``to`` names or in the place of
        its own; without a path the list is shown to choose from."""
        return self._run(restore=True, restore_file=path or self._arguments.restore_file)

    def list_backups(self) -> list[dict[str, Any]]:
        """Return each backup's ``name``, ``size`` (bytes stored) and ``modified`` (when it was made), oldest first."""
        manifests, _damaged = read_backups(load_flat_settings(self._arguments))
        return [
            {"name": manifest.name, "size": manifest.totals.stored_bytes, "modified": manifest.finished}
            for manifest in manifests
        ]

    def _run(self, **changes: Any) -> bool:
        """Do one thing, whatever else the arguments say should be done."""
        neutral = dict.fromkeys(ACTIONS)
        arguments = argparse.Namespace(**{**vars(self._arguments), **neutral, "retention_dry_run": False, **changes})
        return run_guarded(lambda: dispatch(arguments)) in {0, 3}
