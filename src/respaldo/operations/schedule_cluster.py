"""Schedules in a Kubernetes cluster: its CronJobs with our label are the only record of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from respaldo.environments.kubernetes_api import Api, ApiRefusedError
from respaldo.operations.schedules import already_scheduled, no_schedule
from respaldo.schedule.cronjob import LABELS, read_command

MANAGER: Final = "respaldo"


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterSchedule:
    """A CronJob as the cluster has it. Times are the API's text; None where it never ran, or never well."""

    name: str
    expression: str
    time_zone: str | None
    command: tuple[str, ...]
    is_suspended: bool
    last: str | None
    last_success: str | None


class ClusterSchedules:
    """The schedules of one namespace."""

    def __init__(self, api: Api, namespace: str) -> None:
        self._api = api
        self.namespace = namespace
        self._path = f"/apis/batch/v1/namespaces/{namespace}/cronjobs"

    def list(self) -> list[ClusterSchedule]:
        """Return the schedules of the namespace by name."""
        selector = ",".join(f"{key}={value}" for key, value in LABELS.items())
        items = self._api.list(self._path, [("labelSelector", selector)])
        return sorted(map(_parse, items), key=lambda one: one.name)

    def put(self, document: Mapping[str, Any], *, replace: bool) -> None:
        """Create a CronJob; raise UsageError where one of that name is there, unless it is to be replaced. It is as it
        was where the cluster does not take the new one."""
        name = document["metadata"]["name"]
        query = [("fieldManager", MANAGER)]
        if replace:
            # Whole, in one request. Applying would leave what only the old one had: a Secret, a variable, a suspension.
            whole = [
                {"op": "replace", "path": "/spec", "value": document["spec"]},
                {"op": "add", "path": "/metadata/labels", "value": document["metadata"]["labels"]},
            ]
            try:
                self._api.send("PATCH", f"{self._path}/{name}", whole, query)
            except ApiRefusedError as error:
                if error.status != 404:
                    raise
            else:
                return
        try:
            self._api.send("POST", self._path, document, query)
        except ApiRefusedError as error:
            if error.status == 409:
                raise already_scheduled(name) from error
            raise

    def remove(self, name: str) -> None:
        """Remove a schedule; a run of it that is under way ends with it. Raise UsageError where there is none."""
        there = [one.name for one in self.list()]
        if name not in there:
            raise no_schedule(name, there)
        try:
            self._api.send("DELETE", f"{self._path}/{name}", query=[("propagationPolicy", "Background")])
        except ApiRefusedError as error:
            if error.status != 404:
                raise


def _parse(item: Mapping[str, Any]) -> ClusterSchedule:
    spec, status = item["spec"], item.get("status") or {}
    return ClusterSchedule(
        name=item["metadata"]["name"],
        expression=spec["schedule"],
        time_zone=spec.get("timeZone"),
        command=read_command(item),
        is_suspended=bool(spec.get("suspend")),
        last=status.get("lastScheduleTime"),
        last_success=status.get("lastSuccessfulTime"),
    )
