"""``python -m bench``: measure respaldo beside other tools. See ``--help``."""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

from bench import kubernetes, listing, memory, restoring
from bench.compare import compare
from bench.contestants import list_contestants
from bench.database import SIZES
from bench.page import describe_machine, describe_targets, replace_section
from bench.report import describe_table, format_markdown, format_text, machine, targets, to_document
from bench.server import image_with_pgbackrest, serve

_EXPLANATION = """
Each tool backs up the same database: one dominant table of about 1 GB of rows, six middling ones of 20 to 80 MB, 500
small ones, 40 large objects. Then {updates} rows of the dominant table, chosen all over it, are updated and {inserts}
inserted, and those that can make an incremental. Runs are interleaved; several are shown as minimum / median / maximum.

- **cpu s**: the tool's processes here (**own**) and everything in the container. **engine**: what Docker took to carry
  the bytes, and whatever else it did meanwhile. **machine**: everything, others' work included.
- **peak MB**: of all the tool's processes at once, here and (server left out) inside the container.
- **stored MB**: what the run added. pgBackRest copies files, indexes included; its log archive is not counted.
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run what the command line asks for; return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument(
        "what", nargs="?", choices=["compare", "restore", "kubernetes", "memory", "list"], default="compare"
    )
    parser.add_argument("--runs", type=int, default=1, help="measure each this many times, interleaved [default: 1]")
    parser.add_argument("--size", choices=SIZES, default="full", help="small: seconds, to see that it works")
    parser.add_argument("--image", default="postgres:17", help="[default: postgres:17]")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="parallel workers [default: cores]")
    parser.add_argument("--only", default="", metavar="KEY,…", help="respaldo, pg_dump_fd, pg_dump_fc, pg_dump_gzip, …")
    parser.add_argument("--json", type=Path, default=Path("build/bench.json"), help="[default: build/bench.json]")
    parser.add_argument("--page", action="store_true", help="write the results into docs/benchmarks.md")
    options = parser.parse_args(arguments)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # the container goes with the run, however it ends
    command = "python -m bench " + " ".join(sys.argv[1:] if arguments is None else arguments)
    return COMMANDS[options.what](options, command.strip())


def _compare(options: argparse.Namespace, command: str) -> int:
    size = SIZES[options.size]
    image = image_with_pgbackrest(options.image)
    print(f"making the database ({options.size}) on {image}", flush=True)
    with serve(image, size) as bench:
        chosen = {key for key in options.only.split(",") if key}
        contestants = list_contestants(bench, options.jobs, chosen)
        about = machine(bench)
        results = compare(bench, contestants, size, options.runs)
    tables = {what: describe_table(results, what) for what in ("full", "incremental")}
    for what, rows in tables.items():
        print(f"\n{what}\n{format_text(rows)}")
    found = targets(results)
    print()
    for what, value, is_met in found:
        print(f"{'met   ' if is_met else 'MISSED'}  {what}: {value}")
    options.json.parent.mkdir(parents=True, exist_ok=True)
    options.json.write_text(json.dumps(to_document(results, about, command), indent=2) + "\n", encoding="utf-8")
    print(f"\nevery run by itself: {options.json}")
    if options.page:
        about["tools"] = "; ".join(dict.fromkeys(result.contestant.version for result in results))
        loads = [run.figures.load for result in results for run in (*result.full, *result.incremental)]
        about["load before each run"] = f"{min(loads):.1f} to {max(loads):.1f}"
        text = [
            f"## Side by side\n\n`{command}`",
            _EXPLANATION.format(updates=size.updates, inserts=size.inserts).strip(),
        ]
        text += [f"### {what.capitalize()}\n\n{format_markdown(rows)}" for what, rows in tables.items()]
        text += [f"### Targets\n\n{describe_targets(found)}", describe_machine(about)]
        replace_section("compare", "\n\n".join(text))
    return 0


COMMANDS = {
    "compare": _compare,
    "restore": restoring.main,
    "kubernetes": kubernetes.main,
    "memory": memory.main,
    "list": listing.main,
}

if __name__ == "__main__":
    sys.exit(main())
