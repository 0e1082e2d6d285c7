"""Results as a table on the terminal, as JSON, and as the page ``docs/benchmarks.md``."""

from __future__ import annotations

import platform
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

from bench.compare import Results, Run, Spread
from bench.server import Bench

MB = 1e6
_Column = tuple[str, Callable[[Run], float], str]
COLUMNS: Sequence[_Column] = (
    ("wall s", lambda run: run.figures.wall_s, "{:.1f}"),
    ("cpu s", lambda run: run.figures.cpu_s, "{:.1f}"),
    ("own cpu s", lambda run: run.figures.own_cpu_s, "{:.1f}"),
    ("engine cpu s", lambda run: run.figures.engine_cpu_s, "{:.1f}"),
    ("machine cpu s", lambda run: run.figures.machine_cpu_s, "{:.1f}"),
    ("peak MB here", lambda run: run.figures.host_peak_bytes / MB, "{:.0f}"),
    ("peak MB inside", lambda run: run.figures.inside_peak_bytes / MB, "{:.0f}"),
    ("stored MB", lambda run: run.stored_bytes / MB, "{:.1f}"),
)


def machine(bench: Bench) -> dict[str, str]:
    """Describe what was measured on."""
    memory = next(line for line in Path("/proc/meminfo").read_text().splitlines() if line.startswith("MemTotal"))
    models = [line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")]
    cores = len(models) or 1
    return {
        "processor": models[0].partition(":")[2].strip() if models else platform.machine(),
        "cores": str(cores),
        "memory": f"{int(memory.split()[1]) / 1024 / 1024:.0f} GiB",
        "disk": _disk(bench.work),
        "kernel": platform.release(),
        "engine": bench_engine(),
        "image": bench.container.image,
        "server": bench.version("postgres", "--version"),
        "python": platform.python_version(),
    }


def bench_engine() -> str:
    """Return the container engine's name and version."""
    from tests.rig.engine import docker

    return "Docker " + docker("version", "--format", "{{.Server.Version}}").decode().strip()


def describe_table(results: Sequence[Results], what: str) -> list[list[str]]:
    """Return header and rows of one table; several runs are shown as minimum / median / maximum."""
    rows = [["", *(title for title, _value, _form in COLUMNS)]]
    for result in results:
        runs: list[Run] = getattr(result, what)
        if runs:
            cells = [_cell([value(run) for run in runs], form) for _title, value, form in COLUMNS]
            rows.append([result.contestant.title, *cells])
    return rows


def format_text(rows: Sequence[Sequence[str]]) -> str:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        "  ".join(
            cell.ljust(width) if n == 0 else cell.rjust(width)
            for n, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        for row in rows
    )


def format_markdown(rows: Sequence[Sequence[str]]) -> str:
    lines = ["| " + " | ".join(row) + " |" for row in rows]
    lines.insert(1, "|---|" + "---:|" * (len(rows[0]) - 1))
    return "\n".join(lines)


def targets(results: Sequence[Results]) -> list[tuple[str, str, bool]]:
    """Return what was aimed at, what came of it, and whether that is met; medians of paired runs."""
    by_key = {result.contestant.key: result for result in results}
    ours, limit, restic = (by_key.get(key) for key in ("respaldo", "pg_dump_fd", "restic"))
    found: list[tuple[str, str, bool]] = []
    if ours is None:
        return found
    if limit is not None:
        pairs = list(zip(ours.full, limit.full, strict=True))
        wall = Spread.of([one.figures.wall_s / other.figures.wall_s for one, other in pairs]).middle
        cpu = Spread.of([one.figures.cpu_s / other.figures.cpu_s for one, other in pairs]).middle
        size = Spread.of([one.stored_bytes / other.stored_bytes for one, other in pairs]).middle
        found += [
            (
                "full: at most 1.2 times the time of pg_dump -Fd inside",
                f"{wall:.2f} (processor time {cpu:.2f})",
                wall <= 1.2,
            ),
            ("full: at most 1.1 times its bytes", f"{size:.2f}", size <= 1.1),
        ]
    if ours.incremental:
        stored = Spread.of([run.stored_bytes / MB for run in ours.incremental]).middle
        beside = ""
        if restic is not None and restic.incremental:
            beside = f"; restic {Spread.of([run.stored_bytes / MB for run in restic.incremental]).middle:.1f} MB"
        found.append(("incremental: at most 8 MB stored", f"{stored:.1f} MB{beside}", stored <= 8))
    peak = max(run.figures.host_peak_bytes / MB for run in (*ours.full, *ours.incremental))
    found.append(("memory: below 300 MB", f"{peak:.0f} MB", peak < 300))
    return found


def to_document(results: Sequence[Results], about: Mapping[str, str], command: str) -> dict[str, object]:
    """Return everything, each run by itself, as what JSON can hold."""
    return {
        "command": command,
        "machine": dict(about),
        "results": [
            {
                "key": result.contestant.key,
                "title": result.contestant.title,
                "version": result.contestant.version,
                **{
                    what: [{**asdict(run.figures), "stored_bytes": run.stored_bytes} for run in getattr(result, what)]
                    for what in ("full", "incremental")
                },
            }
            for result in results
        ],
    }


def _cell(values: Sequence[float], form: str) -> str:
    spread = Spread.of(values)
    if len(values) == 1:
        return form.format(spread.middle)
    return " / ".join(form.format(value) for value in (spread.low, spread.middle, spread.high))


def _disk(path: Path) -> str:
    """Name the file system that everything was written to."""
    best = ("", "", "")
    for line in Path("/proc/mounts").read_text().splitlines():
        device, mount, kind = line.split()[:3]
        if str(path).startswith(mount) and len(mount) >= len(best[1]):
            best = (device, mount, kind)
    return f"{best[2]} on {best[0]}"
