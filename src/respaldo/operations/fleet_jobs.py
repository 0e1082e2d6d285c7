"""One target of a fleet backed up by a Kubernetes Job: its document, and what its end tells."""

from __future__ import annotations

import json
import re
import secrets
from collections.abc import Sequence
from typing import Any, Final

from respaldo.environments.kubernetes_jobs import ClusterJobs, JobEnd
from respaldo.errors import DONE_WITH_WARNINGS, EnvironmentFailedError, RespaldoError
from respaldo.language import _
from respaldo.operations.fleet import JobBackup
from respaldo.schedule.cronjob import LABELS as OURS
from respaldo.schedule.cronjob import Surroundings, write_pod

LABELS: Final = {**OURS, "app.kubernetes.io/component": "fleet"}
#: Of a Job that nobody came back for, an hour after its end.
KEPT_S: Final = 3600


def write_job(name: str, command: Sequence[str], around: Surroundings) -> dict[str, Any]:
    """Return the Job: one pod, tried once, and again only where the cluster itself took the pod away."""
    disrupted = {"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]}
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": name, "labels": LABELS},
        "spec": {
            "backoffLimit": 0,
            "podFailurePolicy": {"rules": [disrupted]},
            "ttlSecondsAfterFinished": KEPT_S,
            "template": {"metadata": {"labels": LABELS}, "spec": write_pod(command, around)},
        },
    }


def back_up_by_job(jobs: ClusterJobs, command: Sequence[str], around: Surroundings) -> JobBackup:
    """Back one target up by a Job; raise what it failed with."""
    name = f"respaldo-fleet-{secrets.token_hex(6)}"
    return read_job_end(jobs.run(write_job(name, command, around)))


def read_job_end(end: JobEnd) -> JobBackup:
    """Return the backup that a Job tells of; raise RespaldoError with what it said where it failed."""
    if end.status not in {0, DONE_WITH_WARNINGS}:
        raise _failure(end)
    found = re.search(r"^\{$.*^\}$", end.said, re.MULTILINE | re.DOTALL)
    if found is None:
        raise RespaldoError(_("the Job ended well, and what it printed cannot be read"))
    document = json.loads(found[0])
    failures = (_("done with warnings; see its record"),) if end.status else ()
    return JobBackup(
        name=document["name"],
        type=document["type"],
        stored_bytes=document["stored_bytes"],
        document=found[0],
        failures=failures,
    )


def _failure(end: JobEnd) -> RespaldoError:
    if end.status is None:
        return EnvironmentFailedError(_("the Job was lost: {reason}").format(reason=end.reason or "?"))
    # As the program itself says errors, in the language that the Job was given: ours.
    error, hint = _("error: {message}").format(message=""), _("hint: {hint}").format(hint="")
    _before, is_told, told = end.said.partition(error)
    message, _mark, advice = told.partition(f"\n{hint}")
    if not is_told:
        lines = end.said.strip().splitlines()
        message = _("the Job ended with {status}: {reason}").format(
            status=end.status, reason=lines[-1] if lines else end.reason
        )
    return RespaldoError(message.strip(), hint=advice.strip() or None)
