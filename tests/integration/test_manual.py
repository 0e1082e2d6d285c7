"""The commands of the manual, as they are written, one after another, as somebody would who follows it."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.rig.containers import PostgresContainer
from tests.rig.kube_cluster import PostgresPod
from tests.rig.program import run_program
from tests.rig.variables import shell_variables

ROOT = Path(__file__).parents[2]
LANGUAGES = ("es", "en")
PAGES = ("README", "user-guide", "versions", "proofs", "schedules", "notifications", "monitoring", "python-api")
# Its commands are for pods.
PODS = "docker-vs-kubernetes"
YES = {"es": "s", "en": "y"}
# Not run here, each for its reason.
ELSEWHERE = {
    "make ": "test_demo runs the demonstration, and this is the tests",
    "git clone ": "the address is the reader's",
    "python3 -m venv ": "this runs in one",
    "pip install ": "its packages are those that this runs with",
    "docker compose up ": "the fixture did, or there is a pod instead",
    "respaldo backup --environment local ": "no server of that name; the local environment's own tests have one",
    "respaldo serve ": "it stays: test_schedule_serve, test_schedule_compose",
    "respaldo schedule add nightly --with systemd ": "no systemd runs here: test_schedule_systemd boots one",
    "respaldo schedule add nightly --with kubernetes --time": "another schedule of that name: test_kubernetes_schedule",
    "kubectl ": "test_kubernetes_manifests applies them, and makes the Job",
    "deploy/image/build.sh ": "kube_image.py builds by it for the tests of the manifests",
    "respaldo backup --environment kubernetes -A": "others' namespaces: contract/test_environment_kubernetes",
    "respaldo backup --environment kubernetes --namespace": "test_kubernetes_fleet has the image and the accounts",
    "respaldo move ": "test_move has both ends",
    "RESPALDO_": "lines of .env: test_telling has the servers",
    "#": "says what those lines are",
}
# What the pages suppose to be there: a schema, a database to restore a part into, a backup of that name.
SUPPOSED = """
CREATE SCHEMA ventas;
CREATE TABLE ventas.clientes AS SELECT g AS id, md5(g::text) AS nombre FROM generate_series(1, 50) g;
CREATE SCHEMA sales; CREATE TABLE sales.customers AS TABLE ventas.clientes;
"""
ROWS = "SELECT count(*), md5(string_agg(p::text, ',' ORDER BY p::text)) FROM pedidos p"


@dataclass(frozen=True, slots=True, kw_only=True)
class Reader:
    """Somebody with a terminal, a clone and one server, who follows the pages."""

    language: str
    directory: Path
    environment: dict[str, str]
    server: PostgresContainer | PostgresPod
    database: str
    # What the pages call their server, and what this one's flags are.
    place: dict[str, str]

    def follow(self, page: str) -> None:
        """Run every command of a page."""
        commands = list(commands_of(page, self.language))
        assert commands
        for command in commands:
            if any(command.startswith(start) for start in ELSEWHERE):
                continue
            if command == "respaldo schedule run nightly" and isinstance(self.server, PostgresPod):
                # A CronJob: what is said then is what the page says.
                with pytest.raises(AssertionError, match=r"kubectl create job .*--from=cronjob/nightly nightly-now"):
                    self.run(command)
            else:
                self.run(command)

    def run(self, command: str) -> str:
        """Run one command, by a shell where it takes one; return what it printed."""
        for written, here in self.place.items():
            command = command.replace(written, here)
        if command.startswith("export RESPALDO_METRICS_FILE="):
            self.environment["RESPALDO_METRICS_FILE"] = str(self.directory / "respaldo.prom")
            return ""
        chooses = re.search(r"--restore(?! --restore-file)", command) is not None
        answers = f"1\n{YES[self.language]}\n" if chooses else f"{YES[self.language]}\n"
        # Once there are backups of several databases, "latest" of one of them is meant.
        environment = dict(self.environment)
        if " --all" not in command:
            environment["RESPALDO_DATABASE"] = self.database
        if program := program_of(command):
            done = run_program(program, cwd=self.directory, env=environment, answers=answers)
        else:
            done = subprocess.run(
                ["bash", "-o", "pipefail", "-c", command],
                cwd=self.directory,
                env=environment,
                input=answers,
                capture_output=True,
                text=True,
                timeout=120,
                check=False,
            )
        assert done.returncode == 0, f"{command}: status {done.returncode}\n{done.stdout}\n{done.stderr}"
        assert "Traceback" not in done.stderr, f"{command}:\n{done.stderr}"
        return done.stdout

    def rows(self, database: str) -> str:
        return self.server.psql(ROWS, database)


def program_of(command: str) -> list[str]:
    """Return what Python is to run where a command is the program and plain words for it; nothing where it takes a
    shell."""
    bare = re.sub(r"""'[^']*'|"[^"$`\\]*"|\s#.*""", "", command)
    words = shlex.split(command, comments=True)
    if re.search(r"[][|&;<>$`*?~(){}\n\\]", bare):
        return []
    if words[0] == "respaldo":
        return ["-m", *words]
    return words[1:] if words[:2] == ["python3", "backup_orchestrator.py"] else []


def commands_of(page: str, language: str) -> Iterator[str]:
    """Yield what a page has its reader type: its bash blocks' lines, those after a ``$`` in a shown session, indented
    ones, and its Python programs."""
    path = f"README{'.es' if language == 'es' else ''}.md" if page == "README" else f"docs/{language}/{page}.md"
    pattern = r"^```(\w*)\n(.*?)^```|^    ((?:respaldo|python3|kubectl) [^\n]*)$"
    for found in re.finditer(pattern, (ROOT / path).read_text(), re.DOTALL | re.MULTILINE):
        kind, block, indented = found.groups()
        if indented:
            yield indented
        elif kind == "python":
            yield f"python3 -c {shlex.quote(block)}"
        else:
            for line in block.splitlines():
                if kind == "bash":
                    yield line
                elif line.startswith("$ "):
                    yield line.removeprefix("$ ")


def test_pages_say_the_same_commands_in_both_languages() -> None:
    for page in (*PAGES, PODS):
        programs = [
            [
                re.findall(r"^\S+ (?:-\S+ )*[a-z_.]*|--[a-z-]+", command)
                for command in commands_of(page, language)
                # A language is set in one alone; a remark is in its page's.
                if not command.startswith(("export ", "#"))
            ]
            for language in LANGUAGES
        ]
        assert programs[1] == programs[0], page


def make_reader(
    language: str, directory: Path, server: PostgresContainer | PostgresPod, psql: list[str], **variables: str
) -> Reader:
    """Lay out the reader's directory: the clone's files, the programs that the pages call, the variables."""
    for name in ("backup_orchestrator.py", "src", "deploy", "requirements.txt"):
        (directory / name).symlink_to(ROOT / name)
    programs = directory / "bin"
    programs.mkdir()
    (directory / "crontab").touch()
    # "ssh other 'zcat | psql shop'": the other machine's database is one of this server's.
    scripts = {
        "python3": f'exec {shlex.quote(sys.executable)} "$@"',
        "respaldo": f'exec {shlex.quote(sys.executable)} -m respaldo "$@"',
        "ssh": 'shift; exec sh -c "$1"',
        "psql": f"exec {shlex.join(psql)} -v ON_ERROR_STOP=1 -q -d otra",
        # The machine's own schedules are not the reader's.
        "sendmail": f"cat >>{shlex.quote(str(directory / 'mail'))}",
        "rclone": f'echo "$*" >>{shlex.quote(str(directory / "copied"))}',
        "crontab": f'file={shlex.quote(str(directory / "crontab"))}; [ "$1" = -l ] && exec cat "$file"; cat >"$file"',
    }
    for name, script in scripts.items():
        (programs / name).write_text(f"#!/bin/sh\n{script}\n")
        (programs / name).chmod(0o755)
    environment = {
        **shell_variables(**variables),
        "PATH": f"{programs}{os.pathsep}{os.environ['PATH']}",
        "RESPALDO_LANG": language,
        "RESPALDO_SENDMAIL": str(programs / "sendmail"),
    }
    places = [f"--pod postgres-0 --namespace {shop}" for shop in ("tienda", "shop")] + ["--container pc_db"]
    if isinstance(server, PostgresContainer):
        place = dict.fromkeys(places, f"--container {server.name}")
        program = f'container="{server.name}"'
    else:
        place = dict.fromkeys(places, f"--pod {server.name} --namespace {server.namespace}")
        program = f'pod="{server.name}", namespace="{server.namespace}"'
    place |= {" --context production": "", " --context produccion": ""}
    place |= {'container="pc_db"': program, '"/srv/backups"': f'"{directory / "programs"}"'}
    return Reader(
        language=language,
        directory=directory,
        environment=environment,
        server=server,
        database=server.database,
        place=place,
    )


def follow_page(reader: Reader, page: str) -> None:
    """Run a page's commands, those of the pages before it having run, and see what became of the database."""
    database = reader.database
    if page == PAGES[0]:
        reader.server.psql(SUPPOSED, database)
        reader.server.psql("CREATE DATABASE otra", database)
    if page == "proofs":
        # A repository of its own: one database is due to be drilled, not every one that was backed up before.
        reader.environment["BACKUP_DIR"] = "proofs"
        reader.run("respaldo backup --name backup_20261124_020000")
    if page == "notifications":
        reader.environment["RESPALDO_EMAIL_TO"] = "ops@example.com"
    was = reader.rows(database)
    reader.follow(page)
    assert reader.rows(database) == was
    copies = {"README": ("pc_db_copia", "pc_db_copy"), "user-guide": ("tienda_vacia", "shop_empty")}.get(page)
    if copies:
        assert reader.rows(copies[LANGUAGES.index(reader.language)]) == was
    if page == "README":
        for name in copies or ():
            reader.server.psql(f"DROP DATABASE IF EXISTS {name}", database)
    if page == "user-guide":
        assert reader.rows("otra") == was
    if page == "notifications":
        assert "ops@example.com" in (reader.directory / "mail").read_text()
        assert "sync backups remote:backups" in (reader.directory / "copied").read_text()
        del reader.environment["RESPALDO_EMAIL_TO"]
    if page == "monitoring":
        assert "respaldo_last_backup_rows{" in (reader.directory / "respaldo.prom").read_text()


@pytest.fixture(scope="module")
def reader(pc_db: PostgresContainer, tmp_path_factory: pytest.TempPathFactory) -> Reader:
    psql = ["docker", "exec", "-i", "pc_db", "psql", "-U", "postgres"]
    # Other servers of this engine are not the reader's.
    only = "com.docker.compose.service=postgres"
    return make_reader("es", tmp_path_factory.mktemp("manual"), pc_db, psql, RESPALDO_LABELS=only)


@pytest.mark.parametrize("page", PAGES)
def test_page_in_spanish_on_a_container(reader: Reader, page: str) -> None:
    follow_page(reader, page)
