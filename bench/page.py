"""``docs/benchmarks.md``: sections that a run replaces, each between two marks; the others stay as they are, the
last, ``missed``, is written by hand."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from bench.report import format_markdown

PAGE = Path(__file__).resolve().parents[1] / "docs" / "benchmarks.md"
_START = """# Benchmarks

What `python -m bench` measures, written by it. Every number on this page comes from one of the commands below; the
sections say on which machine. Bytes are decimal (1 MB = 1 000 000 bytes).
"""
SECTIONS = ("compare", "restore", "kubernetes", "memory", "list", "missed")


def replace_section(name: str, text: str, page: Path = PAGE) -> None:
    """Put a section's new text in its place, or behind the sections that come before it."""
    sections = _read(page)
    sections[name] = text.strip()
    parts = [
        _START.strip(),
        *(f"<!-- {one} -->\n{sections[one]}\n<!-- /{one} -->" for one in SECTIONS if one in sections),
    ]
    page.write_text("\n\n".join(parts) + "\n", encoding="utf-8")


def describe_machine(about: Mapping[str, str]) -> str:
    return format_markdown([["machine", ""], *([name, value] for name, value in about.items())]).replace("---:", "---")


def _read(page: Path) -> dict[str, str]:
    text = page.read_text(encoding="utf-8") if page.exists() else ""
    return {match[1]: match[2].strip() for match in re.finditer(r"<!-- (\w+) -->\n(.*?)<!-- /\1 -->", text, re.DOTALL)}


def describe_targets(found: Sequence[tuple[str, str, bool]]) -> str:
    rows = [
        ["target", "measured", ""],
        *([what, value, "met" if is_met else "missed"] for what, value, is_met in found),
    ]
    return format_markdown(rows).replace("---:", "---")
