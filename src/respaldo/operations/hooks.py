"""The user's own commands and statements before and after a backup. A failing one before stops it; those after are run
whatever came of it, and are told what did."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from tempfile import TemporaryFile
from typing import IO

from respaldo.errors import HookFailedError, RespaldoError
from respaldo.language import _
from respaldo.postgres.complaints import explain
from respaldo.postgres.server import Server
from respaldo.redaction import redact, redact_end
from respaldo.repository.records import Manifest, TargetPath

_SHOWN = 2000
_READ_BYTES = 256 << 10
"""More than is shown, by more than any secret is long, each of its bytes as a URL writes it."""
_GRACE_S = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Hooks:
    """What is run. Commands by ``sh -c`` on this machine, statements in the database that is backed up. ``hidden``:
    variables that the commands do not get; ``secrets``: what no error may hold."""

    pre_command: str | None = None
    post_command: str | None = None
    pre_sql: str | None = None
    post_sql: str | None = None
    timeout_s: int = 300
    hidden: Collection[str] = ()
    secrets: Collection[str] = ()

    @property
    def are_none(self) -> bool:
        return not (self.pre_command or self.post_command or self.pre_sql or self.post_sql)


def run_hooked(
    server: Server, target: TargetPath, hooks: Hooks, run: Callable[[], Manifest]
) -> tuple[Manifest, HookFailedError | None]:
    """Run the hooks before, the backup, the hooks after; return the backup, and the failure of a hook after it.

    Raise HookFailedError where a hook before fails: then no backup was made. The hooks after run in every case.
    """
    if hooks.are_none:
        return run(), None
    told = {"RESPALDO_INSTANCE": target.instance, "RESPALDO_TARGET_DATABASE": target.database}
    try:
        _run(server, hooks, hooks.pre_command, hooks.pre_sql, {**told, "RESPALDO_PHASE": "before"})
        manifest = run()
    except BaseException as error:
        reason = redact(error.message, hooks.secrets) if isinstance(error, RespaldoError) else _("interrupted")
        with suppress(HookFailedError):
            # What failed first is what is told.
            _run_after(server, hooks, {**told, "RESPALDO_OUTCOME": "failure", "RESPALDO_ERROR": reason})
        raise
    outcome = {
        **told,
        "RESPALDO_OUTCOME": "success",
        "RESPALDO_BACKUP": manifest.name,
        "RESPALDO_TYPE": manifest.type.value,
        "RESPALDO_BYTES": str(manifest.totals.raw_bytes),
        "RESPALDO_STORED_BYTES": str(manifest.totals.stored_bytes),
        "RESPALDO_ROWS": str(manifest.totals.rows),
        "RESPALDO_SECONDS": f"{(manifest.finished - manifest.started).total_seconds():.1f}",
    }
    try:
        _run_after(server, hooks, outcome)
    except HookFailedError as error:
        return manifest, error
    return manifest, None


def _run_after(server: Server, hooks: Hooks, told: Mapping[str, str]) -> None:
    told = {**told, "RESPALDO_PHASE": "after"}
    failure: HookFailedError | None = None
    # The command too, where the statements failed: it may be what starts a service again.
    for command, sql in ((None, hooks.post_sql), (hooks.post_command, None)):
        try:
            _run(server, hooks, command, sql, told)
        except HookFailedError as error:
            failure = failure or error
    if failure is not None:
        raise failure


def _run(server: Server, hooks: Hooks, command: str | None, sql: str | None, told: Mapping[str, str]) -> None:
    phase = told["RESPALDO_PHASE"]
    if command:
        run_command(command, told, timeout_s=hooks.timeout_s, phase=phase, hooks=hooks)
    if sql:
        _run_sql(server, sql, hooks, phase)


def _run_sql(server: Server, sql: str, hooks: Hooks, phase: str) -> None:
    """Run statements, each its own transaction unless they say otherwise; the first error is the last of them."""
    argv = [server.tools.psql, "--no-psqlrc", "--no-password", "--quiet", "--set=ON_ERROR_STOP=1"]
    # Through the input: what stands on a command line is read by every user of the machine.
    script = f"SET statement_timeout = {hooks.timeout_s * 1000};\n{sql}\n"
    try:
        done = server.runner.run(
            [*argv, "--set=VERBOSITY=verbose", "--file=-"],
            env=server.connection.environment(),
            stdin=script.encode(errors="surrogateescape"),
            timeout_s=hooks.timeout_s + _GRACE_S,
        )
        if done.status != 0:
            raise explain("psql", done.stderr, done.status)
    except RespaldoError as error:
        raise HookFailedError(
            _("the SQL hook {phase} the backup failed: {reason}").format(
                phase=_phase(phase), reason=redact(error.message, hooks.secrets)
            ),
            hint=error.hint,
        ) from None


def run_command(command: str, told: Mapping[str, str], *, timeout_s: float, phase: str, hooks: Hooks) -> None:
    """Run one shell command in a session of its own; raise HookFailedError with the end of what it said.

    What it leaves in the background may go on: only a command that takes too long is ended, with all that it started.
    """
    environment = {name: value for name, value in os.environ.items() if name not in hooks.hidden}
    with _said(phase) as said:
        child = _start(command, {**environment, **told}, said, phase)
        try:
            status = child.wait(timeout_s)
        except subprocess.TimeoutExpired:
            raise HookFailedError(
                _("the hook {phase} the backup did not end in {seconds} s").format(
                    phase=_phase(phase), seconds=round(timeout_s)
                ),
                hint=_("RESPALDO_HOOK_TIMEOUT says how long it may take"),
            ) from None
        finally:
            if child.poll() is None:
                _end(child)
        if status == 0:
            return
        said.seek(max(0, said.seek(0, os.SEEK_END) - _READ_BYTES))
        words = redact_end(said.read().decode(errors="replace"), hooks.secrets, _SHOWN)
    raise HookFailedError(
        _("the hook {phase} the backup ended with status {status}: {text}").format(
            phase=_phase(phase), status=status, text=" ".join(words.split()) or _("it said nothing")
        )
    )


@contextmanager
def _said(phase: str) -> Iterator[IO[bytes]]:
    """Open what holds a command's words. A file, not a pipe: what runs on in the background would hold a pipe open."""
    with ExitStack() as stack:
        with _not_started(phase):
            file = stack.enter_context(TemporaryFile())
        yield file


def _start(command: str, environment: Mapping[str, str], said: IO[bytes], phase: str) -> subprocess.Popen[bytes]:
    with _not_started(phase):
        return subprocess.Popen(
            ["/bin/sh", "-c", command],
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=said,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )


@contextmanager
def _not_started(phase: str) -> Iterator[None]:
    """Say of what this machine refuses that the hook failed: after a good backup it is a warning and no more."""
    try:
        yield
    except OSError as error:
        raise HookFailedError(
            _("the hook {phase} the backup could not be started: {reason}").format(
                phase=_phase(phase), reason=error.strerror or error
            ),
            hint=_("see whether there is room for temporary files (TMPDIR), and memory for another process"),
        ) from error


def _end(child: subprocess.Popen[bytes]) -> None:
    with suppress(ProcessLookupError):
        os.killpg(child.pid, signal.SIGTERM)
    try:
        child.wait(_GRACE_S)
    except subprocess.TimeoutExpired:
        with suppress(ProcessLookupError):
            os.killpg(child.pid, signal.SIGKILL)
        child.wait()


def _phase(phase: str) -> str:
    return _("before") if phase == "before" else _("after")
