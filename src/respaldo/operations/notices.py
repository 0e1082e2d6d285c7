"""What is said of an outcome: runs and targets become notices, notices messages. Decides nothing."""

from __future__ import annotations

import socket
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta, tzinfo

from respaldo.errors import RespaldoError
from respaldo.language import _
from respaldo.notify.notice import Kind, Message, Notice, Operation
from respaldo.notify.wording import write_message
from respaldo.operations.alerts import Remembered
from respaldo.operations.anomalies import Anomaly
from respaldo.operations.proofs import is_ahead
from respaldo.redaction import redact
from respaldo.repository.records import BackupListing, Manifest, TargetPath

SHOWN = 3
"""Backups that a message names of those that are no good."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What came of one run. ``wanted``: what it was looking for, as instance/database with ``*`` for what it left open;
    empty where it named nothing. ``target``: what it found, or else ``wanted``; ``label`` is what a person is told of
    it. ``error`` None: it is good, and ``manifest`` is the backup that was made, drilled or checked."""

    operation: Operation
    at: datetime
    target: str = ""
    wanted: str = ""
    label: str = ""
    seconds: float | None = None
    manifest: Manifest | None = None
    error: RespaldoError | None = None
    warnings: tuple[str, ...] = ()
    anomalies: tuple[Anomaly, ...] = ()
    command: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class NoticeWriter:
    """Writes for one repository. ``program``: how the commands that a message names begin; ``secrets``: what no message
    may hold, whatever its text came from; ``zone`` None: the machine's."""

    repository: str
    program: str
    zone: tzinfo | None
    secrets: Sequence[str] = field(default=(), repr=False)

    def blank(self, kind: Kind, operation: Operation, target: str, *, at: datetime) -> Notice:
        """Return a notice that says where and when, and nothing else yet."""
        return Notice(
            kind=kind,
            operation=operation,
            target=target,
            at=at,
            host=socket.gethostname(),
            repository=self.repository,
        )

    def of_outcome(self, kind: Kind, outcome: Outcome, before: Remembered, after: Remembered) -> Notice:
        """Return what is said of a run; ``before`` and ``after``: what was remembered, and is now."""
        notice = replace(
            self.blank(kind, outcome.operation, outcome.label or outcome.target, at=outcome.at),
            seconds=outcome.seconds,
            last_good=before.last_good,
            failures=after.in_a_row if outcome.error is not None else before.in_a_row,
            warnings=(*outcome.warnings, *(anomaly.text for anomaly in outcome.anomalies)),
            command=outcome.command or self._next(kind, outcome),
        )
        if outcome.manifest is not None:
            totals = outcome.manifest.totals
            notice = replace(
                notice,
                backup=outcome.manifest.name,
                type=outcome.manifest.type.value,
                reason=outcome.manifest.decision.text if outcome.operation is Operation.BACKUP else "",
                raw_bytes=totals.raw_bytes,
                stored_bytes=totals.stored_bytes,
                rows=totals.rows,
                tables=totals.tables,
            )
        if outcome.error is not None:
            notice = replace(notice, reason=outcome.error.message, hint=outcome.error.hint or "")
        return notice

    def of_lateness(
        self, newest: Manifest, remembered: Remembered, *, rpo: timedelta, is_early: bool, at: datetime
    ) -> Notice:
        """Return what is said of a target that is late, or soon will be; ``newest``: its newest good backup."""
        message = (
            _("the newest backup is {age} h old, and the objective of {objective} h is about to be missed")
            if is_early
            else _("the newest backup is {age} h old, the objective is {objective} h")
        )
        age_h = (at - newest.started).total_seconds() / 3600
        return replace(
            self.blank(Kind.OVERDUE, Operation.BACKUP, str(newest.target), at=at),
            is_early=is_early,
            backup=newest.name,
            reason=message.format(age=f"{age_h:.1f}", objective=round(rpo.total_seconds() / 3600)),
            hint=remembered.last_error if remembered.in_a_row else "",
            last_good=newest.started,
            failures=remembered.in_a_row,
            command=f"{self.program} doctor",
        )

    def of_absence(self, target: TargetPath, listing: BackupListing, remembered: Remembered, *, at: datetime) -> Notice:
        """Return what is said of a target that has no good backup; ``listing``: those that it has."""
        hints = [one.error.message for one in listing.damaged[:SHOWN]]
        ahead = [one.name for one in listing.manifests if is_ahead(one, at)][-SHOWN:]
        failed = [one.name for one in listing.manifests if not is_ahead(one, at)][-SHOWN:]
        if failed:
            hints.append(_("a drill or a check failed: {names}").format(names=", ".join(failed)))
        if ahead:
            hints.append(_("dated in the future, so nobody knows how old: {names}").format(names=", ".join(ahead)))
        if remembered.in_a_row:
            hints.append(remembered.last_error)
        return replace(
            self.blank(Kind.OVERDUE, Operation.BACKUP, str(target), at=at),
            reason=_("no good backup can be read") if listing.damaged else _("there is no good backup"),
            hint="; ".join(hints),
            failures=remembered.in_a_row,
            command=f"{self.program} backup --type full",
        )

    def of_nothing(self, *, at: datetime) -> Notice:
        """Return what is said where backups are scheduled, and there is none of anything."""
        return replace(
            self.blank(Kind.OVERDUE, Operation.BACKUP, _("all targets"), at=at),
            reason=_("backups are scheduled, and there is none yet"),
            command=f"{self.program} schedule list",
        )

    def write(self, notice: Notice) -> Message:
        """Return the message. Secrets go only from what others said: a password may be the database's very name, and
        that is told."""
        notice = replace(
            notice,
            reason=redact(notice.reason, self.secrets),
            hint=redact(notice.hint, self.secrets),
            warnings=tuple(redact(warning, self.secrets) for warning in notice.warnings),
        )
        return write_message(notice, zone=self.zone)

    def _next(self, kind: Kind, outcome: Outcome) -> str:
        """Return the command that gets a person further."""
        name = outcome.manifest.name if outcome.manifest else ""
        match kind, outcome.operation:
            case Kind.FAILURE, Operation.BACKUP:
                return f"{self.program} doctor"
            case Kind.FAILURE, Operation.DRILL:
                return f"{self.program} backup --type full"
            case Kind.FAILURE, Operation.CHECK:
                return f"{self.program} check"
            case _, Operation.RETENTION:
                return f"{self.program} retain --dry-run"
            case _, Operation.BACKUP if name:
                return f"{self.program} drill {name}"
        return f"{self.program} status"
