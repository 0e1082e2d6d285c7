"""Throwaway servers on this machine: made by initdb of an installation that is here, in a private directory, known by a
file that says whose they are, removed with their data."""

from __future__ import annotations

import json
import os
import pwd
import re
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

from respaldo.environments.base import Instance, Runner, Sandbox, SandboxSpec
from respaldo.environments.local_process import LocalRunner
from respaldo.environments.recognition import DRILL_LABEL, PORT
from respaldo.errors import EnvironmentFailedError
from respaldo.language import _
from respaldo.process import ProcessIdentity, identify_process, is_gone

_PREFIX: Final = "respaldo-drill-"
_OWNER: Final = "owner.json"
_STOP_S: Final = 30
_INITDB_S: Final = 120
_PAUSE_S: Final = 0.1
_PARTS: Final = ("data", "socket", "work")
# A socket's path may have 107 bytes (unix(7)).
_LONGEST_PARENT: Final = 60


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """Who runs the server: this user, or below root one without its rights (PostgreSQL refuses root)."""

    uid: int
    gid: int

    @classmethod
    def choose(cls) -> Account:
        """Return this user, or where it is root ``postgres``, else ``nobody``."""
        if os.geteuid() != 0:
            return cls(uid=os.geteuid(), gid=os.getegid())
        for name in ("postgres", "nobody"):
            with suppress(KeyError):
                entry = pwd.getpwnam(name)
                return cls(uid=entry.pw_uid, gid=entry.pw_gid)
        return cls(uid=65534, gid=65534)

    def start(
        self, command: Sequence[str], directory: Path, output: Path, path: str = os.defpath
    ) -> subprocess.Popen[bytes]:
        """Start a command as this account, in a session of its own, with none of our variables; raise
        EnvironmentFailedError where it may not."""
        is_other = os.geteuid() == 0
        try:
            with output.open("ab") as log:
                return subprocess.Popen(
                    list(command),
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    cwd=directory,
                    env={"PATH": path, "LC_MESSAGES": "C", "HOME": str(directory)},
                    start_new_session=True,
                    user=self.uid if is_other else None,
                    group=self.gid if is_other else None,
                    extra_groups=[] if is_other else None,
                )
        except OSError as error:
            raise EnvironmentFailedError(
                _("{program} could not be started by the user with the number {user}: {error}").format(
                    program=command[0], user=self.uid, error=error.strerror
                ),
                hint=_("what root drills, postgres or nobody runs: that user must be able to reach the program"),
            ) from error


class LocalSandbox(Sandbox):
    """One throwaway server on a socket that nobody else can reach. Not thread-safe."""

    def __init__(self, programs: Path, spec: SandboxSpec, variables: Mapping[str, str]) -> None:
        self._programs = programs
        self._spec = spec
        self._variables = variables
        self._account = Account.choose()
        self._process: subprocess.Popen[bytes] | None = None
        self._directory = Path(tempfile.mkdtemp(prefix=f"{_PREFIX}{os.getpid()}-", dir=_parent()))
        try:
            owner = {**asdict(identify_process()), "programs": str(programs)}
            (self._directory / _OWNER).write_text(json.dumps(owner))
            # Below root the server's account passes through; what is inside is its own.
            self._directory.chmod(0o711 if os.geteuid() == 0 else 0o700)
            self._make_directory("socket")
            self._make_directory("work")
            self._initialize()
            self._start()
        except BaseException:
            self.close()
            raise

    @property
    def probe_host(self) -> str:
        return str(self._directory / "socket")

    @property
    def runner(self) -> Runner:
        name = self._directory.name
        instance = Instance(
            environment="local", name=name, id=f"{self.probe_host}:{PORT}", labels={DRILL_LABEL: "true"}
        )
        path = self._variables.get("PATH", os.defpath)
        kept = {key: value for key, value in self._variables.items() if key in {"LANG", "HOME", "TMPDIR"}}
        variables = {
            **kept,
            "PATH": f"{self._programs}:{path}",
            "PGHOST": self.probe_host,
            "PGPORT": str(PORT),
            "PGUSER": self._superuser,
        }
        return LocalRunner(instance, variables)

    def restart(self, *, meanwhile: Sequence[str] | None = None) -> None:
        self._stop(signal.SIGINT)
        if meanwhile is not None:
            status = self._run(meanwhile)
            if status != 0:
                raise EnvironmentFailedError(
                    _("{program} failed on the drill's data: exit status {status}").format(
                        program=meanwhile[0], status=status
                    )
                )
        self._start()

    def lose_data(self) -> None:
        self._stop(signal.SIGQUIT)
        shutil.rmtree(self._data)
        self._initialize()
        self._start()

    def close(self) -> None:
        self._stop(signal.SIGQUIT)
        shutil.rmtree(self._directory, ignore_errors=True)

    @property
    def _data(self) -> Path:
        return self._directory / "data"

    @property
    def _log(self) -> Path:
        return self._directory / "server.log"

    @property
    def _superuser(self) -> str:
        return self._spec.superuser or "postgres"

    def _make_directory(self, name: str) -> None:
        directory = self._directory / name
        directory.mkdir(mode=0o700)
        os.chown(directory, self._account.uid, self._account.gid)

    def _initialize(self) -> None:
        self._make_directory("data")
        options = [f"--username={self._superuser}", "--auth=trust", "--no-sync"]
        options += [f"--encoding={self._spec.encoding or 'UTF8'}", f"--locale={self._spec.locale or 'C'}"]
        status = self._run([f"{self._programs}/initdb", "-D", str(self._data), *options])
        if status != 0:
            raise EnvironmentFailedError(
                _("the throwaway server could not be made: {reason}").format(reason=self._last_line())
            )

    def _start(self) -> None:
        settings = {
            **self._spec.settings,
            "listen_addresses": "",
            "port": str(PORT),
            "unix_socket_directories": self.probe_host,
            "unix_socket_permissions": "0700",
        }
        options = [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]
        command = [f"{self._programs}/postgres", "-D", str(self._data), *options]
        self._process = self._account.start(command, self._directory / "work", self._log)

    def _stop(self, how: signal.Signals) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        if process.poll() is None:
            process.send_signal(how)
        try:
            process.wait(_STOP_S)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGQUIT)
            process.wait()

    def check_alive(self) -> None:
        if self._process is not None and self._process.poll() is not None:
            raise EnvironmentFailedError(
                _("the throwaway server ended by itself: {reason}").format(reason=self._last_line())
            )

    def _run(self, command: Sequence[str]) -> int:
        process = self._account.start(command, self._directory / "work", self._log)
        try:
            return process.wait(_INITDB_S)
        except BaseException:
            process.kill()
            process.wait()
            raise

    def _last_line(self) -> str:
        lines = self._log.read_text(errors="replace").strip().splitlines()
        telling = [line for line in lines if re.search(r"\b(FATAL|ERROR|PANIC|error)\b", line)]
        return (telling or lines or [""])[-1]


def remove_leftovers() -> int:
    """End and remove the throwaway servers that dead runs of this user left on this machine; return how many."""
    removed = 0
    for directory in Path(_parent()).glob(f"{_PREFIX}*"):
        with suppress(OSError, EnvironmentFailedError):
            # Another user's directory says nothing: who may write /tmp could name any process in it.
            if not directory.is_symlink() and directory.stat().st_uid == os.geteuid() and _is_left(directory):
                _remove(directory)
                removed += 1
    return removed


def _is_left(directory: Path) -> bool:
    """Tell whether the run that made a directory is surely gone; one that died at once left no more than its number."""
    try:
        owner = json.loads((directory / _OWNER).read_text())
        owner.pop("programs")
        return is_gone(ProcessIdentity(**owner))
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        number = re.match(rf"{_PREFIX}(\d+)-", directory.name)
        return number is not None and not Path(f"/proc/{number.group(1)}").exists() and Path("/proc/self").exists()


def _remove(directory: Path) -> None:
    """End the server of a directory, if it runs, as its own account, and remove all; what says whose it is goes last.

    An initdb whose run was killed writes on for a moment."""
    if (directory / "data/postmaster.pid").exists():
        programs = json.loads((directory / _OWNER).read_text())["programs"]
        command = [f"{programs}/pg_ctl", "-D", str(directory / "data"), "-m", "immediate", "-w", "stop"]
        Account.choose().start(command, directory / "work", directory / "server.log").wait(_STOP_S)
    deadline_s = time.monotonic() + _STOP_S
    while any((directory / name).exists() for name in _PARTS):
        for name in _PARTS:
            shutil.rmtree(directory / name, ignore_errors=True)
        if time.monotonic() > deadline_s:
            return
        time.sleep(_PAUSE_S)
    shutil.rmtree(directory, ignore_errors=True)


def _parent() -> str:
    parent = tempfile.gettempdir()
    return parent if len(parent) <= _LONGEST_PARENT else "/tmp"
