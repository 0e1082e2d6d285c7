"""Who is told when: each failed or missed day once, recovery once, also where channels and storage fail."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from respaldo.clock import FixedClock
from respaldo.errors import NotificationError, PostgresError, StorageError
from respaldo.notify.channel import Channel
from respaldo.notify.delivery import Delivery, deliver
from respaldo.notify.notice import Kind, Message, Operation
from respaldo.operations.alert_state import ALERTS, AlertState, AlertStore, Pending, decode_state, encode_state, trim
from respaldo.operations.alerts import Remembered, after_failure, after_look, after_success
from respaldo.operations.announcing import Announcer, Policy
from respaldo.operations.anomalies import Anomaly
from respaldo.operations.notices import Outcome
from respaldo.operations.proofs import newest_good
from respaldo.operations.status import read_status
from respaldo.repository.fields import FieldError
from respaldo.repository.manifest import encode_manifest
from respaldo.repository.proof import Proof, ProofKind, Verdict
from respaldo.repository.records import BackupType, Decision, Manifest, TargetPath, Totals
from respaldo.repository.repository import Repository
from respaldo.storage.memory import MemoryStorage

START = datetime(2026, 3, 1, 2, 0, tzinfo=UTC)
TARGET = TargetPath(instance="pc_db", database="pc_db")
DAY = timedelta(days=1)


@dataclass
class FakeChannel:
    """Takes messages, or fails while ``is_down``: the real ones are in test_notify_channels."""

    name: str = "fake"
    secrets: tuple[str, ...] = ()
    is_down: bool = False
    is_partial: bool = False
    taken: list[Message] = field(default_factory=list)

    def send(self, message: Message) -> None:
        if self.is_down:
            raise NotificationError("down")
        self.taken.append(message)
        if self.is_partial:
            raise NotificationError("one of two is unknown", is_partial=True)

    @property
    def kinds(self) -> list[Kind]:
        return [message.kind for message in self.taken]


class World:
    """A repository, a clock, and somebody who is told."""

    def __init__(self, **policy: object) -> None:
        self.clock = FixedClock(START)
        self.storage = MemoryStorage()
        self.repository = Repository.open_or_create(self.storage, self.clock)
        self.channel = FakeChannel()
        self.policy = replace(Policy(channels=(self.channel,), zone=UTC), **policy)  # type: ignore[arg-type]

    @property
    def announcer(self) -> Announcer:
        """A new one each time: every run is a process of its own."""
        return Announcer(self.storage, self.policy, clock=self.clock, send=_at_once)

    def succeed(self, target: TargetPath = TARGET, **changes: object) -> list[Delivery]:
        now = self.clock.now()
        manifest = Manifest(
            name=f"backup_{now:%Y%m%d_%H%M%S}",
            uid=f"{int(now.timestamp()):032x}",
            type=BackupType.FULL,
            base=None,
            base_uid=None,
            prefix="",
            target=target,
            started=now,
            finished=now + timedelta(minutes=2),
            environment="docker",
            tool_version="0.1.0",
            decision=Decision(code="no-full", text="there is no full"),
            server={},
            totals=Totals(tables=3, rows=9, raw_bytes=1_400_000_000, stored_bytes=5_900_000),
            objects=(),
            warnings=(),
        )
        path = f"{target.instance}/{target.database}/{manifest.name}/manifest.json"
        self.storage.put(path, encode_manifest(manifest))
        outcome = Outcome(operation=Operation.BACKUP, at=now, target=str(target), manifest=manifest, seconds=125.0)
        return self.announcer.tell([replace(outcome, **changes)])  # type: ignore[arg-type]

    def fail(self, target: str = str(TARGET), reason: str = "the server refused") -> list[Delivery]:
        error = PostgresError(reason, hint="start it")
        now = self.clock.now()
        return self.announcer.tell(
            [Outcome(operation=Operation.BACKUP, at=now, target=target, label=target or "pc_db", error=error)]
        )

    def look(self, next_run: datetime | None = None) -> list[Delivery]:
        return self.announcer.look(self.repository, next_runs={str(TARGET): next_run} if next_run else None)

    def sleep(self, **duration: float) -> None:
        self.clock.instant += timedelta(**duration)


def _at_once(work: Mapping[str, Sequence[Message]], channels: Mapping[str, Channel]) -> list[Delivery]:
    return deliver(work, channels, pause=lambda _seconds: None)


@pytest.mark.parametrize("seed", range(8))
def test_thirty_days_tell_each_bad_day_once_and_each_recovery_once(seed: int) -> None:
    """Random days: good, failed (once or several times, found or not found), missed; and a channel with outages."""
    chance = random.Random(seed)
    world = World()
    world.succeed()
    bad_days: set[date] = set()
    recoveries: Counter[date] = Counter()
    is_bad = False
    for _number in range(30):
        world.clock.instant = world.clock.instant.replace(hour=2, minute=0) + DAY
        today = world.clock.now().date()
        kind = chance.choices(["good", "failed", "missed"], [5, 3, 2])[0]
        world.channel.is_down = chance.random() < 0.3
        if kind == "good":
            world.sleep(minutes=chance.randrange(5))
            world.succeed()
            recoveries[today] += is_bad
            is_bad = False
        elif kind == "failed":
            for _again in range(chance.choice([1, 1, 3])):
                world.fail(chance.choice([str(TARGET), str(TARGET), ""]))
                world.sleep(minutes=20)
            bad_days.add(today)
            is_bad = True
        else:
            bad_days.add(today)
            is_bad = True
        # Somebody looks every two hours until midnight and after; a missing day is late an hour after its time.
        for _look in range(11):
            world.sleep(hours=2)
            world.look()
            world.channel.is_down = world.channel.is_down and chance.random() < 0.5
        world.channel.is_down = False
        world.look()
    told = Counter(message.at.date() for message in world.channel.taken if message.kind in {Kind.FAILURE, Kind.OVERDUE})
    assert told == Counter(bad_days)
    recovered = Counter(message.at.date() for message in world.channel.taken if message.kind is Kind.RECOVERY)
    assert recovered == +recoveries
    # In the order in which they happened, each once.
    assert [message.at for message in world.channel.taken] == sorted(message.at for message in world.channel.taken)
    assert len({message.uid for message in world.channel.taken}) == len(world.channel.taken)


def test_success_says_what_where_how_long_and_how_big() -> None:
    world = World()
    assert world.succeed() == []
    (message,) = world.channel.taken
    assert message.kind is Kind.SUCCESS
    assert "pc_db/pc_db" in message.subject
    for text in (
        "pc_db/pc_db",
        "backup_20260301_020000",
        "2 min 5 s",
        "1.3 GiB",
        "5.6 MiB",
        "respaldo drill backup_2026",
    ):
        assert text in message.body


def test_failure_says_why_what_to_do_and_when_it_was_last_good() -> None:
    world = World()
    world.succeed()
    world.sleep(days=1)
    world.fail()
    message = world.channel.taken[-1]
    for text in ("the server refused", "start it", "2026-03-01 02:00:00 UTC", "respaldo doctor"):
        assert text in message.body


def test_failure_is_told_anew_after_a_success_of_the_same_day() -> None:
    world = World()
    for step in (world.fail, world.fail, world.succeed, world.fail, world.succeed):
        world.sleep(hours=1)
        step()
    assert world.channel.kinds == [Kind.FAILURE, Kind.RECOVERY, Kind.FAILURE, Kind.RECOVERY]


def test_days_are_those_of_the_zone() -> None:
    world = World(zone=ZoneInfo("America/Santiago"))
    world.fail()  # 23:00 of the day before, there
    world.sleep(minutes=59)
    world.fail()
    world.sleep(minutes=2)
    world.fail()
    assert len(world.channel.taken) == 2


def test_two_targets_are_told_of_apart() -> None:
    world = World()
    other = TargetPath(instance="pc_db", database="other")
    world.succeed()
    world.succeed(other)
    world.sleep(hours=1)
    world.fail()
    world.succeed(other)
    world.sleep(hours=1)
    world.succeed()
    assert world.channel.kinds == [Kind.SUCCESS, Kind.SUCCESS, Kind.FAILURE, Kind.SUCCESS, Kind.RECOVERY]


def test_an_instance_that_cannot_be_asked_is_no_recovery_of_another() -> None:
    world = World()
    world.fail("down/*")
    world.succeed()
    world.succeed(TargetPath(instance="down", database="x"))
    assert world.channel.kinds == [Kind.FAILURE, Kind.SUCCESS, Kind.RECOVERY]


def test_overdue_is_told_once_a_day_and_not_of_the_retired() -> None:
    world = World()
    world.succeed()
    for _hour in range(24 * 3 + 1):
        world.sleep(hours=1)
        world.look()
    assert world.channel.kinds == [Kind.SUCCESS, Kind.OVERDUE, Kind.OVERDUE]
    assert world.channel.taken[1].at == START + timedelta(hours=26)
    world.policy = replace(world.policy, retired=(str(TARGET),))
    world.sleep(days=3)
    world.look()
    assert len(world.channel.taken) == 3


def test_overdue_days_do_not_drift_with_the_hour_of_the_look() -> None:
    world = World()
    world.succeed()
    for _look in range(48):
        world.sleep(hours=5)
        world.look()
    days = [message.at.date() for message in world.channel.taken if message.kind is Kind.OVERDUE]
    assert days == [date(2026, 3, 2) + number * DAY for number in range(len(days))]
    assert len(days) == 9


def test_about_to_be_late_is_told_once_where_that_is_asked_for_or_known() -> None:
    world = World(rpo_warning=timedelta(hours=2))
    world.succeed()
    for _hour in range(24):
        world.sleep(hours=1)
        world.look()
    assert world.channel.kinds == [Kind.SUCCESS, Kind.OVERDUE]
    assert world.channel.taken[1].at == START + timedelta(hours=22)
    world = World()
    world.succeed()
    for _hour in range(24):
        world.sleep(hours=1)
        world.look(next_run=START + timedelta(hours=25))
    assert world.channel.kinds == [Kind.SUCCESS, Kind.OVERDUE]
    world = World()
    world.succeed()
    for _hour in range(24):
        world.sleep(hours=1)
        world.look(next_run=START + timedelta(hours=24))
    assert world.channel.kinds == [Kind.SUCCESS]


def test_an_anomaly_is_a_warning_while_it_is_new() -> None:
    world = World()
    odd = (Anomaly(code="size", text="less than half"),)
    for anomalies in (odd, odd, (), odd):
        world.sleep(days=1)
        world.succeed(anomalies=anomalies)
    assert world.channel.kinds == [Kind.WARNING, Kind.SUCCESS, Kind.SUCCESS, Kind.WARNING]
    assert "less than half" in world.channel.taken[1].body


def test_kinds_that_are_not_wanted_are_not_told() -> None:
    world = World(kinds=(Kind.FAILURE, Kind.RECOVERY))
    for step in (world.succeed, world.fail, world.succeed, world.succeed):
        world.sleep(hours=1)
        step()
    assert world.channel.kinds == [Kind.FAILURE, Kind.RECOVERY]


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
    newest = newest_good(world.repository, world.repository.backups(TARGET).manifests)
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
        failures=5,
        in_a_row=2,
        last_failure=START + DAY,
        last_error="e",
        anomalies=("size",),
        warned=START,
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
