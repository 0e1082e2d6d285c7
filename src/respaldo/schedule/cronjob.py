"""A schedule as a CronJob of Kubernetes: the document of ``deploy/kubernetes/cronjob.yaml``, with other values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from respaldo.errors import DONE_WITH_WARNINGS, UsageError
from respaldo.schedule.plan import Schedule

LABELS: Final = {"app.kubernetes.io/name": "respaldo"}
USER: Final = 65532
"""The user of deploy/image/Dockerfile."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """What the pod of a CronJob or a Job is given: the names of an image, a claim, an account, and a Secret whose keys
    become its variables. ``variables`` stand in the manifest for all to read."""

    image: str
    claim: str = "respaldo-backups"
    account: str = "respaldo"
    secret: str | None = None
    variables: Mapping[str, str] = field(default_factory=dict)


def write_cronjob(schedule: Schedule, surroundings: Surroundings) -> dict[str, Any]:
    """Return the CronJob. It says its command itself: the document of schedules lies where no machine but its pod sees
    it."""
    command = ["schedule", "run", schedule.name, "--", *schedule.command]
    spec: dict[str, Any] = {"schedule": schedule.expression.text}
    if schedule.time_zone:
        spec["timeZone"] = schedule.time_zone
    spec |= {
        "concurrencyPolicy": "Forbid",
        # The hour within which a run that the cluster missed is made up for.
        "startingDeadlineSeconds": 3600,
        "successfulJobsHistoryLimit": 3,
        "failedJobsHistoryLimit": 3,
        "jobTemplate": {
            "spec": {
                "backoffLimit": 2,
                # Done with warnings, or wrong use: the same again would be a second backup, or fail as before.
                "podFailurePolicy": {
                    "rules": [
                        {
                            "action": "FailJob",
                            "onExitCodes": {
                                "containerName": "respaldo",
                                "operator": "In",
                                "values": [UsageError.exit_code, DONE_WITH_WARNINGS],
                            },
                        }
                    ]
                },
                "template": {"metadata": {"labels": dict(LABELS)}, "spec": write_pod(command, surroundings)},
            }
        },
    }
    return {
        "apiVersion": "batch/v1",
        "kind": "CronJob",
        "metadata": {"name": schedule.name, "labels": dict(LABELS)},
        "spec": spec,
    }


def read_command(document: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the words after ``respaldo`` that a CronJob runs; none for one that is not as we write it."""
    containers = document["spec"]["jobTemplate"]["spec"]["template"]["spec"].get("containers") or [{}]
    words = [str(word) for word in containers[0].get("args") or []]
    return tuple(words[words.index("--") + 1 :] if "--" in words else words)


def write_pod(command: Sequence[str], surroundings: Surroundings) -> dict[str, Any]:
    """Return the specification of a pod that runs one command of respaldo's, as nobody and with no capability."""
    container: dict[str, Any] = {
        "name": "respaldo",
        "image": surroundings.image,
        "imagePullPolicy": "IfNotPresent",
        "args": list(command),
        "env": [{"name": name, "value": value} for name, value in surroundings.variables.items()],
    }
    if surroundings.secret:
        container["envFrom"] = [{"secretRef": {"name": surroundings.secret}}]
    container |= {
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
        "resources": {"requests": {"cpu": "250m", "memory": "256Mi"}, "limits": {"memory": "1Gi"}},
        "volumeMounts": [{"name": "backups", "mountPath": "/backups"}, {"name": "tmp", "mountPath": "/tmp"}],
    }
    return {
        "serviceAccountName": surroundings.account,
        "restartPolicy": "Never",
        # Ending a backup is more than killing a process: what it runs beside the server comes to an end of its own.
        "terminationGracePeriodSeconds": 120,
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": USER,
            "runAsGroup": USER,
            "fsGroup": USER,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "containers": [container],
        "volumes": [
            {"name": "backups", "persistentVolumeClaim": {"claimName": surroundings.claim}},
            {"name": "tmp", "emptyDir": {}},
        ],
    }
