"""Mutation testing of the pure modules: change one thing at a time, and see whether the unit tests notice.

    pip install mutmut==3.8.1          (once, into .venv; no other part of the project needs it)
    python3 scripts/mutants.py         (all of MODULES; half an hour)
    python3 scripts/mutants.py postgres/ranges

Each module is worked on in a copy of the tree that is removed afterwards, with the test files named here and no
others, in one process. Prints each module's score and every survivor as a diff; ends with 1 if a score is below 85 %.
Survivors are printed as diffs; which of them are harmless is not written down yet.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).parents[1]
LEAST = 85.0
MODULES = {
    "catalog/retention": ("catalog_retention",),
    "catalog/strategy": ("catalog_strategy",),
    "catalog/versions": ("catalog_versions",),
    "postgres/ranges": ("postgres_ranges",),
    "postgres/copytext": ("postgres_copytext",),
    "repository/delta": ("repository_codec",),
    "repository/manifest": ("repository_backup",),
    "schedule/expression": ("schedule_expression",),
    "schedule/slots": ("schedule_slots",),
}
CONFIGURATION = """
[tool.mutmut]
source_paths = ["src"]
only_mutate = ["src/respaldo/{module}.py"]
also_copy = ["tests", "docs", "scripts", "backup_orchestrator.py", "pyproject.toml"]
pytest_add_cli_args = ["-p", "no:xdist", "-p", "no:cacheprovider"]
pytest_add_cli_args_test_selection = [{tests}]
"""


def mutate(module: str, tests: tuple[str, ...]) -> float:
    """Run the mutants of one module; return how many of 100 were noticed, and print those that were not."""
    with tempfile.TemporaryDirectory(prefix="respaldo-mutants-") as scratch:
        tree = Path(scratch)
        for name in ("src", "tests", "docs", "scripts", "backup_orchestrator.py"):
            source = ROOT / name
            copy = shutil.copytree if source.is_dir() else shutil.copy2
            copy(source, tree / name)
        files = [f"tests/unit/test_{test}.py" for test in tests if (tree / f"tests/unit/test_{test}.py").exists()]
        configuration = CONFIGURATION.format(module=module, tests=", ".join(f'"{name}"' for name in files))
        (tree / "pyproject.toml").write_text((ROOT / "pyproject.toml").read_text() + configuration)
        run = [sys.executable, "-m", "mutmut", "run", "--max-children", "1"]
        done = subprocess.run(run, cwd=tree, capture_output=True, text=True, check=False)
        listed = [sys.executable, "-m", "mutmut", "results", "--all", "true"]
        results = subprocess.run(listed, cwd=tree, capture_output=True, text=True, check=False).stdout
        ends = dict(re.findall(r"^\s*(\S+): ([a-z ]+)$", results, re.MULTILINE))
        counts = Counter(ends.values())
        total = sum(counts.values())
        if not total:
            sys.exit(f"{module}: mutmut made nothing:\n{done.stdout[-3000:]}{done.stderr[-3000:]}")
        noticed = counts["killed"] + counts["timeout"]
        if counts["not checked"]:
            sys.exit(f"{module}: the tests fail as they are:\n{done.stdout[-3000:]}{done.stderr[-1000:]}")
        print(f"{module}: {100 * noticed / total:.1f} % of {total} noticed {dict(counts)}", flush=True)
        for mutant, end in sorted(ends.items()):
            if end not in ("killed", "timeout"):
                show = [sys.executable, "-m", "mutmut", "show", mutant]
                shown = subprocess.run(show, cwd=tree, capture_output=True, text=True, check=False).stdout
                print(f"    {mutant}: {end}")
                lines = [f"        {line}" for line in shown.splitlines() if re.match("[-+@ ]", line)]
                print("\n".join(lines), flush=True)
        return 100 * noticed / total


def main() -> int:
    chosen = sys.argv[1:] or list(MODULES)
    unknown = [module for module in chosen if module not in MODULES]
    if unknown:
        sys.exit(f"{unknown[0]}: none of {', '.join(MODULES)}")
    scores = [mutate(module, MODULES[module]) for module in chosen]
    return 1 if min(scores) < LEAST else 0


if __name__ == "__main__":
    sys.exit(main())
