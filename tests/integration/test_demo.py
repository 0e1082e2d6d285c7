"""``make demo``: it comes to its end on both kinds of server, and tells a restored table that differs."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

from scripts.demo import Fingerprint, image_to_use, print_comparison
from tests.rig import embedded
from tests.rig.engine import docker
from tests.rig.requirements import require

ROOT = Path(__file__).parents[2]


def start_demo(server: str, directory: Path, *, language: str) -> subprocess.Popen[str]:
    """Start a small demonstration whose temporary files lie in ``directory``."""
    command = [sys.executable, "scripts/demo.py", "--server", server, "--orders", "20000"]
    # A person's own variables must not lead it elsewhere.
    environment = {
        **os.environ,
        "RESPALDO_LANG": language,
        "TMPDIR": str(directory),
        "CONTAINER_NAME": "another",
        "PGPORT": "1",
        "BACKUP_DIR": str(directory / "another"),
    }
    return subprocess.Popen(
        command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )


def check_end(demo: subprocess.Popen[str], directory: Path, said: list[str]) -> None:
    output, _none = demo.communicate(timeout=180)
    assert demo.returncode == 0, output
    at = 0
    for text in said:
        at = output.find(text, at)
        assert at >= 0, f"{text!r} is not in its place in:\n{output}"
    assert not list(directory.iterdir())


@pytest.fixture
def _image(docker_engine: None) -> None:
    require("docker", None if image_to_use() else "no postgres image")


@pytest.mark.usefixtures("_image")
def test_demo_in_docker_brings_every_table_back_and_leaves_nothing(tmp_path: Path) -> None:
    demo = start_demo("docker", tmp_path, language="es")
    said = [
        "1. Un servidor PostgreSQL propio",
        "$ respaldo",
        "backup --container",
        "completo: todavía no hay",
        "confirmado",
    ]
    said += ["incremental: ", "Un accidente", "restaurado en tienda_restaurada: "]
    said += [" igual\n", " igual\n", " igual\n", "Todas las tablas volvieron, fila por fila."]
    check_end(demo, tmp_path, said)
    assert not docker("ps", "--all", "--quiet", "--filter", f"name=respaldo-demo-{demo.pid}").strip()


def test_demo_without_an_engine_brings_every_table_back_and_leaves_nothing(tmp_path: Path) -> None:
    require("embedded", embedded.why_unavailable())
    demo = start_demo("embedded", tmp_path, language="en")
    said = ["1. A PostgreSQL server of its own", "embedded server in ", "$ respaldo", "backup --environment local"]
    said += ["full: there is no full backup yet", "committed", "incremental: ", "restored into tienda_restaurada"]
    said += [" the same\n", " the same\n", " the same\n", "Every table came back, row for row."]
    check_end(demo, tmp_path, said)


def test_demo_that_is_terminated_leaves_nothing(tmp_path: Path) -> None:
    require("embedded", embedded.why_unavailable())
    demo = start_demo("embedded", tmp_path, language="en")
    assert demo.stdout is not None
    shown = ""
    deadline = time.monotonic() + 60
    while "$ respaldo" not in shown and time.monotonic() < deadline:
        shown += demo.stdout.readline()
    directory = Path(
        next(word for word in shown.split() if word.startswith(f"{tempfile.gettempdir()}/respaldo-pg-")).rstrip(",")
    )
    assert directory.is_dir()
    demo.send_signal(signal.SIGTERM)
    rest, _none = demo.communicate(timeout=60)
    assert demo.returncode == 130, shown + rest
    assert "interrupted; nothing is left behind" in rest
    assert not directory.exists()
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "found",
    [
        {"a": Fingerprint(rows=1, md5="x"), "b": Fingerprint(rows=2, md5="y")},
        {"a": Fingerprint(rows=1, md5="x")},
        {"a": Fingerprint(rows=1, md5="x"), "b": Fingerprint(rows=3, md5="y"), "c": Fingerprint(rows=0, md5="")},
        {},
    ],
)
def test_comparison_of_tables_that_differ_fails(
    found: dict[str, Fingerprint], capsys: pytest.CaptureFixture[str]
) -> None:
    expected = {"a": Fingerprint(rows=1, md5="x"), "b": Fingerprint(rows=3, md5="y")}
    assert print_comparison(expected, dict(expected))
    capsys.readouterr()
    assert not print_comparison(expected, found)
    assert "DISTINTA" in capsys.readouterr().out or "DIFFERENT" in capsys.readouterr().out
