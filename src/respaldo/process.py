"""Who a process is, so that another one on the same machine can tell whether it still runs. Linux's /proc only:
elsewhere nobody is ever declared gone."""

from __future__ import annotations

import os
import socket
from dataclasses import dataclass
from pathlib import Path

_PROC = Path("/proc")
_HIDDEN = "hidden"


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessIdentity:
    """A process among all of a machine's, since its boot; empty texts where the system does not tell."""

    host: str
    boot: str
    pid_namespace: str
    pid: int
    started: str


def identify_process() -> ProcessIdentity:
    """Return who this process is."""
    return ProcessIdentity(
        host=socket.gethostname(),
        boot=_boot(),
        pid_namespace=_pid_namespace(),
        pid=os.getpid(),
        started=_start_of(os.getpid()) or "",
    )


def is_gone(process: ProcessIdentity) -> bool:
    """Tell whether ``process`` surely runs no more. Of another host, boot or container nothing is sure.

    Containers share their host's boot id, and may share its name; each has its own numbers for processes.
    """
    here = identify_process()
    if not here.started or not process.started:
        return False
    if (process.host, process.boot, process.pid_namespace) != (here.host, here.boot, here.pid_namespace):
        return False
    return _start_of(process.pid) not in {process.started, _HIDDEN}


def _boot() -> str:
    try:
        return (_PROC / "sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return ""


def _pid_namespace() -> str:
    try:
        return os.readlink(_PROC / "self/ns/pid")
    except OSError:
        return ""


def _start_of(pid: int) -> str | None:
    """Return when a process started, in clock ticks since boot (field 22 of /proc/pid/stat, proc(5)); None if gone."""
    try:
        status = (_PROC / str(pid) / "stat").read_text(errors="replace")
    except OSError:
        return _HIDDEN if _is_hidden(pid) else None
    # The second field, the program's name in parentheses, may hold blanks and parentheses of its own.
    fields = status.rpartition(")")[2].split()
    return None if fields[0] in {"Z", "X"} else fields[19]


def _is_hidden(pid: int) -> bool:
    """Tell whether a process is there that /proc does not show: another user's, mounted with ``hidepid``."""
    try:
        os.kill(pid, 0)
    except PermissionError:
        return True
    except (ProcessLookupError, OverflowError):
        return False
    return True
