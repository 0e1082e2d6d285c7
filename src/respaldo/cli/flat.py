"""The flat flags of ``backup_orchestrator.py``, translated to the commands: no logic of its own."""

from __future__ import annotations

import argparse
import os
from typing import Any

from respaldo.cli.list import read_backups, run_list_command
from respaldo.cli.main import run_guarded
from respaldo.cli.options import help_of
from respaldo.cli.printing import Output
from respaldo.config.settings import Settings
from respaldo.errors import UsageError
from respaldo.language import _

KUBERNETES_FLAGS = ("pod", "namespace", "k8s_container")
RETENTION_FLAGS = ("retention_daily", "retention_weekly", "retention_monthly", "retention_full")


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of the documented flags."""
    parser = argparse.ArgumentParser(
        prog="backup_orchestrator.py",
        description=_("back up PostgreSQL in Docker or Kubernetes, and list and restore the backups"),
        epilog=_("without flags: find PostgreSQL, decide between full and incremental, and back up"),
    )
    parser.add_argument("--name", "-n", metavar="NAME", help=_("the backup's name [default: backup_DATE_TIME]"))
    parser.add_argument("--dir", "-d", dest="repository", metavar="DIR", help=_help("repository"))
    parser.add_argument("--container", "-c", metavar="NAME", help=_help("container"))
    parser.add_argument("--pod", metavar="NAME", help=_help("pod"))
    parser.add_argument("--namespace", metavar="NAME", help=_help("namespace"))
    parser.add_argument("--k8s-container", metavar="NAME", help=_help("k8s_container"))
    parser.add_argument("--labels", metavar="K=V[,K=V]", help=_help("labels"))
    parser.add_argument("--database", metavar="NAME", help=_help("database"))
    parser.add_argument("--user", metavar="NAME", help=_help("user"))
    places = parser.add_mutually_exclusive_group()
    places.add_argument("--force-docker", action="store_true", help=_("use Docker"))
    places.add_argument("--force-kubernetes", action="store_true", help=_("use Kubernetes"))
    places.add_argument(
        "--auto-detect", action="store_true", help=_("find the environment, which is what happens anyway")
    )
    kinds = parser.add_mutually_exclusive_group()
    kinds.add_argument(
        "--backup-type", choices=["full", "incremental", "auto"], help=_("override the decision [default: auto]")
    )
    kinds.add_argument("--force-full", action="store_true", help=_("make a full backup"))
    parser.add_argument(
        "--force", "-f", action="store_true", help=_("replace the backup of that name, once the new one is committed")
    )
    actions = parser.add_mutually_exclusive_group()
    actions.add_argument("--list", "-l", dest="list_backups", action="store_true", help=_("show the backups"))
    actions.add_argument("--restore", action="store_true", help=_("restore a backup"))
    actions.add_argument("--apply-retention", action="store_true", help=_("remove backups by policy"))
    actions.add_argument(
        "--retention-dry-run", action="store_true", help=_("say what would be removed, and why; remove nothing")
    )
    for name in RETENTION_FLAGS:
        parser.add_argument(f"--{name.replace('_', '-')}", metavar="N", help=_help(name))
    parser.add_argument("--restore-file", metavar="NAME", help=_("the backup to restore"))
    parser.add_argument("--to", metavar="DATABASE", help=_("the new database's name"))
    parser.add_argument("--yes", "-y", action="store_true", help=_("ask nothing"))
    loudness = parser.add_mutually_exclusive_group()
    loudness.add_argument("--verbose", "-v", action="store_true", help=_("say more"))
    loudness.add_argument("--quiet", "-q", action="store_true", help=_("say errors only"))
    parser.add_argument("--no-color", action="store_true", help=_("use no colour [env: NO_COLOR]"))
    parser.add_argument("--json", dest="as_json", action="store_true", help=_("print the result as JSON"))
    return parser


def run_flat(arguments: argparse.Namespace) -> int:
    """Do what the flags say; return the exit code, every error said in one line with its hint."""
    return run_guarded(lambda: _dispatch(arguments))


def _dispatch(arguments: argparse.Namespace) -> None:
    if not arguments.restore and (arguments.restore_file is not None or arguments.to is not None):
        raise UsageError(
            _("--restore-file and --to belong to --restore"), hint=_("add --restore, or leave them out to back up")
        )
    output = Output(verbose=arguments.verbose, quiet=arguments.quiet, no_color=arguments.no_color)
    settings = _settings(arguments)
    if arguments.list_backups:
        run_list_command(output, settings, as_json=arguments.as_json)
    elif arguments.restore:
        from respaldo.cli.restore import run_restore_command
        from respaldo.cli.restore_flags import RestoreFlags

        flags = RestoreFlags(name=arguments.restore_file, to=arguments.to, yes=arguments.yes, as_json=arguments.as_json)
        run_restore_command(output, settings, flags)
    elif arguments.apply_retention or arguments.retention_dry_run:
        from respaldo.cli.retain import run_retain_command

        # The original program asked nothing here; its users' scripts have no one to answer.
        dry_run = arguments.retention_dry_run
        run_retain_command(output, settings, dry_run=dry_run, yes=True, as_json=arguments.as_json)
    else:
        _back_up(output, settings, arguments)


def _back_up(output: Output, settings: Settings, arguments: argparse.Namespace) -> None:
    from respaldo.cli.backup import run_backup_command

    asked = "full" if arguments.force_full else arguments.backup_type
    run_backup_command(output, settings, arguments.name, asked, replace=arguments.force, as_json=arguments.as_json)


def _settings(arguments: argparse.Namespace) -> Settings:
    names = ("repository", "container", "labels", "database", "user", *KUBERNETES_FLAGS, *RETENTION_FLAGS)
    flags: dict[str, Any] = {name: getattr(arguments, name) for name in names}
    if arguments.force_docker:
        flags["environment"] = "docker"
    elif arguments.force_kubernetes:
        flags["environment"] = "kubernetes"
    elif arguments.auto_detect:
        flags["environment"] = "auto"
    return Settings.load(flags, os.environ)


def _help(name: str) -> str:
    return help_of(name).replace("%", "%%")


class UnifiedBackupOrchestrator:
    """The original project's class: built from an ``argparse.Namespace`` or from keyword arguments named like the
    flags. Its methods return whether all went well, and say on standard error what did not."""

    def __init__(self, arguments: argparse.Namespace | None = None, **flags: Any) -> None:
        known = vars(build_parser().parse_args([]))
        given = {**(vars(arguments) if arguments else {}), **flags}
        given = {
            {"dir": "repository", "list": "list_backups", "json": "as_json"}.get(n, n): v for n, v in given.items()
        }
        unknown = sorted(given.keys() - known.keys())
        if unknown:
            raise TypeError(f"unknown arguments: {', '.join(unknown)}")
        self._arguments = argparse.Namespace(**{**known, **given})

    def create_backup(self, custom_name: str | None = None, force_overwrite: bool = False) -> bool:
        """Back up; ``custom_name`` and ``force_overwrite`` are ``--name`` and ``--force``."""
        changes = {"name": custom_name or self._arguments.name, "force": force_overwrite or self._arguments.force}
        return self._run(list_backups=False, restore=False, restore_file=None, to=None, **changes)

    def restore_database(self, path: str | None = None) -> bool:
        """Restore the backup named ``path``, into the database that ``to`` names or in the place of its own."""
        return self._run(list_backups=False, restore=True, restore_file=path or self._arguments.restore_file)

    def list_backups(self) -> list[dict[str, Any]]:
        """Return each backup's ``name``, ``size`` (bytes stored) and ``modified`` (when it was made)."""
        manifests, _damaged = read_backups(_settings(self._arguments))
        return [
            {"name": manifest.name, "size": manifest.totals.stored_bytes, "modified": manifest.finished}
            for manifest in manifests
        ]

    def _run(self, **changes: Any) -> bool:
        return run_flat(argparse.Namespace(**{**vars(self._arguments), **changes})) == 0
