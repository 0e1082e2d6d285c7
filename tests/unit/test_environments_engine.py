"""What a Docker engine, or what stands before it, may answer instead of doing what it was asked."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from respaldo.environments.address import find_engine
from respaldo.environments.base import Instance, InstanceQuery
from respaldo.environments.docker import DockerEnvironment
from respaldo.environments.docker_errors import stopped
from respaldo.environments.hijack import RefusedError, open_wire, start_exec
from respaldo.errors import EnvironmentFailedError
from tests.rig.receivers import free_port, http_server, make_certificate
from tests.unit.api_server import Script, answer, serving

pytestmark = pytest.mark.usefixtures("in_english")

VERSION = answer(200, {"ApiVersion": "1.44"})
RUNNING = answer(200, {"State": {"Status": "running", "StartedAt": "x"}, "Config": {"Env": ["A=1"]}})
DB = Instance(environment="docker", name="db", id="c1")


@pytest.mark.parametrize(
    ("status", "hint"), [(403, "a proxy before the engine must allow"), (500, "docker info"), (404, "docker ps -a")]
)
def test_engine_that_refuses_is_said_with_what_helps(status: int, hint: str) -> None:
    with serving(Script([VERSION, answer(status, {"message": "not\nso"})])) as (api, _pauses):
        environment = DockerEnvironment({"DOCKER_HOST": f"tcp://127.0.0.1:{api.cluster.port}"})
        with pytest.raises(EnvironmentFailedError, match=rf"refused \({status}\): not so") as caught:
            environment.find(InstanceQuery())
        environment.close()
    assert hint in (caught.value.hint or "")


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        (answer(403, {"message": "exec is not allowed"}), r"refused \(403\): exec is not allowed"),
        (b"HTTP/1.1 502 Bad\r\n\r\nupstream is gone", r"refused \(502\): upstream is gone"),
        (b"HTTP/1.1 500 Bad\r\n\r\n{}", r"refused \(500\)"),
        (b"", "psql could not be started in db: the engine closed the connection"),
        (b"what is this\r\n\r\n", "psql could not be started in db: not an answer of a Docker engine"),
        (b"HTTP/1.1\r\n\r\n", "psql could not be started in db: not an answer of a Docker engine"),
    ],
)
def test_command_that_the_engine_does_not_start_is_one_error(said: bytes, expected: str) -> None:
    with serving(Script([VERSION, RUNNING, answer(201, {"Id": "e1"}), said])) as (api, _pauses):
        environment = DockerEnvironment({"DOCKER_HOST": f"tcp://127.0.0.1:{api.cluster.port}"})
        runner = environment.open(DB)
        with pytest.raises(EnvironmentFailedError, match=expected):
            runner.start(["psql"])
        environment.close()


def test_refusal_of_an_exec_keeps_its_status() -> None:
    with serving(Script([answer(409, {"message": "paused"})])) as (api, _pauses):
        address = find_engine({"DOCKER_HOST": f"tcp://127.0.0.1:{api.cluster.port}"})
        with pytest.raises(RefusedError) as caught:
            start_exec(address, "1.44", "e1")
    assert (caught.value.status, caught.value.message) == (409, "paused")


def test_container_that_does_not_run_is_said_with_what_starts_it() -> None:
    hints = {state: stopped("db", state).hint for state in ("exited", "paused", "restarting")}
    assert hints == {
        "exited": "docker start db",
        "paused": "docker unpause db",
        "restarting": "it keeps ending by itself: docker logs db",
    }


def test_container_that_is_removed_while_it_is_looked_at_is_left_out() -> None:
    def listing(image: str) -> bytes:
        body = json.dumps([{"Id": "c1", "Names": ["/db"], "Image": image, "State": "exited", "Labels": {}}]).encode()
        return b"HTTP/1.1 200 X\r\nConnection: close\r\nContent-Length: %d\r\n\r\n" % len(body) + body

    gone = answer(404, {"message": "No such container: c1"})
    for image, is_postgres in (("app", False), ("postgres", True)):
        with serving(Script([VERSION, listing(image), gone, gone])) as (api, _pauses):
            environment = DockerEnvironment({"DOCKER_HOST": f"tcp://127.0.0.1:{api.cluster.port}"})
            found = environment.find(InstanceQuery(name="db"))
            environment.close()
        assert [(one.is_postgres, one.should_run) for one in found] == [(is_postgres, not is_postgres)]


def test_engine_behind_tls_is_trusted_by_what_the_directory_holds(tmp_path: Path) -> None:
    variables = {"DOCKER_CERT_PATH": str(tmp_path / "certificates")}
    (tmp_path / "certificates").mkdir()
    with http_server(make_certificate(tmp_path)) as inbox:
        variables["DOCKER_HOST"] = inbox.url.replace("https://", "tcp://")
        open_wire(find_engine(variables)).close()
        variables["DOCKER_TLS_VERIFY"] = "1"
        with pytest.raises(EnvironmentFailedError, match=r"refuses TLS: .*certificate") as caught:
            open_wire(find_engine(variables))
        assert "DOCKER_CERT_PATH" in (caught.value.hint or "")
        environment = DockerEnvironment(variables)
        with pytest.raises(EnvironmentFailedError, match=r"failed: .*certificate"):
            environment.find(InstanceQuery())
        authority = tmp_path / "certificates/ca.pem"
        authority.write_text("no certificate")
        with pytest.raises(EnvironmentFailedError, match=r"certificates in .* cannot be used") as caught:
            open_wire(find_engine(variables))
        assert "DOCKER_CERT_PATH" in (caught.value.hint or "")
        authority.write_text((tmp_path / "localhost.pem").read_text())
        open_wire(find_engine(variables)).close()


def test_engine_that_cannot_be_reached_or_does_not_speak_is_said() -> None:
    with pytest.raises(EnvironmentFailedError, match="cannot be reached"):
        DockerEnvironment({"DOCKER_HOST": f"tcp://no-such-host.invalid:{free_port()}"}).check()
