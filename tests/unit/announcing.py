"""A world in which somebody is told of backups: a repository, a clock, a channel."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from respaldo.clock import FixedClock
from respaldo.errors import NotificationError, PostgresError
from respaldo.notify.channel import Channel
from respaldo.notify.delivery import Delivery, deliver
from respaldo.notify.notice import Kind, Message, Operation
from respaldo.operations.announcing import Announcer, Policy
from respaldo.operations.notices import Outcome
from respaldo.repository.records import Decision, TargetPath, Totals
from respaldo.repository.repository import Repository
from respaldo.storage.memory import MemoryStorage
from tests.unit.manifests import make_manifest, write_manifest

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

    def __init__(self, **policy: Any) -> None:
        self.clock = FixedClock(START)
        self.storage = MemoryStorage()
        self.repository = Repository.open_or_create(self.storage, self.clock)
        self.channel = FakeChannel()
        self.policy = replace(Policy(channels=(self.channel,), zone=UTC), **policy)

    @property
    def announcer(self) -> Announcer:
        """A new one each time: every run is a process of its own."""
        return Announcer(self.storage, self.policy, clock=self.clock, send=_at_once)

    def succeed(self, target: TargetPath = TARGET, **changes: Any) -> list[Delivery]:
        now = self.clock.now()
        manifest = make_manifest(
            now,
            name=f"backup_{now:%Y%m%d_%H%M%S}",
            uid=f"{int(now.timestamp()):032x}",
            target=target,
            finished=now + timedelta(minutes=2),
            decision=Decision(code="no-full", text="there is no full"),
            totals=Totals(tables=3, rows=9, raw_bytes=1_400_000_000, stored_bytes=5_900_000),
        )
        write_manifest(self.storage, manifest)
        outcome = Outcome(operation=Operation.BACKUP, at=now, target=str(target), manifest=manifest, seconds=125.0)
        return self.announcer.tell([replace(outcome, **changes)])

    def fail(self, target: str = str(TARGET), reason: str = "the server refused", wanted: str = "") -> list[Delivery]:
        error = PostgresError(reason, hint="start it")
        now = self.clock.now()
        outcome = Outcome(operation=Operation.BACKUP, at=now, target=target, label=target or "pc_db", error=error)
        return self.announcer.tell([replace(outcome, wanted=wanted)])

    def look(self, next_run: datetime | None = None) -> list[Delivery]:
        return self.announcer.look(self.repository, next_runs={str(TARGET): next_run} if next_run else None)

    def sleep(self, **duration: float) -> None:
        self.clock.instant += timedelta(**duration)


def _at_once(work: Mapping[str, Sequence[Message]], channels: Mapping[str, Channel]) -> list[Delivery]:
    return deliver(work, channels, pause=lambda _seconds: None)
