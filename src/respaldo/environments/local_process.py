"""Commands on this machine, beside a server that is reached by a socket or a port."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import IO, Final

from respaldo.environments.base import Instance, Process, Runner
from respaldo.environments.tail import ErrorTail
from respaldo.errors import StreamCutError
from respaldo.language import _

GRACE_S: Final = 2.0
#: One end of a pipe that holds more lets writer and reader run side by side (Linux's default is 64 KiB).
PIPE_BYTES: Final = 1 << 20


class LocalProcess(Process):
    """A child process in a session of its own. Closed by whoever started it."""

    def __init__(self, child: subprocess.Popen[bytes], program: str) -> None:
        self._child = child
        self._program = program
        self._errors = ErrorTail()
        self._input = child.stdin
        self._output = _opened(child.stdout)
        self._reading = threading.Lock()
        self._writing = threading.Lock()
        self._closing = threading.Lock()
        self._closed = threading.Event()
        _widen(self._output)
        self._drain = threading.Thread(target=self._read_errors, args=(_opened(child.stderr),), daemon=True)
        self._drain.start()

    def read(self, size: int = 1 << 18) -> bytes:
        with self._reading:
            if not self._closed.is_set():
                data = os.read(self._output.fileno(), size)
                if data or not self._closed.is_set():
                    return data
        raise self._cut(_("it was closed"))

    def write(self, data: bytes | memoryview) -> None:
        with self._writing:
            if self._input is None:
                raise ValueError("the input of this process is closed")
            rest = memoryview(data)
            try:
                while rest:
                    rest = rest[os.write(self._input.fileno(), rest) :]
            except OSError as error:
                self._drain.join(1.0)  # the reason is on its way
                reason = self._errors.last_line() or str(error)
                raise StreamCutError(
                    _("{program} stopped reading its input: {reason}").format(program=self._program, reason=reason)
                ) from error

    def close_stdin(self) -> None:
        with self._writing:
            if self._input is not None:
                self._input.close()
                self._input = None

    def wait(self, timeout_s: float | None = None) -> int:
        deadline_s = None if timeout_s is None else time.monotonic() + timeout_s
        while self._child.returncode is None and not self._closed.is_set():
            self._await_output(deadline_s)
            if not self.read():
                break
        if self._closed.is_set():
            raise self._cut(_("it was closed"))
        try:
            status = self._child.wait(None if deadline_s is None else max(0.0, deadline_s - time.monotonic()))
        except subprocess.TimeoutExpired as error:
            raise self._cut(_("it did not end in time")) from error
        self._drain.join(GRACE_S)
        return 128 - status if status < 0 else status

    def stderr_tail(self) -> bytes:
        return self._errors.read()

    def close(self) -> None:
        with self._closing:
            if self._closed.is_set():
                return
            self._closed.set()
            if self._child.poll() is None:
                self._signal(signal.SIGTERM)
                try:
                    self._child.wait(GRACE_S)
                except subprocess.TimeoutExpired:
                    self._signal(signal.SIGKILL)
                    self._child.wait()
            # Its death woke whoever was reading or writing.
            with self._writing:
                if self._input is not None:
                    self._input.close()
                    self._input = None
            with self._reading:
                self._output.close()
            self._drain.join(GRACE_S)

    def _await_output(self, deadline_s: float | None) -> None:
        if deadline_s is None:
            return
        poll = select.poll()
        poll.register(self._output, select.POLLIN)
        if not poll.poll(max(0.0, deadline_s - time.monotonic()) * 1000):
            raise self._cut(_("it did not end in time"))

    def _read_errors(self, errors: IO[bytes]) -> None:
        with errors:
            while data := os.read(errors.fileno(), 1 << 16):
                self._errors.append(data)

    def _signal(self, number: signal.Signals) -> None:
        with suppress(ProcessLookupError):
            os.killpg(self._child.pid, number)

    def _cut(self, reason: str) -> StreamCutError:
        return StreamCutError(
            _("the stream of {program} was cut: {reason}").format(program=self._program, reason=reason)
        )


class UnstartedProcess(Process):
    """A program that could not be started: no output, the reason as its errors, and the shell's status for it."""

    def __init__(self, status: int, reason: str) -> None:
        self._status = status
        self._reason = reason

    def read(self, size: int = 1 << 18) -> bytes:
        return b""

    def write(self, data: bytes | memoryview) -> None:
        raise StreamCutError(self._reason)

    def close_stdin(self) -> None:
        return

    def wait(self, timeout_s: float | None = None) -> int:
        return self._status

    def stderr_tail(self) -> bytes:
        return self._reason.encode()

    def close(self) -> None:
        return


class LocalRunner(Runner):
    """Runs programs on this machine with exactly the variables it was given. Thread-safe."""

    def __init__(self, instance: Instance, variables: Mapping[str, str]) -> None:
        self._instance = instance
        self._variables = dict(variables)

    @property
    def instance(self) -> Instance:
        return self._instance

    def variables(self) -> Mapping[str, str]:
        return self._variables

    def start(self, argv: Sequence[str], *, env: Mapping[str, str] | None = None, stdin: bool = False) -> Process:
        environment = {**self._variables, **(env or {})}
        try:
            child = subprocess.Popen(
                list(argv),
                executable=_locate(argv[0], environment.get("PATH", os.defpath)),
                env=environment,
                stdin=subprocess.PIPE if stdin else subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                bufsize=0,
                start_new_session=True,
            )
        except FileNotFoundError as error:
            return UnstartedProcess(127, f"{argv[0]}: {error.strerror}")
        except OSError as error:
            return UnstartedProcess(126, f"{argv[0]}: {error.strerror}")
        return LocalProcess(child, argv[0])


def _locate(program: str, path: str) -> str:
    """Return the program's file by the *child's* PATH; subprocess itself would search the parent's on some systems."""
    import shutil

    return program if "/" in program else shutil.which(program, path=path) or program


def _opened(stream: IO[bytes] | None) -> IO[bytes]:
    if stream is None:
        raise ValueError("a pipe was asked for")
    return stream


def _widen(pipe: IO[bytes]) -> None:
    try:
        import fcntl

        fcntl.fcntl(pipe, fcntl.F_SETPIPE_SZ, PIPE_BYTES)
    except (ImportError, AttributeError, OSError):
        # Not Linux, or over the user's limit for pipes: slower, nothing worse.
        return
