"""A schedule as a timer of systemd: of the machine for root, of the user's own session otherwise."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from respaldo.errors import EnvironmentFailedError, UsageError
from respaldo.language import _
from respaldo.schedule.plan import Launch, Schedule
from respaldo.schedule.systemd import unit_of, write_units
from respaldo.storage.files import make_directories, translated

_ANSWERS_S: Final = 60
_RUNS: Final = Path("/run/systemd/system")
"""There where systemd is process 1 (sd_booted(3))."""


def units_directory() -> Path:
    """Return where this user's units lie."""
    if os.geteuid() == 0:
        return Path("/etc/systemd/system")
    return Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config") / "systemd/user"


def install(schedule: Schedule, launch: Launch, *, replace: bool) -> None:
    """Write, verify, enable and start a schedule's timer. Raise EnvironmentFailedError where systemd does not run, or
    does not take it, UsageError where the names are taken; nothing is left of it then."""
    if not _RUNS.is_dir():
        raise EnvironmentFailedError(
            _("systemd does not run on this machine"),
            hint=_("write the units for another machine with --print, or let cron start the runs: --with crontab"),
        )
    units, directory = write_units(schedule, launch), units_directory()
    taken = [name for name in units if (directory / name).exists()]
    if taken and not replace:
        raise UsageError(
            _("{path} is there already").format(path=directory / taken[0]),
            hint=_("choose another name, or replace it with --replace"),
        )
    verify(units)
    with translated(str(directory)):
        make_directories(str(directory))
        for name, text in units.items():
            (directory / name).write_text(text)
    try:
        _systemctl("daemon-reload")
        _systemctl("enable", "--now", f"{unit_of(schedule.name)}.timer")
    except EnvironmentFailedError:
        _remove(units, directory)
        raise


def uninstall(schedule: Schedule) -> None:
    """Stop, disable and remove a schedule's units; what is not there is no error."""
    directory, unit = units_directory(), unit_of(schedule.name)
    names = [f"{unit}.timer", f"{unit}.service"]
    if (directory / names[0]).exists() and _RUNS.is_dir():
        _systemctl("disable", "--now", names[0])
    _remove(dict.fromkeys(names, ""), directory)
    if _RUNS.is_dir():
        _systemctl("daemon-reload")


def verify(units: Mapping[str, str]) -> None:
    """Have ``systemd-analyze`` read units, where it is there; raise EnvironmentFailedError with what it says."""
    if shutil.which("systemd-analyze") is None:
        return
    with tempfile.TemporaryDirectory(prefix="respaldo-") as directory:
        for name, text in units.items():
            (Path(directory) / name).write_text(text)
        argv = ["systemd-analyze", "verify", *(f"{directory}/{name}" for name in units)]
        done = subprocess.run(argv, capture_output=True, timeout=_ANSWERS_S, check=False)
    # It also speaks of other units that these depend on, and fails then.
    ours = [line for line in done.stderr.decode(errors="replace").splitlines() if any(name in line for name in units)]
    if done.returncode != 0 and ours:
        raise EnvironmentFailedError(
            _("systemd does not take the units: {reason}").format(reason="; ".join(ours)),
            hint=_("read them with --print"),
        )


def is_installed(name: str) -> bool:
    """Tell whether a schedule's timer is there."""
    return (units_directory() / f"{unit_of(name)}.timer").exists()


def _remove(units: Mapping[str, str], directory: Path) -> None:
    with translated(str(directory)):
        for name in units:
            (directory / name).unlink(missing_ok=True)


def _systemctl(*words: str) -> None:
    argv = ["systemctl", *([] if os.geteuid() == 0 else ["--user"]), *words]
    try:
        done = subprocess.run(argv, capture_output=True, timeout=_ANSWERS_S, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise EnvironmentFailedError(
            _("{command} failed: {reason}").format(command=" ".join(argv), reason=error)
        ) from error
    if done.returncode != 0:
        reason = " ".join(done.stderr.decode(errors="replace").split()) or f"exit {done.returncode}"
        raise EnvironmentFailedError(_("{command} failed: {reason}").format(command=" ".join(argv), reason=reason))
