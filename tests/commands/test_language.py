"""The program speaks the language of the person, and so do the libraries that it stands on."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.commands.command import ROOT
from tests.rig.program import run_program
from tests.rig.variables import shell_variables


@pytest.mark.parametrize(
    ("variables", "said"),
    [
        ({"LANG": "C.UTF-8"}, "No se encontraron backups en "),
        ({"LANG": "fr_FR.UTF-8"}, "No se encontraron backups en "),
        ({"LANG": "en_US.UTF-8"}, "No backups found in "),
        ({"LANG": "es_AR.UTF-8", "RESPALDO_LANG": "en"}, "No backups found in "),
    ],
)
def test_empty_list_says_so_in_the_language_of_the_person(variables: dict[str, str], said: str, tmp_path: Path) -> None:
    command = ["-m", "respaldo", "--repository", str(tmp_path / "none"), "list"]
    done = run_program(command, cwd=tmp_path, env=shell_variables(**variables), timeout_s=60)
    assert (done.returncode, done.stdout) == (0, f"{said}{tmp_path / 'none'}\n")


@pytest.mark.parametrize(
    ("command", "said"),
    [
        (["-m", "respaldo", "--help"], ["Uso: respaldo", "Opciones:", "Comandos:", "Mostrar este mensaje y salir."]),
        (["-m", "respaldo", "--no-existe"], ["Error: No existe la opción '--no-existe'."]),
        (["-m", "respaldo", "restore", "a", "b"], ["Error: Sobra un argumento (b)"]),
        (["-m", "respaldo", "backup", "--type", "x"], ["Error: Valor no válido para '--type': 'x' no es uno de"]),
        (["backup_orchestrator.py", "--help"], ["uso: ", "opciones:", "mostrar esta ayuda y salir"]),
        (["backup_orchestrator.py", "--no-existe"], ["error: argumentos no reconocidos: --no-existe"]),
        (["backup_orchestrator.py", "--list", "--restore"], ["no se permite junto con el argumento --list/-l"]),
    ],
)
def test_libraries_words_are_spanish_too(command: list[str], said: list[str]) -> None:
    done = run_program(command, cwd=ROOT, env=shell_variables(LANG="C.UTF-8"), timeout_s=60)
    shown = done.stdout + done.stderr
    for text in said:
        assert text in shown
