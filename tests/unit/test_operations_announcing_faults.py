"""Who is told where channels and storage fail, and what is remembered from one run to the next."""

from __future__ import annotations

from dataclasses import replace
from datetime import date, timedelta

import pytest

from respaldo.errors import StorageError
from respaldo.notify.notice import Kind, Message
from respaldo.operations.alert_state import ALERTS, AlertState, AlertStore, Pending, decode_state, encode_state, trim
from respaldo.operations.alerts import Remembered, after_failure, after_look, after_success
from respaldo.operations.proofs import newest_good
from respaldo.operations.status import read_status
from respaldo.repository.fields import FieldError
from respaldo.repository.proof import Proof, ProofKind, Verdict
from respaldo.storage.memory import MemoryStorage
from tests.unit.announcing import DAY, START, TARGET, FakeChannel, World


def test_what_a_channel_did_not_take_comes_later_in_order_and_once() -> None:
    world = World()
    world.channel.is_down = True
    assert [one.error is not None for one in world.fail()] == [True]
    world.sleep(days=1)
    # The second waits behind the first; a look alone delivers nothing, and says so again.
    assert len(world.succeed()) == 2
    assert len(world.look()) == 2
    world.channel.is_down = False
    assert world.look() == []
    assert world.look() == []
    assert world.channel.kinds == [Kind.FAILURE, Kind.RECOVERY]


def test_what_some_of_those_it_is_for_got_is_told_as_a_failure_and_never_sent_again() -> None:
    world = World()
    world.channel.is_partial = True
    assert len(world.fail()) == 1
    world.sleep(days=1)
    assert len(world.succeed()) == 1
    assert world.look() == []
    assert world.channel.kinds == [Kind.FAILURE, Kind.RECOVERY]


def test_one_channel_that_is_down_does_not_keep_the_other() -> None:
    world = World()
    good = FakeChannel(name="good")
    world.policy = replace(world.policy, channels=(world.channel, good))
    world.channel.is_down = True
    world.fail()
    world.channel.is_down = False
    world.look()
    assert good.kinds == world.channel.kinds == [Kind.FAILURE]


def test_a_run_that_can_tell_nobody_keeps_no_other_from_telling() -> None:
    world = World()
    world.channel.is_down = True
    world.fail()
    world.channel.is_down = False
    telling, silent = world.policy, replace(world.policy, channels=())
    world.sleep(days=1)
    for policy, step in (
        (silent, world.fail),
        (telling, world.fail),
        (silent, world.succeed),
        (telling, world.succeed),
    ):
        world.policy = policy
        world.sleep(minutes=10)
        step()
    world.policy = silent
    world.sleep(days=2)
    world.look()
    world.policy = telling
    world.look()
    assert world.channel.kinds == [Kind.FAILURE, Kind.FAILURE, Kind.RECOVERY, Kind.OVERDUE]


def test_a_name_that_is_no_unicode_can_be_sent_and_remembered() -> None:
    world = World()
    world.fail(target="pc_db/tienda_\udcff", reason="no \udcff")
    text = world.channel.taken[0].subject + world.channel.taken[0].body
    assert "\\udcff" in text.encode().decode()


def test_secrets_are_in_no_message_and_not_in_what_is_remembered() -> None:
    world = World(secrets=("planted-secret",))
    world.channel.is_down = True
    world.fail(reason="psql said planted-secret")
    assert b"planted-secret" not in world.storage.get(ALERTS)
    world.channel.is_down = False
    world.look()
    assert "planted-secret" not in world.channel.taken[0].body + world.channel.taken[0].subject
    assert "psql said ***" in world.channel.taken[0].body


def test_a_password_that_is_the_name_of_everything_hides_no_target() -> None:
    world = World(secrets=("pc_db",))
    world.fail(reason="pc_db is refused")
    (message,) = world.channel.taken
    assert "pc_db/pc_db" in message.subject
    assert "*** is refused" in message.body


@pytest.mark.parametrize("rpo_h", [1, 6, 24, 168])
def test_messages_and_status_call_a_backup_late_at_the_same_moment(rpo_h: int) -> None:
    rpo = timedelta(hours=rpo_h)
    limit = rpo + min(timedelta(hours=1), rpo / 10)
    for age in (rpo, rpo + timedelta(seconds=1), limit, limit + timedelta(seconds=1), rpo * 2):
        world = World(rpo=rpo)
        world.succeed()
        world.channel.taken.clear()
        world.clock.instant = START + age
        (status,) = read_status(world.repository, AlertState(), rpo=rpo, now=world.clock.now())
        world.look()
        told = [message.kind for message in world.channel.taken]
        assert (status.is_fresh, Kind.OVERDUE in told) == (age <= limit, age > limit)


def test_a_backup_whose_proof_failed_is_not_the_newest_good_one() -> None:
    world = World()
    world.succeed()
    world.sleep(hours=20)
    world.succeed()
    manifest = world.repository.backups(TARGET).manifests[-1]
    proof = Proof(
        uid=manifest.uid, kind=ProofKind.DRILL, verdict=Verdict.FAILED, made=world.clock.now(), tool_version="0.1.0"
    )
    world.repository.add_proof(TARGET, manifest.name, proof)
    newest = newest_good(world.repository, world.repository.backups(TARGET).manifests, world.clock.now())
    assert newest is not None
    assert newest.started == START
    world.sleep(hours=6)
    (status,) = read_status(world.repository, AlertState(), rpo=timedelta(hours=24), now=world.clock.now())
    assert not status.is_fresh


def test_a_storage_that_fails_keeps_nobody_from_being_told() -> None:
    class FakeBrokenStorage(MemoryStorage):
        """Reads and writes nothing."""

        def put(self, name: str, data: bytes) -> None:
            raise StorageError("full")

        def put_if_absent(self, name: str, data: bytes) -> None:
            raise StorageError("full")

    world = World()
    world.storage = FakeBrokenStorage()
    assert world.fail() == []
    assert world.channel.kinds == [Kind.FAILURE]


@pytest.mark.parametrize("is_told", [True, False])
def test_a_lock_that_cannot_be_given_back_fails_nobody(is_told: bool) -> None:
    class FakeGoneStorage(MemoryStorage):
        """Deletes nothing."""

        def delete(self, name: str) -> None:
            raise StorageError("gone")

    world = World(**({} if is_told else {"channels": ()}))
    world.storage = FakeGoneStorage()
    assert world.succeed() == []
    assert world.channel.kinds == ([Kind.SUCCESS] if is_told else [])


def test_what_is_remembered_and_cannot_be_read_begins_anew() -> None:
    world = World()
    for data in (
        b"",
        b"{",
        b'{"format": 2}',
        b'{"format": 1, "targets": {"x": {}}, "pending": []}',
        b"\xff" * 5_000_000,
    ):
        world.storage.put(ALERTS, data)
        assert AlertStore(world.storage, world.clock).read() == AlertState()
    world.fail()
    assert world.channel.kinds == [Kind.FAILURE]


def test_state_comes_back_as_it_was_written() -> None:
    message = Message(uid="u", kind=Kind.FAILURE, subject="s\udc80", body="b\n", at=START)
    one = Remembered(
        last_good=START,
        heard=START + DAY,
        told=2,
        told_on=date(2026, 3, 2),
        failed_on=date(2026, 3, 1),
        failures=5,
        in_a_row=2,
        last_failure=START + DAY,
        last_error="e",
        anomalies=("size",),
        warned=START,
        wanted="pc_db/*",
    )
    state = AlertState(
        targets={"backup:a/b": one, "drill:": Remembered()}, pending=(Pending(channel="c", message=message),)
    )
    assert decode_state(encode_state(state)) == state
    with pytest.raises(FieldError):
        decode_state(encode_state(state).replace(b'"failure"', b'"nothing"'))


def test_pending_messages_are_bounded_by_number_and_age() -> None:
    def pending(number: int) -> Pending:
        at = START + timedelta(minutes=number)
        return Pending(channel="c", message=Message(uid=str(number), kind=Kind.FAILURE, subject="", body="", at=at))

    state = AlertState(pending=tuple(pending(number) for number in range(300)))
    kept = trim(state, now=START + timedelta(minutes=300)).pending
    assert [one.message.uid for one in kept] == [str(number) for number in range(100, 300)]
    assert trim(state, now=START + timedelta(days=8)).pending == ()


def test_rules_alone() -> None:
    good, kind = after_success(Remembered(), started=START)
    assert kind is Kind.SUCCESS
    failed, told = after_failure(good, at=START + DAY, day=date(2026, 3, 2), error="e")
    assert (told, failed.in_a_row, failed.failures) == (Kind.FAILURE, 1, 1)
    rpo = timedelta(hours=24)
    for hours, expected in ((24.0, None), (25.0, None), (25.1, Kind.OVERDUE)):
        now = START + timedelta(hours=hours)
        _after, told = after_look(good, last_good=START, now=now, day=now.date(), rpo=rpo, warning=timedelta())
        assert told is expected
