"""Who is told where there is no good backup at all: each day once, as of one that is late."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import pytest

from respaldo.notify.notice import Kind
from respaldo.operations.alert_state import AlertState
from respaldo.operations.schedules import DECLARED, DOCUMENT, FORMAT, schedule_document
from respaldo.operations.status import read_status
from respaldo.repository.manifest import seal
from respaldo.repository.proof import Proof, ProofKind, Verdict
from respaldo.schedule.expression import parse_expression
from respaldo.schedule.plan import ALWAYS, Schedule, Trigger
from tests.unit.announcing import DAY, START, TARGET, World


def damage(world: World) -> None:
    """Leave of the target's only backup a manifest that is cut."""
    world.succeed()
    name = f"{TARGET}/backup_20260301_020000/manifest.json"
    world.storage.put(name, world.storage.get(name)[:-20])


def disprove(world: World) -> None:
    """Let the proof of the target's only backup fail."""
    world.succeed()
    (manifest,) = world.repository.backups(TARGET).manifests
    made = world.clock.now()
    proof = Proof(uid=manifest.uid, kind=ProofKind.DRILL, verdict=Verdict.FAILED, made=made, tool_version="0.1.0")
    world.repository.add_proof(TARGET, manifest.name, proof)


def die(world: World) -> None:
    """Leave what a first run that was killed leaves."""
    world.storage.put(f"{TARGET}/backup_20260301_020000/pack", b"x")


def schedule(world: World, command: str, document: str) -> None:
    one = Schedule(
        name="nightly",
        expression=parse_expression("0 2 * * *"),
        command=(command,),
        trigger=Trigger.SERVE,
        created=ALWAYS if document == DECLARED else world.clock.now(),
    )
    world.storage.put(document, seal({"format": FORMAT, "schedules": [schedule_document(one)]}))


@pytest.mark.parametrize("spoil", [damage, disprove, die])
@pytest.mark.parametrize("every_h", [1, 24])
def test_a_target_without_a_good_backup_is_told_once_a_day(spoil: Callable[[World], None], every_h: int) -> None:
    world = World()
    spoil(world)
    world.channel.taken.clear()
    world.sleep(hours=8)
    for _look in range(0, 72, every_h):
        (status,) = read_status(world.repository, AlertState(), rpo=DAY, now=world.clock.now())
        assert not status.is_fresh
        world.look()
        world.sleep(hours=every_h)
    assert world.channel.kinds == [Kind.OVERDUE] * 3
    assert [message.at.date() for message in world.channel.taken] == [START.date() + day * DAY for day in range(3)]
    body = world.channel.taken[0].body
    assert "respaldo backup --type full" in body
    assert ("backup_20260301_020000" in body) == (spoil is not die)
    world.succeed()
    world.look()
    assert world.channel.kinds[3:] == [Kind.RECOVERY]


@pytest.mark.parametrize("wanted", [str(TARGET), "pc_db/*", ""])
def test_days_on_which_every_backup_fails_are_told_as_failures_alone(wanted: str) -> None:
    world = World()
    die(world)
    for _day in range(3):
        world.fail(wanted)
        for _look in range(24):
            world.look()
            world.sleep(hours=1)
    assert world.channel.kinds == [Kind.FAILURE] * 3


def test_a_target_without_a_good_backup_is_told_with_what_the_last_attempt_failed_of() -> None:
    world = World()
    disprove(world)
    world.channel.taken.clear()
    world.sleep(hours=8)
    world.fail(reason="no such password")
    world.sleep(hours=28)
    world.look()
    assert world.channel.kinds == [Kind.FAILURE, Kind.OVERDUE]
    assert "no such password" in world.channel.taken[1].body


def test_a_first_backup_in_the_making_is_given_its_time() -> None:
    world = World()
    die(world)
    with world.repository.acquire(TARGET):
        for _look in range(25):
            world.look()
            world.sleep(hours=1)
        assert world.channel.kinds == []
        world.sleep(hours=1)
        world.look()
    assert world.channel.kinds == [Kind.OVERDUE]


def test_a_target_without_a_good_backup_keeps_no_other_from_being_told() -> None:
    world = World()
    world.succeed()
    world.storage.put("a/a/b1/manifest.json", b"{")
    world.sleep(days=2)
    world.look()
    assert [message.subject.split()[3] for message in world.channel.taken[1:]] == ["a/a", "pc_db/pc_db"]
    world.policy = World(retired=("a/a", str(TARGET)), channels=world.policy.channels).policy
    world.sleep(days=2)
    world.look()
    assert len(world.channel.taken) == 3


@pytest.mark.parametrize(
    ("command", "document", "days"),
    [("backup", DOCUMENT, 2), ("backup", DECLARED, 2), ("drill", DOCUMENT, 0), (None, DOCUMENT, 0)],
)
def test_schedules_that_made_no_backup_at_all_are_told_once_a_day(
    command: str | None, document: str, days: int
) -> None:
    world = World()
    if command:
        schedule(world, command, document)
    for _hour in range(25 + 24 + 2):
        world.look()
        world.sleep(hours=1)
    assert world.channel.kinds == [Kind.OVERDUE] * days
    if days:
        assert world.channel.taken[0].at == START + timedelta(hours=26)
        assert "respaldo schedule list" in world.channel.taken[0].body
        world.succeed()
        world.look()
        assert world.channel.kinds[days:] == [Kind.RECOVERY]
