"""Prometheus's text of what is known of each target. Pure: plain values in, text out
(https://prometheus.io/docs/instrumenting/exposition_formats/).

Ages are written as the times that they begin at: a text that nobody renews must not look young.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class TargetSample:
    """One target (``instance/database``) in numbers; None where there is none. ``recovery_s``: of the newest proven
    drill. ``backups`` and ``stored_bytes`` by type: of all there are."""

    target: str
    last_backup: datetime | None = None
    duration_s: float | None = None
    raw_bytes: int | None = None
    stored_bytes: int | None = None
    rows: int | None = None
    tables: int | None = None
    last_proof: datetime | None = None
    is_proven: bool | None = None
    recovery_s: float | None = None
    failures: int = 0
    failures_in_a_row: int = 0
    last_failure: datetime | None = None
    next_run: datetime | None = None
    backups: Mapping[str, int] = field(default_factory=dict)
    stored: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class RepositorySample:
    """All that is written. ``repository``: where it is; one machine may tell of several. Objectives in seconds."""

    version: str
    repository: str
    rpo_s: float
    rto_s: float
    undelivered: int
    targets: Sequence[TargetSample]


Value = Callable[[TargetSample], float | int | None]

_GAUGES: Sequence[tuple[str, str, Value]] = (
    (
        "respaldo_last_backup_timestamp_seconds",
        "Start of the newest good backup; 0 where there is none.",
        lambda one: _seconds(one.last_backup) or 0,
    ),
    ("respaldo_last_backup_duration_seconds", "How long the newest backup took.", lambda one: one.duration_s),
    ("respaldo_last_backup_data_bytes", "Bytes of text that the newest backup holds.", lambda one: one.raw_bytes),
    ("respaldo_last_backup_stored_bytes", "Bytes that the newest backup takes.", lambda one: one.stored_bytes),
    ("respaldo_last_backup_rows", "Rows of the newest backup.", lambda one: one.rows),
    ("respaldo_last_backup_tables", "Tables of the newest backup.", lambda one: one.tables),
    (
        "respaldo_last_proof_timestamp_seconds",
        "When a drill or a check was last conclusive; 0 where none ever was.",
        lambda one: _seconds(one.last_proof) or 0,
    ),
    (
        "respaldo_last_proof_success",
        "1 where that proved the backup, 0 where it failed.",
        lambda one: None if one.is_proven is None else int(one.is_proven),
    ),
    ("respaldo_recovery_seconds", "Recovery time that the newest proven drill measured.", lambda one: one.recovery_s),
    (
        "respaldo_backup_failures_in_a_row",
        "Failed backups since the last good one.",
        lambda one: one.failures_in_a_row,
    ),
    (
        "respaldo_last_failure_timestamp_seconds",
        "When a backup last failed.",
        lambda one: _seconds(one.last_failure),
    ),
    ("respaldo_next_run_timestamp_seconds", "When the next backup is due.", lambda one: _seconds(one.next_run)),
)


def write_metrics(sample: RepositorySample) -> str:
    """Return the text, one family after the other."""
    return "".join(f"{line}\n" for line in _lines(sample))


def _lines(sample: RepositorySample) -> Iterator[str]:
    place = {"repository": sample.repository}
    yield from _family(
        "respaldo_build_info", "gauge", "The version of respaldo.", [({**place, "version": sample.version}, 1)]
    )
    yield from _family(
        "respaldo_undelivered_messages",
        "gauge",
        "Messages that a channel has not taken yet.",
        [(place, sample.undelivered)],
    )
    for name, text, objective_s in (
        ("respaldo_rpo_objective_seconds", "How old the newest backup may be.", sample.rpo_s),
        ("respaldo_rto_objective_seconds", "How long a recovery may take.", sample.rto_s),
    ):
        # Of each target, so that it is compared with its age without a join.
        yield from _family(name, "gauge", text, [({"target": one.target}, objective_s) for one in sample.targets])
    for name, text, value in _GAUGES:
        yield from _family(name, "gauge", text, [({"target": one.target}, value(one)) for one in sample.targets])
    yield from _family(
        "respaldo_backup_failures_total",
        "counter",
        "Backups that failed.",
        [({"target": one.target}, one.failures) for one in sample.targets],
    )
    yield from _family(
        "respaldo_backups",
        "gauge",
        "Backups in the repository.",
        [
            ({"target": one.target, "type": name}, count)
            for one in sample.targets
            for name, count in one.backups.items()
        ],
    )
    yield from _family(
        "respaldo_stored_bytes",
        "gauge",
        "Bytes that the backups take.",
        [({"target": one.target, "type": kind}, size) for one in sample.targets for kind, size in one.stored.items()],
    )


def _family(
    name: str, kind: str, text: str, values: Sequence[tuple[Mapping[str, str], float | int | None]]
) -> Iterator[str]:
    known = [(labels, value) for labels, value in values if value is not None]
    if not known:
        return
    yield f"# HELP {name} {text}"
    yield f"# TYPE {name} {kind}"
    for labels, value in known:
        inside = ",".join(f'{label}="{_escape(one)}"' for label, one in labels.items())
        yield f"{name}{{{inside}}} {value:.15g}" if inside else f"{name} {value:.15g}"


def _escape(text: str) -> str:
    """Write a label's value. What is no Unicode would make the whole text unreadable."""
    clean = text.encode(errors="replace").decode()
    return clean.replace("\\", "\\\\").replace("\n", "\\n").replace('"', '\\"')


def _seconds(instant: datetime | None) -> float | None:
    return None if instant is None else instant.timestamp()
