"""Programs and throwaway servers of this machine that do not do what they should: real processes, small scripts."""

from __future__ import annotations

import os
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from respaldo.environments.base import Instance, InstanceQuery, SandboxSpec
from respaldo.environments.local import LocalEnvironment
from respaldo.environments.local_process import LocalRunner
from respaldo.environments.local_sandbox import LocalSandbox
from respaldo.environments.local_tools import REQUIRED, SERVER, find_server
from respaldo.errors import EnvironmentFailedError, StreamCutError
from tests.rig.listening import answering_server

pytestmark = pytest.mark.usefixtures("in_english")


@pytest.fixture
def programs() -> Iterator[Path]:
    """A directory for scripts that another user may run too."""
    with tempfile.TemporaryDirectory(prefix="respaldo-test-", dir="/tmp") as name:
        Path(name).chmod(0o755)
        yield Path(name)


def write(directory: Path, **scripts: str) -> None:
    for name, script in scripts.items():
        (directory / name).write_text(f"#!/bin/sh\n{script}\n")
        (directory / name).chmod(0o755)


def left() -> list[Path]:
    return list(Path(tempfile.gettempdir()).glob(f"respaldo-drill-{os.getpid()}-*"))


def test_throwaway_server_that_cannot_be_made_says_why_and_leaves_nothing(programs: Path) -> None:
    write(programs, initdb="echo 'creating files'; echo 'initdb: error: invalid locale name' >&2; echo bye; exit 1")
    with pytest.raises(EnvironmentFailedError, match="could not be made: initdb: error: invalid locale name"):
        LocalSandbox(programs, SandboxSpec(major=17), {})
    assert left() == []


def watch(sandbox: LocalSandbox) -> None:
    for _turn in range(200):
        sandbox.check_alive()
        threading.Event().wait(0.05)


def test_throwaway_server_that_ends_by_itself_says_why(programs: Path) -> None:
    write(programs, initdb="exit 0", postgres="echo 'FATAL:  could not map memory' >&2; exit 1")
    sandbox = LocalSandbox(programs, SandboxSpec(major=17), {})
    try:
        with pytest.raises(EnvironmentFailedError, match="ended by itself: FATAL:  could not map memory"):
            watch(sandbox)
        with pytest.raises(EnvironmentFailedError, match="false failed on the drill's data: exit status 1"):
            sandbox.restart(meanwhile=["false"])
    finally:
        sandbox.close()
    assert left() == []


def test_program_that_the_servers_account_may_not_run_is_said_with_what_helps(programs: Path) -> None:
    write(programs, initdb="exit 0")
    (programs / "initdb").chmod(0o600)
    with pytest.raises(EnvironmentFailedError, match="initdb could not be started by the user") as caught:
        LocalSandbox(programs, SandboxSpec(major=17), {})
    assert "postgres or nobody" in (caught.value.hint or "")
    assert left() == []


def test_server_of_another_version_or_one_that_does_not_run_is_none(programs: Path) -> None:
    write(programs, **dict.fromkeys((*SERVER, *REQUIRED), "echo 'postgres (PostgreSQL) 17.2'"))
    assert find_server({}, 17, programs) == programs
    assert find_server({}, 16, programs) != programs
    (programs / "postgres").write_text("no program")
    assert find_server({}, 17, programs) != programs


def runner() -> LocalRunner:
    return LocalRunner(Instance(environment="local", name="local", id=":1"), {"PATH": os.environ["PATH"]})


def test_command_that_does_not_end_in_time_is_a_cut() -> None:
    with runner().start(["sh", "-c", "exec >&- 2>&-; exec sleep 60"]) as process:
        assert process.read() == b""
        with pytest.raises(StreamCutError, match="did not end in time"):
            process.wait(0.1)
    with pytest.raises(StreamCutError, match="it was closed"):
        process.wait()


def test_program_that_is_not_there_takes_no_input() -> None:
    with runner().start(["/nowhere/psql"], stdin=True) as process:
        with pytest.raises(StreamCutError, match="/nowhere/psql: No such file"):
            process.write(b"SELECT 1;")
        process.close_stdin()
        assert process.wait() == 127


@pytest.fixture
def port() -> Iterator[int]:
    """Of something that answers as a server does which has no TLS."""
    with answering_server() as port:
        yield port


def test_server_without_client_programs_here_is_said_with_what_to_install(port: int, tmp_path: Path) -> None:
    environment = LocalEnvironment("127.0.0.1", port, tmp_path, {})
    (found,) = environment.find(InstanceQuery())
    with pytest.raises(EnvironmentFailedError, match="no PostgreSQL client programs here") as caught:
        environment.open(found)
    assert "postgresql-client" in (caught.value.hint or "")


def test_server_that_went_away_is_said_with_its_address() -> None:
    environment = LocalEnvironment(None, 1, None, {})
    assert environment.find(InstanceQuery()) == []
    with pytest.raises(EnvironmentFailedError, match=r"127\.0\.0\.1:1") as caught:
        environment.open(Instance(environment="local", name="x", id="127.0.0.1:1"))
    assert "--port" in (caught.value.hint or "")
