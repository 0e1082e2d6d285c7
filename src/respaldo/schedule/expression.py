"""Cron expressions: what a person writes, checked field by field, in the form that every cron takes alike.

Five fields, as in crontab(5). What only some crons understand is refused: seconds, ``L``, ``W``, ``#``, ``?``.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from respaldo.errors import UsageError
from respaldo.language import N_, _, ngettext

PRESETS: Final = {
    "hourly": "0 * * * *",
    "daily": "0 2 * * *",
    "weekly": "0 2 * * 0",
    "monthly": "0 2 1 * *",
    "workdays": "0 2 * * 1-5",
}
"""The documented words: daily at 02:00, weekly on Sundays, monthly on the first, workdays from Monday to Friday."""

_NICKNAMES: Final = {
    "@hourly": "0 * * * *",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@weekly": "0 0 * * 0",
    "@monthly": "0 0 1 * *",
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
}
_MONTHS: Final = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_DAYS: Final = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
_LONGEST_MONTH: Final = (31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Kind:
    name: str
    low: int
    high: int
    words: tuple[str, ...] = ()
    first_word: int = 0


_KINDS: Final = (
    _Kind(name=N_("minute"), low=0, high=59),
    _Kind(name=N_("hour"), low=0, high=23),
    _Kind(name=N_("day of the month"), low=1, high=31),
    _Kind(name=N_("month"), low=1, high=12, words=_MONTHS, first_word=1),
    _Kind(name=N_("day of the week"), low=0, high=7, words=_DAYS),
)


@dataclass(frozen=True, slots=True)
class CronExpression:
    """A cron expression that is good. ``text``: five fields of digits, ``* , - /``; Sunday is 0."""

    text: str

    @property
    def fields(self) -> tuple[str, ...]:
        return tuple(self.text.split())

    def values(self, position: int) -> list[int]:
        """Return, sorted, all that the field at ``position`` (0 minute … 4 day of the week) allows."""
        return sorted(_values(_KINDS[position], self.fields[position]))

    @property
    def is_either_day(self) -> bool:
        """Tell whether a day is right by its date or by its weekday: neither field begins with ``*`` (crontab(5))."""
        return not (self.fields[2].startswith("*") or self.fields[4].startswith("*"))

    def __str__(self) -> str:
        return self.text


def parse_when(text: str) -> CronExpression:
    """Return what one of the documented words, a nickname of cron's (``@daily``), or five fields say.

    Raise UsageError that names the field and says why.
    """
    words = text.strip().lower()
    return parse_expression(PRESETS.get(words) or _NICKNAMES.get(words) or words)


def parse_expression(text: str) -> CronExpression:
    """Return a cron expression of five fields; raise UsageError that names the field and says why."""
    fields = text.lower().split()
    if len(fields) != len(_KINDS):
        raise UsageError(
            ngettext(
                "{expression!r} has {count} field where a cron expression has 5",
                "{expression!r} has {count} fields where a cron expression has 5",
                len(fields),
            ).format(expression=text, count=len(fields)),
            hint=_("minute hour day month weekday, such as '30 2 * * 1-5'; or one of: {words}").format(
                words=", ".join(PRESETS)
            ),
        )
    expression = CronExpression(
        " ".join(_normalize(kind, field, text) for kind, field in zip(_KINDS, fields, strict=True))
    )
    first = min(expression.values(2))
    if not expression.is_either_day and first > max(_LONGEST_MONTH[month - 1] for month in expression.values(3)):
        raise _bad(
            text, _KINDS[2], fields[2], _("no such day is in any of the months {months}").format(months=fields[3])
        )
    return expression


def _normalize(kind: _Kind, field: str, whole: str) -> str:
    """Check a field and return it with numbers for names, and 0 for the seventh day, which not every cron knows."""
    parts = field.split(",")
    for part in parts:
        reason = _fault(kind, part)
        if reason:
            raise _bad(whole, kind, field, reason)
    # Each by itself: a field that begins with * must go on doing so (see is_either_day).
    return ",".join(_normalize_part(kind, part) for part in parts)


def _normalize_part(kind: _Kind, part: str) -> str:
    ends = part.partition("/")[0].split("-")
    # A range of one with a step is read by some as a step from there on.
    is_single = len(ends) == 2 and ends[0] == ends[1]
    has_seven = kind.high == 7 and "7" in ends
    if not (is_single or has_seven or re.search(r"[a-z]", part)):
        return part
    return ",".join(map(str, sorted(_values(kind, part))))


def _fault(kind: _Kind, part: str) -> str | None:
    """Say what is wrong with one part of a list; None where nothing is."""
    span, slash, step = part.partition("/")
    if slash and not (step.isascii() and step.isdigit() and int(step) > 0):
        return _("the step {value!r} is no number above 0").format(value=step)
    if span == "*":
        return None
    ends = span.split("-")
    numbers = [_number(kind, end) for end in ends]
    for end, number in zip(ends, numbers, strict=True):
        if number is None:
            return _("{value!r} is no {what}").format(value=end, what=_(kind.name))
        if not kind.low <= number <= kind.high:
            return _("{value} is not between {low} and {high}").format(value=end, low=kind.low, high=kind.high)
    if len(ends) > 2:
        return _("{value!r} is no range").format(value=span)
    if len(ends) == 1 and slash:
        return _("a step needs a range or *, such as {low}-{high}/{step}").format(low=span, high=kind.high, step=step)
    if len(ends) == 2 and (numbers[0] or 0) > (numbers[1] or 0):
        return _("the range {value} runs backwards").format(value=span)
    return None


def _values(kind: _Kind, field: str) -> set[int]:
    """Return all that a good field allows; Sunday as 0."""
    return {value % 7 if kind.high == 7 else value for part in field.split(",") for value in _span(kind, part)}


def _span(kind: _Kind, part: str) -> Iterable[int]:
    span, _slash, step = part.partition("/")
    if span == "*":
        low, high = kind.low, kind.high
    else:
        ends = [_number(kind, end) or 0 for end in span.split("-")]
        low, high = ends[0], ends[-1]
    return range(low, high + 1, int(step or 1))


def _number(kind: _Kind, text: str) -> int | None:
    if text in kind.words:
        return kind.words.index(text) + kind.first_word
    return int(text) if re.fullmatch(r"[0-9]{1,4}", text) else None


def _bad(whole: str, kind: _Kind, field: str, reason: str) -> UsageError:
    return UsageError(
        _("{expression!r}: the {what} {field!r} cannot be meant: {reason}").format(
            expression=whole, what=_(kind.name), field=field, reason=reason
        ),
        hint=_("minute hour day month weekday, such as '30 2 * * 1-5'; or one of: {words}").format(
            words=", ".join(PRESETS)
        ),
    )
