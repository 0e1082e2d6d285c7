"""The tree of errors: drawn as it is, every class raised and expected somewhere, and hints that can be followed."""

from __future__ import annotations

import ast
import inspect
import re
from functools import cache
from pathlib import Path

import click
import pytest
from babel.messages.pofile import read_po

import respaldo.errors
from respaldo.cli.main import cli
from respaldo.cli.printing import Output
from respaldo.errors import RespaldoError, StreamCutError
from tests.unit.test_docs import commands_of

ROOT = Path(__file__).parents[2]
CLASSES = [one for one in vars(respaldo.errors).values() if inspect.isclass(one) and issubclass(one, RespaldoError)]
# Of pg_checksums and kubectl.
FOREIGN_FLAGS = {"--enable", "--raw", "--from"}


def test_tree_at_the_top_is_the_tree() -> None:
    drawn = dict(re.findall(r"[│├└─ ]*(\w+Error) +(\d+)", respaldo.errors.__doc__ or ""))
    assert drawn == {one.__name__: str(one.exit_code) for one in CLASSES}


@pytest.mark.parametrize("error", CLASSES)
def test_each_class_is_raised_and_expected_somewhere(error: type[RespaldoError]) -> None:
    made = re.compile(rf"\b{error.__name__}\(")
    assert any(made.search(text) for text in read_all("src", "*.py", "errors.py")), "nothing raises it"
    expected = re.compile(rf"\b{error.__name__}\b|(?:returncode|status|code) == {error.exit_code}\b")
    assert any(expected.search(text) for text in read_all("tests", "test_*.py", Path(__file__).name)), (
        "no test expects it"
    )


@cache
def read_all(directory: str, pattern: str, but: str) -> list[str]:
    return [file.read_text() for file in (ROOT / directory).rglob(pattern) if file.name != but]


@cache
def hints() -> set[str]:
    """Return every text that is given as a hint, as it stands in the sources."""
    found: set[str] = set()
    for text in read_all("src", "*.py", ""):
        for node in ast.walk(ast.parse(text)):
            named = (
                [one.value for one in node.keywords if one.arg in {"hint", "remedy"}]
                if isinstance(node, ast.Call)
                else []
            )
            if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == "hint":
                named.append(node.value)
            for value in named:
                parts = (one.value for one in ast.walk(value) if isinstance(one, ast.Constant))
                found.update(part for part in parts if isinstance(part, str) and " " in part)
    return found


def spanish(texts: set[str]) -> set[str]:
    with (ROOT / "src/respaldo/locale/es/LC_MESSAGES/messages.po").open("rb") as file:
        return {str(one.string) for one in read_po(file, locale="es") if one.id in texts}


@pytest.mark.parametrize("language", ["en", "es"])
def test_what_a_hint_says_to_type_is_there(language: str) -> None:
    """Each flag is one of a command, each command one that there is: a person at night types what is written."""
    shown = hints()
    assert len(shown) > 100
    if language == "es":
        shown = spanish(shown)
    commands = dict(commands_of(cli, "respaldo"))
    flags = {flag for one in [cli, *commands.values()] for parameter in one.params for flag in parameter.opts}
    words = {path.removeprefix("respaldo ") for path in commands}
    wrong = []
    for text in shown:
        known = flags | {"--help"} | FOREIGN_FLAGS
        wrong += [(flag, text) for flag in re.findall(r"(?<![\w-])--[a-z][a-z0-9-]*", text) if flag not in known]
        for said in re.findall(r"respaldo ((?:[a-z]+ ?){1,2})", text):
            first, _space, second = said.strip().partition(" ")
            group = commands.get(f"respaldo {first}")
            is_there = first in words and (not isinstance(group, click.Group) or f"{first} {second}" in words)
            wrong += [] if is_there else [(f"respaldo {said}", text)]
    assert wrong == []


def test_error_that_may_pass_by_itself_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    Output().fail(StreamCutError("cut"))
    Output().fail(RespaldoError("whatever"))
    said = capsys.readouterr().err.splitlines()
    assert [line.partition(":")[0] for line in said] == ["error", "sugerencia", "error"]
