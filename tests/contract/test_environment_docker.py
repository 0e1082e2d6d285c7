"""What only a container can do: be stopped, be paused, be found by its labels."""

from __future__ import annotations

import secrets
import threading
from collections.abc import Iterator
from contextlib import closing, suppress

import pytest

from respaldo.environments.base import InstanceQuery, Process
from respaldo.environments.detect import choose
from respaldo.environments.docker import DockerEnvironment
from respaldo.errors import EnvironmentFailedError, StreamCutError, UsageError
from tests.contract.environments import Bench, docker_bench
from tests.rig.engine import RigError, docker

pytestmark = pytest.mark.docker


@pytest.fixture
def bench() -> Iterator[Bench]:
    with docker_bench(com_docker_compose_service="contract-db") as made:
        yield made


def kill(bench: Bench) -> None:
    assert bench.kill is not None
    bench.kill()


def read_to_status(process: Process) -> int:
    while process.read():
        pass
    return process.wait()


@pytest.mark.parametrize("script", ["while :; do echo y; done", "echo y; sleep 300"])
def test_container_that_stops_mid_stream_is_a_cut(bench: Bench, script: str) -> None:
    with bench.runner.start(["sh", "-c", script]) as process:
        assert process.read()
        killer = threading.Timer(0.3, kill, [bench])
        killer.start()
        with pytest.raises(StreamCutError):
            read_to_status(process)
        killer.join()


def test_stopped_container_is_found_and_not_opened(bench: Bench) -> None:
    kill(bench)
    (found,) = bench.environment.find(InstanceQuery(name=bench.instance.name))
    assert not found.is_running
    with pytest.raises(EnvironmentFailedError) as caught:
        bench.environment.open(found)
    assert caught.value.hint == f"docker start {found.name}"
    with pytest.raises(EnvironmentFailedError) as caught:
        choose(bench.environment, InstanceQuery(name=found.name))
    assert caught.value.hint == f"docker start {found.name}"
    with pytest.raises(EnvironmentFailedError) as caught:
        bench.runner.run(["true"])
    assert caught.value.hint
    assert "409" in caught.value.message


#: How each container comes to its end (a shell's command line, or none), and whether its absence is a fault.
ENDS: list[tuple[list[str], str | None, bool]] = [
    ([], None, False),  # never started
    ([], "exit 0", False),  # stopped in order, or done
    (["--restart", "unless-stopped"], "trap 'exit 0' TERM; sleep 300 & wait", True),  # stopped by hand
    ([], "exit 1", True),
    (["--entrypoint", "/no/such"], "", True),  # could not be started
    (["--label", "com.docker.compose.oneoff=True"], "exit 1", False),
]


def test_absence_of_a_container_is_a_fault_unless_it_ended_as_it_was_meant_to(docker_engine: None) -> None:
    label = f"contract-end={secrets.token_hex(4)}"
    made = []
    try:
        for options, script, _expected in ENDS:
            words = ["--label", label, "--entrypoint", "sh", *options, "postgres:15", "-c", script or ""]
            name = docker("create", *words).decode().strip()
            made.append(name)
            if script is not None:
                with suppress(RigError):
                    docker("start", name)
            if "--restart" in options:
                docker("stop", name)
            elif script:
                docker("wait", name)
        with closing(DockerEnvironment()) as environment:
            found = {one.id: one.should_run for one in environment.find(InstanceQuery(labels=dict([label.split("=")])))}
    finally:
        docker("rm", "--force", *made)
    assert [found[name] for name in made] == [expected for *_how, expected in ENDS]


@pytest.mark.parametrize("form", ["/{name}", "{id}", "{short}", "contract-db"])
def test_find_knows_every_way_to_say_a_name(bench: Bench, form: str) -> None:
    said = form.format(name=bench.instance.name, id=bench.instance.id, short=bench.instance.id[:12])
    assert [one.id for one in bench.environment.find(InstanceQuery(name=said))] == [bench.instance.id]


def test_find_by_labels_needs_all_of_them(bench: Bench) -> None:
    query = InstanceQuery(labels={"contract": "yes", "com.docker.compose.service": "contract-db"})
    assert choose(bench.environment, query).id == bench.instance.id
    assert not bench.environment.find(InstanceQuery(labels={"contract": "no"}))


def test_drill_is_found_by_name_only() -> None:
    with docker_bench(respaldo_drill="yes") as bench:
        assert bench.instance.name not in [one.name for one in bench.environment.find(InstanceQuery())]
        assert bench.environment.find(InstanceQuery(name=bench.instance.name))


def test_several_are_listed_with_the_flag_that_picks_one(bench: Bench) -> None:
    with docker_bench() as other, pytest.raises(UsageError) as caught:
        choose(bench.environment, InstanceQuery(labels={"contract": "yes"}))
    assert bench.instance.name in caught.value.message
    assert other.instance.name in caught.value.message
    assert "--container" in (caught.value.hint or "")


def test_removed_container_is_said_to_be_gone() -> None:
    with docker_bench() as bench:
        instance = bench.instance
    environment = DockerEnvironment()
    with pytest.raises(EnvironmentFailedError, match=instance.name):
        environment.open(instance)
    environment.close()
