"""What a message says: what happened to which target, why, how long, how big, and the command to run next."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from datetime import datetime, tzinfo

from respaldo.counting import count_rows, count_tables
from respaldo.language import N_, _
from respaldo.notify.notice import Kind, Message, Notice, Operation
from respaldo.units import format_count, format_duration, format_size

MAX_BODY = 20_000
"""Slack takes 40 000 characters; what is longer helps nobody."""
_WIDTH = 14
_HEADLINES = {
    (Kind.SUCCESS, Operation.BACKUP): N_("backup of {target} done"),
    (Kind.SUCCESS, Operation.DRILL): N_("drill of {target} proven"),
    (Kind.SUCCESS, Operation.CHECK): N_("check of {target} found all whole"),
    (Kind.SUCCESS, Operation.RETENTION): N_("retention of {target} done"),
    (Kind.FAILURE, Operation.BACKUP): N_("backup of {target} FAILED"),
    (Kind.FAILURE, Operation.DRILL): N_("drill of {target} FAILED"),
    (Kind.FAILURE, Operation.CHECK): N_("check of {target} FAILED"),
    (Kind.FAILURE, Operation.RETENTION): N_("retention of {target} FAILED"),
    (Kind.WARNING, Operation.BACKUP): N_("backup of {target} done, with warnings"),
    (Kind.WARNING, Operation.DRILL): N_("drill of {target} done, with warnings"),
    (Kind.WARNING, Operation.CHECK): N_("check of {target} done, with warnings"),
    (Kind.WARNING, Operation.RETENTION): N_("retention of {target} done, with warnings"),
    (Kind.RECOVERY, Operation.BACKUP): N_("backup of {target} works again"),
    (Kind.RECOVERY, Operation.DRILL): N_("drill of {target} is proven again"),
    (Kind.RECOVERY, Operation.CHECK): N_("check of {target} finds all whole again"),
    (Kind.RECOVERY, Operation.RETENTION): N_("retention of {target} works again"),
    (Kind.OVERDUE, Operation.BACKUP): N_("backup of {target} is LATE"),
}


def write_message(notice: Notice, *, zone: tzinfo | None) -> Message:
    """Return the message that tells of ``notice`` in the chosen language; times in ``zone``, None for the machine's."""
    if notice.kind is Kind.TEST:
        headline = _("test message")
    elif notice.is_early:
        headline = _("backup of {target} is about to be late").format(target=notice.target)
    else:
        headline = _(_HEADLINES[notice.kind, notice.operation]).format(target=notice.target)
    # A name that is no UTF-8 would keep the message, and all after it, from being sent.
    body = "\n".join(_lines(notice, headline, zone)).encode(errors="backslashreplace").decode()
    if len(body) > MAX_BODY:
        body = body[:MAX_BODY] + "…"
    return Message(
        uid=secrets.token_hex(16),
        kind=notice.kind,
        subject=_one_line(f"[respaldo] {headline}"),
        body=body,
        at=notice.at,
    )


def _one_line(text: str) -> str:
    """Return what a header may hold: a name from a server could begin another one."""
    return "".join(character if character.isprintable() else " " for character in text)[:200]


def _lines(notice: Notice, headline: str, zone: tzinfo | None) -> Iterator[str]:
    yield headline
    yield ""
    if notice.kind is Kind.TEST:
        yield _("This channel works. Nothing happened to any backup.")
        yield ""
    for label, text in _facts(notice, zone):
        if text:
            yield f"{label + ':':<{_WIDTH}} {text}"
    for warning in notice.warnings:
        yield f"- {warning}"
    if notice.command:
        yield ""
        yield _("Next: {command}").format(command=notice.command)


def _facts(notice: Notice, zone: tzinfo | None) -> Iterator[tuple[str, str]]:
    yield _("target"), notice.target
    yield _("backup"), f"{notice.backup} ({_(notice.type)})" if notice.type and notice.backup else notice.backup
    yield _("reason"), notice.reason
    yield _("hint"), notice.hint
    yield _("when"), _time(notice.at, zone)
    yield _("duration"), "" if notice.seconds is None else format_duration(notice.seconds)
    yield _("size"), _size(notice)
    yield _("rows"), _rows(notice)
    if notice.kind in {Kind.FAILURE, Kind.OVERDUE, Kind.RECOVERY}:
        yield _("last good"), _time(notice.last_good, zone) if notice.last_good else _("none")
    if notice.failures:
        yield _("failed runs"), format_count(notice.failures)
    yield _("host"), notice.host
    yield _("repository"), notice.repository
    if notice.warnings:
        yield _("warnings"), format_count(len(notice.warnings))


def _time(instant: datetime, zone: tzinfo | None) -> str:
    return f"{instant.astimezone(zone):%Y-%m-%d %H:%M:%S %Z}"


def _size(notice: Notice) -> str:
    if notice.raw_bytes is None or notice.stored_bytes is None:
        return ""
    return _("{raw} of data, {stored} stored").format(
        raw=format_size(notice.raw_bytes), stored=format_size(notice.stored_bytes)
    )


def _rows(notice: Notice) -> str:
    if notice.rows is None or notice.tables is None:
        return ""
    return _("{rows} in {tables}").format(rows=count_rows(notice.rows), tables=count_tables(notice.tables))
