"""A real systemd as process 1 of namespaces of its own, whose root is an overlay of the machine's (``systemd.sh``). It
may be powered off and booted again; what it ran, its mounts and its control group end with it. No pytest here."""

from __future__ import annotations

import os
import shutil
import signal
import struct
import subprocess
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

from tests.rig.waiting import wait_for

SCRIPT = Path(__file__).with_name("systemd.sh")
PROGRAM = Path("/lib/systemd/systemd")
STOCK = Path("/lib/systemd/system")
WITHIN_S = 90
# What a timer and its service depend on, and what writes down what they say: no device, file system or login.
UNITS = (
    "basic.target", "sysinit.target", "timers.target", "sockets.target", "shutdown.target", "umount.target",
    "final.target", "network-online.target", "time-set.target", "time-sync.target",
    "systemd-journald.service", "systemd-journald.socket", "systemd-journald-dev-log.socket",
)  # fmt: skip
TARGET = (
    "[Unit]\nRequires=systemd-journald.service\nWants=timers.target\nAfter=systemd-journald.service timers.target\n"
)
# A user's own, as user@.service runs it.
USER = """[Service]
Type=notify
User={uid}
Delegate=yes
RuntimeDirectory=respaldo-user
Environment=HOME={home} XDG_RUNTIME_DIR=/run/respaldo-user
ExecStart=/lib/systemd/systemd --user --unit=timers.target
"""
UID = 65534
# Whether this user may do the same on a small scale.
TRIAL = (
    'set -e; d=$(mktemp -d); trap "umount -l $d; rmdir $d" EXIT; mount -t tmpfs none $d; cd $d; mkdir root up work;'
    "mount -t overlay -o lowerdir=/,upperdir=up,workdir=work none root; mount -t cgroup2 none up; umount up root; cd /"
)


class SystemdError(Exception):
    """systemd does not boot; the message holds what it said."""


def why_unavailable() -> str | None:
    """Say why no systemd can be booted on this machine; None where it can."""
    if os.geteuid() != 0:
        return "this user is not root"
    missing = [name for name in ("unshare", "nsenter", "setpriv", "pivot_root", "systemctl") if not shutil.which(name)]
    if missing or not PROGRAM.exists():
        return f"this machine has no {', '.join([*missing, *([] if PROGRAM.exists() else [str(PROGRAM)])])}"
    trial = ["unshare", "--mount", "--pid", "--fork", "--kill-child", "--uts", "--ipc", "--cgroup", "sh", "-c", TRIAL]
    done = subprocess.run(trial, capture_output=True, timeout=WITHIN_S, check=False)
    return f"namespaces, overlayfs: {done.stderr.decode(errors='replace').strip()}" if done.returncode else None


class Machine:
    """One machine. ``state`` is the same directory there as here, and keeps what lasts from one boot to the next; each
    of ``readable`` can be read there."""

    def __init__(self, state: Path, *, readable: Sequence[Path]) -> None:
        self.state = state = state.resolve()
        self.units, self.stamps = state / "units", state / "timers"
        self._readable = [path.resolve() for path in readable]
        self._process: subprocess.Popen[bytes] | None = None
        for directory in (self.units, self.stamps, state / "stock"):
            directory.mkdir(parents=True)
        for name in UNITS:
            shutil.copy(STOCK / name, state / "stock")
        (state / "stock/respaldo-test.target").write_text(TARGET)

    def boot(self, *, minute_begins: datetime | None = None) -> None:
        """Start it and wait until its timers are. ``minute_begins``: in its time zone, then; else in UTC."""
        if minute_begins is not None:
            (self.state / "localtime").write_bytes(_zone_whose_minute_begins(minute_begins))
        pid = self.state / "pid"
        pid.unlink(missing_ok=True)
        # Whoever is killed takes it along.
        command = ["setpriv", "--pdeathsig", "TERM", "bash", str(SCRIPT), "boot", str(self.state)]
        console = self.state / "console.log"
        with console.open("ab") as log:
            self._process = subprocess.Popen(
                [*command, *map(str, self._readable)], stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )
        try:
            wait_for(
                lambda: self._is_up(pid), lambda: f"it does not boot:\n{console.read_text(errors='replace')}", WITHIN_S
            )
        except BaseException:
            self.power_off()
            raise

    def power_off(self) -> None:
        """End it at once, as if it lost its power; harmless while it is off."""
        process, self._process = self._process, None
        if process is not None:
            process.send_signal(signal.SIGTERM)
            if process.wait(WITHIN_S) != 0:
                raise SystemdError(f"not all of it ended:\n{(self.state / 'console.log').read_text(errors='replace')}")

    def run(
        self, *argv: str, directory: Path | None = None, variables: Mapping[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Run a program on it, as root. ``variables``: all of its environment, where it is not to be this process's."""
        namespaces = ["--mount", "--pid", "--cgroup", "--uts", "--ipc", "--root"]
        command = ["nsenter", "--target", (self.state / "pid").read_text().strip(), *namespaces]
        command += ["env", f"--chdir={directory or '/'}", *argv]
        return subprocess.run(command, env=variables, capture_output=True, text=True, timeout=WITHIN_S, check=False)

    def start_user(self, home: Path) -> tuple[list[str], dict[str, str]]:
        """Start the systemd of a user without rights, whose home is made below ``state``; return what to put before a
        command to run it as that user, and the variables that it needs."""
        home.mkdir(mode=0o700)
        os.chown(home, UID, UID)
        unit = self.state / "stock/respaldo-user.service"
        unit.write_text(USER.format(uid=UID, home=home))
        started = self.run("sh", "-c", "systemctl daemon-reload && systemctl start respaldo-user.service")
        if started.returncode != 0:
            raise SystemdError(started.stderr + self.journal(unit.name))
        prefix = ["setpriv", f"--reuid={UID}", f"--regid={UID}", "--clear-groups"]
        return prefix, {"HOME": str(home), "XDG_RUNTIME_DIR": "/run/respaldo-user"}

    def property_of(self, unit: str, name: str) -> str:
        """Return what systemd says of a unit."""
        return self.run("systemctl", "show", "--value", "--property", name, unit).stdout.strip()

    def journal(self, unit: str) -> str:
        """Return what a unit's runs said since the boot."""
        return self.run("journalctl", "--quiet", "--no-pager", "--output=cat", "--unit", unit).stdout

    def _is_up(self, pid: Path) -> bool:
        if self._process is None or self._process.poll() is not None:
            raise SystemdError(f"it ended:\n{(self.state / 'console.log').read_text(errors='replace')}")
        return pid.exists() and self.run("systemctl", "is-active", "respaldo-test.target").returncode == 0

    def __enter__(self) -> Machine:
        return self

    def __exit__(self, *error: object) -> None:
        self.power_off()


def _zone_whose_minute_begins(at: datetime) -> bytes:
    """Return a time zone (tzfile(5)) with a minute that begins then: some seconds away from UTC's."""
    offset = (60 - at.astimezone(UTC).second) % 60
    counts = struct.pack(">4sc15x6l", b"TZif", b"2", 0, 0, 0, 0, 1, 4)
    block = counts + struct.pack(">lBB", offset, 0, 0) + b"TST\0"
    return block + block + f"\nTST-0:00:{offset:02}\n".encode()
