"""Which environment, which instance: every verdict."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import pytest

from respaldo.environments.base import Environment, Instance, InstanceQuery, Runner
from respaldo.environments.detect import choose, detect
from respaldo.errors import EnvironmentFailedError, UsageError


class FakeEnvironment(Environment):
    """Holds instances; answers or not."""

    name: ClassVar[str] = "docker"
    flag: ClassVar[str] = "--container"

    def __init__(self, *instances: Instance, is_up: bool = True) -> None:
        self.instances = instances
        self.is_up = is_up

    def check(self) -> None:
        if not self.is_up:
            raise EnvironmentFailedError(f"no {self.name} here", hint=f"start {self.name}")

    def find(self, query: InstanceQuery) -> Sequence[Instance]:
        return [one for one in self.instances if query.name in {None, one.name}]

    def list_names(self) -> Sequence[str]:
        return [one.name for one in self.instances]

    def open(self, instance: Instance) -> Runner:
        raise NotImplementedError

    def describe_stopped(self, instance: Instance) -> EnvironmentFailedError:
        return EnvironmentFailedError(f"{instance.name} is stopped")


class FakeKubernetes(FakeEnvironment):
    name = "kubernetes"


class FakeLocal(FakeEnvironment):
    name = "local"


def instance(name: str, state: str = "running") -> Instance:
    return Instance(environment="docker", name=name, id=name, state=state)


def test_forced_environment_wins_unchecked() -> None:
    local = FakeLocal(is_up=False)
    assert detect([FakeEnvironment(), local], "local", variables={"KUBERNETES_SERVICE_HOST": "x"}) is local
    with pytest.raises(UsageError, match="podman") as caught:
        detect([local], "podman", variables={})
    assert "local" in (caught.value.hint or "")


def test_pod_means_kubernetes() -> None:
    kubernetes = FakeKubernetes()
    variables = {"KUBERNETES_SERVICE_HOST": "10.0.0.1"}
    assert detect([FakeEnvironment(), kubernetes], variables=variables) is kubernetes
    docker = FakeEnvironment()
    assert detect([docker], variables=variables) is docker


def test_first_that_answers_is_taken() -> None:
    local = FakeLocal()
    assert detect([FakeEnvironment(is_up=False), local], variables={}) is local


def test_none_that_answers_is_an_error_with_every_reason() -> None:
    with pytest.raises(EnvironmentFailedError) as caught:
        detect([FakeEnvironment(is_up=False), FakeLocal(is_up=False)], variables={})
    assert caught.value.message == "no docker here; no local here"
    assert caught.value.hint == "start docker"
    with pytest.raises(EnvironmentFailedError):
        detect([], variables={})


def test_choose_takes_the_only_one() -> None:
    one, other = instance("one"), instance("two", "exited")
    assert choose(FakeEnvironment(one), InstanceQuery()) is one
    assert choose(FakeEnvironment(one, other), InstanceQuery()) is one
    assert choose(FakeEnvironment(one, instance("two")), InstanceQuery(name="one")) is one


def test_choose_of_a_stopped_one_says_so() -> None:
    with pytest.raises(EnvironmentFailedError, match="one is stopped"):
        choose(FakeEnvironment(instance("one", "exited")), InstanceQuery())


def test_choose_of_several_lists_them() -> None:
    several = FakeEnvironment(instance("one"), instance("two"), instance("old", "exited"))
    with pytest.raises(UsageError, match=r"one, two, old \(exited\)") as caught:
        choose(several, InstanceQuery())
    assert "--container" in (caught.value.hint or "")


def test_choose_of_none_lists_what_there_is() -> None:
    with pytest.raises(UsageError, match=r"three.*one, two"):
        choose(FakeEnvironment(instance("one"), instance("two")), InstanceQuery(name="three"))
    with pytest.raises(UsageError):
        choose(FakeEnvironment(), InstanceQuery(labels={"a": "b"}))
