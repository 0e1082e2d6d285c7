"""What was backed up and is not there any more: told where that is known, and where nobody retired it."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import pytest

from respaldo.app import App
from respaldo.cli.fleet import _is_complete
from respaldo.cli.fleet_flags import FleetFlags
from respaldo.cli.printing import Output
from respaldo.clock import FixedClock
from respaldo.config.settings import Settings
from respaldo.environments.docker import DockerEnvironment
from respaldo.operations.fleet import find_missing
from respaldo.repository.records import TargetPath
from respaldo.repository.repository import Repository
from respaldo.storage.memory import MemoryStorage
from tests.unit.announcing import START
from tests.unit.manifests import make_manifest, write_manifest


@pytest.fixture
def repository() -> Repository:
    storage = MemoryStorage()
    for number, name in enumerate(("shop/shop", "shop/old", "shop/postgres", "gone/db", "pod/db")):
        instance, database = name.split("/")
        target = TargetPath(instance=instance, database=database)
        environment = "kubernetes" if instance == "pod" else "docker"
        write_manifest(storage, make_manifest(START, target=target, uid=f"{number:032x}", environment=environment))
    storage.put("begun/db/b1/pack", b"x")
    return Repository.open_or_create(storage, FixedClock(START))


@pytest.mark.parametrize(
    ("found", "sees_all", "retired", "missing"),
    [
        ({"shop": ("shop",)}, True, (), ["gone/db", "shop/old"]),
        ({"shop": ("shop",)}, True, ("gone/db",), ["shop/old"]),
        ({"shop": ("shop",)}, False, (), ["shop/old"]),
        ({"shop": ("shop", "old", "new"), "gone": ("db",)}, True, (), []),
        ({"shop": None, "gone": None}, True, (), []),
        ({"shop": ()}, False, (), ["shop/old", "shop/shop"]),
        ({}, False, (), []),
    ],
)
def test_what_is_missing(
    repository: Repository,
    found: dict[str, Collection[str] | None],
    sees_all: bool,
    retired: tuple[str, ...],
    missing: list[str],
) -> None:
    seen = find_missing(repository, "docker", found, sees_all=sees_all, retired=retired)
    assert [str(one) for one in seen] == missing


@pytest.mark.parametrize(
    ("settings", "every", "is_complete"),
    [
        ({}, True, False),
        ({"retired": ("gone/db", "shop/old")}, True, True),
        ({"labels": {"app": "shop"}}, True, True),
        ({"container": "shop"}, False, True),
    ],
)
def test_only_a_run_that_means_all_warns_and_says_how_to_end_it(
    repository: Repository,
    settings: dict[str, Any],
    every: bool,
    is_complete: bool,
    capsys: pytest.CaptureFixture[str],
) -> None:
    fleet, found = FleetFlags(every_instance=every, all_databases=not every), {"shop": ("shop",)}
    app = App(Settings(**settings))
    assert _is_complete(Output(), app, DockerEnvironment(), repository, fleet, found) is is_complete
    said = capsys.readouterr().err
    assert ("RESPALDO_RETIRED=gone/db,shop/old" in said) is not is_complete
    assert said.count("\n") == (0 if is_complete else 3)
