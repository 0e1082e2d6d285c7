"""Every error that respaldo raises on purpose, in one tree.

    RespaldoError                   1   unclassified
    ├── UsageError                  2   wrong use or configuration
    ├── RepositoryError            10   no repository, or no such backup
    │   ├── LockedError            11   another run holds the target
    │   └── DamagedError           13   bytes are missing or are not the ones that were written
    ├── StorageError               20   the store under the repository failed
    │   ├── ObjectNotFoundError    20
    │   ├── ObjectExistsError      20
    │   └── StorageFullError       20
    ├── PostgresError              30   the server, or one of its client tools, refused or failed
    ├── EnvironmentFailedError     40   engine, container, pod, permission
    │   └── StreamCutError         40   a stream ended before its trailer
    ├── HookFailedError             1   a command or SQL of the user's, before or after a backup
    ├── NotificationError           3   a message could not be delivered; never fails a good backup
    ├── StaleError                 51   the newest backup is older than the objective
    ├── ProofFailedError           50   a drill or a check failed
    │   └── InconclusiveError      50   a drill could find nothing out
    └── InterruptedRunError       130   Ctrl-C, SIGTERM or SIGHUP

Standard library only. Library errors are translated to these at the port where they occur, with ``raise … from``.
"""

from __future__ import annotations

from typing import ClassVar

DONE_WITH_WARNINGS = 3
"""The exit code of a run whose work is done, but not all that follows it; no error of this tree."""


class RespaldoError(Exception):
    """What failed, on which object, with the value; ``hint``: one command or sentence that gets the person further."""

    exit_code: ClassVar[int] = 1
    retryable: ClassVar[bool] = False

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class UsageError(RespaldoError):
    """A flag, a setting or a name that cannot be meant."""

    exit_code = 2


class RepositoryError(RespaldoError):
    """No repository there, or no such backup in it."""

    exit_code = 10


class LockedError(RepositoryError):
    """Another live run holds the target."""

    exit_code = 11
    retryable = True


class DamagedError(RepositoryError):
    """Bytes of the repository are missing, or differ from those that were written."""

    exit_code = 13


class StorageError(RespaldoError):
    """The store under the repository failed."""

    exit_code = 20


class ObjectNotFoundError(StorageError):
    """There is no object of that name."""


class ObjectExistsError(StorageError):
    """An object of that name is there already, and it must not be overwritten."""


class StorageFullError(StorageError):
    """No space, or no quota, left."""


class PostgresError(RespaldoError):
    """The server, or one of its client tools, refused or failed. ``sqlstate``: the server's code, where it is known:
    its words may be in any language (PostgreSQL, Appendix A)."""

    exit_code = 30

    def __init__(self, message: str, *, hint: str | None = None, sqlstate: str = "") -> None:
        super().__init__(message, hint=hint)
        self.sqlstate = sqlstate

    @property
    def tells_of_server(self) -> bool:
        """Whether it tells of the server's own state, and nothing of what it was asked to do.

        Room, memory or connections are used up (class 53), it went down or is coming up (57P), the connection broke
        (08), its disk failed (58030).
        """
        return self.sqlstate.startswith(("53", "57P", "08", "58030"))


class EnvironmentFailedError(RespaldoError):
    """The engine, the container or the pod is not there, is not running, or does not let us."""

    exit_code = 40


class StreamCutError(EnvironmentFailedError):
    """A stream from inside the environment ended before its trailer, or its trailer tells of a failure."""

    retryable = True


class HookFailedError(RespaldoError):
    """A hook failed, or took too long."""


class NotificationError(RespaldoError):
    """A message could not be delivered. ``is_temporary``: the same again may succeed; ``is_partial``: some of those it
    was for got it, so that it is never sent again."""

    exit_code = DONE_WITH_WARNINGS

    def __init__(
        self, message: str, *, hint: str | None = None, is_temporary: bool = False, is_partial: bool = False
    ) -> None:
        super().__init__(message, hint=hint)
        self.is_temporary = is_temporary
        self.is_partial = is_partial


class StaleError(RespaldoError):
    """The newest backup of a target is older than the recovery point objective, or there is none."""

    exit_code = 51


class ProofFailedError(RespaldoError):
    """A drill or a check found that a backup is not what its manifest says."""

    exit_code = 50


class InconclusiveError(ProofFailedError):
    """A drill could find nothing out: no image, no room, a throwaway instance that does not start."""


class InterruptedRunError(RespaldoError):
    """The person, or the machine, asked us to stop."""

    exit_code = 130
