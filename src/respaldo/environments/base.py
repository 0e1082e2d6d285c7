"""The environment seam: where PostgreSQL runs, and how a command is run beside it.

Knows processes, streams and containers; nothing of PostgreSQL but what an image or a port looks like.
"""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from types import TracebackType
from typing import ClassVar, Self

from respaldo.errors import EnvironmentFailedError, StreamCutError
from respaldo.language import _
from respaldo.units import format_size


@dataclass(frozen=True, slots=True, kw_only=True)
class Instance:
    """One place where a PostgreSQL server runs, or may run: a container, a pod's container, a host.

    ``name`` is what a person calls it and what the repository files it under; ``id`` is the engine's own.
    ``should_run``: False where it ended as it was meant to, was never started or is being removed for good: a run over
    every instance has nothing to do there. One that crashed, or that waits for whatever, should run.
    """

    environment: str
    name: str
    id: str
    image: str = ""
    state: str = "running"
    labels: Mapping[str, str] = field(default_factory=dict)
    is_postgres: bool = True
    should_run: bool = True

    @property
    def is_running(self) -> bool:
        return self.state == "running"


@dataclass(frozen=True, slots=True, kw_only=True)
class InstanceQuery:
    """What a person said about which instance; empty fields say nothing. ``standby``: of a set whose labels tell, the
    standbys instead of the primary. ``every``: all that match are meant, and not one of them."""

    name: str | None = None
    labels: Mapping[str, str] = field(default_factory=dict)
    standby: bool = False
    every: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Completed:
    """A command that ran to its end: its exit status, all of its output, and the last 64 KiB of its errors."""

    status: int
    stdout: bytes
    stderr: bytes


class Process(ABC):
    """One command running beside the server. Never with a TTY: bytes pass as they are.

    One thread may read while another writes. Leaving the ``with`` block closes it. Errors of the engine
    and a connection that breaks are EnvironmentFailedError or StreamCutError.
    """

    @abstractmethod
    def read(self, size: int = 1 << 18) -> bytes:
        """Return between 1 and ``size`` bytes of standard output as soon as there are any; ``b""`` at its end."""

    @abstractmethod
    def write(self, data: bytes | memoryview) -> None:
        """Send all of ``data`` to standard input; waits while the reader inside is slower.

        Raise StreamCutError, with the last line of standard error, where nobody reads it any more.
        """

    @abstractmethod
    def close_stdin(self) -> None:
        """Deliver the end of input. Harmless when repeated."""

    @abstractmethod
    def wait(self, timeout_s: float | None = None) -> int:
        """Read to the end of output, discarding it, and return the exit status (128 + signal where killed).

        A program that could not be started ends with 126 or 127, as in a shell, and the reason on standard error.
        Raise StreamCutError where the engine cannot tell the status, or at the timeout. May be repeated.
        """

    @abstractmethod
    def stderr_tail(self) -> bytes:
        """Return the last 64 KiB of standard error that arrived so far."""

    @abstractmethod
    def close(self) -> None:
        """Cut the connection; the command's input ends. Harmless when repeated, and from any thread.

        Nothing inside a container is ever sent a signal (docker_process.py says why): a command that does not read
        its input runs on to its own end.

        A reader or writer that waits in another thread wakes with StreamCutError, or with the end of output.
        """

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class Runner(ABC):
    """Runs commands beside one instance. Thread-safe: several processes at once."""

    @property
    @abstractmethod
    def instance(self) -> Instance: ...

    @abstractmethod
    def variables(self) -> Mapping[str, str]:
        """Return the environment variables that a command started there sees (secrets among them: never print)."""

    @abstractmethod
    def start(self, argv: Sequence[str], *, env: Mapping[str, str] | None = None, stdin: bool = False) -> Process:
        """Start a command. ``env`` adds variables and is the only way for a secret to travel: never in ``argv``.

        Without ``stdin`` the command's input is empty from the start.
        """

    def run(
        self,
        argv: Sequence[str],
        *,
        env: Mapping[str, str] | None = None,
        stdin: bytes | None = None,
        timeout_s: float | None = 60.0,
        limit_bytes: int = 64 << 20,
    ) -> Completed:
        """Run a command to its end and collect its output, at most ``limit_bytes`` (more is an error).

        A command that ends without reading all of ``stdin`` is no error: its status tells. Raise
        EnvironmentFailedError at the timeout (the command is ended) and past the limit.
        """
        expired = threading.Event()
        with self.start(argv, env=env, stdin=stdin is not None) as process:

            def expire() -> None:
                expired.set()
                process.close()

            watchdog = threading.Timer(timeout_s, expire) if timeout_s is not None else None
            feeder = threading.Thread(target=_feed, args=(process, stdin), daemon=True) if stdin else None
            try:
                if watchdog is not None:
                    watchdog.daemon = True
                    watchdog.start()
                if feeder is not None:
                    feeder.start()
                elif stdin is not None:
                    process.close_stdin()
                stdout = _collect(process, argv[0], limit_bytes)
                completed = Completed(status=process.wait(), stdout=stdout, stderr=process.stderr_tail())
            except EnvironmentFailedError as error:
                if expired.is_set():
                    raise _timed_out(argv[0], timeout_s or 0) from error
                raise
            finally:
                if watchdog is not None:
                    watchdog.cancel()
                    if expired.is_set():
                        watchdog.join()
        if expired.is_set():
            raise _timed_out(argv[0], timeout_s or 0)
        return completed


def _feed(process: Process, data: bytes) -> None:
    # A command may end before it has read everything (`head`): its status says whether that was right.
    with suppress(StreamCutError):
        process.write(data)
        process.close_stdin()


def _collect(process: Process, program: str, limit_bytes: int) -> bytes:
    parts: list[bytes] = []
    size_bytes = 0
    while part := process.read():
        size_bytes += len(part)
        if size_bytes > limit_bytes:
            raise EnvironmentFailedError(
                _("{program} wrote more than {limit}").format(program=program, limit=format_size(limit_bytes))
            )
        parts.append(part)
    return b"".join(parts)


def _timed_out(program: str, timeout_s: float) -> EnvironmentFailedError:
    # The program's name and nothing more: arguments and variables may tell what must not be printed.
    return EnvironmentFailedError(
        _("{program} did not end within {seconds:g} s").format(program=program, seconds=timeout_s)
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class SandboxSpec:
    """What a throwaway instance is made from. ``variables`` hold no secret of the source's.

    Where there is no image, the server itself is described: its ``major`` version, its first ``superuser``, its
    ``settings`` (shared_preload_libraries), encoding and locale. ``source``: the instance that it is like, if there.
    ``is_remembered``: the source is gone, and its image is all that is known of it; ``name`` is what it was called,
    where it was of this environment.
    """

    image: str = ""
    is_remembered: bool = False
    name: str = ""
    command: tuple[str, ...] = ()
    variables: Mapping[str, str] = field(default_factory=dict)
    source: Instance | None = None
    major: int = 0
    superuser: str = ""
    settings: Mapping[str, str] = field(default_factory=dict)
    encoding: str = ""
    locale: str = ""


class Sandbox(ABC):
    """A throwaway instance with a data directory of its own. Leaving the ``with`` block removes all of it."""

    @property
    def probe_host(self) -> str:
        """Where its server answers once it is ready: on TCP, where the one that runs init scripts does not."""
        return "127.0.0.1"

    def check_alive(self) -> None:
        """Raise EnvironmentFailedError, with the reason, where it surely never becomes ready."""
        return

    @property
    @abstractmethod
    def runner(self) -> Runner:
        """Runs commands beside it; another one after ``restart`` and ``lose_data``."""

    @abstractmethod
    def restart(self, *, meanwhile: Sequence[str] | None = None) -> None:
        """Stop the server, run a command on its data as its owner, and start it again."""

    @abstractmethod
    def lose_data(self) -> None:
        """Destroy the data for good, and start again with an empty server."""

    @abstractmethod
    def close(self) -> None:
        """Remove it. Harmless when repeated."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class Environment(ABC):
    """One kind of place: docker, kubernetes, local. Thread-safe; closed by whoever built it."""

    name: ClassVar[str]
    #: The flag that names one instance of this kind, for hints.
    flag: ClassVar[str]

    @abstractmethod
    def check(self) -> None:
        """Raise EnvironmentFailedError, with a hint, where this environment cannot be used from here.

        Answers within about two seconds.
        """

    def is_available(self) -> bool:
        """Tell, within about two seconds and without raising, whether this environment can be used from here."""
        try:
            self.check()
        except EnvironmentFailedError:
            return False
        return True

    @abstractmethod
    def find(self, query: InstanceQuery) -> Sequence[Instance]:
        """Return every instance that matches, running or not, sorted by name.

        With an empty query: those that look like PostgreSQL, drills left out. With a name or labels: those that
        match, whatever they look like. Raise EnvironmentFailedError, with a hint, where the engine cannot be reached
        or forbids it.
        """

    @abstractmethod
    def list_names(self) -> Sequence[str]:
        """Return the names of all that could be named in a query, for an error that lists them."""

    def hint_elsewhere(self, name: str) -> str:
        """Return how to reach what has this name outside of what ``find`` looks at; ``""`` where nothing is known."""
        return ""

    @abstractmethod
    def open(self, instance: Instance) -> Runner:
        """Return a runner beside a running instance; raise EnvironmentFailedError where it is not running."""

    @abstractmethod
    def describe_stopped(self, instance: Instance) -> EnvironmentFailedError:
        """Return the error, with its hint, that says this instance is there and does not run."""

    def describe_source(self, instance: Instance) -> SandboxSpec:
        """Return what a throwaway copy of an instance is made from: its very image, its command, its variables."""
        return SandboxSpec(image=instance.image, source=instance)

    def added_files(self, instance: Instance) -> Sequence[str]:
        """Return the paths that were put into a running instance and are not in its image, where that can be told."""
        return ()

    def open_sandbox(self, spec: SandboxSpec) -> Sandbox:
        """Start a throwaway instance; raise EnvironmentFailedError where this environment cannot, or has no image."""
        raise EnvironmentFailedError(_("{name} cannot start a throwaway instance").format(name=self.name))

    def remove_leftovers(self) -> int:
        """Remove the throwaway instances of runs that died; return how many."""
        return 0

    def close(self) -> None:
        """Let go of connections to the engine. Harmless when repeated; runners opened here end with it."""
        return
