"""What a person sees while an operation runs, and how errors end a run. stdout is the result, stderr the rest."""

from __future__ import annotations

import json
import os
import sys
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from respaldo.counting import count_backups, count_rows, count_tables
from respaldo.errors import RespaldoError
from respaldo.events import (
    Event,
    InstanceFound,
    Listener,
    PhaseStarted,
    SegmentDone,
    TypeDecided,
    Waiting,
    Warned,
    WorkPlanned,
)
from respaldo.language import N_, _
from respaldo.repository.records import Manifest
from respaldo.units import format_count, format_duration, format_size

LABEL_WIDTH = 15
# The types as events and manifests carry them, for the catalogue; whoever prints one calls ``_`` on it.
TYPE_WORDS = (N_("full"), N_("incremental"))


@dataclass(slots=True)
class Output:
    """How much is said, and where; and what was worked on and made, for the record of a scheduled run. One per run."""

    flags: dict[str, Any] = field(default_factory=dict)
    verbose: bool = False
    quiet: bool = False
    no_color: bool = False
    targets: list[str] = field(default_factory=list)
    backups: list[Manifest] = field(default_factory=list)
    is_announced: bool = False
    """Whether what is done tells of its own end."""

    @property
    def has_color(self) -> bool:
        return not self.no_color and not os.environ.get("NO_COLOR") and sys.stderr.isatty()

    def line(self, label: str, text: str) -> None:
        """Say one line of progress."""
        if not self.quiet:
            print(f"{label:<{LABEL_WIDTH}} {text}", file=sys.stderr, flush=True)

    def warn(self, message: str) -> None:
        if not self.quiet:
            print(self._paint("33", _("warning: {message}").format(message=message)), file=sys.stderr, flush=True)

    def fail(self, error: RespaldoError) -> None:
        """Say what failed and how to get further."""
        print(self._paint("31", _("error: {message}").format(message=error.message)), file=sys.stderr)
        hint = error.hint or (_("run the same again: it may work in a moment") if error.retryable else None)
        if hint:
            print(_("hint: {hint}").format(hint=hint), file=sys.stderr)

    def hint(self, text: str) -> None:
        """Say how to get further where nothing failed."""
        if not self.quiet:
            print(_("hint: {hint}").format(hint=text), file=sys.stderr)

    def print_json(self, document: object) -> None:
        """Print a document as JSON: in ASCII where the output is not Unicode, for its escapes are not JSON's."""
        is_unicode = (sys.stdout.encoding or "").lower().startswith("utf")
        print(json.dumps(document, ensure_ascii=not is_unicode, indent=2))

    def _paint(self, color: str, text: str) -> str:
        return f"\033[{color}m{text}\033[0m" if self.has_color else text


def raise_first(output: Output, errors: Sequence[RespaldoError]) -> None:
    """Warn of all of these but the first, which is raised; nothing where there are none."""
    for other in errors[1:]:
        output.warn(other.message)
    if errors:
        raise errors[0]


class Progress:
    """Shows events: a bar on a terminal, one line a phase elsewhere. Leaving the ``with`` block takes the bar away."""

    def __init__(self, output: Output, verb: str) -> None:
        self._output = output
        self._verb = verb
        self._bar: Any = None
        self._task: Any = None
        self._rows = 0
        self.warnings: list[str] = []

    def __enter__(self) -> Listener:
        return self.show

    def __exit__(self, *exc_info: object) -> None:
        self._stop()

    def show(self, event: Event) -> None:
        """Show one event."""
        match event:
            case InstanceFound():
                found = f"{event.environment} · {event.instance} ({event.image or event.server_version})"
                remark = "  " + _("found by itself") if event.by_itself else ""
                self._output.line(_("environment"), found + remark)
                if event.database:
                    self._output.targets.append(f"{event.instance}/{event.database}")
                    self._output.line(_("database"), f"{event.database}, PostgreSQL {event.server_version}")
            case TypeDecided():
                self._output.line(_("decision"), f"{_(event.type)}: {event.reason}")
            case WorkPlanned():
                size = format_size(event.size_bytes)
                if event.backups:
                    work = f"{count_backups(event.backups)}, {size}"
                else:
                    work = f"{count_tables(event.tables)}, {size}"
                self._output.line(self._verb, work)
                self._start(event.size_bytes)
            case SegmentDone():
                self._advance(event)
            case PhaseStarted():
                if self._output.verbose:
                    self._output.line("", event.phase)
            case Warned():
                self.warnings.append(event.message)
                self._output.warn(event.message)
            case Waiting():
                self._output.warn(event.message)

    def _start(self, size_bytes: int) -> None:
        self._stop()
        self._rows = 0
        if self._output.quiet or not sys.stderr.isatty() or os.environ.get("TERM") == "dumb":
            return
        from rich.console import Console
        from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

        console = Console(stderr=True, no_color=not self._output.has_color)
        columns = (
            TextColumn(f"{'':<{LABEL_WIDTH}}"),
            BarColumn(),
            DownloadColumn(binary_units=True),
            TextColumn("{task.fields[rows]}"),
            TimeRemainingColumn(),
        )
        self._bar = Progress(*columns, console=console, transient=True)
        self._bar.start()
        self._task = self._bar.add_task("", total=max(1, size_bytes), rows="")

    def _advance(self, event: SegmentDone) -> None:
        self._rows += event.rows
        if self._bar is not None:
            rows = count_rows(self._rows)
            self._bar.update(self._task, advance=event.heap_bytes, rows=rows)
        elif self._output.verbose:
            self._output.line("", f"{event.table}  {format_count(event.rows)}  {format_size(event.stored_bytes)}")

    def _stop(self) -> None:
        if self._bar is not None:
            self._bar.stop()
            self._bar = None


def describe_result(raw_bytes: int, stored_bytes: int, seconds: float) -> str:
    """Say what was stored: ``5.6 MiB (0.4 % of the data) in 4.1 s``."""
    share = 100 * stored_bytes / raw_bytes if raw_bytes else 100.0
    return _("{stored} ({share} of the data) in {duration}").format(
        stored=format_size(stored_bytes), share=f"{share:.1f} %", duration=format_duration(seconds)
    )


def format_table(rows: Sequence[Sequence[str]]) -> str:
    """Return rows of cells as lines with aligned columns; the first row is the header."""
    widths = [max(map(_width, column)) for column in zip(*rows, strict=True)]
    return "\n".join("  ".join(map(_pad, row, widths)).rstrip() for row in rows)


def _pad(text: str, width: int) -> str:
    return text + " " * (width - _width(text))


def _width(text: str) -> int:
    """Return the columns that a text takes on a terminal."""
    return sum(0 if unicodedata.combining(c) else 2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in text)
