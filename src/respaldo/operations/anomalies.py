"""What is odd about a backup that succeeded, beside those before it. Pure: numbers in, sentences with numbers out.

The rules, each of which a person can check by hand:

- *size*, *rows*: less than half of the median of the last seven backups. Four must be there.
- *vanished*, *emptied*: a table that had rows in each of the last three backups, and is gone, or has none.
- *unchanging*: this backup and the six before it have the same size and the same rows.
- *slow*: more than three times the median of the last seven of its type, and a minute more. Four must be there.

None speaks of the first backups, and a table that is filled and emptied now and then is not told.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median

from respaldo.counting import count_rows
from respaldo.language import _, ngettext
from respaldo.units import format_count, format_duration, format_size

USUAL = 7
FEWEST = 4
TABLES_IN = 3
SMALLEST_SHARE = 0.5
LONGEST_TIMES = 3
LONGEST_MORE_S = 60.0
SHOWN_TABLES = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class PastRun:
    """One backup in numbers. ``tables``: rows by qualified table; None where nobody looked."""

    type: str
    raw_bytes: int
    rows: int
    seconds: float
    tables: Mapping[str, int] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Anomaly:
    """``code``: the rule's name, with the table where it is of one. ``text``: for a person, with the numbers."""

    code: str
    text: str


def find_anomalies(run: PastRun, history: Sequence[PastRun]) -> list[Anomaly]:
    """Return what is odd about ``run``. ``history``: the backups of the same target before it, the oldest first."""
    return [*_shrunk(run, history), *_lost_tables(run, history), *_unchanging(run, history), *_slow(run, history)]


def _shrunk(run: PastRun, history: Sequence[PastRun]) -> list[Anomaly]:
    usual = history[-USUAL:]
    if len(usual) < FEWEST:
        return []
    found = []
    size = median(one.raw_bytes for one in usual)
    if run.raw_bytes < SMALLEST_SHARE * size:
        text = _("the data is {size}, usual is {usual} (median of the last {count}): less than half")
        found.append(
            Anomaly(
                code="size",
                text=text.format(size=format_size(run.raw_bytes), usual=format_size(round(size)), count=len(usual)),
            )
        )
    rows = median(one.rows for one in usual)
    if run.rows < SMALLEST_SHARE * rows:
        text = _("rows: {rows}, usual: {usual} (median of the last {count}): less than half")
        found.append(
            Anomaly(
                code="rows",
                text=text.format(rows=format_count(run.rows), usual=format_count(round(rows)), count=len(usual)),
            )
        )
    return found


def _lost_tables(run: PastRun, history: Sequence[PastRun]) -> list[Anomaly]:
    last = [one.tables for one in history[-TABLES_IN:] if one.tables is not None]
    if run.tables is None or len(last) < TABLES_IN:
        return []
    filled = [name for name, rows in last[-1].items() if rows and all(tables.get(name) for tables in last)]
    lost = [name for name in sorted(filled) if not run.tables.get(name)]
    found = []
    for name in lost[:SHOWN_TABLES]:
        rows = count_rows(last[-1][name])
        if name in run.tables:
            text = _("table {table} is empty; it had {rows} in the backup before").format(table=name, rows=rows)
            found.append(Anomaly(code=f"emptied {name}", text=text))
        else:
            text = _("table {table} is gone; it had {rows} in the backup before").format(table=name, rows=rows)
            found.append(Anomaly(code=f"vanished {name}", text=text))
    if len(lost) > SHOWN_TABLES:
        more = len(lost) - SHOWN_TABLES
        text = ngettext("{count} more table is gone or empty", "{count} more tables are gone or empty", more)
        found.append(Anomaly(code="vanished more", text=text.format(count=more)))
    return found


def _unchanging(run: PastRun, history: Sequence[PastRun]) -> list[Anomaly]:
    same = [run, *history[-(USUAL - 1) :]]
    if len(same) < USUAL or len({(one.raw_bytes, one.rows) for one in same}) > 1:
        return []
    text = _("the last {count} backups all have {size} and {rows}: is this the database that is in use?")
    return [
        Anomaly(
            code="unchanging",
            text=text.format(count=USUAL, size=format_size(run.raw_bytes), rows=count_rows(run.rows)),
        )
    ]


def _slow(run: PastRun, history: Sequence[PastRun]) -> list[Anomaly]:
    usual = [one.seconds for one in history if one.type == run.type][-USUAL:]
    if len(usual) < FEWEST:
        return []
    typical = median(usual)
    if run.seconds <= LONGEST_TIMES * typical or run.seconds <= typical + LONGEST_MORE_S:
        return []
    text = _("it took {duration}, usual is {usual} (median of the last {count} of its type)")
    return [
        Anomaly(
            code="slow",
            text=text.format(duration=format_duration(run.seconds), usual=format_duration(typical), count=len(usual)),
        )
    ]
