"""What is remembered of who was told what, and the messages still to be delivered: one document in the repository.

It holds no secret, and nothing depends on it: where it is damaged it begins anew, which tells something a second time.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from datetime import date, datetime, timedelta
from types import MappingProxyType

from respaldo.clock import Clock
from respaldo.errors import LockedError, ObjectNotFoundError, StorageError
from respaldo.language import _
from respaldo.notify.notice import Kind, Message, Operation
from respaldo.operations.alerts import Remembered
from respaldo.repository.fields import FieldError, Fields, as_object
from respaldo.repository.format import METADATA
from respaldo.repository.lock import Lease
from respaldo.repository.manifest import format_instant, seal, unseal
from respaldo.repository.records import TargetPath
from respaldo.storage.base import Storage

ALERTS = f"{METADATA}/alerts.json"
ANY = "*/*"
"""The target of backups that are scheduled, while no backup says of what."""
MAX_BYTES = 4 * 1024 * 1024
MAX_PENDING = 200
"""Per channel; the oldest go first, and those older than a week: a channel that is gone must not fill the disk."""
PENDING_FOR = timedelta(days=7)
WAIT_S = 90.0
_PAUSE_S = 0.1
_LEASE = TargetPath(instance=".metadata", database="alerts")


@dataclass(frozen=True, slots=True, kw_only=True)
class Pending:
    """A message that a channel has not taken yet."""

    channel: str
    message: Message


@dataclass(frozen=True, slots=True, kw_only=True)
class AlertState:
    """``targets`` by ``operation:instance/database``; where none was found, by what was wanted, ``operation:`` alone
    where nothing was named; by ``ANY`` as long as there is none."""

    targets: Mapping[str, Remembered] = field(default_factory=lambda: MappingProxyType({}))
    pending: tuple[Pending, ...] = ()


def unfound_keys(key: str, wanted: str) -> list[str]:
    """Return under what a run that did not come as far as this target is remembered: one that wanted the same and found
    nothing, one of an instance whose databases could not be asked; and that there was no backup of anything."""
    operation, _colon, target = key.partition(":")
    names = [f"{operation}:{name}" for name in (wanted, f"{target.rpartition('/')[0]}/*", ANY)]
    return [name for name in dict.fromkeys(names) if name != key]


def recall_backups(state: AlertState, target: TargetPath) -> Remembered:
    """Return what is remembered of a target's backups, with the runs that did not come as far as it."""
    key = f"{Operation.BACKUP}:{target}"
    found = state.targets.get(key, Remembered())
    for lost in (state.targets[name] for name in unfound_keys(key, found.wanted) if name in state.targets):
        is_newer = lost.last_failure and (found.last_failure is None or lost.last_failure > found.last_failure)
        newest = lost if is_newer else found
        found = replace(
            found,
            failures=found.failures + lost.failures,
            in_a_row=found.in_a_row + lost.in_a_row,
            last_failure=newest.last_failure,
            last_error=newest.last_error,
        )
    return found


def encode_state(state: AlertState) -> bytes:
    """Return the bytes of ``alerts.json``."""
    document: dict[str, object] = {
        "format": 1,
        "targets": {
            key: {
                "last_good": _instant(one.last_good),
                "heard": _instant(one.heard),
                "told": one.told,
                "told_on": _day(one.told_on),
                "failed_on": _day(one.failed_on),
                "failures": one.failures,
                "in_a_row": one.in_a_row,
                "last_failure": _instant(one.last_failure),
                "last_error": one.last_error,
                "anomalies": list(one.anomalies),
                "warned": _instant(one.warned),
                "wanted": one.wanted,
            }
            for key, one in sorted(state.targets.items())
        },
        "pending": [
            {
                "channel": one.channel,
                "uid": one.message.uid,
                "kind": one.message.kind.value,
                "subject": one.message.subject,
                "body": one.message.body,
                "at": format_instant(one.message.at),
            }
            for one in state.pending
        ],
    }
    # Sealed: with one bit of a year flipped nothing would ever be late again.
    return seal(document)


def decode_state(data: bytes) -> AlertState:
    """Return the state that a document is; raise FieldError for anything else."""
    fields = unseal(data)
    if fields.count("format") != 1:
        raise FieldError(_("format {version} is not known to this version").format(version=fields.count("format")))
    targets = as_object(fields.get("targets"), "targets")
    return AlertState(
        targets={key: _remembered(Fields(as_object(item, key))) for key, item in targets.items()},
        pending=tuple(_pending(Fields(as_object(item, "pending"))) for item in fields.items("pending")),
    )


def _remembered(fields: Fields) -> Remembered:
    return Remembered(
        last_good=_optional_instant(fields, "last_good"),
        heard=_optional_instant(fields, "heard"),
        told=fields.count("told"),
        told_on=_optional_day(fields, "told_on"),
        failed_on=_optional_day(fields, "failed_on"),
        failures=fields.count("failures"),
        in_a_row=fields.count("in_a_row"),
        last_failure=_optional_instant(fields, "last_failure"),
        last_error=fields.text("last_error"),
        anomalies=fields.texts("anomalies"),
        warned=_optional_instant(fields, "warned"),
        wanted=fields.text("wanted"),
    )


def _pending(fields: Fields) -> Pending:
    kind = fields.text("kind")
    if kind not in set(Kind):
        raise FieldError(_("kind is none"))
    message = Message(
        uid=fields.text("uid"),
        kind=Kind(kind),
        subject=fields.text("subject"),
        body=fields.text("body"),
        at=fields.instant("at"),
    )
    return Pending(channel=fields.text("channel"), message=message)


def _instant(instant: datetime | None) -> str | None:
    return None if instant is None else format_instant(instant)


def _day(day: date | None) -> str | None:
    return None if day is None else day.isoformat()


def _optional_instant(fields: Fields, name: str) -> datetime | None:
    return None if fields.get(name) is None else fields.instant(name)


def _optional_day(fields: Fields, name: str) -> date | None:
    try:
        return None if fields.get(name) is None else date.fromisoformat(fields.text(name))
    except ValueError as error:
        raise FieldError(_("{field} is no time").format(field=name)) from error


def trim(state: AlertState, *, now: datetime) -> AlertState:
    """Return the state with no more pending messages than may be kept."""
    kept: list[Pending] = []
    count: dict[str, int] = {}
    for one in reversed(state.pending):
        count[one.channel] = count.get(one.channel, 0) + 1
        if count[one.channel] <= MAX_PENDING and now - one.message.at <= PENDING_FOR:
            kept.append(one)
    return replace(state, pending=tuple(reversed(kept)))


class AlertStore:
    """The document on a storage. Thread-safe; between processes, whoever changes it holds a lease."""

    def __init__(self, storage: Storage, clock: Clock, *, pause: Callable[[float], None] = time.sleep) -> None:
        self._storage = storage
        self._clock = clock
        self._pause = pause

    def read(self) -> AlertState:
        """Return what is remembered: nothing where there is no document, or none that can be read."""
        try:
            return decode_state(self._storage.get(ALERTS, limit_bytes=MAX_BYTES))
        except (ObjectNotFoundError, FieldError):
            return AlertState()
        except StorageError:
            if self._storage.size(ALERTS) <= MAX_BYTES:
                raise
            return AlertState()

    def write(self, state: AlertState) -> None:
        """Replace the document; whoever calls holds the lease."""
        self._storage.put(ALERTS, encode_state(trim(state, now=self._clock.now())))

    @contextmanager
    def hold(self) -> Iterator[None]:
        """Keep others from changing it. Raise LockedError after 90 s of others' deliveries."""
        deadline_s = time.monotonic() + WAIT_S
        while True:
            lease = Lease(self._storage, self._clock, _LEASE)
            try:
                lease.acquire()
                break
            except LockedError:
                if time.monotonic() > deadline_s:
                    raise
                self._pause(_PAUSE_S)
        try:
            yield
        finally:
            # One that cannot be given back goes stale by itself, and fails nobody's run.
            with suppress(StorageError):
                lease.release()
