"""Who is told of what was not found: each wish by itself, and nobody else's backup is blamed or praised for it."""

from __future__ import annotations

from datetime import timedelta

import pytest

from respaldo.notify.notice import Kind
from respaldo.operations.alert_state import AlertStore
from respaldo.operations.status import read_status
from respaldo.repository.records import TargetPath
from tests.unit.announcing import DAY, TARGET, World

OTHER = TargetPath(instance="h1_db", database="other")


def fail_to_find(world: World, wanted: str) -> None:
    world.fail(wanted, wanted=wanted)


def failed_runs(world: World) -> dict[str, int]:
    state = AlertStore(world.storage, world.clock).read()
    targets = read_status(world.repository, state, rpo=DAY, now=world.clock.now())
    return {str(one.target): one.remembered.in_a_row for one in targets}


def test_each_wish_is_told_once_a_day_and_its_recovery_is_its_own() -> None:
    world = World()
    for _day in range(2):
        for wanted in ("nope1/*", "nope2/*", "nope1/*", "*/db", "app=shop/*", ""):
            fail_to_find(world, wanted)
            world.sleep(minutes=5)
        world.sleep(days=1)
    wishes = ["nope1/*", "nope2/*", "*/db", "app=shop/*", "pc_db"]
    assert [message.subject.split()[3] for message in world.channel.taken] == wishes * 2
    world.channel.taken.clear()
    world.succeed(OTHER, wanted="h1_db/*")
    assert failed_runs(world) == {str(OTHER): 0}
    world.succeed(TargetPath(instance="nope1", database="db"), wanted="nope1/*")
    world.succeed(TargetPath(instance="shop", database="shop"), wanted="app=shop/*")
    assert world.channel.kinds == [Kind.SUCCESS, Kind.RECOVERY, Kind.RECOVERY]
    fail_to_find(world, "nope2/*")
    assert world.channel.kinds[3:] == [Kind.FAILURE]


@pytest.mark.parametrize("wanted", ["", "postgres-0/*", "app=shop/*", "10.0.0.7/*", str(TARGET), "pc_db/*"])
def test_a_wish_that_led_to_a_target_fails_for_it_alone(wanted: str) -> None:
    world = World()
    world.succeed(wanted=wanted)
    world.succeed(OTHER, wanted="h1_db/other")
    world.sleep(days=1)
    fail_to_find(world, wanted)
    assert failed_runs(world) == {str(TARGET): 1, str(OTHER): 0}
    world.fail(wanted=wanted)
    world.sleep(minutes=5)
    fail_to_find(world, wanted)
    world.look()
    world.succeed(OTHER, wanted="h1_db/other")
    world.succeed(wanted=wanted)
    assert failed_runs(world) == {str(TARGET): 0, str(OTHER): 0}
    told = [Kind.SUCCESS, Kind.SUCCESS, Kind.FAILURE, Kind.SUCCESS, Kind.RECOVERY]
    assert world.channel.kinds == told


def test_what_is_good_each_day_does_not_recover_from_what_is_not_found_each_day() -> None:
    world = World()
    for _day in range(3):
        fail_to_find(world, "")
        world.succeed(wanted="pc_db/*")
        world.clock.instant += timedelta(days=1)
    assert world.channel.kinds == [Kind.FAILURE, Kind.SUCCESS] * 3
