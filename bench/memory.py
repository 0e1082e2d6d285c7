"""Peak memory of ``respaldo backup``, on databases of two sizes: it must be small, and must not grow with them."""

from __future__ import annotations

import argparse
import os
from dataclasses import replace

from bench.contestants import respaldo_command, respaldo_variables
from bench.database import SIZES, Size
from bench.measure import Figures, measure
from bench.page import replace_section
from bench.report import MB, format_markdown, format_text
from bench.server import serve

LIMIT_MB = 300
_FACTORS = {"1.5 GB": 1.0, "6 GB": 5.0}


def main(options: argparse.Namespace, command: str) -> int:
    """Measure both sizes, a full and an incremental each."""
    rows = [["database", "backup", "peak MB", "wall s", "cpu s"]]
    peaks = []
    for title, factor in _FACTORS.items():
        base = SIZES[options.size]
        size = replace(base, dominant_rows=int(base.dominant_rows * factor), updates=int(base.updates * factor))
        for what, figures in _measure(options, size).items():
            peaks.append(figures.host_peak_bytes / MB)
            rows.append([title, what, f"{peaks[-1]:.0f}", f"{figures.wall_s:.1f}", f"{figures.cpu_s:.1f}"])
    print(format_text(rows))
    verdict = "met" if max(peaks) < LIMIT_MB else "missed"
    print(f"\n{verdict}: below {LIMIT_MB} MB: {max(peaks):.0f} MB")
    if options.page:
        text = f"## Memory\n\n`{command}`, {options.jobs} workers, {os.cpu_count()} cores. Target: below {LIMIT_MB} MB"
        text += f" and not growing with the database ({verdict}).\n\n{format_markdown(rows)}"
        replace_section("memory", text)
    return 0


def _measure(options: argparse.Namespace, size: Size) -> dict[str, Figures]:
    with serve(options.image, size) as bench:
        command = respaldo_command(bench, options.jobs, bench.work / "respaldo")
        variables = respaldo_variables()
        full = measure(f"{command} --type full --name full", bench.probe, variables=variables)
        bench.change(size)
        return {
            "full": full,
            "incremental": measure(
                f"{command} --type incremental --name incremental", bench.probe, variables=variables
            ),
        }
