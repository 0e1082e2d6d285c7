"""Where the engine is, and what is said when it is not there."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest

import respaldo
from respaldo.environments import address
from respaldo.environments.address import find_engine
from respaldo.environments.base import InstanceQuery
from respaldo.environments.docker import DockerEnvironment
from respaldo.errors import EnvironmentFailedError, UsageError


@pytest.mark.parametrize(
    ("host", "socket_path"),
    [("unix:///run/podman/podman.sock", "/run/podman/podman.sock"), ("unix://", "/var/run/docker.sock"), ("", None)],
)
def test_find_engine_reads_a_socket(host: str, socket_path: str | None) -> None:
    assert find_engine({"DOCKER_HOST": host}).socket_path == (socket_path or "/var/run/docker.sock")


@pytest.mark.parametrize(
    ("variables", "url", "is_tls", "is_verified"),
    [
        ({"DOCKER_HOST": "tcp://box:2375"}, "http://box:2375", False, False),
        ({"DOCKER_HOST": "box:99"}, "http://box:99", False, False),
        ({"DOCKER_HOST": "tcp://box"}, "http://box:2375", False, False),
        ({"DOCKER_HOST": "tcp://[::1]:1/p/"}, "http://[::1]:1/p", False, False),
        ({"DOCKER_HOST": "tcp://box", "DOCKER_TLS_VERIFY": "1"}, "https://box:2376", True, True),
        ({"DOCKER_HOST": "tcp://box:1", "DOCKER_CERT_PATH": "/c"}, "https://box:1", True, False),
    ],
)
def test_find_engine_reads_tcp(variables: dict[str, str], url: str, is_tls: bool, is_verified: bool) -> None:
    found = find_engine(variables)
    assert (found.url, found.is_tls, found.is_verified) == (url, is_tls, is_verified)


@pytest.mark.parametrize("host", ["ssh://me@box", "npipe:////./pipe/docker", "tcp://:1", "tcp://box:port"])
def test_find_engine_refuses_what_it_cannot_speak_to(host: str) -> None:
    with pytest.raises(UsageError, match="DOCKER_HOST"):
        find_engine({"DOCKER_HOST": host})
    assert not DockerEnvironment({"DOCKER_HOST": host}).is_available()


def test_find_engine_takes_the_rootless_socket_where_there_is_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "docker.sock").touch()
    monkeypatch.setattr(address, "SYSTEM_SOCKET", tmp_path / "none")
    assert find_engine({"XDG_RUNTIME_DIR": str(tmp_path)}).socket_path == str(tmp_path / "docker.sock")


def test_engine_that_is_not_there_is_said_with_a_hint(tmp_path: Path) -> None:
    path = tmp_path / "engine.sock"
    environment = DockerEnvironment({"DOCKER_HOST": f"unix://{path}"})
    assert not environment.is_available()
    with pytest.raises(EnvironmentFailedError) as caught:
        environment.find(InstanceQuery())
    assert str(path) in caught.value.message
    assert "DOCKER_HOST" in (caught.value.hint or "")
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
        with pytest.raises(EnvironmentFailedError) as caught:
            environment.find(InstanceQuery())
    assert str(path) in caught.value.message
    with pytest.raises(EnvironmentFailedError):
        DockerEnvironment({"DOCKER_HOST": "tcp://127.0.0.1:1"}).check()


def test_engine_that_is_not_one_is_an_error_of_the_environment(tmp_path: Path) -> None:
    script = (
        "import socket, sys\n"
        "s = socket.socket(socket.AF_UNIX); s.bind(sys.argv[1]); s.listen(); print('up', flush=True)\n"
        "while True:\n"
        "    c = s.accept()[0]\n"
        "    if c.recv(9999): c.sendall(b'HTTP/1.1 404 No\\r\\nContent-Length: 0\\r\\n\\r\\n')\n"
        "    c.close()\n"
    )
    path = tmp_path / "s"
    with subprocess.Popen([sys.executable, "-c", script, str(path)], stdout=subprocess.PIPE) as server:
        assert server.stdout
        server.stdout.readline()
        with pytest.raises(EnvironmentFailedError) as caught:
            DockerEnvironment({"DOCKER_HOST": f"unix://{path}"}).find(InstanceQuery())
        server.kill()
    assert caught.value.hint


@pytest.mark.skipif(
    os.getuid() != 0 or not shutil.which("setpriv"), reason="needs root and setpriv to become another user"
)
def test_socket_without_permission_is_said_with_a_hint() -> None:
    script = (
        "import sys, respaldo.environments.docker as d\n"
        "from respaldo.errors import EnvironmentFailedError\n"
        "try: d.DockerEnvironment({'DOCKER_HOST': 'unix://' + sys.argv[1]}).check()\n"
        "except EnvironmentFailedError as error: print(error.message, '|', error.hint)\n"
    )
    path = Path(f"/tmp/respaldo-forbidden-{os.getpid()}.sock")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path))
        server.listen()
        path.chmod(0o600)
        try:
            source = str(Path(respaldo.__file__).parents[1])
            answered = subprocess.run(
                [
                    "setpriv",
                    "--reuid=65534",
                    "--regid=65534",
                    "--clear-groups",
                    sys.executable,
                    "-c",
                    script,
                    str(path),
                ],
                env={"PYTHONPATH": source, "LANG": "en", "PATH": os.environ["PATH"]},
                capture_output=True,
                text=True,
                check=False,
            )
        finally:
            path.unlink()
    if "ermission denied" in answered.stderr or "No module named 'respaldo'" in answered.stderr:
        pytest.skip("the interpreter or the sources are not readable for another user here")
    assert "no permission" in answered.stdout, answered.stderr
    assert "docker" in answered.stdout.partition("|")[2]
