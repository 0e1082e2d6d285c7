"""A schedule in the user's crontab, read and written by ``crontab`` itself."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from respaldo.errors import EnvironmentFailedError, UsageError
from respaldo.language import _
from respaldo.schedule.crontab import add_block, has_block, remove_block, restore_block, write_block
from respaldo.schedule.plan import Launch, Schedule

_ANSWERS_S: Final = 30
_DAEMONS: Final = ("cron", "crond", "fcron", "busybox")


def install(schedule: Schedule, launch: Launch, repository: Path) -> None:
    """Add a schedule's lines to the crontab, or replace those that it has."""
    before = _read()
    with _restored(before, schedule.name, repository):
        _write(add_block(before, schedule.name, repository, write_block(schedule, launch, repository)))


def uninstall(schedule: Schedule, repository: Path) -> None:
    """Remove a schedule's lines; what is not there is no error, and neither is a machine without cron: the schedule is
    another one's then."""
    if shutil.which("crontab") is None:
        return
    before = _read()
    after = remove_block(before, schedule.name, repository)
    if after != before:
        with _restored(before, schedule.name, repository):
            _write(after)


def is_installed(name: str, repository: Path) -> bool:
    """Tell whether the crontab has a schedule's lines."""
    return has_block(_read(), name, repository)


def is_cron_running() -> bool:
    """Tell whether a cron daemon runs on this machine, as far as /proc shows."""
    for entry in Path("/proc").glob("[0-9]*/comm"):
        with suppress(OSError):
            if entry.read_text().strip() in _DAEMONS:
                return True
    return False


def _read() -> bytes:
    done = _run(["crontab", "-l"])
    if done.returncode == 0:
        return done.stdout
    if b"no crontab for" in done.stderr:
        return b""
    raise _failed("crontab -l", done)


@contextmanager
def _restored(before: bytes, name: str, repository: Path) -> Iterator[None]:
    """Have a schedule's lines be those that they were, where the block fails."""
    try:
        yield
    except BaseException:
        # What is told is why it failed, not what more went wrong then.
        with suppress(EnvironmentFailedError, UsageError):
            now = _read()
            as_before = restore_block(now, before, name, repository)
            if as_before != now:
                _write(as_before)
        raise


def _write(after: bytes) -> None:
    done = _run(["crontab", "-"] if after else ["crontab", "-r"], after)
    if done.returncode != 0:
        raise _failed("crontab -", done)
    if _read() != after:
        # Some other program wrote at the same moment, or this crontab changes what it is given.
        raise EnvironmentFailedError(
            _("the crontab is not what was written into it"),
            hint=_("look at it, and try again: crontab -l"),
        )


def _run(argv: Sequence[str], stdin: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    # Its words are read: they must be in one language.
    environment = {**os.environ, "LC_ALL": "C", "LANGUAGE": "C"}
    try:
        return subprocess.run(argv, input=stdin, capture_output=True, env=environment, timeout=_ANSWERS_S, check=False)
    except FileNotFoundError as error:
        raise EnvironmentFailedError(
            _("there is no crontab on this machine"),
            hint=_("install cron, or let another start the runs: --with systemd, --with serve"),
        ) from error
    except (OSError, subprocess.TimeoutExpired) as error:
        raise EnvironmentFailedError(_("{command} failed: {reason}").format(command=argv[0], reason=error)) from error


def _failed(command: str, done: subprocess.CompletedProcess[bytes]) -> EnvironmentFailedError:
    reason = done.stderr.decode(errors="replace").strip() or f"exit {done.returncode}"
    return EnvironmentFailedError(
        _("{command} failed: {reason}").format(command=command, reason=" ".join(reason.split())),
        hint=_("nothing was changed; see whether this user may use cron: /etc/cron.allow, /etc/cron.deny"),
    )
