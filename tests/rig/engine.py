"""The Docker engine as the tests reach it: the command line client, every call with a deadline.

Standard library only, so that images can be built before anything is installed. Knows nothing of PostgreSQL, nothing
of the product, and nothing of pytest.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

LABEL = "respaldo.test"


class RigError(Exception):
    """What the tests stand on could not be brought up; the message holds the command and what it said."""


def run(argv: Sequence[str], *, stdin: bytes | None = None, timeout_s: float = 60) -> bytes:
    """Run a command to its end and return its output; raise RigError with its errors if it fails or takes too long."""
    try:
        done = subprocess.run(argv, input=stdin or b"", capture_output=True, timeout=timeout_s, check=False)
    except subprocess.TimeoutExpired as error:
        raise RigError(f"{' '.join(argv)}: not done after {timeout_s:g} s") from error
    except FileNotFoundError as error:
        raise RigError(f"{argv[0]}: no such program") from error
    if done.returncode != 0:
        said = (done.stderr or done.stdout).decode(errors="replace").strip()
        raise RigError(f"{' '.join(argv)}: status {done.returncode}: {said}")
    return done.stdout


def docker(*argv: str, stdin: bytes | None = None, timeout_s: float = 60) -> bytes:
    """Run one ``docker`` command."""
    return run(["docker", *argv], stdin=stdin, timeout_s=timeout_s)


def why_no_engine() -> str | None:
    """Say why no engine can be used, or return None where one answers."""
    if shutil.which("docker") is None:
        return "no docker command on this machine"
    try:
        docker("version", "--format", "{{.Server.Version}}", timeout_s=20)
    except RigError as error:
        return f"no Docker engine answers: {str(error).splitlines()[-1]}"
    return None


def has_image(image: str) -> bool:
    """Tell whether the engine holds an image under this name."""
    return bool(docker("image", "ls", "--quiet", image).strip())


def _started(pid: int) -> str | None:
    """The process's start time in clock ticks (proc(5), stat, field 22): with the pid it names one process for ever."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
    except (OSError, IndexError):
        return None


def run_id() -> str:
    """Name this process, on this host: what every container of this run is labelled with."""
    return f"{socket.gethostname()}/{os.getpid()}/{_started(os.getpid())}"


def is_abandoned(run: str) -> bool:
    """Tell whether a label was written by a process of this host that is gone. Another host's are not ours to judge."""
    host, pid, started = [*run.split("/"), "", "", ""][:3]
    return host == socket.gethostname() and pid.isdigit() and _started(int(pid)) != started


def remove_abandoned() -> list[str]:
    """Remove the containers, with their volumes, of earlier runs that died before they could; return their names."""
    listing = docker(
        "ps", "--all", "--filter", f"label={LABEL}", "--format", f'{{{{.Names}}}} {{{{.Label "{LABEL}"}}}}'
    )
    removed = []
    for line in listing.decode().splitlines():
        name, _, run = line.partition(" ")
        if is_abandoned(run):
            # Another worker may be about to remove it too.
            with suppress(RigError):
                docker("rm", "--force", "--volumes", name)
                removed.append(name)
    return removed


def remove_own() -> None:
    """Remove every container of this run that is still there, with its volumes."""
    listing = docker("ps", "--all", "--quiet", "--filter", f"label={LABEL}={run_id()}")
    for container in listing.decode().split():
        docker("rm", "--force", "--volumes", container)
