"""A real runner that does harm at one step: to the process of that step, to its server, or to the program itself."""

from __future__ import annotations

import secrets
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from respaldo.environments.base import Instance, Process, Runner

QUICK = {"pg_dump", "pg_restore"}
TAG = "RESPALDO_TEST_STEP"


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """The process of a step: its command line holds ``word``; the step is there with the write that begins with
    ``start`` or holds ``marker``, with this ``write`` where neither is named, with the first read where nothing is
    written."""

    word: str
    start: bytes = b""
    marker: bytes = b""
    write: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Harm:
    """What happens at a step: ``act`` is called with what the process bears as the variable TAG, before what is written
    there arrives or after. ``cuts_input``, ``cuts_output``: nothing of the step's text but its first half arrives,
    nothing comes back, and yet everything claims success. ``is_late``: the step's text arrives when the process is
    closed. ``wrap``: what starts a client that awaits no input."""

    act: Callable[[str], object] = lambda tag: None
    acts_before: bool = False
    wrap: tuple[str, ...] = ()
    cuts_input: bool = False
    cuts_output: bool = False
    is_late: bool = False


class FakeHarmingRunner(Runner):
    """Harms the first process of a step, once. ``is_done``: whether the step came."""

    def __init__(self, runner: Runner, step: Step, harm: Harm) -> None:
        self._runner = runner
        self._step = step
        self._harm = harm
        self._lock = threading.Lock()
        self.is_done = False

    @property
    def instance(self) -> Instance:
        return self._runner.instance

    def variables(self) -> Mapping[str, str]:
        return self._runner.variables()

    def start(self, argv: Sequence[str], *, env: Mapping[str, str] | None = None, stdin: bool = False) -> Process:
        if self.is_done or self._step.word not in " ".join(argv):
            return self._runner.start(argv, env=env, stdin=stdin)
        tag = secrets.token_hex(8)
        wrapped = [
            word for one in argv for word in ((*self._harm.wrap, one) if one.rpartition("/")[2] in QUICK else (one,))
        ]
        process = self._runner.start(wrapped, env={**(env or {}), TAG: tag}, stdin=stdin)
        return _FakeHarmedProcess(process, self, tag)

    def is_now(self, data: bytes, write: int) -> bool:
        """Tell, once, whether this write is the step."""
        with self._lock:
            start, marker = self._step.start, self._step.marker
            is_marked = bool(start or marker)
            is_there = data.startswith(start) and marker in data if is_marked else write == self._step.write
            is_now = not self.is_done and is_there
            self.is_done = self.is_done or is_now
            return is_now

    @property
    def harm(self) -> Harm:
        return self._harm


class _FakeHarmedProcess(Process):
    def __init__(self, process: Process, runner: FakeHarmingRunner, tag: str) -> None:
        self._process = process
        self._tag = tag
        self._runner = runner
        self._writes = 0
        self._harm = Harm()
        self._late = b""

    def read(self, size: int = 1 << 18) -> bytes:
        if not self._writes:
            self._begin(b"")
        data = b"" if self._harm.cuts_output else self._process.read(size)
        # Another thread may have reached the step meanwhile.
        return b"" if self._harm.cuts_output else data

    def write(self, data: bytes | memoryview) -> None:
        if self._harm.cuts_input:
            return
        self._writes += 1
        self._begin(bytes(data), lambda: self._process.write(data))

    def _begin(self, data: bytes, write: Callable[[], object] = lambda: None) -> None:
        if not self._runner.is_now(data, self._writes or 1):
            write()
            return
        self._harm = self._runner.harm
        if self._harm.acts_before:
            self._harm.act(self._tag)
            write()
            return
        if self._harm.is_late:
            self._late = data
        elif self._harm.cuts_input:
            self._process.write(data[: len(data) // 2])
            self._process.close_stdin()
        else:
            write()
        self._harm.act(self._tag)

    def close_stdin(self) -> None:
        self._process.close_stdin()

    def wait(self, timeout_s: float | None = None) -> int:
        return 0 if self._harm.cuts_output else self._process.wait(timeout_s)

    def stderr_tail(self) -> bytes:
        return b"" if self._harm.cuts_output else self._process.stderr_tail()

    def close(self) -> None:
        late, self._late = self._late, b""
        if late:
            self._process.write(late)
        self._process.close()
