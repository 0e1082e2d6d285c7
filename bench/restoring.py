"""``respaldo restore`` beside ``pg_restore -jN`` of a directory dump that lies inside the container already."""

from __future__ import annotations

import argparse
import os
import sys
from statistics import median

from bench.contestants import respaldo_command, respaldo_variables
from bench.database import DATABASE, SIZES
from bench.measure import Figures, measure
from bench.page import describe_targets, replace_section
from bench.report import MB, format_markdown, format_text
from bench.server import INSIDE, serve

LIMIT_MB = 300
LIMIT_RATIO = 1.1


def main(options: argparse.Namespace, command: str) -> int:
    """Restore in turns, each into a new database, and compare wall time and memory."""
    with serve(options.image, SIZES[options.size]) as bench:
        backup = respaldo_command(bench, options.jobs, bench.work / "respaldo")
        measure(f"{backup} --type full --name full", bench.probe, variables=respaldo_variables())
        inside = f"docker exec {bench.container.id}"
        dump = f"{inside} pg_dump -U postgres -d {DATABASE} -Fd -j{options.jobs} -Z zstd:3 -f {INSIDE}/dump"
        measure(dump, bench.probe)
        scripts = {
            "respaldo restore, every row compared": (
                f"exec {sys.executable} -m respaldo --quiet --repository {bench.work / 'respaldo'} restore full"
                f" --to again --environment docker --container {bench.container.name} --jobs {options.jobs}"
            ),
            f"pg_restore -j{options.jobs}, inside": (
                f"{inside} createdb -U postgres -T template0 again"
                f" && {inside} pg_restore -U postgres -j{options.jobs} -d again {INSIDE}/dump"
            ),
        }
        found: dict[str, list[Figures]] = {title: [] for title in scripts}
        for number in range(options.runs):
            for title in list(scripts)[:: 1 if number % 2 == 0 else -1]:
                figures = measure(scripts[title], bench.probe, variables=respaldo_variables())
                bench.container.psql("DROP DATABASE again WITH (FORCE)")
                found[title].append(figures)
                print(
                    f"  {title:40} {figures.wall_s:6.1f} s  {figures.cpu_s:6.1f} s cpu  load {figures.load:.1f}",
                    flush=True,
                )
    return _report(found, options, command)


def _report(found: dict[str, list[Figures]], options: argparse.Namespace, command: str) -> int:
    rows = [["restore", "wall s", "cpu s", "peak MB here"]]
    for title, runs in found.items():
        walls = sorted(run.wall_s for run in runs)
        cpu, peak = median(run.cpu_s for run in runs), max(run.host_peak_bytes for run in runs) / MB
        rows.append([title, " / ".join(f"{wall:.1f}" for wall in walls), f"{cpu:.1f}", f"{peak:.0f}"])
    ours, theirs = (median(run.wall_s for run in runs) for runs in found.values())
    peak = max(run.host_peak_bytes for run in next(iter(found.values()))) / MB
    targets = [
        (f"at most {LIMIT_RATIO} times the time of pg_restore", f"{ours / theirs:.2f}", ours <= LIMIT_RATIO * theirs),
        (f"below {LIMIT_MB} MB", f"{peak:.0f} MB", peak < LIMIT_MB),
    ]
    print(format_text(rows))
    for what, value, is_met in targets:
        print(f"{'met   ' if is_met else 'MISSED'}  {what}: {value}")
    if options.page:
        text = f"## Restoring\n\n`{command}`, {options.jobs} workers, {os.cpu_count()} cores. Ours reads every row back"
        text += f" and compares it; pg_restore does not.\n\n{format_markdown(rows)}\n\n{describe_targets(targets)}"
        replace_section("restore", text)
    return 0
