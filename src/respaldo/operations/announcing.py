"""Telling: outcomes of runs become messages, messages go to the channels, and what a channel does not take is kept for
the next time. Nothing here fails a run: what could not be delivered is returned."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field, replace
from datetime import date, datetime, timedelta, tzinfo
from typing import TYPE_CHECKING

from respaldo.clock import Clock
from respaldo.errors import DamagedError, LockedError, NotificationError, StorageError
from respaldo.language import _, ngettext
from respaldo.notify.channel import Channel
from respaldo.notify.delivery import Delivery, deliver
from respaldo.notify.notice import Kind, Message, Notice, Operation
from respaldo.notify.ping import Beat, PingChannel
from respaldo.operations.alert_state import ANY, AlertState, AlertStore, Pending, recall_backups, unfound_keys
from respaldo.operations.alerts import Remembered, after_failure, after_look, after_success
from respaldo.operations.notices import NoticeWriter, Outcome
from respaldo.operations.proofs import newest_good
from respaldo.redaction import redact
from respaldo.repository.format import REPOSITORY
from respaldo.repository.records import Manifest
from respaldo.repository.repository import Repository
from respaldo.storage.base import Storage

if TYPE_CHECKING:
    from respaldo.schedule.plan import Schedule

START_TIMEOUT_S = 3.0

Deliver = Callable[[Mapping[str, Sequence[Message]], Mapping[str, Channel]], list[Delivery]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """Who is told of what. ``kinds``: those that are told; ``secrets``: what no message may hold, whatever its text
    came from; ``retired``: targets that are never late."""

    channels: tuple[Channel, ...] = ()
    ping: PingChannel | None = None
    kinds: Collection[Kind] = tuple(Kind)
    zone: tzinfo | None = None
    rpo: timedelta = timedelta(hours=24)
    rpo_warning: timedelta = timedelta()
    retired: Collection[str] = ()
    secrets: Sequence[str] = field(default=(), repr=False)

    @property
    def is_silent(self) -> bool:
        return not self.channels and self.ping is None


class Announcer:
    """Tells. ``program``: how the commands that a message names begin. Not thread-safe; between processes it is."""

    def __init__(
        self,
        storage: Storage,
        policy: Policy,
        *,
        clock: Clock,
        program: str = "respaldo",
        send: Deliver = deliver,
    ) -> None:
        self._storage = storage
        self._policy = policy
        self._clock = clock
        self._deliver = send
        self._writer = NoticeWriter(
            repository=storage.location, program=program, zone=policy.zone, secrets=policy.secrets
        )
        self._store = AlertStore(storage, clock)

    @property
    def is_idle(self) -> bool:
        """Whether there is nobody to tell and no repository to remember in."""
        if not self._policy.is_silent:
            return False
        try:
            self._storage.size(REPOSITORY)
        except StorageError:
            return True
        return False

    def begin(self) -> list[Delivery]:
        """Ping that a backup starts; return what was not delivered."""
        if self._policy.ping is None:
            return []
        # The backup waits for this one: it is given less time than the others.
        started = _Started(replace(self._policy.ping, timeout_s=START_TIMEOUT_S))
        message = self._write_test("")
        deliveries = self._deliver({started.name: [message]}, {started.name: started})
        return [one for one in deliveries if one.error is not None]

    def tell(self, outcomes: Sequence[Outcome]) -> list[Delivery]:
        """Tell of runs that ended; return what was not delivered, this time's and earlier."""

        def decide(state: AlertState) -> tuple[AlertState, list[Notice]]:
            notices = []
            for outcome in outcomes:
                state, notice = self._decide(state, outcome)
                notices += [notice] if notice is not None else []
            return state, notices

        return self._change(decide, ping=self._ping_end(outcomes))

    def look(self, repository: Repository, *, next_runs: Mapping[str, datetime] | None = None) -> list[Delivery]:
        """Tell of the targets whose newest good backup is too old, or soon will be, or that have none, and of schedules
        that made none at all; return what was not delivered.

        To be called now and then, by whoever runs while backups do not. ``next_runs`` by target, where they are known.
        """
        now = self._clock.now()
        if not self._policy.channels:
            return []

        def decide(state: AlertState) -> tuple[AlertState, list[Notice]]:
            notices: list[Notice] = []
            if not self._tells(Kind.OVERDUE):
                return state, notices
            for target in repository.targets():
                if str(target) in self._policy.retired:
                    continue
                listing = repository.backups(target)
                newest = newest_good(repository, listing.manifests, now)
                if newest is None:
                    # The first one may be in the making.
                    awaited = now if repository.is_busy(target) else None
                    state, kind = self._look(state, str(target), None, now, awaited=awaited)
                else:
                    next_run = (next_runs or {}).get(str(target))
                    state, kind = self._look(state, str(target), newest, now, next_run=next_run)
                remembered = recall_backups(state, target)
                if kind is not None and newest is None:
                    notices.append(self._writer.of_absence(target, listing, remembered, at=now))
                elif kind is not None and newest is not None:
                    is_early = kind is Kind.WARNING
                    notices.append(
                        self._writer.of_lateness(newest, remembered, rpo=self._policy.rpo, is_early=is_early, at=now)
                    )
            since = None if repository.targets() else _scheduled_since(self._storage, now)
            if since is not None:
                state, kind = self._look(state, ANY, None, now, awaited=since)
                notices += [self._writer.of_nothing(at=now)] if kind is not None else []
            return state, notices

        return self._change(decide)

    def test(self) -> list[Delivery]:
        """Send each channel a test message, remember nothing, and return what came of each."""
        message = self._write_test(_("test"))
        channels = self._channels() | ({self._policy.ping.name: self._policy.ping} if self._policy.ping else {})
        return self._deliver({name: [message] for name in channels}, channels)

    # -- what is decided

    def _tells(self, kind: Kind) -> bool:
        return bool(self._policy.channels) and kind in self._policy.kinds

    def _decide(self, state: AlertState, outcome: Outcome) -> tuple[AlertState, Notice | None]:
        key = f"{outcome.operation}:{outcome.target}"
        targets = dict(state.targets)
        before = replace(targets.get(key, Remembered()), wanted=outcome.wanted)
        kind: Kind | None
        if outcome.error is not None:
            day = outcome.at.astimezone(self._policy.zone).date()
            error = redact(outcome.error.message, self._policy.secrets)
            last_failed = _last_failed(targets, key, outcome.wanted, day)
            targets[key], kind = after_failure(
                replace(before, failed_on=last_failed), at=outcome.at, day=day, error=error
            )
            if not self._tells(Kind.FAILURE):
                # What nobody is told must not keep anybody from being told later.
                targets[key] = replace(
                    targets[key],
                    told=before.told,
                    told_on=before.told_on,
                    failed_on=before.failed_on,
                    heard=before.heard,
                )
        else:
            for lost in [targets.pop(name) for name in unfound_keys(key, outcome.wanted) if name in targets]:
                before = replace(
                    before,
                    told=before.told + lost.told,
                    failures=before.failures + lost.failures,
                    in_a_row=before.in_a_row + lost.in_a_row,
                )
            if self._policy.channels and not self._tells(Kind.RECOVERY):
                # Then it is a good run like others, and its warnings are told as theirs.
                before = replace(before, told=0)
            targets[key], kind = after_success(
                before,
                started=outcome.manifest.started if outcome.manifest else outcome.at,
                anomalies=[anomaly.code for anomaly in outcome.anomalies],
                has_warnings=bool(outcome.warnings),
            )
            if not self._tells(kind):
                lasting = tuple(code for code in targets[key].anomalies if code in before.anomalies)
                targets[key] = replace(targets[key], told=before.told, anomalies=lasting)
        after = replace(state, targets=targets)
        if kind is None or (kind is Kind.SUCCESS and outcome.operation is Operation.RETENTION):
            return after, None
        return after, self._writer.of_outcome(kind, outcome, before, targets[key])

    def _look(
        self,
        state: AlertState,
        target: str,
        newest: Manifest | None,
        now: datetime,
        *,
        next_run: datetime | None = None,
        awaited: datetime | None = None,
    ) -> tuple[AlertState, Kind | None]:
        key = f"{Operation.BACKUP}:{target}"
        before = state.targets.get(key, Remembered())
        for lost in [state.targets[name] for name in unfound_keys(key, before.wanted) if name in state.targets]:
            before = replace(
                before,
                heard=max(filter(None, (before.heard, lost.heard)), default=None),
                told=max(before.told, lost.told),
                told_on=max(filter(None, (before.told_on, lost.told_on)), default=None),
            )
        after, kind = after_look(
            before,
            last_good=newest.started if newest else None,
            now=now,
            day=now.astimezone(self._policy.zone).date(),
            rpo=self._policy.rpo,
            warning=self._policy.rpo_warning,
            next_run=next_run,
            awaited=awaited,
        )
        return replace(state, targets={**state.targets, key: after}), kind

    # -- how it gets there

    def _write_test(self, target: str) -> Message:
        return self._writer.write(self._writer.blank(Kind.TEST, Operation.BACKUP, target, at=self._clock.now()))

    def _channels(self) -> dict[str, Channel]:
        return {channel.name: channel for channel in self._policy.channels}

    def _change(
        self, decide: Callable[[AlertState], tuple[AlertState, list[Notice]]], *, ping: Message | None = None
    ) -> list[Delivery]:
        """Decide, remember, deliver, remember; where nothing can be remembered, decide and deliver all the same.
        ``ping`` goes out with the rest and is not kept: it is of its moment."""
        channels = self._channels()
        with ExitStack() as held:
            before = self._recall(held)
            state, notices = decide(before or AlertState())
            state = self._enqueue(state, notices, channels)
            if before is not None and state != before:
                # Before anything is sent: a run that dies in between has told, or will.
                self._remember(state)
            deliveries = self._send(_work(state, channels), channels, ping)
            taken = {(one.channel, one.message.uid) for one in deliveries if one.is_over}
            if taken and before is not None:
                rest = [one for one in state.pending if (one.channel, one.message.uid) not in taken]
                self._remember(replace(state, pending=tuple(rest)))
        return [one for one in deliveries if one.error is not None]

    def _send(
        self, work: dict[str, list[Message]], channels: dict[str, Channel], ping: Message | None
    ) -> list[Delivery]:
        check = self._policy.ping
        if ping is None or check is None:
            return self._deliver(work, channels)
        return self._deliver({**work, check.name: [ping]}, {**channels, check.name: check})

    def _recall(self, held: ExitStack) -> AlertState | None:
        """Hold and read what is remembered; None where that cannot be: then all is told, perhaps once too often."""
        try:
            held.enter_context(self._store.hold())
            return self._store.read()
        except (StorageError, LockedError):
            return None

    def _remember(self, state: AlertState) -> None:
        # To know what was told is a help, not a condition.
        with suppress(StorageError):
            self._store.write(state)

    def _enqueue(self, state: AlertState, notices: Sequence[Notice], channels: Mapping[str, Channel]) -> AlertState:
        messages = [self._writer.write(notice) for notice in notices if notice.kind in self._policy.kinds]
        new = [Pending(channel=name, message=message) for message in messages for name in channels]
        # What is for a channel that this run does not know stays for one that does.
        return replace(state, pending=(*state.pending, *new))

    def _ping_end(self, outcomes: Sequence[Outcome]) -> Message | None:
        """Return what the check is pinged with: one ping for all targets, and a failure where one failed."""
        backups = [outcome for outcome in outcomes if outcome.operation is Operation.BACKUP]
        if self._policy.ping is None or not backups:
            return None
        worst = next((outcome for outcome in backups if outcome.error is not None), backups[0])
        kind = Kind.FAILURE if worst.error is not None else Kind.SUCCESS
        return self._writer.write(self._writer.of_outcome(kind, worst, Remembered(), Remembered()))


@dataclass(frozen=True, slots=True)
class _Started:
    """The same check, pinged that a run begins."""

    ping: PingChannel

    @property
    def name(self) -> str:
        return self.ping.name

    @property
    def secrets(self) -> Sequence[str]:
        return self.ping.secrets

    def send(self, message: Message) -> None:
        self.ping.beat(Beat.START)


def _last_failed(targets: Mapping[str, Remembered], key: str, wanted: str, day: date) -> date | None:
    """Return the day on which a failure of this target was last told, also as one of what was not found; of what was
    not found itself, the day on which one of every target that is found by it was."""
    days = [targets[name].failed_on for name in (key, *unfound_keys(key, wanted)) if name in targets]
    operation, _colon, target = key.partition(":")
    if target == wanted:
        known = [
            one.failed_on
            for name, one in targets.items()
            if one.wanted == wanted and name != key and name.startswith(f"{operation}:")
        ]
        days += [day] if known and all(failed_on == day for failed_on in known) else []
    return max(filter(None, days), default=None)


def _scheduled_since(storage: Storage, now: datetime) -> datetime | None:
    """Return since when backups are scheduled here, as far as that is known; None where none are."""
    from respaldo.operations.schedules import DECLARED, DOCUMENT, is_backup, stored_schedules
    from respaldo.schedule.plan import ALWAYS

    schedules: list[Schedule] = []
    for document in (DOCUMENT, DECLARED):
        # One that is damaged is told by whoever needs it.
        with suppress(DamagedError):
            schedules += stored_schedules(storage, document)
    since = [now if one.created == ALWAYS else one.created for one in schedules if is_backup(one.command)]
    return min(since, default=None)


def _work(state: AlertState, channels: Mapping[str, Channel]) -> dict[str, list[Message]]:
    work: dict[str, list[Message]] = {}
    for one in state.pending:
        if one.channel in channels:
            work.setdefault(one.channel, []).append(one.message)
    return work


def describe_failure(delivery: Delivery) -> str:
    """Say what was not delivered and why, in one line."""
    error = delivery.error or NotificationError("")
    text = ngettext(
        "{channel} was not told, after {count} attempt: {reason}",
        "{channel} was not told, after {count} attempts: {reason}",
        delivery.attempts,
    ).format(channel=delivery.channel, count=delivery.attempts, reason=error.message)
    return f"{text} ({error.hint})" if error.hint else text
