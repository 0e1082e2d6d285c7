"""The commands of versions as the manuals write them, against a repository alone; and what they print."""

from __future__ import annotations

import io
import json
import re
import shlex
import shutil
from contextlib import redirect_stderr, redirect_stdout
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from blake3 import blake3

from respaldo.cli.main import cli, run_guarded
from respaldo.clock import FixedClock
from respaldo.operations.versions import LabelRequest, label_backup
from respaldo.repository.codec import compress
from respaldo.repository.records import BackupFacts, BackupType, Decision, Series, TargetPath
from respaldo.repository.repository import Repository
from respaldo.storage.directory import DirectoryStorage
from tests.unit.manifests import write_backups

ROOT = Path(__file__).parents[2]
START = datetime(2025, 6, 2, 2, 0, tzinfo=UTC)
SCRIPT = """--
-- PostgreSQL database dump
--

--
-- Name: t; Type: TABLE; Schema: public; Owner: postgres
--

CREATE TABLE "public"."t" ("id" integer, "v" "text");


--
-- Name: t t_pkey; Type: CONSTRAINT; Schema: public; Owner: postgres
--

ALTER TABLE ONLY "public"."t"
    ADD CONSTRAINT "t_pkey" PRIMARY KEY ("id");

"""
# The version that each backup asks for, its name and its tag: what the manuals name.
BACKUPS = (
    ("1.0.0", "before_migration", "stable"),
    ("1.0.1", "antes_de_migrar", "estable"),
    ("1.1.0", "third", "nightly"),
    ("1.2.0", "fourth", "stable"),
)


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_versions(tmp_path_factory.mktemp("versions"))


@pytest.fixture
def directory(written: Path, tmp_path: Path) -> Path:
    """A copy, which the test may change."""
    return shutil.copytree(written, tmp_path, dirs_exist_ok=True)


def write_versions(directory: Path) -> Path:
    """Write a repository of four full backups of one row each, with the versions 1.0.0-main.1 to 1.2.0-main.4."""
    target = TargetPath(instance="pc_db", database="shop")
    series = Series(key='"public"."t"', head='COPY "public"."t" ("id", "v") FROM stdin;\n', tail="\\.\n")
    for number, (version, name, tag) in enumerate(BACKUPS):
        clock = FixedClock(START + timedelta(days=number))
        repository = Repository.open_or_create(DirectoryStorage(directory), clock)
        text = b"1\t%d\n" % number
        with (
            repository.acquire(target) as lease,
            repository.begin(target, name, type=BackupType.FULL, base=None, lease=lease) as writer,
        ):
            writer.new_pack().add_frame(
                writer.add_series(series),
                "0",
                compress(text),
                raw_size=len(text),
                rows=1,
                digest=blake3(text).hexdigest(),
            )
            writer.put_object("schema.sql.zst", compress(SCRIPT.encode()))
            manifest = writer.commit(
                BackupFacts(
                    started=clock.now(),
                    environment="docker",
                    tool_version="0.1.0",
                    decision=Decision(code="no-full", text=""),
                    tables=1,
                    server={"version": "15.4"},
                )
            )
        label_backup(repository, manifest, LabelRequest(branch="main", version=version, tags=(tag,)))
    return directory


def run(directory: Path, *words: str) -> tuple[int, str, str]:
    out, err = io.StringIO(), io.StringIO()
    with redirect_stdout(out), redirect_stderr(err):
        status = run_guarded(
            lambda: cli.main(args=["-d", str(directory), *words], prog_name="respaldo", standalone_mode=False)
        )
    return status, out.getvalue(), err.getvalue()


def document(directory: Path, *words: str) -> Any:
    status, out, err = run(directory, *words, "--json")
    assert status == 0, err
    return json.loads(out)


@pytest.mark.parametrize("name", ["version", "pin", "unpin", "summary"])
def test_each_example_of_the_help_that_needs_no_server_runs_as_written(name: str, directory: Path) -> None:
    status, text, _err = run(directory, name, "--help")
    assert status == 0
    inner = re.findall(r"^  ([a-z]+)  ", text.partition("Com")[2], re.MULTILINE) if name == "version" else [""]
    lines = []
    for one in inner:
        _status, shown, _err = run(directory, *([name, one] if one else [name]), "--help")
        lines += re.findall(r"^ +(respaldo (?:version (?!rollback)|pin|unpin|summary).*)$", shown, re.MULTILINE)
    assert len(lines) >= (20 if name == "version" else 2)
    for line in lines:
        words = shlex.split(line)[1:]
        # Of another database in the examples: nothing is there, which is no failure of these.
        status, _out, err = run(directory, *words)
        assert status == 0, f"{line}: {err}"


def test_comparison_tells_what_changed(directory: Path) -> None:
    status, out, err = run(directory, "version", "compare", "1.0.0-main.1", "latest")
    assert status == 0, err
    assert "before_migration (1.0.0-main.1)  ->  fourth (1.2.0-main.4)" in out
    assert "public.t" in out
    [table] = document(directory, "version", "compare", "1.0.0-main.1", "latest")["tables"]
    assert (table["added"], table["removed"], table["changed"]) == (0, 0, 1)


def test_pinned_backup_stays_until_it_is_unpinned(directory: Path) -> None:
    for name in ("before_migration", "antes_de_migrar", "third", "fourth"):
        for tag in ("stable", "estable", "nightly"):
            run(directory, "version", "tag", name, tag, "--remove")
    run(directory, "pin", "1.0.0-main.1")
    verdicts = document(directory, "version", "prune", "1", "--dry-run")[0]["verdicts"]
    assert [(one["version"], one["keep"]) for one in verdicts] == [
        ("1.2.0-main.4", True),
        ("1.1.0-main.3", False),
        ("1.0.1-main.2", False),
        ("1.0.0-main.1", True),
    ]
    run(directory, "unpin", "1.0.0-main.1")
    assert run(directory, "version", "prune", "1", "--yes")[0] == 0
    assert [one["name"] for one in document(directory, "list")] == ["fourth"]


@pytest.mark.parametrize("word", ["third", "3", "1.1.0", "nightly"])
def test_every_command_takes_what_the_list_shows_of_a_backup(word: str, directory: Path) -> None:
    assert document(directory, "list")[2]["name"] == "third"
    assert document(directory, "pin", word)["name"] == "third"
    assert document(directory, "unpin", word)["name"] == "third"
    assert document(directory, "version", "info", word)["name"] == "third"
    assert document(directory, "version", "tag", word, "again")["name"] == "third"
    assert document(directory, "version", "compare", "1", word)["new"]["name"] == "third"
    assert document(directory, "check", word)["backups"] == 1
    assert [path.parent.name for path in directory.rglob("proof-*")] == ["third"]


@pytest.mark.parametrize("word", ["0", "5", "99999999999999999999"])
@pytest.mark.parametrize("command", ["check", "pin", "version info"])
def test_number_that_the_list_does_not_show_is_no_backup(command: str, word: str, directory: Path) -> None:
    status, _out, err = run(directory, *command.split(), word)
    assert status == 10
    assert "respaldo list" in err


def test_number_means_what_the_list_shows_whichever_database_is_set(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The list shows every target: a number must never mean another backup than it says there."""
    write_backups(directory, 1, database="other")
    monkeypatch.setenv("RESPALDO_DATABASE", "shop")
    shown = [(one["database"], one["name"]) for one in document(directory, "list")]
    for number, (database, name) in enumerate(shown, 1):
        status, out, _err = run(directory, "version", "info", str(number), "--json")
        assert status == (0 if database == "shop" else 10)
        assert not out or json.loads(out)["name"] == name
    assert "other" in {database for database, _name in shown}


def test_tag_of_two_targets_asks_which(directory: Path) -> None:
    repository = Repository.open(DirectoryStorage(directory), FixedClock(START))
    other = TargetPath(instance="pc_db", database="other")
    with (
        repository.acquire(other) as lease,
        repository.begin(other, "x", type=BackupType.FULL, base=None, lease=lease) as writer,
    ):
        manifest = writer.commit(
            BackupFacts(
                started=START,
                environment="docker",
                tool_version="0.1.0",
                decision=Decision(code="no-full", text=""),
                tables=0,
            )
        )
    label_backup(repository, manifest, LabelRequest(branch="main", tags=("stable",)))
    status, _out, err = run(directory, "version", "info", "stable")
    assert status == 2
    assert "--database" in err
    assert document(directory, "version", "info", "stable", "--database", "other")["name"] == "x"
    assert document(directory, "version", "info", "stable", "--database", "shop")["name"] == "fourth"
    status, _out, err = run(directory, "restore", "1.0.0-main.1", "--to", "x")
    assert status == 2
    assert "--database" in err


@pytest.mark.parametrize(
    ("words", "status"),
    [
        (("version", "info", "nope"), 10),
        (("version", "tag", "nope", "x"), 10),
        (("version", "tag", "latest", "a b"), 2),
        (("version", "tag", "latest", "nope", "--remove"), 2),
        (("version", "tag", "latest", "x", "--remove", "--description", "d"), 2),
        (("version", "compare", "latest", "nope"), 10),
        (("version", "prune", "-1"), 2),
        (("version", "list", "--limit", "0"), 2),
        (("pin", "nope"), 10),
        (("backup", "--all", "--branch", "main"), 2),
        (("backup", "--version", "1.0.0", "--version-increment", "minor"), 2),
    ],
)
def test_command_that_cannot_be_meant_ends_with_its_code(words: tuple[str, ...], status: int, directory: Path) -> None:
    before = {path: path.read_bytes() for path in directory.rglob("*") if path.is_file()}
    ended, _out, err = run(directory, *words)
    assert ended == status, err
    assert err
    assert {path: path.read_bytes() for path in directory.rglob("*") if path.is_file()} == before


def test_list_tells_versions_tags_and_pins_and_survives_damaged_labels(directory: Path) -> None:
    run(directory, "pin", "third")
    first = document(directory, "list")[0]
    assert (first["version"], first["tags"], first["pinned"]) == ("1.0.0-main.1", ["stable"], False)
    status, out, err = run(directory, "--verbose", "list")
    assert status == 0, err
    assert "1.1.0-main.3" in out
    assert "nightly" in out
    next(directory.rglob("labels.json")).write_bytes(b"{}")
    status, out, err = run(directory, "list", "--json")
    assert status == 13
    assert "labels.json" in err
    assert [one["name"] for one in json.loads(out)] == [name for _version, name, _tag in BACKUPS]
    for words in (("retain", "--yes"), ("version", "prune", "0", "--yes"), ("version", "list"), ("summary",)):
        assert run(directory, *words)[0] == 13
    assert len(list(directory.rglob("manifest.json"))) == len(BACKUPS)
