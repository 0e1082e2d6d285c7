"""Our lines in a user's crontab: each between two marks of its own. All other lines stay as they are, to the byte."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Final

from respaldo.errors import UsageError
from respaldo.language import _
from respaldo.schedule.plan import Launch, Schedule

LONGEST_LINE_BYTES: Final = 998
"""What Debian's cron takes of a command (MAX_COMMAND, 1000 with its end); a longer one makes it refuse the crontab."""


def write_block(schedule: Schedule, launch: Launch, repository: Path) -> bytes:
    """Return the three lines of a schedule; raise UsageError where cron could not read them.

    Variables stand in the command itself: an assignment of its own would be in force for the lines that follow.
    """
    words = [f"{name}={shlex.quote(value)}" for name, value in sorted(launch.variables.items())]
    words += [shlex.quote(word) for word in launch.argv]
    # Without a place for its output the program starts all the same: it is the one to tell that the disk is gone.
    # ``true``, for a redirection that fails with ``exec`` ends the shell.
    output = f'o={shlex.quote(str(launch.output))}; true >>"$o" && exec >>"$o" 2>&1'
    shell = f"cd {shlex.quote(str(launch.directory))} && {{ {output}; {' '.join(words)}; }}"
    # crontab(5): a percent sign begins the input of the command, unless escaped; there is no other escape.
    command = shell.replace("%", "\\%")
    if "\n" in command or "\r" in command or "\0" in command:
        raise UsageError(
            _("a crontab cannot hold a line break, and the command of {name} does").format(name=schedule.name)
        )
    if len(command.encode()) > LONGEST_LINE_BYTES:
        raise UsageError(
            _("the line of {name} is too long for cron: {count} bytes of {most}").format(
                name=schedule.name, count=len(command.encode()), most=LONGEST_LINE_BYTES
            ),
            hint=_("move variables to .env in {directory}, or shorten PATH for this one command").format(
                directory=launch.directory
            ),
        )
    begin, end = _marks(schedule.name, repository)
    return f"{begin}\n{schedule.expression} {command}\n{end}\n".encode()


def add_block(crontab: bytes, name: str, repository: Path, block: bytes) -> bytes:
    """Return the crontab with a schedule's lines, in the place of those that it had, or else at the end."""
    found = _find(crontab, name, repository)
    if found is not None:
        return crontab[: found[0]] + block + crontab[found[1] :]
    # cron ignores a last line without an end, and a line added to it would be part of it.
    gap = b"" if not crontab or crontab.endswith(b"\n") else b"\n"
    return crontab + gap + block


def remove_block(crontab: bytes, name: str, repository: Path) -> bytes:
    """Return the crontab without a schedule's lines; as it is where it has none."""
    found = _find(crontab, name, repository)
    return crontab if found is None else crontab[: found[0]] + crontab[found[1] :]


def has_block(crontab: bytes, name: str, repository: Path) -> bool:
    """Tell whether the crontab has a schedule's lines."""
    return _find(crontab, name, repository) is not None


def restore_block(crontab: bytes, before: bytes, name: str, repository: Path) -> bytes:
    """Return the crontab with a schedule's lines as they were before; all others are those that it has now."""
    found = _find(before, name, repository)
    if found is None:
        return remove_block(crontab, name, repository)
    return add_block(crontab, name, repository, before[found[0] : found[1]])


def _find(crontab: bytes, name: str, repository: Path) -> tuple[int, int] | None:
    """Return where a schedule's lines begin and end. Raise UsageError where others are between its marks: they may be
    somebody else's."""
    begin, end = (re.escape(mark.encode()) for mark in _marks(name, repository))
    found = re.search(rb"^" + begin + rb"\r?\n.*\n" + end + rb"(?:\r?\n|\Z)", crontab, re.MULTILINE)
    if found is None and re.search(rb"^(?:" + begin + rb"|" + end + rb")\r?$", crontab, re.MULTILINE):
        raise UsageError(
            _("the lines of {name} in the crontab were changed by hand").format(name=name),
            hint=_("one line belongs between its two marks; put that right, or take them out: crontab -e"),
        )
    return found.span() if found else None


def _marks(name: str, repository: Path) -> tuple[str, str]:
    where = shlex.quote(str(repository))
    return f"# respaldo begin {name} {where}", f"# respaldo end {name} {where}"
