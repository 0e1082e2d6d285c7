"""How long ``respaldo list`` takes on a repository of many backups, and ``respaldo --help``: whole processes."""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

from bench.compare import Spread
from bench.contestants import respaldo_variables
from bench.page import replace_section
from bench.report import format_markdown, format_text

BACKUPS = 1000
_RUNS = 10
_LIMITS_S = {"list": 0.5, "--help": 0.2}


def main(options: argparse.Namespace, command: str) -> int:
    """Write the repository, time both."""
    backups = BACKUPS if options.size == "full" else 100
    rows = [["command", "min s", "median s", "max s", "cpu s", "target s", ""]]
    with tempfile.TemporaryDirectory(prefix="respaldo-bench-") as directory:
        write_repository(Path(directory), backups)
        for what, limit_s in _LIMITS_S.items():
            spread, cpu_s = _time([sys.executable, "-m", "respaldo", "--repository", directory, what])
            verdict = "met" if spread.middle < limit_s else "missed"
            times = [f"{value:.3f}" for value in (spread.low, spread.middle, spread.high)]
            rows.append([f"respaldo {what}", *times, f"{cpu_s:.3f}", f"{limit_s}", verdict])
    print(format_text(rows))
    if options.page:
        text = f"## Answering\n\n`{command}`: a directory with {backups} backups, whole processes, {_RUNS} runs.\n\n"
        replace_section("list", text + format_markdown(rows))
    return 0


def write_repository(directory: Path, count: int) -> None:
    """Write backups through the product's own repository: fulls, each followed by five incrementals."""
    sys.path.insert(0, respaldo_variables()["PYTHONPATH"])
    from blake3 import blake3

    from respaldo.clock import SystemClock
    from respaldo.repository.codec import compress
    from respaldo.repository.records import BackupFacts, BackupType, Decision, Series, TargetPath
    from respaldo.repository.repository import Repository
    from respaldo.storage.directory import DirectoryStorage

    repository = Repository.open_or_create(DirectoryStorage(directory), SystemClock())
    target = TargetPath(instance="pc_db", database="shop")
    text = b"1\tone\n"
    digest = blake3(text).hexdigest()
    begun = datetime(2026, 1, 1, 2, tzinfo=UTC)
    base = None
    for number in range(count):
        started = begun + timedelta(hours=6 * number)
        is_full = number % 6 == 0
        with (
            repository.acquire(target) as lease,
            repository.begin(
                target,
                f"backup_{started:%Y%m%d_%H%M%S}",
                type=BackupType.FULL if is_full else BackupType.INCREMENTAL,
                base=None if is_full else base,
                lease=lease,
            ) as writer,
        ):
            series = writer.add_series(Series(key="public.t", head="COPY public.t FROM stdin;\n", tail="\\.\n"))
            if is_full:
                writer.new_pack().add_frame(series, "s0", compress(text), raw_size=len(text), rows=1, digest=digest)
            else:
                writer.add_ref(series, "s0", base_part="s0", raw_size=len(text), rows=1, digest=digest)
            for name in ("schema.dump", "globals.sql.zst", "database.sql", "RESTORE.txt"):
                writer.put_object(name, b"x")
            manifest = writer.commit(
                BackupFacts(
                    started=started,
                    environment="docker",
                    tool_version="0",
                    decision=Decision(code="bench", text="written by a benchmark"),
                    tables=1,
                    server={"version": "17.2", "image": "postgres:17"},
                )
            )
        if is_full:
            base = repository.reader(target, manifest.name)


def _time(argv: Sequence[str]) -> tuple[Spread, float]:
    """Return the wall times, and the median of the processor times, which a busy machine does not stretch."""
    variables = {**os.environ, **respaldo_variables()}
    times, processor = [], []
    for number in range(_RUNS + 1):
        begun = time.monotonic()
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run(argv, env=variables, stdout=subprocess.DEVNULL, check=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        if number:  # the first one compiles
            times.append(time.monotonic() - begun)
            processor.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    return Spread.of(times), Spread.of(processor).middle
