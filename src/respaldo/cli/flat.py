"""The flat flags of ``backup_orchestrator.py``, translated to the commands: no logic of its own."""

from __future__ import annotations

import argparse
import os
from typing import Any

from respaldo.catalog.versions import Step
from respaldo.cli.flat_sense import SCHEDULE_ACTIONS, action_of, require_sense
from respaldo.cli.list import run_list_command
from respaldo.cli.main import run_guarded
from respaldo.cli.options import help_of
from respaldo.cli.printing import Output
from respaldo.config.dotenv import with_dotenv
from respaldo.config.settings import Settings
from respaldo.errors import UsageError
from respaldo.language import _
from respaldo.schedule.expression import PRESETS

KUBERNETES_FLAGS = ("pod", "namespace", "k8s_container")
TELLING = ("email_to", "slack_token", "slack_channel")
RETENTION_FLAGS = ("retention_daily", "retention_weekly", "retention_monthly", "retention_full")


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of the documented flags."""
    parser = argparse.ArgumentParser(
        prog="backup_orchestrator.py",
        description=_("back up PostgreSQL in Docker or Kubernetes, and list and restore the backups"),
        epilog=_("without flags: find PostgreSQL, decide between full and incremental, and back up"),
    )
    parser.add_argument(
        "--name", "-n", metavar="NAME", help=_("the backup's name, which also pins it [default: backup_DATE_TIME]")
    )
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
    _add_actions(parser.add_mutually_exclusive_group())
    parser.add_argument(
        "--retention-dry-run", action="store_true", help=_("say what would be removed, and why; remove nothing")
    )
    for name in RETENTION_FLAGS:
        parser.add_argument(f"--{name.replace('_', '-')}", metavar="N", help=_help(name))
    parser.add_argument("--restore-file", metavar="NAME", help=_("the backup to restore"))
    parser.add_argument("--to", metavar="DATABASE", help=_("the new database's name"))
    parser.add_argument(
        "--schedule-prefix", metavar="P", help=_("how the name of the schedule begins [default: respaldo]")
    )
    _add_versions(parser)
    parser.add_argument("--notification-email", dest="email_to", metavar="ADDRESS", help=_help("email_to"))
    parser.add_argument("--slack-token", metavar="TOKEN", help=_help("slack_token"))
    parser.add_argument("--slack-channel", metavar="CHANNEL", help=_help("slack_channel"))
    parser.add_argument("--yes", "-y", action="store_true", help=_("ask nothing"))
    loudness = parser.add_mutually_exclusive_group()
    loudness.add_argument("--verbose", "-v", action="store_true", help=_("say more"))
    loudness.add_argument("--quiet", "-q", action="store_true", help=_("say errors only"))
    parser.add_argument("--no-color", action="store_true", help=_("use no colour [env: NO_COLOR]"))
    parser.add_argument("--json", dest="as_json", action="store_true", help=_("print the result as JSON"))
    return parser


def _add_actions(actions: argparse._MutuallyExclusiveGroup) -> None:
    """Add what is done in place of a backup; one at a time."""
    actions.add_argument("--list", "-l", dest="list_backups", action="store_true", help=_("show the backups"))
    actions.add_argument("--restore", action="store_true", help=_("restore a backup"))
    actions.add_argument("--apply-retention", action="store_true", help=_("remove backups by policy"))
    actions.add_argument(
        "--backup-summary", action="store_true", help=_("show the state of every target on one screen")
    )
    actions.add_argument(
        "--test-notifications", action="store_true", help=_("send a test message to each channel that is set up")
    )
    actions.add_argument("--list-versions", action="store_true", help=_("show the versions, the newest first"))
    actions.add_argument("--version-info", metavar="V", help=_("show all that is known of one version"))
    actions.add_argument(
        "--compare-versions", nargs=2, metavar=("A", "B"), help=_("show what changed between two backups")
    )
    actions.add_argument(
        "--list-branches", action="store_true", help=_("show the branches and the newest version of each")
    )
    actions.add_argument("--list-tags", action="store_true", help=_("show the tags and what bears them"))
    actions.add_argument("--create-tag", nargs=2, metavar=("V", "TAG"), help=_("give a backup a tag"))
    actions.add_argument("--rollback-to", metavar="V", help=_("put a version in the place of the live database"))
    actions.add_argument("--rollback-history", action="store_true", help=_("show the rollbacks that were made"))
    actions.add_argument("--cleanup-versions", metavar="N", help=_("keep the newest versions of each branch"))
    actions.add_argument(
        "--schedule", choices=list(PRESETS), help=_("back up by itself: daily, weekly, monthly and workdays at 02:00")
    )
    actions.add_argument("--schedule-custom", metavar="CRON", help=_("back up by itself, by a cron expression"))
    actions.add_argument(
        "--list-schedules", action="store_true", help=_("show the schedules, their next and last runs")
    )
    actions.add_argument("--remove-schedule", metavar="NAME", help=_("remove a schedule"))


def _add_versions(parser: argparse.ArgumentParser) -> None:
    """Add what gives a backup its version, and what narrows the commands of versions."""
    parser.add_argument(
        "--enable-versioning", action="store_true", help=_("give the backup a version [default branch: main]")
    )
    parser.add_argument("--branch", metavar="NAME", help=_("give the backup the next version of this branch"))
    parser.add_argument("--version", metavar="X.Y.Z", help=_("the version, in place of the next one"))
    parser.add_argument(
        "--version-increment",
        choices=[step.value for step in Step],
        help=_("which number of the version goes up [default: patch]"),
    )
    parser.add_argument(
        "--tags", nargs="+", metavar="TAG", help=_("tags of the backup, which keep it from retention too")
    )
    parser.add_argument("--description", metavar="TEXT", help=_("what the backup is for"))
    parser.add_argument("--filter-branch", metavar="NAME", help=_("with --list-versions: those of this branch only"))
    parser.add_argument("--filter-tag", metavar="NAME", help=_("with --list-versions: those with this tag only"))
    parser.add_argument("--limit", metavar="N", help=_("with --list-versions: at most so many"))
    parser.add_argument(
        "--cleanup-dry-run", action="store_true", help=_("with --cleanup-versions: say what would be removed, and why")
    )


def run_flat(arguments: argparse.Namespace) -> int:
    """Do what the flags say; return the exit code, every error said in one line with its hint."""

    def run() -> None:
        require_sense(arguments)
        dispatch(arguments)

    return run_guarded(run)


def dispatch(arguments: argparse.Namespace) -> None:
    """Call the one command that the flags mean."""
    output = Output(verbose=arguments.verbose, quiet=arguments.quiet, no_color=arguments.no_color)
    settings = load_flat_settings(arguments)
    action = action_of(arguments)
    if arguments.slack_token is not None:
        output.warn(
            _("every user of this machine can see --slack-token: set SLACK_BOT_TOKEN or SLACK_BOT_TOKEN_FILE instead")
        )
    if action == "backup":
        _back_up(output, settings, arguments)
    elif action == "list_backups":
        run_list_command(output, settings, as_json=arguments.as_json)
    elif action == "restore":
        from respaldo.cli.restore import run_restore_command
        from respaldo.cli.restore_flags import RestoreFlags

        flags = RestoreFlags(name=arguments.restore_file, to=arguments.to, yes=arguments.yes, as_json=arguments.as_json)
        run_restore_command(output, settings, flags)
    elif action == "apply_retention":
        from respaldo.cli.retain import run_retain_command

        # The original program asked nothing here; its users' scripts have no one to answer.
        dry_run = arguments.retention_dry_run
        run_retain_command(output, settings, dry_run=dry_run, yes=True, as_json=arguments.as_json)
    elif action == "backup_summary":
        from respaldo.cli.summary import run_summary_command

        run_summary_command(output, settings, as_json=arguments.as_json)
    elif action == "test_notifications":
        from respaldo.cli.notify import run_test_command

        run_test_command(output, settings, as_json=arguments.as_json)
    elif action in SCHEDULE_ACTIONS:
        from respaldo.cli.flat_schedule import dispatch_schedules

        dispatch_schedules(output, settings, action, arguments)
    else:
        _dispatch_versions(output, settings, action, arguments)


def _dispatch_versions(output: Output, settings: Settings, action: str, arguments: argparse.Namespace) -> None:
    from respaldo.cli import version_change, version_compare, version_rollback, version_show

    as_json: bool = arguments.as_json
    if action == "list_versions":
        version_show.run_list_versions_command(
            output,
            settings,
            branch=arguments.filter_branch,
            tag=arguments.filter_tag,
            limit=None if arguments.limit is None else _whole(arguments.limit, "--limit", least=1),
            as_json=as_json,
        )
    elif action == "version_info":
        version_show.run_info_command(output, settings, arguments.version_info, as_json=as_json)
    elif action == "compare_versions":
        version_compare.run_compare_command(output, settings, *arguments.compare_versions, as_json=as_json)
    elif action == "list_branches":
        version_show.run_branches_command(output, settings, as_json=as_json)
    elif action == "list_tags":
        version_show.run_tags_command(output, settings, as_json=as_json)
    elif action == "create_tag":
        version, tag = arguments.create_tag
        version_change.run_tag_command(
            output, settings, version, tag, arguments.description, remove=False, as_json=as_json
        )
    elif action == "rollback_to":
        version_rollback.run_rollback_command(
            output, settings, arguments.rollback_to, yes=arguments.yes, as_json=as_json
        )
    elif action == "rollback_history":
        version_rollback.run_history_command(output, settings, as_json=as_json)
    elif action == "cleanup_versions":
        keep = _whole(arguments.cleanup_versions, "--cleanup-versions", least=0)
        dry_run = arguments.cleanup_dry_run
        # Nothing is asked, as for --apply-retention.
        version_change.run_prune_command(output, settings, keep, dry_run=dry_run, yes=True, as_json=as_json)


def _back_up(output: Output, settings: Settings, arguments: argparse.Namespace) -> None:
    from respaldo.cli.backup import run_backup_command
    from respaldo.cli.labelling import label_request

    labels = label_request(
        branch=arguments.branch,
        version=arguments.version,
        step=arguments.version_increment,
        tags=[tag for word in arguments.tags or [] for tag in word.split(",") if tag],
        description=arguments.description,
        is_versioned=arguments.enable_versioning,
    )
    asked = "full" if arguments.force_full else arguments.backup_type
    replace = arguments.force
    run_backup_command(
        output, settings, arguments.name, asked, replace=replace, labels=labels, as_json=arguments.as_json
    )


def load_flat_settings(arguments: argparse.Namespace) -> Settings:
    """Return the run's settings from the flags, the environment, and ``.env`` of the working directory."""
    names = ("repository", "container", "labels", "database", "user", *KUBERNETES_FLAGS, *RETENTION_FLAGS, *TELLING)
    flags: dict[str, Any] = {name: getattr(arguments, name) for name in names}
    if arguments.force_docker:
        flags["environment"] = "docker"
    elif arguments.force_kubernetes:
        flags["environment"] = "kubernetes"
    elif arguments.auto_detect:
        flags["environment"] = "auto"
    return Settings.load(flags, with_dotenv(os.environ))


def _whole(text: Any, flag: str, *, least: int) -> int:
    try:
        number = int(text)
    except ValueError:
        number = least - 1
    if number < least:
        raise UsageError(
            _("{origin}: {value} is not a valid value").format(origin=flag, value=text),
            hint=_("a whole number, at least {least}").format(least=least),
        )
    return number


def _help(name: str) -> str:
    return help_of(name).replace("%", "%%")
