"""``respaldo serve``: the daemon that starts scheduled runs where there is no cron, as in a container."""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import date
from typing import Any, Final, NamedTuple

import click

from respaldo.app import App
from respaldo.cli.announcing import say_undelivered
from respaldo.cli.options import load_settings, setting_options
from respaldo.cli.printing import Output
from respaldo.cli.schedule_command import check_command, label_of, settings_of_command, tell_failed_run
from respaldo.cli.schedule_launch import import_path
from respaldo.cli.stopping import Stop
from respaldo.errors import DONE_WITH_WARNINGS, LockedError, RepositoryError, RespaldoError, UsageError
from respaldo.language import _, ngettext
from respaldo.operations.health import Health, HealthServer
from respaldo.operations.runs import RunRecord, read_last_runs, record_run
from respaldo.operations.schedules import already_scheduled, declare_schedules, read_schedules, zone_of
from respaldo.operations.serving import ActiveRun, Scheduler, Scope, Starting
from respaldo.repository.format import METADATA
from respaldo.repository.manifest import format_instant
from respaldo.schedule.expression import parse_when
from respaldo.schedule.plan import ALWAYS, Schedule, Trigger, check_name
from respaldo.schedule.slots import DueRun
from respaldo.storage.files import held

AT_ONCE: Final = 2
LIVE_WITHIN_S: Final = 120.0
LOCK: Final = f"{METADATA}/serve.lock"
WATCH_EVERY_S: Final = 900.0
_PAUSE_S: Final = 5.0
_TOLD_AT: Final = 3
_LAST_WORD_S: Final = 3.0
_EVERY_MINUTE_FIELDS: Final = 5


@click.command(short_help=_("start scheduled runs and stay: for containers"))
@click.option(
    "--schedule", "given", metavar="TEXT", multiple=True,
    help=_("a schedule in place of one that was added: 'NAME: WHEN [COMMAND]'; may be repeated"),
)  # fmt: skip
@click.option(
    "--listen", metavar="HOST:PORT", default="127.0.0.1:9188",
    help=_("where health and metrics are answered, or off [default: {value}]").format(value="127.0.0.1:9188"),
)  # fmt: skip
@click.option(
    "--grace", "grace_s", metavar="SECONDS", type=click.IntRange(1), default=60,
    help=_("how long a run may take to end when this is stopped [default: {value}]").format(value=60),
)  # fmt: skip
@setting_options("time_zone")
@click.pass_context
def serve(context: click.Context, /, flags: dict[str, Any], given: tuple[str, ...], listen: str, grace_s: int) -> int:
    """Serve."""
    return run_serve_command(context.obj, load_settings(context, flags), given, listen=listen, grace_s=grace_s)


serve.help = _(
    """Start the runs of the schedules that were added with --with serve, and of those given here, when they are due.

A run that fell into a time when this was stopped, or the machine asleep, is made up for once. Two runs at a time, and
one for each target. SIGTERM ends it: a backup under way is given up and leaves nothing half-made, and is made again at
the next start. Health is at /healthz, /livez and /readyz.

\b
Examples:
  respaldo serve
  respaldo serve --schedule "nightly: daily" --schedule "proof: weekly drill --due 7"
  respaldo serve --schedule "shop: 30 1 * * 1-5 backup --container pc_db" --listen 0.0.0.0:9188

\b
Exit codes: 0 stopped; 2 wrong use; 3 stopped, but a run had not ended; 11 another one is at work there;
20 storage; 40 the address is taken.
"""
)


def run_serve_command(output: Output, settings: Any, given: Sequence[str], *, listen: str, grace_s: float) -> int:
    """Serve until SIGTERM or Ctrl-C; return the exit code."""
    app = App(settings)
    declared = [_parse_schedule(app, text) for text in given]
    for one in declared:
        if sum(one.name == other.name for other in declared) > 1:
            raise already_scheduled(one.name)
    address = _parse_address(listen)
    repository = app.open_or_create_repository()
    try:
        with held(str(app.records / LOCK), wait=False):
            declare_schedules(app.records, declared)
            return _serve(_Daemon(app=app, output=output, declared=declared, uid=repository.uid), address, grace_s)
    except BlockingIOError as error:
        raise LockedError(
            _("another respaldo serve is at work on {directory}").format(directory=app.records),
            hint=_("one starts the runs of all schedules: stop one of both"),
        ) from error


def _serve(daemon: _Daemon, address: tuple[str, int] | None, grace_s: float) -> int:
    server = HealthServer(address, daemon.health, daemon.app.metrics_text) if address else None
    try:
        with daemon.stop.told_by_signals():
            daemon.serve()
            daemon.output.line(_("stopping"), ", ".join(one.schedule.name for one in daemon.scheduler.active))
            has_ended = daemon.scheduler.stop(_wait, grace_s)
            if daemon.watching is not None:
                daemon.watching.join(_LAST_WORD_S)
            daemon.tell()
    finally:
        if server is not None:
            server.close()
    if not has_ended:
        names = ", ".join(one.schedule.name for one in daemon.scheduler.active)
        daemon.output.warn(_("still running: {names}").format(names=names))
        return DONE_WITH_WARNINGS
    return 0


@dataclass(slots=True, kw_only=True)
class _Daemon:
    """The loop, and what it tells of itself to the threads of the health server. ``uid``: the repository's, when this
    started; ``untold``: failures that nobody has told yet; ``failing``: how many looks in a row failed."""

    app: App
    output: Output
    declared: Sequence[Schedule]
    uid: str
    untold: deque[_Failure] = field(default_factory=deque)
    stop: Stop = field(default_factory=Stop)
    scheduler: Scheduler = field(init=False)
    looked_s: float = field(init=False)
    problem: str | None = None
    failing: int = 0
    complained: tuple[str, date] | None = None
    watched_s: float | None = None
    watching: threading.Thread | None = None

    def __post_init__(self) -> None:
        starting = Starting(
            start=self._start,
            scope_of=self._scope,
            zone_of=lambda one: zone_of(one, self.app.settings.zone),
            ended=self._ended,
        )
        self.scheduler = Scheduler(self.app.records, starting, self.app.clock, at_once=AT_ONCE)
        self.looked_s = self.app.clock.monotonic_s()

    def serve(self) -> None:
        """Look at the schedules until it is to stop.

        What fails is said and tried again: a daemon that a full disk ends backs nothing up once there is room.
        """
        announced: list[Schedule] | None = None
        while not self.stop.is_told:
            try:
                self._require_repository()
                schedules = self._schedules()
                wait_s = self.scheduler.step(schedules)
                self.problem, self.failing = None, 0
            except RespaldoError as error:
                self._complain(error)
                wait_s = _PAUSE_S
            except Exception as error:  # noqa: BLE001 - the loop of the scheduler goes on
                self._complain(RespaldoError(f"{type(error).__name__}: {error}"))
                wait_s = _PAUSE_S
            else:
                if schedules != announced:
                    announced = schedules
                    self._announce(schedules)
            self.looked_s = self.app.clock.monotonic_s()
            self._watch()
            self.stop.wait(wait_s)

    def _watch(self) -> None:
        """Tell of failures at once; every quarter of an hour tell of targets that are late, and deliver what a channel
        did not take before.

        In a thread: a mail server that does not answer keeps no backup waiting, and no end.
        """
        now_s = self.app.clock.monotonic_s()
        is_due = self.watched_s is None or now_s - self.watched_s >= WATCH_EVERY_S
        if (self.watching is not None and self.watching.is_alive()) or not (is_due or self.untold):
            return
        if is_due:
            self.watched_s = now_s
        work = self._look if is_due else self.tell
        self.watching = threading.Thread(target=work, name="respaldo-watch", daemon=True)
        self.watching.start()

    def _look(self) -> None:
        self.tell()
        try:
            announcer, repository = self.app.announcer(), self.app.open_repository()
            say_undelivered(self.output, announcer.look(repository, next_runs=self.app.next_runs()))
        except RespaldoError as error:
            self.output.warn(error.message)

    def tell(self) -> None:
        """Tell of what failed and could not tell so itself."""
        with suppress(IndexError):
            while True:
                tell_failed_run(self.output, self.app, *self.untold.popleft())

    def _require_repository(self) -> None:
        """Raise RepositoryError where the repository is gone, as with a disk that is no longer mounted: a run would
        begin another one in its place."""
        if self.app.open_repository().uid != self.uid:
            raise RepositoryError(
                _("another repository has taken the place of the one in {location}").format(
                    location=self.app.settings.repository
                ),
                hint=_("put the right one back, or start respaldo serve anew"),
            )

    def health(self) -> Health:
        """Return how it is now."""
        age_s = self.app.clock.monotonic_s() - self.looked_s
        return Health(
            live=age_s < LIVE_WITHIN_S,
            ready=self.problem is None and not self.stop.is_told,
            running=tuple(one.schedule.name for one in self.scheduler.active),
            next={name: format_instant(slot) for name, slot in self.scheduler.next.items()},
            problem=self.problem,
        )

    def _schedules(self) -> list[Schedule]:
        names = {one.name for one in self.declared}
        added = [one for one in read_schedules(self.app.records) if one.trigger is Trigger.SERVE]
        return [*self.declared, *(one for one in added if one.name not in names)]

    def _announce(self, schedules: Sequence[Schedule]) -> None:
        if not schedules:
            self.output.warn(_("nothing is scheduled; add one: respaldo schedule add nightly --with serve"))
        for one in schedules:
            slot = self.scheduler.next.get(one.name)
            when = f"{slot.astimezone(zone_of(one, self.app.settings.zone)):%Y-%m-%d %H:%M %Z}" if slot else ""
            self.output.line(_("schedule"), f"{one.name}: {one.expression}  {' '.join(one.command)}  {when}".rstrip())

    def _complain(self, error: RespaldoError) -> None:
        if error.message != self.problem:
            self.output.warn(error.message)
        self.problem = error.message
        self.failing += 1
        # What lasts is told, each day; what a disk does once is not.
        told = (error.message, self.app.clock.now().astimezone(self.app.settings.zone).date())
        if self.failing >= _TOLD_AT and told != self.complained:
            self.complained = told
            self.untold.append(_Failure("respaldo serve", (), error))

    def _start(self, schedule: Schedule, due: DueRun) -> _Child:
        text = f"{schedule.name}  {' '.join(schedule.command)}"
        if due.missed:
            text += "  " + ngettext(
                "making up for {count} run that was missed", "making up for {count} runs that were missed", due.missed
            ).format(count=due.missed)
        self.output.line(_("starting"), text)
        argv = [sys.executable, "-m", "respaldo", "--repository", str(self.app.settings.repository)]
        argv += ["schedule", "run", schedule.name, "--slot", format_instant(due.slot), "--", *schedule.command]
        # A group of its own: Ctrl-C in a terminal reaches this program alone, which asks its runs to end in order.
        process = subprocess.Popen(
            argv, stdin=subprocess.DEVNULL, start_new_session=True, env={**os.environ, **import_path()}
        )
        return _Child(process=process)

    def _ended(self, one: ActiveRun, code: int) -> None:
        self.output.line(_("ended"), _("{name}, exit {code}").format(name=one.schedule.name, code=code))
        last = read_last_runs(self.app.records).get(one.schedule.name)
        if code == 0 or (last is not None and last.slot == one.due.slot):
            return
        # A process that was killed, or that did not come as far, could note and tell nothing itself.
        reason = (
            _("ended by signal {number}").format(number=-code)
            if code < 0
            else _("ended with exit code {code} before it began").format(code=code)
        )
        record = RunRecord(
            schedule=one.schedule.name,
            command=one.schedule.command,
            slot=one.due.slot,
            started=one.started,
            ended=self.app.clock.now(),
            exit_code=code if code > 0 else 128 - code,
            error=reason,
        )
        record_run(self.app.records, record, secrets=self.app.settings.secrets())
        self.untold.append(_Failure(label_of(record.schedule), record.command, RespaldoError(reason)))

    def _scope(self, schedule: Schedule) -> Scope:
        if schedule.command[0] in {"check", "drill", "status"}:
            return Scope(kind="read")
        try:
            settings = settings_of_command(schedule.command, self.app.settings)
        except (RespaldoError, click.UsageError):
            # Its run will say what is wrong with it.
            return Scope(kind="write")
        named = (settings.container, settings.pod, settings.host)
        if schedule.command[0] == "retain" or not any(named):
            return Scope(kind="write")
        return Scope(kind="write", place=tuple(str(one or "") for one in (*named, settings.namespace, settings.port)))


class _Failure(NamedTuple):
    """What is to be told: of a schedule's run, or of this program, which has no command."""

    label: str
    command: tuple[str, ...]
    error: RespaldoError


@dataclass(frozen=True, slots=True, kw_only=True)
class _Child:
    process: subprocess.Popen[bytes]

    def poll(self) -> int | None:
        return self.process.poll()

    def stop(self) -> None:
        self.process.send_signal(signal.SIGTERM)


def _wait(seconds: float) -> None:
    threading.Event().wait(seconds)


def _parse_schedule(app: App, text: str) -> Schedule:
    """Read ``NAME: WHEN [COMMAND]``; WHEN is a word or five fields."""
    name, colon, rest = text.partition(":")
    try:
        words = shlex.split(rest)
    except ValueError:
        words = []
    if not colon or not words:
        raise UsageError(
            _("{origin}: {value} is not a valid value").format(origin="--schedule", value=text),
            hint=_("a name, a colon, when, and a command: 'nightly: daily backup --container pc_db'"),
        )
    count = 1 if words[0][:1].isalpha() or words[0].startswith("@") else _EVERY_MINUTE_FIELDS
    return Schedule(
        name=check_name(name.strip()),
        expression=parse_when(" ".join(words[:count])),
        command=check_command(words[count:] or ["backup"]),
        trigger=Trigger.SERVE,
        created=ALWAYS,
        time_zone=app.settings.time_zone,
    )


def _parse_address(text: str) -> tuple[str, int] | None:
    if text == "off":
        return None
    host, _colon, port = text.rpartition(":")
    if not (port.isdecimal() and int(port) <= 65535 and host):
        raise UsageError(
            _("{origin}: {value} is not a valid value").format(origin="--listen", value=text),
            hint=_("an address and a port, such as 0.0.0.0:9188, or off"),
        )
    return host.strip("[]"), int(port)
