"""Throwaway PostgreSQL containers: started, waited for until they serve, and removed with their volumes."""

from __future__ import annotations

import itertools
import os
import socket
import subprocess
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

from tests.rig.engine import LABEL, RigError, docker, run_id
from tests.rig.psql import psql_from_here, psql_words

if TYPE_CHECKING:
    from docker import APIClient

READY_TIMEOUT_S = 90.0
KNOCKS = 150
# Nothing here outlives the machine, so nothing need reach the disk; but a killed server must keep its commits.
FAST = ("-c", "listen_addresses=*", "-c", "fsync=off", "-c", "full_page_writes=off")
# What a role or a database can set, by the version that it came with; a server refuses what it does not know.
_TIMEOUTS = {
    "statement_timeout": 13,
    "lock_timeout": 13,
    "idle_in_transaction_session_timeout": 13,
    "idle_session_timeout": 14,
    "transaction_timeout": 17,
}
# Debian's wrapper on PATH takes longer than what it finds.
_PAST_WRAPPER = ("sh", "-c", 'PATH=/usr/lib/postgresql/$PG_MAJOR/bin:$PATH; exec "$@"', "sh")
_numbers = itertools.count(1)


@dataclass(frozen=True, slots=True, kw_only=True)
class PostgresContainer:
    """One container that runs PostgreSQL. Whoever started it removes it; it may be stopped and started in between."""

    id: str
    name: str
    image: str
    user: str
    password: str
    database: str

    def exec(
        self,
        argv: Sequence[str],
        stdin: bytes | None = None,
        *,
        user: str | None = None,
        environment: Mapping[str, str] | None = None,
        check: bool = True,
        timeout_s: float = 300,
    ) -> subprocess.CompletedProcess[bytes]:
        """Run a command in the container and return its status, output and errors; with ``check``, raise RigError on
        a status other than 0."""
        options = ["--interactive"] if stdin is not None else []
        options += ["--user", user] if user is not None else []
        options += [word for name, value in (environment or {}).items() for word in ("--env", f"{name}={value}")]
        done = subprocess.run(
            ["docker", "exec", *options, self.id, *argv],
            input=stdin or b"",
            capture_output=True,
            timeout=timeout_s,
            check=False,
        )
        if check and done.returncode != 0:
            raise RigError(
                f"{self.name}: {' '.join(argv)}: status {done.returncode}: {done.stderr.decode(errors='replace')}"
            )
        return done

    def psql(self, sql: str, database: str | None = None) -> str:
        """Run statements one by one and return what they print: unaligned, tuples only, the last line's end cut off."""
        return self.run_sql(sql.encode(), database).decode().removesuffix("\n")

    def run_sql(self, sql: bytes, database: str | None = None, *, options: str = "") -> bytes:
        """Do as ``psql`` does with bytes of any encoding, in a session with these options of libpq's."""
        database = database or self.database
        said = self._from_here(sql, database, options)
        if said is not None:
            return said
        return self.exec(psql_words(self.user, database), sql, environment={"PGOPTIONS": options}).stdout

    def pg_dump(self, *options: str, database: str | None = None) -> bytes:
        """Return what the container's own ``pg_dump`` writes, whatever timeouts are set on the database."""
        argv = [*_PAST_WRAPPER, "pg_dump", "-U", self.user, "-d", database or self.database, *options]
        return self.exec(argv, environment={"PGOPTIONS": without_timeouts(self)}).stdout

    def pg_restore(self, archive: bytes, *options: str, database: str | None = None) -> None:
        """Hand an archive to the container's own ``pg_restore``."""
        self.exec([*_PAST_WRAPPER, "pg_restore", "-U", self.user, "-d", database or self.database, *options], archive)

    def address(self) -> str:
        """The container's address on the engine's bridge, reachable from this host on port 5432; empty where it has
        none."""
        from docker.errors import DockerException

        try:
            networks = _engine().inspect_container(self.id)["NetworkSettings"]["Networks"]
        except DockerException as error:
            raise RigError(f"{self.name}: {error}") from error
        return str(next(iter(networks.values()))["IPAddress"])

    def logs(self) -> str:
        """What the container has printed so far, both streams."""
        command = ["docker", "logs", self.id]
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=60, check=False)
        return done.stdout.decode(errors="replace")

    def stop(self) -> None:
        """Shut the server down in order; the container and its data stay."""
        docker("stop", "--time", "20", self.id)

    def kill(self) -> None:
        """End the server as a power cut would; the container and its data stay."""
        docker("kill", self.id)

    def start(self) -> None:
        """Start a stopped or killed container again and wait until it serves."""
        docker("start", self.id)
        self.wait()

    def wait(self, timeout_s: float = READY_TIMEOUT_S) -> None:
        """Return once the server takes connections on TCP.

        The entrypoint's temporary server, which runs the init scripts, listens on its socket alone: an answer on TCP
        is the final one's.
        """
        argv = ["psql", "-XAtq", "-h", "127.0.0.1", "-U", self.user, "-d", self.database, "-c", "SELECT 1"]
        deadline = time.monotonic() + timeout_s
        # To knock from here, where that reaches it, is cheap: a command inside takes time from the server that starts.
        address = self.address()
        knocks = itertools.count(1)
        while address and not _listens(address) and (knock := next(knocks)) < KNOCKS:
            if knock % 10 == 0:
                self._require_running(deadline)
            time.sleep(0.1)
        while (
            self._from_here(b"SELECT 1", self.database) != b"1\n"
            and self.exec(argv, environment={"PGPASSWORD": self.password}, check=False).stdout.strip() != b"1"
        ):
            self._require_running(deadline)
            time.sleep(0.1)

    def _from_here(self, sql: bytes, database: str, options: str = "") -> bytes | None:
        address, user, password = self.address(), self.user, self.password
        return psql_from_here(sql, address=address, user=user, password=password, database=database, options=options)

    def _require_running(self, deadline: float) -> None:
        state = docker("inspect", "--format", "{{.State.Status}}", self.id).decode().strip()
        if state != "running" or time.monotonic() > deadline:
            raise RigError(f"{self.name} ({self.image}) is {state} and does not serve:\n{self.logs()[-4000:]}")

    def remove(self) -> None:
        """Remove the container and its volumes, running or not; harmless when repeated."""
        docker("rm", "--force", "--volumes", self.id)


@cache
def major_of(server: PostgresContainer) -> int:
    """Return a server's major version."""
    return int(server.psql("SELECT current_setting('server_version_num')::int / 10000"))


def without_timeouts(server: PostgresContainer) -> str:
    """Return libpq's options for a session that no timeout set on a role or a database ends."""
    return " ".join(f"-c {name}=0" for name, since in _TIMEOUTS.items() if major_of(server) >= since)


@cache
def _engine() -> APIClient:
    """The engine's API: an answer takes a tenth of the time of the command line's."""
    from docker import APIClient

    return APIClient()


def _listens(address: str) -> bool:
    with suppress(OSError), socket.create_connection((address, 5432), timeout=1):
        return True
    return False


def start_postgres(
    image: str,
    *,
    name: str | None = None,
    user: str = "postgres",
    password: str = "secreto",
    database: str | None = None,
    args: Sequence[str] = (),
    environment: Mapping[str, str] | None = None,
    run_args: Sequence[str] = (),
    wait: bool = True,
) -> PostgresContainer:
    """Start a container and wait until it serves; one that fails to is removed before RigError is raised.

    ``args`` are postgres' own (``"-c", "wal_level=logical"``), ``run_args`` are those of ``docker run``;
    ``environment`` is added to the POSTGRES_USER, POSTGRES_PASSWORD and POSTGRES_DB that it is given.
    """
    name = name or f"respaldo-test-{os.getpid()}-{next(_numbers)}"
    database = database or user
    given = {
        "POSTGRES_USER": user,
        "POSTGRES_PASSWORD": password,
        "POSTGRES_DB": database,
        "POSTGRES_INITDB_ARGS": "--no-sync",
        **(environment or {}),
    }
    options = [word for key, value in given.items() for word in ("--env", f"{key}={value}")]
    # SIGINT is the fast shutdown; SIGTERM, the default, waits for every client to leave.
    command = ["create", "--pull", "never", "--name", name, "--label", f"{LABEL}={run_id()}", "--shm-size", "256m"]
    command += ["--stop-signal", "SIGINT"]
    created = docker(*command, *options, *run_args, image, "postgres", *FAST, *args)
    container = PostgresContainer(
        id=created.decode().strip(), name=name, image=image, user=user, password=password, database=database
    )
    try:
        docker("start", container.id)
        if wait:
            container.wait()
    except BaseException:
        container.remove()
        raise
    return container
