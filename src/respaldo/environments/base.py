"""The environment seam: where PostgreSQL runs, and how a command is run beside it.

Knows processes, streams and containers; nothing of PostgreSQL but what an image or a port looks like.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self


@dataclass(frozen=True, slots=True, kw_only=True)
class Instance:
    """One place where a PostgreSQL server runs, or may run: a container, a pod's container, a host.

    ``name`` is what a person calls it and what the repository files it under; ``id`` is the engine's own.
    """

    environment: str
    name: str
    id: str
    image: str = ""
    state: str = "running"
    labels: Mapping[str, str] = field(default_factory=dict)
    is_postgres: bool = True

    @property
    def is_running(self) -> bool:
        return self.state == "running"


@dataclass(frozen=True, slots=True, kw_only=True)
class InstanceQuery:
    """What a person said about which instance; empty fields say nothing."""

    name: str | None = None
    labels: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Completed:
    """A command that ran to its end: its exit status, all of its output, and the last 64 KiB of its errors."""

    status: int
    stdout: bytes
    stderr: bytes


class Process(ABC):
    """One command running beside the server. Never with a TTY: bytes pass as they are.

    One thread may read while another writes. Leaving the ``with`` block kills what still runs. Errors of the engine
    and a connection that breaks are EnvironmentFailedError or StreamCutError.
    """

    @abstractmethod
    def read(self, size: int = 1 << 18) -> bytes:
        """Return between 1 and ``size`` bytes of standard output as soon as there are any; ``b""`` at its end."""

    @abstractmethod
    def write(self, data: bytes | memoryview) -> None:
        """Send all of ``data`` to standard input; waits while the reader inside is slower."""

    @abstractmethod
    def close_stdin(self) -> None:
        """Deliver the end of input. Harmless when repeated."""

    @abstractmethod
    def wait(self, timeout_s: float | None = None) -> int:
        """Read to the end of output, discarding it, and return the exit status (128 + signal where killed).

        Raise StreamCutError where the engine cannot tell the status, or at the timeout.
        """

    @abstractmethod
    def stderr_tail(self) -> bytes:
        """Return the last 64 KiB of standard error that arrived so far."""

    @abstractmethod
    def close(self) -> None:
        """Cut the connection; standard input ends for a command that still runs. Harmless when repeated."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
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

        ``stdin`` must be small enough for a pipe's buffer, or the command must read it before it writes much.
        """
        raise NotImplementedError


class Environment(ABC):
    """One kind of place: docker, kubernetes, local."""

    name: str

    @abstractmethod
    def is_available(self) -> bool:
        """Tell, within about two seconds and without raising, whether this environment can be used from here."""

    @abstractmethod
    def find(self, query: InstanceQuery) -> Sequence[Instance]:
        """Return every instance that matches, running or not, sorted by name.

        With an empty query: those that look like PostgreSQL. With a name or labels: those that match, whatever they
        look like. Raise EnvironmentFailedError, with a hint, where the engine cannot be reached or forbids it.
        """

    @abstractmethod
    def list_names(self) -> Sequence[str]:
        """Return the names of all that could be named in a query, for an error that lists them."""

    @abstractmethod
    def open(self, instance: Instance) -> Runner:
        """Return a runner beside a running instance; raise EnvironmentFailedError where it is not running."""
