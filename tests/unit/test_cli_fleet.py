"""The flags of many targets, and what of a run a Kubernetes Job is told: never a secret."""

from __future__ import annotations

import json
from typing import cast

import pytest

from respaldo.app import App
from respaldo.cli.fleet_flags import FleetFlags
from respaldo.cli.fleet_jobs import plan_jobs
from respaldo.config.settings import Settings
from respaldo.environments.kubernetes import KubernetesEnvironment
from respaldo.environments.kubernetes_api import Api
from respaldo.environments.kubernetes_jobs import JobEnd
from respaldo.environments.local import LocalEnvironment
from respaldo.errors import EnvironmentFailedError, RespaldoError, UsageError
from respaldo.language import _
from respaldo.operations.fleet_jobs import read_job_end, write_job
from respaldo.schedule.cronjob import Surroundings

FLEET = FleetFlags(every_instance=True, as_jobs=True)
MADE = {"name": "backup_1", "type": "full", "stored_bytes": 12, "warnings": ["{"]}


class FakeKubernetes(KubernetesEnvironment):
    """A cluster that nobody asks anything."""

    def place(self) -> tuple[Api, str]:
        return cast("Api", None), "shop"


def test_job_runs_as_nobody_with_nothing_but_what_it_needs() -> None:
    around = Surroundings(image="i", claim="c", account="a", secret="s", variables={"RETENTION_DAILY": "3"})
    spec = write_job("n", ["backup"], around)["spec"]
    (container,) = spec["template"]["spec"]["containers"]
    assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
    assert container["securityContext"]["readOnlyRootFilesystem"]
    assert container["env"] == [{"name": "RETENTION_DAILY", "value": "3"}]
    assert container["envFrom"] == [{"secretRef": {"name": "s"}}]
    assert spec["template"]["spec"]["securityContext"]["runAsNonRoot"]
    assert spec["backoffLimit"] == 0


def test_password_is_not_written_into_a_job() -> None:
    app = App(Settings(password="hunter2"))
    with pytest.raises(UsageError) as caught:
        plan_jobs(app, FakeKubernetes({}), FLEET, None)
    assert "--job-secret" in (caught.value.hint or "")
    settings = Settings(password="hunter2", user="ana", retention_daily=3, pod="p", repository="/x")
    plan = plan_jobs(App(settings), FakeKubernetes({}), FleetFlags(all_databases=True, job_secret="s"), None)
    around = next(cell.cell_contents for cell in plan.__closure__ or () if isinstance(cell.cell_contents, Surroundings))
    assert "hunter2" not in json.dumps(write_job("n", [], around))
    assert {
        "RESPALDO_USER": "ana",
        "RETENTION_DAILY": "3",
        "BACKUP_DIR": "/backups",
    }.items() <= around.variables.items()
    assert "POD_NAME" not in around.variables


def test_jobs_are_refused_elsewhere_and_with_hooks() -> None:
    with pytest.raises(UsageError, match="local"):
        plan_jobs(App(Settings()), LocalEnvironment(), FLEET, None)
    with pytest.raises(UsageError, match="--as-jobs"):
        plan_jobs(App(Settings(pre_sql="SELECT 1")), FakeKubernetes({}), FLEET, None)


@pytest.mark.parametrize("status", [0, 3])
def test_end_of_a_job_gives_the_backup_whatever_stands_around_it(status: int) -> None:
    said = f"warning: {{odd}}\n{json.dumps(MADE, indent=2)}\nwarning: more\n"
    made = read_job_end(JobEnd(status=status, said=said))
    assert (made.name, made.type, made.stored_bytes, bool(made.failures)) == ("backup_1", "full", 12, status == 3)
    assert json.loads(made.document) == MADE


def test_failed_job_tells_its_own_error_and_hint() -> None:
    said = "\n".join(
        ["x", _("error: {message}").format(message="no\nroom"), _("hint: {hint}").format(hint="free some")]
    )
    with pytest.raises(RespaldoError) as caught:
        read_job_end(JobEnd(status=20, said=said))
    assert (caught.value.message, caught.value.hint) == ("no\nroom", "free some")


@pytest.mark.parametrize(
    ("end", "message"),
    [
        (JobEnd(status=137, said="", reason="OOMKilled"), "137: OOMKilled"),
        (JobEnd(status=1, said="Traceback\nKeyError: 'x'\n"), "KeyError"),
        (JobEnd(status=0, said="nothing"), "Job"),
    ],
)
def test_job_that_ends_without_words_is_a_failure_all_the_same(end: JobEnd, message: str) -> None:
    with pytest.raises(RespaldoError, match=message):
        read_job_end(end)


def test_lost_job_is_the_environment_s_failure() -> None:
    with pytest.raises(EnvironmentFailedError, match="drained"):
        read_job_end(JobEnd(status=None, said="", reason="drained"))
