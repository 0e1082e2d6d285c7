"""Full or incremental: the rule, pure, with its reason."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from respaldo.language import _, ngettext


class BackupType(StrEnum):
    """What a backup is."""

    FULL = "full"
    INCREMENTAL = "incremental"


class Reason(StrEnum):
    """Why a type was decided. The values are stored in manifests and never change."""

    ASKED = "asked"
    NO_FULL = "no-full"
    FULL_TOO_OLD = "full-too-old"
    TOO_MANY_INCREMENTALS = "too-many-incrementals"
    SERVER_CHANGED = "server-changed"
    BASE_FAILED = "base-failed"
    INCREMENTAL_TOO_LARGE = "incremental-too-large"
    FULL_IS_FRESH = "full-is-fresh"
    SAFETY = "safety"


@dataclass(frozen=True, slots=True, kw_only=True)
class StrategyPolicy:
    """The numbers of the rule. ``largest_share``: an incremental's stored bytes as a part of its full's."""

    full_every: timedelta = timedelta(days=7)
    incrementals_per_full: int = 5
    largest_share: float = 0.6


@dataclass(frozen=True, slots=True, kw_only=True)
class PastBackup:
    """What the rule needs to know of one committed backup. ``identity``: what must not have changed since."""

    name: str
    type: BackupType
    base: str | None
    started: datetime
    stored_bytes: int
    identity: tuple[str, ...]
    has_failed: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """The verdict. ``base`` names the full that an incremental is made against; ``text`` is for a person."""

    type: BackupType
    reason: Reason
    text: str
    base: str | None = None


def decide(
    history: Sequence[PastBackup],
    *,
    now: datetime,
    identity: tuple[str, ...],
    policy: StrategyPolicy,
    asked: BackupType | None = None,
) -> Decision:
    """Decide the next backup's type from the history of its target (design, section 6).

    ``identity``: the server's major version, system identifier and database, as the history's backups recorded them.
    An incremental that is asked for without a usable full becomes a full, and the text says why. A clock that ran
    backwards makes a full no older than it is.
    """
    if asked is BackupType.FULL:
        return _full(Reason.ASKED, _("asked for"))
    fulls = [backup for backup in history if backup.type is BackupType.FULL]
    if not fulls:
        return _full(Reason.NO_FULL, _("there is no full backup yet"))
    base = max(fulls, key=lambda backup: backup.started)
    if base.identity != identity:
        return _full(
            Reason.SERVER_CHANGED, _("the server or the database is another one than at {name}").format(name=base.name)
        )
    if base.has_failed:
        return _full(Reason.BASE_FAILED, _("the last check or drill of {name} failed").format(name=base.name))
    users = [backup for backup in history if backup.base == base.name]
    age = now - base.started
    if asked is BackupType.INCREMENTAL:
        return _incremental(base, Reason.ASKED, _("asked for"))
    if age > policy.full_every:
        return _full(
            Reason.FULL_TOO_OLD,
            ngettext(
                "the last full is {days} day old, the limit is {limit}",
                "the last full is {days} days old, the limit is {limit}",
                age.days,
            ).format(days=age.days, limit=_days(policy.full_every)),
        )
    if len(users) >= policy.incrementals_per_full:
        return _full(
            Reason.TOO_MANY_INCREMENTALS,
            ngettext(
                "{count} incremental uses the last full, the limit is {limit}",
                "{count} incrementals use the last full, the limit is {limit}",
                len(users),
            ).format(count=len(users), limit=policy.incrementals_per_full),
        )
    newest = max(users, key=lambda backup: backup.started, default=None)
    if newest and newest.stored_bytes > policy.largest_share * base.stored_bytes:
        share = round(100 * newest.stored_bytes / max(1, base.stored_bytes))
        return _full(
            Reason.INCREMENTAL_TOO_LARGE,
            _("the last incremental took {share} of a full, the limit is {limit}").format(
                share=f"{share} %", limit=f"{100 * policy.largest_share:.0f} %"
            ),
        )
    return _incremental(
        base,
        Reason.FULL_IS_FRESH,
        ngettext(
            "the full is {days} day old, {count} of {limit} incrementals used",
            "the full is {days} days old, {count} of {limit} incrementals used",
            max(0, age.days),
        ).format(days=max(0, age.days), count=len(users), limit=policy.incrementals_per_full),
    )


def _full(reason: Reason, text: str) -> Decision:
    return Decision(type=BackupType.FULL, reason=reason, text=text)


def _incremental(base: PastBackup, reason: Reason, text: str) -> Decision:
    return Decision(type=BackupType.INCREMENTAL, reason=reason, text=text, base=base.name)


def _days(span: timedelta) -> str:
    return f"{span / timedelta(days=1):g}"
