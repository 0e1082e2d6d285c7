"""What every command that can fail does at its end: tell whoever is to be told. A good run stays good: what could not
be delivered, or kept, ends in exit 3."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

import click

from respaldo.app import App
from respaldo.cli.printing import Output
from respaldo.config.settings import Settings
from respaldo.errors import DONE_WITH_WARNINGS, InterruptedRunError, RespaldoError
from respaldo.language import _
from respaldo.notify.delivery import Delivery
from respaldo.notify.notice import Operation
from respaldo.operations.announcing import describe_failure
from respaldo.operations.anomalies import Anomaly
from respaldo.operations.notices import Outcome
from respaldo.repository.records import Manifest

ALL = "*"
"""The target of what is done to the repository as a whole."""


class Announcing:
    """A run that is told of. Leaving the ``with`` block tells: what was noted, and the error that it is left with."""

    def __init__(self, output: Output, app: App, operation: Operation) -> None:
        self._output = output
        self._app = app
        self._operation = operation
        self._begun_s = app.clock.monotonic_s()
        self._outcomes: list[Outcome] = []
        self._lost = 0
        self.target = ""
        """Of whom the run is, as soon as that is known."""

    def __enter__(self) -> Self:
        self._output.is_announced = True
        if self._operation is Operation.BACKUP:
            self._say(self._app.announcer().begin())
        return self

    def note(
        self,
        *,
        target: str,
        manifest: Manifest | None = None,
        error: RespaldoError | None = None,
        seconds: float | None = None,
        warnings: Sequence[str] = (),
        anomalies: Sequence[Anomaly] = (),
        label: str = "",
    ) -> None:
        """Note what came of one target; ``seconds`` None: of the whole run so far."""
        self._outcomes.append(
            Outcome(
                operation=self._operation,
                at=self._app.clock.now(),
                target=target,
                wanted=_wanted(self._app.settings),
                label=label or (_("all targets") if target == ALL else target),
                seconds=self._app.clock.monotonic_s() - self._begun_s if seconds is None else seconds,
                manifest=manifest,
                error=error,
                warnings=tuple(warnings),
                anomalies=tuple(anomalies),
            )
        )

    def warn(self, message: str) -> None:
        """Say a warning, and add it to what was noted last."""
        self._output.warn(message)
        if self._outcomes:
            last = self._outcomes[-1]
            self._outcomes[-1] = dataclasses.replace(last, warnings=(*last.warnings, message))

    def warn_unkept(self, reason: str) -> None:
        """Say, where there is a reason, that a result could not be kept: it counts all the same, and ends in exit 3."""
        if reason:
            self.warn(_("the result could not be kept beside the backups: {reason}").format(reason=reason))
            self._lost += 1

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        failure = _failure(error)
        # An error of the run that is of no target alone: where each target's was noted, it only sums them up.
        if failure is not None and not any(outcome.error for outcome in self._outcomes):
            settings = self._app.settings
            target = self.target or _wanted(settings)
            self.note(target=target, error=failure, label=self.target or describe_wanted(settings))
        announcer = self._app.announcer()
        # A person who ends it at the terminal knows.
        is_known = isinstance(failure, InterruptedRunError) and sys.stderr.isatty()
        if self._outcomes and not is_known and not announcer.is_idle:
            self._say(announcer.tell(self._outcomes))
        self._lost += not write_metrics_file(self._output, self._app)
        if self._lost and error is None:
            raise click.exceptions.Exit(DONE_WITH_WARNINGS)

    def _say(self, deliveries: Sequence[Delivery]) -> None:
        self._lost += len(deliveries)
        say_undelivered(self._output, deliveries)


def tell_failure(output: Output, app: App, operation: Operation, error: RespaldoError, *, label: str) -> None:
    """Tell of a run that failed and could not tell so itself; ``label``: what it was, to a person."""
    announcer = app.announcer()
    if not announcer.is_idle:
        wanted = _wanted(app.settings)
        outcome = Outcome(
            operation=operation, at=app.clock.now(), target=wanted, wanted=wanted, label=label, error=error
        )
        say_undelivered(output, announcer.tell([outcome]))


def say_undelivered(output: Output, deliveries: Sequence[Delivery]) -> None:
    """Warn of each message that a channel did not take, once a channel: the rest waited behind the first."""
    said: set[str] = set()
    for delivery in deliveries:
        if delivery.channel not in said:
            said.add(delivery.channel)
            output.warn(describe_failure(delivery))


def write_metrics_file(output: Output, app: App) -> bool:
    """Write the file that node_exporter reads, where one is named; warn and return False where that fails."""
    if app.settings.metrics_file is None:
        return True
    from respaldo.metrics.textfile import write_textfile

    try:
        write_textfile(Path(app.settings.metrics_file), app.metrics_text())
    except (RespaldoError, OSError) as error:
        reason = error.message if isinstance(error, RespaldoError) else error.strerror
        output.warn(
            _("metrics were not written to {path}: {reason}").format(path=app.settings.metrics_file, reason=reason)
        )
        return False
    return True


def _failure(error: BaseException | None) -> RespaldoError | None:
    """Return what the run failed by; exit codes of a run that is done, and help, are no failures."""
    if isinstance(error, RespaldoError):
        return error
    if isinstance(error, (KeyboardInterrupt, click.Abort)):
        return InterruptedRunError(_("interrupted; nothing half-made is left"))
    if isinstance(error, Exception) and not isinstance(error, click.exceptions.Exit):
        # A fault of this program: nobody is there to read its traceback, and nothing was backed up.
        return RespaldoError(f"{type(error).__name__}: {error}")
    return None


def describe_wanted(settings: Settings) -> str:
    """Return what a run was looking for that found no target: what the flags and variables say of it."""
    return "/".join(filter(None, (_place(settings), settings.database))) or _("the PostgreSQL instance")


def _wanted(settings: Settings) -> str:
    """Return the same as a target, with ``*`` for what is left open; empty where nothing is named."""
    place = _place(settings)
    return f"{place or '*'}/{settings.database or '*'}" if place or settings.database else ""


def _place(settings: Settings) -> str:
    if settings.host is not None:
        return f"{settings.host}_{settings.port}" if settings.port else settings.host
    labels = ",".join(f"{name}={value}" for name, value in (settings.labels or {}).items())
    return settings.container or settings.pod or labels
