"""Mutation testing of the pure modules: change one thing at a time, and see whether the unit tests notice.

    pip install mutmut==3.8.1          (once, into .venv; no other part of the project needs it)
    python3 scripts/mutants.py         (all of MODULES; half an hour)
    python3 scripts/mutants.py postgres/ranges
    python3 scripts/mutants.py --page  (and write the scores into docs/mutants.md)

CI does not run it: half an hour is more than the whole suite takes. A contributor runs it for a module that they
changed, and before a release for all.

Each module is worked on in a copy of the tree that is removed afterwards, with the test files named here and no
others, in one process. What nobody noticed is looked up in docs/mutants.md, which says of each such change why it is
harmless, as a diff under the module's name; what is not there is printed as a diff, to be put there or tested. Ends
with 1 if it found such a change, or if less than 85 % were noticed; the harmless ones count as not noticed.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TypeAlias

ROOT = Path(__file__).parents[1]
HARMLESS = ROOT / "docs/mutants.md"
LEAST = 85.0
MODULES = {
    "catalog/retention": ("catalog_retention",),
    "catalog/strategy": ("catalog_strategy",),
    "catalog/versions": ("catalog_versions",),
    "postgres/ranges": ("postgres_ranges",),
    "postgres/copytext": ("postgres_copytext",),
    "repository/delta": ("repository_codec",),
    "repository/manifest": ("repository_damage",),
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

Change: TypeAlias = tuple[tuple[str, ...], tuple[str, ...]]
"""Lines that were taken away, and those that came for them, without their indentation."""


def read_changes(lines: Iterable[str]) -> Iterator[Change]:
    """Yield the changes of a diff. Between two of them stand lines of context, or a line with - after one with +."""
    removed: list[str] = []
    added: list[str] = []
    for line in (*lines, " "):
        if (removed or added) and not line.startswith("+") and (added or not line.startswith("-")):
            yield tuple(removed), tuple(added)
            removed, added = [], []
        if line.startswith("-"):
            removed.append(line[1:].strip())
        elif line.startswith("+"):
            added.append(line[1:].strip())


def read_harmless(text: str) -> dict[str, list[Change]]:
    """Return the changes that a text in Markdown shows in its blocks of diffs, by module: the heading above them."""
    found: dict[str, list[Change]] = {}
    for section in re.split(r"^## ", text, flags=re.MULTILINE)[1:]:
        module, _newline, body = section.partition("\n")
        blocks = re.findall(r"^```diff\n(.*?)^```$", body, re.MULTILINE | re.DOTALL)
        found[module.strip()] = [change for block in blocks for change in read_changes(block.splitlines())]
    return found


def write_score(module: str, total: int, noticed: int) -> None:
    """Write a module's row of the table on the page."""
    row = f"| {module} | {total} | {noticed} | {100 * noticed / total:.1f} % |"
    HARMLESS.write_text(re.sub(rf"^\| {module} \|.*$", row, HARMLESS.read_text(), flags=re.MULTILINE))


def mutate(module: str, tests: tuple[str, ...], harmless: list[Change], *, to_page: bool) -> bool:
    """Run the mutants of one module and print what came of them; tell whether all is well."""
    with tempfile.TemporaryDirectory(prefix="respaldo-mutants-") as scratch:
        tree = Path(scratch)
        for name in ("src", "tests", "docs", "scripts", "backup_orchestrator.py"):
            source = ROOT / name
            copy = shutil.copytree if source.is_dir() else shutil.copy2
            copy(source, tree / name)
        files = ", ".join(f'"tests/unit/test_{test}.py"' for test in tests)
        configuration = CONFIGURATION.format(module=module, tests=files)
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
        if counts["not checked"]:
            sys.exit(f"{module}: the tests fail as they are:\n{done.stdout[-3000:]}{done.stderr[-1000:]}")
        noticed = counts["killed"] + counts["timeout"]
        score = 100 * noticed / total
        if to_page:
            write_score(module, total, noticed)
        print(f"{module}: {score:.1f} % of {total} noticed {dict(counts)}", flush=True)
        left = Counter(harmless)
        is_known = True
        for mutant, end in sorted(ends.items()):
            if end not in ("killed", "timeout"):
                show = [sys.executable, "-m", "mutmut", "show", mutant]
                shown = subprocess.run(show, cwd=tree, capture_output=True, text=True, check=False).stdout
                lines = [line for line in shown.splitlines() if re.match(r"[-+@ ](?!--|\+\+)", line)]
                change = next(read_changes(lines))
                left[change] -= 1
                if left[change] < 0:
                    is_known = False
                    print(f"    {mutant}: {end}, and {HARMLESS.name} does not say why it is harmless")
                    print("\n".join(f"        {line}" for line in lines), flush=True)
    # Not always to be taken out: random tests notice some changes on some days.
    for removed, added in (+left).elements():
        print(f"    noticed, though {HARMLESS.name} has it:")
        print("\n".join(f"        {line}" for line in (*(f"-{one}" for one in removed), *(f"+{one}" for one in added))))
    return is_known and score >= LEAST


def main() -> int:
    to_page = "--page" in sys.argv
    chosen = [word for word in sys.argv[1:] if word != "--page"] or list(MODULES)
    unknown = [module for module in chosen if module not in MODULES]
    if unknown:
        sys.exit(f"{unknown[0]}: none of {', '.join(MODULES)}")
    harmless = read_harmless(HARMLESS.read_text())
    ends = [mutate(module, MODULES[module], harmless.get(module, []), to_page=to_page) for module in chosen]
    return 0 if all(ends) else 1


if __name__ == "__main__":
    sys.exit(main())
