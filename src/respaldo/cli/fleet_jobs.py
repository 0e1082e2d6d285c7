"""``respaldo backup --all --as-jobs``: what each Job of the cluster is told."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import fields
from typing import TYPE_CHECKING, cast

from respaldo.app import App
from respaldo.cli.fleet_flags import FleetFlags
from respaldo.config.settings import Settings
from respaldo.errors import UsageError
from respaldo.language import _, choose_language
from respaldo.operations.fleet import JobBackup
from respaldo.operations.fleet_jobs import back_up_by_job
from respaldo.schedule.cronjob import Surroundings

if TYPE_CHECKING:
    from respaldo.environments.base import Environment
    from respaldo.environments.kubernetes import KubernetesEnvironment
    from respaldo.postgres.server import Server

#: Where the image has the repository.
REPOSITORY = "/backups"
#: What holds for a Job as it does for us.
_PASSED_ON = frozenset({
    "user", "jobs", "lock_timeout_s", "full_every_days", "incrementals_per_full", "largest_share",
    "retention_daily", "retention_weekly", "retention_monthly", "retention_full", "time_zone",
})  # fmt: skip
#: What is done on the machine that runs respaldo: a Job is another.
_NOT_PASSED_ON = ("pre_hook", "post_hook", "pre_sql", "post_sql")


def plan_jobs(
    app: App, environment: Environment, fleet: FleetFlags, asked: str | None
) -> Callable[[Server, str], JobBackup]:
    """Return what backs up one database of a server by a Job; raise UsageError for what no Job can be told."""
    from respaldo.environments.kubernetes_jobs import ClusterJobs

    settings = app.settings
    if environment.name != "kubernetes":
        raise UsageError(
            _("--as-jobs is for Kubernetes, and this is {environment}").format(environment=environment.name),
            hint=_("leave it out, or say --environment kubernetes"),
        )
    for one in fields(settings):
        if one.name in _NOT_PASSED_ON and getattr(settings, one.name) is not None:
            raise UsageError(
                _("{first} and {second} contradict each other").format(
                    first="--as-jobs", second=one.metadata["flag"] or one.metadata["variables"][0]
                ),
                hint=_("hooks are not handed to Jobs"),
            )
    if settings.password is not None and fleet.job_secret is None:
        raise UsageError(
            _("the password in RESPALDO_PASSWORD is not written into a Job, where others could read it"),
            hint=_("keep it in a Secret, under the key RESPALDO_PASSWORD, and name that with --job-secret"),
        )
    api, namespace = cast("KubernetesEnvironment", environment).place()
    jobs = ClusterJobs(api, namespace)
    around = Surroundings(
        image=fleet.job_image,
        claim=fleet.job_claim,
        account=fleet.job_account,
        secret=fleet.job_secret,
        variables={"BACKUP_DIR": REPOSITORY, "RESPALDO_LANG": choose_language(os.environ), **_variables(settings)},
    )

    def back_up(server: Server, database: str) -> JobBackup:
        place, pod, container = server.runner.instance.id.split("/")
        command = ["--quiet", "backup", "--environment", "kubernetes", "--namespace", place, "--pod", pod]
        command += ["--k8s-container", container, "--database", database, "--type", asked or "auto", "--json"]
        return back_up_by_job(jobs, command, around)

    return back_up


def _variables(settings: Settings) -> dict[str, str]:
    """Return the settings that a Job shares with us and that are not as they are by themselves."""
    return {
        one.metadata["variables"][0]: str(getattr(settings, one.name))
        for one in fields(settings)
        if one.name in _PASSED_ON and getattr(settings, one.name) != one.default
    }
