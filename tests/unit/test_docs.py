"""The documentation says what the program does: all of it, in both languages, and nothing that is not there."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from dataclasses import fields
from graphlib import TopologicalSorter
from pathlib import Path

import click
import grimp
import pytest
from babel.messages.pofile import read_po

import respaldo.errors
from respaldo.cli.flat import build_parser
from respaldo.cli.main import cli
from respaldo.config.settings import Settings
from respaldo.errors import RespaldoError
from respaldo.language import VARIABLES
from scripts.mutants import HARMLESS, MODULES, read_harmless

ROOT = Path(__file__).parents[2]
LANGUAGES = ("es", "en")
PAGES = (
    "api-reference.md",
    "contracts.md",
    "monitoring.md",
    "notifications.md",
    "python-api.md",
    "schedules.md",
    "troubleshooting.md",
    "user-guide.md",
    "versions.md",
)


def markdown_files() -> list[Path]:
    return [ROOT / "README.md", ROOT / "README.es.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]


def read_reference(language: str) -> str:
    return (ROOT / "docs" / language / "api-reference.md").read_text()


def commands() -> Iterator[click.Command]:
    yield cli
    yield from (command for _path, command in commands_of(cli, "respaldo"))


def commands_of(group: click.Group, path: str) -> Iterator[tuple[str, click.Command]]:
    """Yield each command of a group, of its groups too, with what a person types."""
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None
        yield f"{path} {name}", command
        if isinstance(command, click.Group):
            yield from commands_of(command, f"{path} {name}")


@pytest.mark.parametrize("language", LANGUAGES)
def test_reference_holds_every_command_and_option(language: str) -> None:
    text = read_reference(language)
    missing: list[str] = [path for path, _command in commands_of(cli, "respaldo") if f"## {path}\n" not in text]
    for command in commands():
        for parameter in command.params:
            names = [*parameter.opts, *parameter.secondary_opts] if isinstance(parameter, click.Option) else []
            missing += [name for name in names if not re.search(rf"(?<![\w-]){re.escape(name)}(?![\w-])", text)]
    for action in build_parser()._actions:
        missing += [name for name in action.option_strings if f"`{name}`" not in text]
    assert missing == []


@pytest.mark.parametrize("language", LANGUAGES)
def test_reference_holds_every_environment_variable(language: str) -> None:
    text = read_reference(language)
    declared = {name for one in fields(Settings) for name in one.metadata["variables"]}
    # Also what other modules read by themselves.
    source = "\n".join(file.read_text() for file in (ROOT / "src").rglob("*.py"))
    read = set(re.findall(r"(?:environ|variables)(?:\.get\(|\[)\s*\"([A-Z][A-Z_]{3,})\"", source))
    of_the_container = {
        "PGDATA",
        "POSTGRESQL_DATA_DIR",
        "PGHOST",
        "PGPORT",
        "POSTGRESQL_PORT_NUMBER",
        "PATH",
        "HOME",
        "TERM",
        "XDG_RUNTIME_DIR",
        "LANGUAGE",
    }
    missing = [name for name in declared | set(VARIABLES) | (read - of_the_container) if name not in text]
    assert missing == []


@pytest.mark.parametrize("language", LANGUAGES)
def test_reference_holds_every_exit_code(language: str) -> None:
    found = {int(code) for code in re.findall(r"^\| (\d+) \|", read_reference(language), re.MULTILINE)}
    errors = [value for value in vars(respaldo.errors).values() if isinstance(value, type)]
    assert {error.exit_code for error in errors if issubclass(error, RespaldoError)} | {0} <= found


def test_both_languages_have_the_same_pages_with_the_same_sections() -> None:
    for page in PAGES:
        shapes = []
        for language in LANGUAGES:
            text = re.sub(r"```.*?```", "", (ROOT / "docs" / language / page).read_text(), flags=re.DOTALL)
            shapes.append(re.findall(r"^(#+) ", text, re.MULTILINE))
        assert shapes[0] == shapes[1], page
    assert {file.name for file in (ROOT / "docs/es").iterdir()} == {file.name for file in (ROOT / "docs/en").iterdir()}


@pytest.mark.parametrize("language", LANGUAGES)
def test_troubleshooting_explains_messages_that_the_program_says(language: str) -> None:
    with (ROOT / "src/respaldo/locale/es/LC_MESSAGES/messages.po").open("rb") as file:
        catalogue = read_po(file, locale="es")
    said = {str(message.id if language == "en" else message.string) for message in catalogue if message.id}
    shown = {re.sub(r"\{[^}]*\}", "…", text) for text in said}
    headings = re.findall(r"^### `(.*)`$", (ROOT / "docs" / language / "troubleshooting.md").read_text(), re.MULTILINE)
    assert len(headings) > 20
    assert [heading for heading in headings if heading not in shown] == []


def test_links_of_the_documentation_lead_somewhere() -> None:
    broken = []
    for file in markdown_files():
        text = re.sub(r"```.*?```", "", file.read_text(), flags=re.DOTALL)
        for link in re.findall(r"\]\(([^)\s]+)\)", text):
            path, _hash, anchor = link.partition("#")
            if re.match(r"[a-z]+:", link):
                continue
            target = (file.parent / path).resolve() if path else file
            anchors = (
                {slug(title) for title in re.findall(r"^#+ (.*)$", target.read_text(), re.MULTILINE)}
                if target.is_file()
                else set()
            )
            if not target.exists() or (anchor and anchor not in anchors):
                broken.append(f"{file.relative_to(ROOT)}: {link}")
    assert broken == []


def slug(title: str) -> str:
    """Return the anchor that GitHub gives a heading."""
    return re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-")


def test_architecture_says_what_each_dependency_is_for() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    declared = [*project["dependencies"], *project["optional-dependencies"]["dev"]]
    names = {re.split(r"[><=~!;\[ ]", line)[0] for line in declared}
    sections = (ROOT / "docs/architecture.md").read_text().split("\n## ")
    dependencies = next(section for section in sections if section.startswith("Dependencies"))
    described = set(re.findall(r"^\| `([^`]+)` \| .+ \| .+ \|$", dependencies, re.MULTILINE))
    assert names - described == set()


def test_architecture_says_which_tests_prove_each_page_of_the_manual() -> None:
    table = (ROOT / "docs/architecture.md").read_text().partition("| page | tests |\n")[2].partition("\n\n")[0]
    rows = re.findall(r"^\| ([a-z-]+)[:\w ]* \| (.+) \|$", table, re.MULTILINE)
    assert {name for name, _tests in rows} == {page.stem for page in (ROOT / "docs/en").glob("*.md")}
    tests = [test for _name, line in rows for test in re.findall(r"`(\w+/test_\w+)`", line)]
    assert [test for test in tests if not (ROOT / f"tests/{test}.py").is_file()] == []


@pytest.mark.parametrize("page", ["README.md", "README.es.md"])
def test_readme_names_the_two_commands(page: str) -> None:
    text = (ROOT / page).read_text()
    assert "make demo" in text
    assert "make test" in text


def test_flags_in_the_pages_exist() -> None:
    known = {name for action in build_parser()._actions for name in action.option_strings}
    known |= {name for command in commands() for parameter in command.params for name in parameter.opts}
    known |= {"--help", "-h"}
    unknown = []
    for file in [
        ROOT / "README.md",
        ROOT / "README.es.md",
        *(ROOT / "docs" / one / name for one in LANGUAGES for name in PAGES),
    ]:
        found = set(re.findall(r"(?<![\w-])--[a-z][a-z-]+", file.read_text()))
        unknown += [f"{file.relative_to(ROOT)}: {name}" for name in sorted(found - known)]
    assert unknown == []


def test_mutants_said_to_be_harmless_are_of_lines_that_there_are() -> None:
    harmless = read_harmless(HARMLESS.read_text())
    assert set(harmless) == set(MODULES)
    gone = []
    for module, changes in harmless.items():
        lines = {line.strip() for line in (ROOT / f"src/respaldo/{module}.py").read_text().splitlines()}
        gone += [f"{module}: {line}" for removed, _added in changes for line in removed if line not in lines]
        # scripts/mutants.py runs these.
        assert all((ROOT / f"tests/unit/test_{test}.py").is_file() for test in MODULES[module])
    assert gone == [], "run scripts/mutants.py for that module, and say what it finds now"


def test_picture_of_the_layers_is_what_the_code_imports() -> None:
    """Each arrow is an import, each import follows arrows, and each module at the top stands in a layer."""
    page = (ROOT / "docs/architecture.md").read_text()
    picture = page.partition("graph TD\n")[2].partition("```")[0]
    arrows = set(re.findall(r"^ +(\w+)(?:\[.*?\])? --> (\w+)", picture, re.MULTILINE))
    members = re.search(r"first\[([\w, ]+):", picture)
    assert members is not None
    first = set(members[1].split(", "))
    graph = grimp.build_graph("respaldo")

    def part_of(module: str) -> str:
        name = module.split(".")[1]
        return "first" if name in first else name

    inside = [module for module in graph.modules if module.count(".") and module != "respaldo.__main__"]
    found = {
        (part_of(module), part_of(imported))
        for module in inside
        for imported in graph.find_modules_directly_imported_by(module)
        if imported.count(".")
    }
    imports = {(one, other) for one, other in found if one != other}
    assert arrows - imports == set()
    below: dict[str, set[str]] = {}
    for _round in arrows:
        for one, other in arrows:
            below.setdefault(one, set()).update({other} | below.get(other, set()))
    assert [pair for pair in sorted(imports) if pair[1] not in below.get(pair[0], set())] == []
    contract = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"][0]
    layered = {name.strip().removeprefix("respaldo.") for layer in contract["layers"] for name in layer.split("|")}
    assert {part_of(module) for module in inside} - {"first"} | first == layered


@pytest.mark.parametrize("page", ["README.md", "README.es.md"])
def test_figures_of_the_readme_are_those_of_the_benchmarks(page: str) -> None:
    """The medians, rounded: seconds and stored megabytes of each tool, and what was missed."""
    benchmarks = (ROOT / "docs/benchmarks.md").read_text()
    measured: dict[str, list[tuple[int, float]]] = {}
    for line in benchmarks.partition("### Full")[2].partition("### Targets")[0].splitlines():
        cells = re.split(r" \| (?=\d)| \|$", line.strip("| "))
        medians = [cell.split(" / ")[1] for cell in cells[1:] if cell.count(" / ") == 2]
        if medians:
            measured.setdefault(cells[0], []).append((round(float(medians[0])), float(medians[-1])))
    full, incremental = [
        re.findall(r"\d+(?:\.\d+)?(?= (?:s|MB)\b)", line)
        for line in (ROOT / page).read_text().splitlines()
        if line.startswith("| ") and " MB" in line
    ]
    tools = ("respaldo", "pgBackRest", "restic", "gzip")
    rows = {tool: next(found for name, found in measured.items() if tool in name) for tool in tools}
    assert [float(one) for one in full] == [
        number for tool in tools for number in (rows[tool][0][0], round(rows[tool][0][1]))
    ]
    bytes_stored = {"respaldo": rows["respaldo"][1][1], **{one: round(rows[one][1][1]) for one in tools[1:3]}}
    assert [float(one) for one in incremental] == [
        number for tool in tools[:3] for number in (rows[tool][1][0], bytes_stored[tool])
    ]
    for target in re.findall(r"(\d\.\d+)(?: \(processor time [\d.]+\))? \| missed", benchmarks):
        assert f"{float(target):.1f} " in (ROOT / page).read_text()


def test_no_module_imports_itself_by_a_detour() -> None:
    graph = grimp.build_graph("respaldo")
    TopologicalSorter({one: graph.find_modules_directly_imported_by(one) for one in graph.modules}).prepare()


def test_functions_said_not_to_be_reached_are_in_their_modules() -> None:
    gone = []
    page = (ROOT / "docs/coverage.md").read_text()
    for named, functions in re.findall(r"^\| ([\w/, ]+) \| (`.*) \|$", page, re.MULTILINE):
        modules = [(ROOT / f"src/respaldo/{name}.py").read_text() for name in named.split(", ")]
        names = re.findall(r"`(\w+)`", functions.partition(" | ")[0])
        assert names, named
        gone += [(named, name) for name in names if not any(f"def {name}(" in text for text in modules)]
    assert gone == []


def test_tests_said_to_reach_what_is_not_seen_are_there() -> None:
    names = re.findall(r"`(test_\w+)`", (ROOT / "docs/coverage.md").read_text())
    source = "\n".join(file.read_text() for file in (ROOT / "tests").rglob("*.py"))
    assert [name for name in names if f"def {name}(" not in source] == []
