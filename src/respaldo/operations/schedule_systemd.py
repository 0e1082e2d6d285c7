"""A schedule as a timer of systemd: of the machine for root, of the user's own session otherwise."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from respaldo.errors import EnvironmentFailedError, UsageError
from respaldo.language import _
from respaldo.schedule.plan import Launch, Schedule
from respaldo.schedule.systemd import unit_of, write_units
from respaldo.storage.directory import DirectoryStorage
from respaldo.storage.files import translated

_ANSWERS_S: Final = 60
_RUNS: Final = Path("/run/systemd/system")
"""There where systemd is process 1 (sd_booted(3))."""


def units_directory() -> Path:
    """Return where this user's units lie."""
    if os.geteuid() == 0:
        return Path("/etc/systemd/system")
    return Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config") / "systemd/user"


def stamps_directory() -> Path:
    """Return where this user's systemd keeps when each persistent timer ran last, as the time of a file."""
    if os.geteuid() == 0:
        return Path("/var/lib/systemd/timers")
    return Path(os.environ.get("XDG_DATA_HOME") or Path.home() / ".local/share") / "systemd/timers"


@dataclass(frozen=True, slots=True, kw_only=True)
class Systemd:
    """One systemd: the directory of its units, that of its timers' times, and the one that is there while it runs."""

    units: Path = field(default_factory=units_directory)
    stamps: Path = field(default_factory=stamps_directory)
    runs: Path = _RUNS

    def install(self, schedule: Schedule, launch: Launch, *, replace: bool) -> None:
        """Write, verify, enable and start a schedule's timer. Raise EnvironmentFailedError where systemd does not run,
        or does not take it, UsageError where the names are taken; the units are then as they were before."""
        if not self.runs.is_dir():
            raise EnvironmentFailedError(
                _("systemd does not run on this machine"),
                hint=_("write the units for another machine with --print, or let cron start the runs: --with crontab"),
            )
        units = write_units(schedule, launch)
        taken = [name for name in units if (self.units / name).exists()]
        if taken and not replace:
            raise UsageError(
                _("{path} is there already").format(path=self.units / taken[0]),
                hint=_("choose another name, or replace it with --replace"),
            )
        verify(units)
        timer = f"{unit_of(schedule.name)}.timer"
        with self._restored(schedule.name):
            if taken:
                # One that runs would go by its new times for what was before them, too.
                _try_systemctl("stop", timer)
            self._put({name: text.encode() for name, text in units.items()})
            _systemctl("daemon-reload")
            # What was due up to here was not missed by this schedule.
            self._stamp(timer)
            _systemctl("enable", "--now", timer)

    def uninstall(self, schedule: Schedule) -> None:
        """Stop, disable and remove a schedule's units; what is not there is no error. The units are as they were before
        where systemd refuses."""
        timer = f"{unit_of(schedule.name)}.timer"
        with self._restored(schedule.name):
            if self.runs.is_dir():
                if (self.units / timer).exists():
                    _systemctl("disable", "--now", timer)
                else:
                    # Its file was removed by hand; it runs on, and is enabled.
                    _try_systemctl("stop", timer)
                    _try_systemctl("disable", timer)
            self._put({path.name: None for path in self._paths(schedule.name)})
            if self.runs.is_dir():
                _systemctl("daemon-reload")
        if self.runs.is_dir():
            # A run that failed would stay among the failed units.
            _try_systemctl("reset-failed", *(path.name for path in self._paths(schedule.name)))
        with suppress(OSError):
            (self.stamps / f"stamp-{timer}").unlink(missing_ok=True)

    def is_installed(self, name: str) -> bool:
        """Tell whether a schedule's timer is there, and enabled."""
        timer = f"{unit_of(name)}.timer"
        return (self.units / timer).exists() and (self.units / "timers.target.wants" / timer).is_symlink()

    @contextmanager
    def _restored(self, name: str) -> Iterator[None]:
        """Have a schedule's units be as they were, and its timer run as it did, where the block fails."""
        timer = f"{unit_of(name)}.timer"
        with translated(str(self.units)):
            before = {path.name: path.read_bytes() if path.exists() else None for path in self._paths(name)}
        try:
            yield
        except BaseException:
            # What is told is why it failed, not what more went wrong then.
            if before[timer] is None and (self.units / timer).exists():
                _try_systemctl("disable", "--now", timer)
            self._put(before)
            if self.runs.is_dir():
                _try_systemctl("daemon-reload")
                if before[timer] is not None:
                    _try_systemctl("enable", "--now", timer)
            raise

    def _stamp(self, timer: str) -> None:
        with suppress(OSError):
            self.stamps.mkdir(parents=True, exist_ok=True)
            (self.stamps / f"stamp-{timer}").touch()

    def _paths(self, name: str) -> list[Path]:
        return [self.units / f"{unit_of(name)}.{kind}" for kind in ("service", "timer")]

    def _put(self, units: Mapping[str, bytes | None]) -> None:
        """Have each unit hold its bytes; None: have it gone. None changes until all are written beside their places."""
        storage = DirectoryStorage(self.units)
        with ExitStack() as stack, translated(str(self.units)):
            writers = []
            for name, data in units.items():
                if data is not None:
                    writers.append(stack.enter_context(storage.open_writer(name)))
                    writers[-1].write(data)
            for writer in writers:
                writer.commit()
            for name, data in units.items():
                if data is None:
                    (self.units / name).unlink(missing_ok=True)
                else:
                    # systemd complains of units that not everybody may read; no secret is in them.
                    (self.units / name).chmod(0o644)


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


def _try_systemctl(*words: str) -> None:
    with suppress(EnvironmentFailedError):
        _systemctl(*words)
