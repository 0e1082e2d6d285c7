"""A full backup through the API of Kubernetes beside the same through Docker: the same image, the same rows."""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from bench.database import SIZES, Size, creation_script
from bench.page import describe_machine, describe_targets, replace_section
from bench.report import format_markdown, format_text
from tests.rig.containers import start_postgres
from tests.rig.kube_cluster import own_cluster, postgres_set

DATABASE = "tienda"
#: Times what Docker takes, at most.
LIMIT = 1.3
EXPLANATION = """
One full backup of the database above, made again and again in turn: from a container of this machine's Docker engine,
and from a pod of a Kubernetes cluster on it, through its API server. The server's image, its settings and its rows are
the same in both; the repository is on the same disk. Minimum / median / maximum.
"""


def measure_both(size: Size, runs: int, jobs: int) -> tuple[list[list[str]], list[tuple[str, str, bool]], str]:
    """Return the table, the target, and the load of the machine meanwhile."""
    seconds: dict[str, list[float]] = {"docker": [], "kubernetes": []}
    stored: dict[str, int] = {}
    loads = []
    container = start_postgres("postgres:15", database=DATABASE)
    try:
        with own_cluster() as cluster, cluster.namespace() as namespace:
            pod = postgres_set(cluster, namespace, "bench")
            fill: Sequence[Callable[[str], object]] = (container.psql, pod.psql)
            for psql in fill:
                psql(creation_script(size))
            places = {
                "docker": ["--environment", "docker", "--container", container.name, "--database", DATABASE],
                "kubernetes": ["--environment", "kubernetes", "--pod", pod.name, "--namespace", namespace],
            }
            for _run in range(runs):
                for name, place in places.items():
                    loads.append(os.getloadavg()[0])
                    took_s, stored[name] = _back_up([*place, "--jobs", str(jobs)], cluster.kubeconfig)
                    seconds[name].append(took_s)
                    print(f"{name}: {took_s:.2f} s, load {loads[-1]:.1f}", flush=True)
    finally:
        container.remove()
    medians = {name: statistics.median(taken) for name, taken in seconds.items()}
    ratio = medians["kubernetes"] / medians["docker"]
    table = [["through", "wall s", "stored MB", "times Docker"]]
    for name, taken in seconds.items():
        shown = " / ".join(f"{value:.2f}" for value in (min(taken), medians[name], max(taken)))
        table.append([name, shown, f"{stored[name] / 1e6:.1f}", f"{medians[name] / medians['docker']:.2f}"])
    targets = [
        (f"a full through the API in at most {LIMIT} times what Docker takes", f"{ratio:.2f} times", ratio <= LIMIT)
    ]
    return table, targets, f"{min(loads):.1f} to {max(loads):.1f}"


def _back_up(words: Sequence[str], kubeconfig: Path) -> tuple[float, int]:
    """Make one full backup into a new repository; return seconds and bytes stored."""
    repository = tempfile.mkdtemp(prefix="respaldo-bench-")
    environment = {**os.environ, "PYTHONPATH": "src", "KUBECONFIG": str(kubeconfig)}
    try:
        command = [sys.executable, "-m", "respaldo", "--quiet", "--repository", repository, "backup", *words, "--json"]
        begun = time.monotonic()
        done = subprocess.run(command, env=environment, capture_output=True, check=True, timeout=900)
        return time.monotonic() - begun, int(json.loads(done.stdout)["stored_bytes"])
    finally:
        shutil.rmtree(repository, ignore_errors=True)


def main(options: argparse.Namespace, command: str) -> int:
    """Measure, print, and write the page's section where that is wanted."""
    table, found, loads = measure_both(SIZES[options.size], max(3, options.runs), options.jobs)
    print(format_text(table))
    for what, value, is_met in found:
        print(f"{'met   ' if is_met else 'MISSED'}  {what}: {value}")
    if options.page:
        text = [
            f"## Through Kubernetes\n\n`{command}`",
            EXPLANATION.strip(),
            format_markdown(table),
        ]
        about = {"load before each run": loads, "cores": str(os.cpu_count()), "python": platform.python_version()}
        text += [describe_targets(found), describe_machine(about)]
        replace_section("kubernetes", "\n\n".join(text))
    return 0
