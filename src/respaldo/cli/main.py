"""The program's front door: global flags, the commands, and the one place where every error ends as an exit code."""

from __future__ import annotations

import io
import os
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from types import FrameType
from typing import Any

import click

from respaldo import __version__
from respaldo.cli.lazy import LazyGroup
from respaldo.cli.options import help_of
from respaldo.cli.printing import Output
from respaldo.errors import InterruptedRunError, RespaldoError
from respaldo.language import _
from respaldo.signals import hearing

# Each command's module is imported when it is called: `list` must not wait for what `backup` needs.
COMMANDS = {
    "backup": ("respaldo.cli.backup", "backup", _("back up a database, full or incremental")),
    "list": ("respaldo.cli.list", "list_command", _("show the backups, newest last")),
    "check": ("respaldo.cli.check", "check", _("read the backups and say what is damaged")),
    "doctor": ("respaldo.cli.doctor", "doctor", _("say what would go wrong, and what to do about it")),
    "drill": ("respaldo.cli.drill", "drill", _("prove that a backup restores, in a throwaway instance")),
    "export": ("respaldo.cli.export", "export", _("write a backup as a file for other tools")),
    "restore": ("respaldo.cli.restore", "restore", _("restore a backup, beside the live database or in its place")),
    "move": ("respaldo.cli.move", "move", _("bring a database from Docker to Kubernetes, or back")),
    "rto": ("respaldo.cli.rto", "rto", _("show recovery times against their objective")),
    "retain": ("respaldo.cli.retain", "retain", _("remove backups by policy")),
    "pin": ("respaldo.cli.pin", "pin", _("keep a backup from retention")),
    "unpin": ("respaldo.cli.pin", "unpin", _("leave a pinned backup to retention again")),
    "version": ("respaldo.cli.version", "version", _("versions, branches and tags of the backups")),
    "notify": ("respaldo.cli.notify", "notify", _("try the channels that tell of backups")),
    "status": ("respaldo.cli.status", "status", _("say whether the backups are fresh; a probe's exit code")),
    "schedule": ("respaldo.cli.schedule", "schedule", _("what runs by itself, and when")),
    "serve": ("respaldo.cli.serve", "serve", _("start scheduled runs and stay: for containers")),
    "summary": ("respaldo.cli.summary", "summary", _("show the state of every target on one screen")),
    "completion": ("respaldo.cli.completion", "completion", _("print the script that completes commands in a shell")),
}

# click says these names in its own errors, and translates only the sentence around them.
click.types.IntParamType.name = click.IntRange.name = _("whole number")
click.types.FloatParamType.name = click.FloatRange.name = _("number")


@click.group(
    cls=LazyGroup,
    commands_of=COMMANDS,
    context_settings={"help_option_names": ["--help", "-h"], "max_content_width": 100},
    help=_(
        """PostgreSQL backups for Docker and Kubernetes that prove they restore.

\b
Examples:
  respaldo backup
  respaldo list
  respaldo restore latest --to shop_restored
"""
    ),
)
@click.option("--repository", "-d", metavar="DIR", default=None, help=help_of("repository"))
@click.option("--verbose", "-v", is_flag=True, help=_("say more"))
@click.option("--quiet", "-q", is_flag=True, help=_("say errors only"))
@click.option("--no-color", is_flag=True, help=_("use no colour [env: NO_COLOR]"))
@click.version_option(__version__, "--version", prog_name="respaldo")
@click.pass_context
def cli(context: click.Context, repository: str | None, verbose: bool, quiet: bool, no_color: bool) -> None:
    context.obj = Output(flags={"repository": repository}, verbose=verbose, quiet=quiet, no_color=no_color)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and exit with its code."""
    sys.exit(run_guarded(lambda: cli.main(args=arguments, prog_name="respaldo", standalone_mode=False)))


def run_guarded(command: Callable[[], Any]) -> int:
    """Run a command; return the exit code, every error said in one line with its hint."""
    output = Output()
    _take_any_terminal()
    try:
        with _ending_as_by_interrupt():
            result = command()
    except click.exceptions.Exit as ended:
        return ended.exit_code
    except click.UsageError as error:
        error.show()
        if isinstance(error, click.NoSuchOption) and any(error.option_name in one.opts for one in cli.params):
            output.hint(
                _("{option} goes before the command: respaldo {option} … list").format(option=error.option_name)
            )
        return error.exit_code
    except (KeyboardInterrupt, click.Abort):
        output.fail(InterruptedRunError(_("interrupted; nothing half-made is left")))
        return InterruptedRunError.exit_code
    except RespaldoError as error:
        output.fail(error)
        return error.exit_code
    return result if isinstance(result, int) else 0


def _take_any_terminal() -> None:
    """Escape what a terminal without UTF-8 cannot show: an accent in a name must not end a list in the middle."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


@contextmanager
def _ending_as_by_interrupt() -> Iterator[None]:
    """Make SIGTERM, which ends containers and services, and SIGHUP, which a terminal sends that goes away, clean up as
    Ctrl-C does; another of them changes nothing. A SIGHUP that is ignored, as under nohup, stays so."""
    terminals = [stream.fileno() for stream in (sys.stdout, sys.stderr) if stream.isatty()]
    is_ending = False

    def interrupt(number: int, frame: FrameType | None) -> None:
        nonlocal is_ending
        if number == signal.SIGHUP:
            _leave(terminals)
        # Not SIG_IGN, which the hooks and programs that are started from now on would inherit.
        if not is_ending:
            is_ending = True
            raise KeyboardInterrupt

    heeded = [one for one in (signal.SIGTERM, signal.SIGHUP) if signal.getsignal(one) is not signal.SIG_IGN]
    with hearing(heeded, interrupt):
        yield


def _leave(terminals: Sequence[int]) -> None:
    """Write to nowhere what would go to a terminal that is gone: there each word is an error, also in a clean-up."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for terminal in terminals:
        os.dup2(nowhere, terminal)
    os.close(nowhere)
