"""A server by its address, and the programs that are found for it."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from respaldo.environments.base import InstanceQuery
from respaldo.environments.detect import choose
from respaldo.environments.local import LocalEnvironment, ServerAddress
from respaldo.environments.local_tools import REQUIRED, find_tools
from respaldo.errors import EnvironmentFailedError, UsageError


@pytest.mark.parametrize(
    ("host", "port", "name"),
    [
        ("localhost", 5432, "localhost_5432"),
        ("db.example.org", 6000, "db.example.org_6000"),
        ("/run/postgresql", 5432, "local"),
        ("/tmp", 5433, "local_5433"),
    ],
)
def test_name_comes_from_the_address(host: str, port: int, name: str) -> None:
    assert ServerAddress(host=host, port=port).name == name


def test_named_server_that_does_not_answer_is_said_to_be_stopped() -> None:
    environment = LocalEnvironment("127.0.0.1", 1, None, {})
    assert not environment.is_available()
    with pytest.raises(EnvironmentFailedError, match=r"127\.0\.0\.1:1"):
        choose(environment, InstanceQuery())


def test_something_else_on_the_port_is_no_server() -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        other.close()
        assert not ServerAddress(host="127.0.0.1", port=port).is_answering()


@pytest.mark.parametrize("port", ["x", "0", "70000", "-1"])
def test_port_that_is_none_is_wrong_use(port: str) -> None:
    with pytest.raises(UsageError, match="PGPORT"):
        LocalEnvironment(variables={"PGPORT": port})


def test_find_tools_needs_all_programs_and_takes_path_first(tmp_path: Path) -> None:
    half, whole = tmp_path / "half", tmp_path / "whole"
    for folder, programs in ((half, REQUIRED[:1]), (whole, REQUIRED)):
        folder.mkdir()
        for program in programs:
            (folder / program).touch()
    assert find_tools({"PATH": f"{half}:{whole}"}) == whole
    assert find_tools({}, [half]) is None
