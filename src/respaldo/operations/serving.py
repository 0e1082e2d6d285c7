"""Starting runs when they are due, in one process that stays: what ``respaldo serve`` does at each look at the clock.

How far each schedule is done lies in ``.metadata/serve.json``, so that a run that fell into a stop is made up for.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta, tzinfo
from pathlib import Path
from typing import Final, Protocol

from respaldo.clock import Clock
from respaldo.errors import ObjectNotFoundError
from respaldo.operations.runs import Outcome, read_last_runs
from respaldo.repository.fields import FieldError, Fields, parse_object
from respaldo.repository.format import METADATA
from respaldo.repository.manifest import format_instant
from respaldo.schedule.plan import ALWAYS, Schedule
from respaldo.schedule.slots import DueRun, find_due, jitter_of, next_slot, settle_handled
from respaldo.storage.directory import DirectoryStorage
from respaldo.units import MIB

STATE: Final = f"{METADATA}/serve.json"
LONGEST_WAIT_S: Final = 15.0
"""A clock may be set, and a machine may sleep, at any moment: the time is looked at again at least this often."""
CHILD_WAIT_S: Final = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Scope:
    """What a run works on: two of one ``kind`` may meet unless both name their ``place``, and it is not the same."""

    kind: str
    place: tuple[str, ...] = ()

    def may_meet(self, other: Scope) -> bool:
        """Tell whether two runs must not be under way at once."""
        return self.kind == other.kind and (not self.place or not other.place or self.place == other.place)


class StartedRun(Protocol):
    """A run under way. ``poll``: its exit code once it ended; ``stop``: ask it to end as by Ctrl-C."""

    def poll(self) -> int | None: ...

    def stop(self) -> None: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class ActiveRun:
    """A run under way, and what it is for."""

    schedule: Schedule
    due: DueRun
    scope: Scope
    started: datetime
    run: StartedRun


@dataclass(frozen=True, slots=True, kw_only=True)
class Starting:
    """How runs are started, and who is told."""

    start: Callable[[Schedule, DueRun], StartedRun]
    scope_of: Callable[[Schedule], Scope]
    zone_of: Callable[[Schedule], tzinfo]
    ended: Callable[[ActiveRun, int], None]


class Scheduler:
    """The schedules of one repository and their runs under way. Used by one thread; others may read ``active``."""

    def __init__(self, directory: Path, starting: Starting, clock: Clock, *, at_once: int) -> None:
        self._directory = directory
        self._starting = starting
        self._clock = clock
        self._at_once = at_once
        self._handled = _read_state(directory)
        self._saved = dict(self._handled)
        self.active: tuple[ActiveRun, ...] = ()
        self.next: Mapping[str, datetime] = {}

    def step(self, schedules: Sequence[Schedule]) -> float:
        """See which runs ended, start those that are due, the longest due first; return for how many seconds nothing
        will happen."""
        self._reap(stopping=False)
        now = self._clock.now()
        waiting = [one for one in schedules if all(one.name != run.schedule.name for run in self.active)]
        due = [(one, found) for one in waiting if (found := self._find_due(one, now)) is not None]
        for schedule, found in sorted(due, key=lambda pair: pair[1].slot):
            self._start(schedule, found, now)
        self._save()
        self.next = {one.name: slot for one in schedules if (slot := self._next(one, now)) is not None}
        soonest = min((slot - now for slot in self.next.values()), default=timedelta(seconds=LONGEST_WAIT_S))
        longest_s = CHILD_WAIT_S if self.active or due else LONGEST_WAIT_S
        return max(0.05, min(longest_s, soonest.total_seconds()))

    def stop(self, wait: Callable[[float], object], grace_s: float) -> bool:
        """Ask the runs under way to end and wait for them; tell whether all did.

        What was cut short is not done with: it is made up for at the next start.
        """
        for one in self.active:
            one.run.stop()
        deadline = self._clock.monotonic_s() + grace_s
        while self.active and self._clock.monotonic_s() < deadline:
            wait(0.05)
            self._reap(stopping=True)
        self._save()
        return not self.active

    def _start(self, schedule: Schedule, due: DueRun, now: datetime) -> None:
        jitter = jitter_of(schedule.name, due.slot, timedelta(seconds=schedule.jitter_s))
        scope = self._starting.scope_of(schedule)
        is_held = len(self.active) >= self._at_once or any(scope.may_meet(run.scope) for run in self.active)
        if is_held or due.slot + jitter > now:
            return
        run = self._starting.start(schedule, due)
        self.active += (ActiveRun(schedule=schedule, due=due, scope=scope, started=now, run=run),)

    def _reap(self, *, stopping: bool) -> None:
        left = []
        for one in self.active:
            code = one.run.poll()
            if code is None:
                left.append(one)
                continue
            if Outcome.of(code).is_good or not stopping:
                self._handled[one.schedule.name] = one.due.slot
            self._starting.ended(one, code)
        self.active = tuple(left)

    def _find_due(self, schedule: Schedule, now: datetime) -> DueRun | None:
        handled = self._handled.get(schedule.name)
        if handled is None:
            last = read_last_runs(self._directory).get(schedule.name)
            begun = now if schedule.created == ALWAYS else schedule.created
            handled = (last.slot or last.started) if last else begun
        # What a schedule says counts from when it was said.
        handled = settle_handled(max(handled, schedule.created), now)
        self._handled[schedule.name] = handled
        return find_due(schedule.expression, self._starting.zone_of(schedule), handled=handled, now=now)

    def _next(self, schedule: Schedule, now: datetime) -> datetime | None:
        return next_slot(schedule.expression, self._starting.zone_of(schedule), now)

    def _save(self) -> None:
        if self._handled != self._saved:
            document = {name: format_instant(instant) for name, instant in sorted(self._handled.items())}
            DirectoryStorage(self._directory).put(STATE, json.dumps({"handled": document}, indent=2).encode())
            self._saved = dict(self._handled)


def _read_state(directory: Path) -> dict[str, datetime]:
    """Return up to when each schedule is done; nothing of what cannot be read, for the last runs tell it too."""
    try:
        fields = parse_object(DirectoryStorage(directory).get(STATE, limit_bytes=MIB)).fields("handled")
        return {name: Fields(fields.members).instant(name) for name in fields.members}
    except (ObjectNotFoundError, FieldError):
        return {}
