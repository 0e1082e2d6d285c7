"""The catalogues: complete, current, compiled, with the same fields; and nothing that a person sees escapes them."""

from __future__ import annotations

import argparse
import ast
import io
import re
import string
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import click
import pytest
from babel.messages.catalog import Catalog, Message
from babel.messages.extract import extract_from_dir, extract_from_file
from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po

from respaldo.cli.main import cli
from tests.unit.test_docs import commands_of

ROOT = Path(__file__).parents[2]
CATALOGUES = ROOT / "src/respaldo/locale"
KEYWORDS = {"_": None, "gettext": None, "ngettext": (1, 2), "N_": None, "NN_": (1, 2)}
Key = str | tuple[str, ...]

# What only a programmer who uses the libraries wrongly gets to see.
FOR_PROGRAMMERS = re.compile(
    r"not defined|conflict|cannot merge|invalid argument for|must start with|dest= is|not callable|must be optional"
    r"|multiple subparser|with mode|defined twice|DeprecationWarning|cannot use the same flag|Could not determine"
    r"|No options defined|take exactly one parameter|Invalid start|must be an iterable|Unknown (color|standard)"
)


@cache
def read_catalogue(language: str) -> Catalog:
    with (CATALOGUES / language / "LC_MESSAGES/messages.po").open("rb") as file:
        return read_po(file, locale=language)


def entries(catalogue: Catalog) -> Iterator[Message]:
    return (message for message in catalogue if message.id)


@cache
def extract_ours() -> set[Key]:
    found: set[Key] = set()
    for directory in ("src/respaldo", "scripts"):
        for _file, _line, message, _comments, _context in extract_from_dir(ROOT / directory, keywords=KEYWORDS):
            found.add(message)
    for _line, message, _comments, _context in extract_from_file(
        "python", ROOT / "backup_orchestrator.py", keywords=KEYWORDS
    ):
        found.add(message)
    return found


@cache
def extract_of_libraries() -> set[Key]:
    found: set[Key] = set()
    for file in (*Path(click.__file__).parent.glob("*.py"), Path(argparse.__file__)):
        for _line, message, _comments, _context in extract_from_file("python", file, keywords=KEYWORDS):
            found.add(message)
    return {
        message
        for message in found
        if not FOR_PROGRAMMERS.search(" ".join([message, ""] if isinstance(message, str) else message))
    }


def fields(text: str) -> set[str]:
    braces = {
        f"{{{name}!{conversion}:{spec}}}"
        for _t, name, spec, conversion in string.Formatter().parse(text)
        if name is not None
    }
    return braces | set(re.findall(r"%\(\w+\)[sr]|%[sr]", text))


def test_every_message_of_the_sources_is_in_both_catalogues() -> None:
    ours = extract_ours()
    for language in ("es", "en"):
        known = {message.id for message in entries(read_catalogue(language))}
        assert ours - known == set(), "run `make locale`, translate what it left empty, run it again"
        assert known - ours == set(), "run `make locale`"


def test_every_message_of_click_and_argparse_is_in_the_catalogue() -> None:
    known = {message.id for message in entries(read_catalogue("es"))}
    assert extract_of_libraries() - known == set(), "list them in scripts/library_messages.py, then `make locale`"


def shape_of_help(text: str) -> tuple[int, list[str]]:
    """Return how many examples a command's help has, and the exit codes that it names."""
    examples, _end, rest = text.partition("\b\n")[2].partition("\b\n")
    return examples.count("\n  respaldo "), re.findall(r"\b\d+(?= [a-zñ])", rest)


def flaws(message: Message) -> Iterator[str]:
    """Yield what is wrong with a translation."""
    originals = [message.id] if isinstance(message.id, str) else list(message.id)
    translations = [message.string] if isinstance(message.string, str) else list(message.string or ())
    if message.fuzzy or len(translations) != len(originals):
        yield f"{message.id!r}: fuzzy, or not all its forms"
        return
    for original, translation in zip(originals, translations, strict=True):
        if not translation.strip():
            yield f"{original!r}: not translated"
        elif fields(original) != fields(translation):
            yield f"{original!r}: other fields: {translation!r}"
        elif original.endswith("\n") != translation.endswith("\n") or original.count("\b") != translation.count("\b"):
            yield f"{original!r}: its end, or its marked paragraphs, differ"
        elif "\b" in original and shape_of_help(original) != shape_of_help(translation):
            yield f"{original!r}: other examples, or other exit codes"


def test_every_message_has_a_spanish_translation_with_the_same_fields() -> None:
    assert [flaw for message in entries(read_catalogue("es")) for flaw in flaws(message)] == []


@pytest.mark.parametrize("language", ["es", "en"])
def test_compiled_catalogue_is_what_its_source_compiles_to(language: str) -> None:
    compiled = io.BytesIO()
    write_mo(compiled, read_catalogue(language))
    committed = (CATALOGUES / language / "LC_MESSAGES/messages.mo").read_bytes()
    assert compiled.getvalue() == committed, "run `make locale`"


def sources(*directories: str) -> list[Path]:
    return sorted(file for directory in directories for file in (ROOT / directory).rglob("*.py"))


def is_plain_text(node: ast.expr) -> bool:
    """Tell whether an expression is a literal with words in it: not only fields, punctuation and SQL in capitals, and
    no command to be copied."""
    first = node.values[0] if isinstance(node, ast.JoinedStr) else node
    if isinstance(first, ast.Constant) and str(first.value).startswith(("docker ", "kubectl ")):
        return False
    if isinstance(node, ast.Constant):
        return isinstance(node.value, str) and bool(re.search(r"[a-z]{3}", node.value.replace("PostgreSQL", "")))
    if isinstance(node, ast.JoinedStr):
        return any(is_plain_text(part) for part in node.values if isinstance(part, ast.Constant))
    if isinstance(node, ast.BinOp):
        return is_plain_text(node.left) or is_plain_text(node.right)
    return False


def name_of(function: ast.expr) -> str:
    return (
        function.attr if isinstance(function, ast.Attribute) else function.id if isinstance(function, ast.Name) else ""
    )


@cache
def nodes(file: Path) -> list[ast.AST]:
    return list(ast.walk(ast.parse(file.read_text())))


@pytest.fixture(scope="module", autouse=True)
def forget_nodes() -> Iterator[None]:
    """Let go of some 300 000 objects, which every collection of garbage after these tests would look at."""
    yield
    nodes.cache_clear()


def calls(file: Path) -> Iterator[ast.Call]:
    return (node for node in nodes(file) if isinstance(node, ast.Call))


def test_nothing_that_the_command_line_prints_is_an_untranslated_literal() -> None:
    printers = {"print", "echo", "secho", "line", "warn", "Progress", "confirm", "prompt"}
    described = {"help", "short_help", "epilog", "description", "hint", "text"}
    found = []
    for file in sources("src/respaldo/cli", "scripts"):
        for call in calls(file):
            shown = list(call.args) if name_of(call.func) in printers else []
            shown += [keyword.value for keyword in call.keywords if keyword.arg in described]
            found += [f"{file.relative_to(ROOT)}:{node.lineno}" for node in shown if is_plain_text(node)]
    english = ("scripts/demo.py", "scripts/command_reference.py", "scripts/mutants.py")
    allowed = {line for line in found if line.startswith(english)}
    assert set(found) - allowed == set()


def test_no_error_or_warning_is_raised_with_an_untranslated_literal() -> None:
    # These are mistakes in the program: a person never sees them.
    for_programmers = {"ValueError", "TypeError", "AssertionError", "NotImplementedError", "RuntimeError", "KeyError"}
    shown_to_people = {"Warned", "PhaseStarted", "TypeDecided", "Decision"}
    found = []
    for file in sources("src/respaldo"):
        for call in calls(file):
            name = name_of(call.func)
            if (name.endswith(("Error", "Exception")) and name not in for_programmers) or name in shown_to_people:
                values = [*call.args, *(keyword.value for keyword in call.keywords)]
                found += [f"{file.relative_to(ROOT)}:{node.lineno}" for node in values if is_plain_text(node)]
    assert found == []


def test_no_message_stands_inside_an_f_string_where_extraction_misses_it() -> None:
    found = []
    for file in (*sources("src/respaldo", "scripts"), ROOT / "backup_orchestrator.py"):
        for text in (node for node in nodes(file) if isinstance(node, ast.JoinedStr)):
            for call in (node for node in ast.walk(text) if isinstance(node, ast.Call)):
                if name_of(call.func) in KEYWORDS and any(isinstance(value, ast.Constant) for value in call.args):
                    found.append(f"{file.relative_to(ROOT)}:{call.lineno}")
    assert found == []


def test_no_type_of_an_argument_is_called_by_its_english_name() -> None:
    english = re.compile(r"\b(integer|float|range|boolean|choice|valid)\b")
    said = {}
    for path, command in [("respaldo", cli), *commands_of(cli, "respaldo")]:
        for one in command.params:
            try:
                one.type.convert("foo", one, click.Context(command))
            except click.BadParameter as error:
                said[f"{path} {one.name}"] = error.format_message()
    assert len(said) >= 12
    assert {place: text for place, text in said.items() if english.search(text)} == {}
    assert "'foo' no es un número entero válido" in said["respaldo schedule add jitter_s"]
    kinds: list[click.ParamType[Any]] = [click.INT, click.FLOAT, click.FloatRange(0), click.IntRange(0)]
    for kind in kinds:
        with pytest.raises(click.BadParameter) as caught:
            kind.convert("foo", None, None)
        assert "'foo' no es un número" in caught.value.message


def test_message_that_counts_things_has_a_plural() -> None:
    """``1 rows`` is wrong in both languages. Exempt: what is never one, and what no noun follows."""
    exempt = re.compile(r"\{count\} (of|more$|new|attempts|bytes|drills|backups all)|\{rows\} (restored|loaded)")
    counting = re.compile(r"\{(count|rows)\} [a-z]{3,}")
    ours = [one for one in extract_ours() if isinstance(one, str)]
    assert [one for one in ours if counting.search(exempt.sub("", one))] == []
