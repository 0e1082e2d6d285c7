"""``require``: a skip where something is missing, a failure where the run says that it must be there."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.rig.requirements import require


def test_require_with_nothing_missing_goes_on() -> None:
    require("docker", None)


def test_require_of_something_missing_skips_with_the_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RESPALDO_REQUIRE", "postgres:15")
    with pytest.raises(pytest.skip.Exception, match="needs postgres:1: not here"):
        require("postgres:1", "not here")


def test_require_of_something_required_and_missing_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RESPALDO_REQUIRE", " docker , postgres:15")
    with pytest.raises(pytest.fail.Exception, match="names docker, which is missing: none"):
        require("docker", "none")


def test_environment_of_the_tests_holds_nothing_that_the_product_reads() -> None:
    names = {"CONTAINER_NAME", "POSTGRES_CONTAINER", "BACKUP_DIR", "POD_NAME", "NAMESPACE", "KUBE_NAMESPACE", "PGHOST"}
    assert not names & set(os.environ)


def test_rig_that_knows_nothing_of_pytest_does_not_import_it() -> None:
    """Benchmarks and demonstrations start it too, where there are no tests."""
    script = (
        "import sys, tests.rig.engine, tests.rig.embedded, tests.rig.containers, tests.rig.kube_cluster;"
        "sys.exit('pytest' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", script], cwd=Path(__file__).parents[2], check=True)
