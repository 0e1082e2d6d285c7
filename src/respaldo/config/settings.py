"""Every setting, declared once; a flag wins over an environment variable, that over the default."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, fields
from datetime import timedelta
from pathlib import Path
from typing import Any, Self
from zoneinfo import ZoneInfo

from respaldo.config.declaring import (
    parse_labels,
    parse_share,
    parse_text,
    parse_truth,
    parse_whole,
    parse_zone,
    secret,
    setting,
)
from respaldo.config.telling import TellingSettings
from respaldo.errors import UsageError
from respaldo.language import N_, _

MAX_SECRET_BYTES = 64 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings(TellingSettings):
    """The values of one run. A secret has no flag: a command line is visible to every user of the machine."""

    repository: str = setting(
        "backups", parse_text, "BACKUP_DIR", flag="--repository", kind="DIR", summary=N_("directory of the repository")
    )
    environment: str = setting(
        "auto",
        parse_text,
        "RESPALDO_ENVIRONMENT",
        flag="--environment",
        kind="NAME",
        summary=N_("where PostgreSQL runs: docker, kubernetes, local, auto"),
    )
    container: str | None = setting(
        None,
        parse_text,
        "POSTGRES_CONTAINER",
        "CONTAINER_NAME",
        flag="--container",
        kind="NAME",
        summary=N_("container that runs PostgreSQL"),
    )
    pod: str | None = setting(
        None,
        parse_text,
        "POD_NAME",
        flag="--pod",
        kind="NAME",
        summary=N_("pod that runs PostgreSQL, or its StatefulSet, Deployment or cluster"),
    )
    namespace: str | None = setting(
        None,
        parse_text,
        "NAMESPACE",
        "KUBE_NAMESPACE",
        flag="--namespace",
        kind="NAME",
        summary=N_("Kubernetes namespace to look in"),
    )
    all_namespaces: bool = setting(
        False,
        parse_truth,
        "RESPALDO_ALL_NAMESPACES",
        flag="--all-namespaces",
        kind="",
        summary=N_("look in every namespace of the cluster"),
    )
    k8s_container: str | None = setting(
        None,
        parse_text,
        "RESPALDO_K8S_CONTAINER",
        flag="--k8s-container",
        kind="NAME",
        summary=N_("container of the pod that runs PostgreSQL"),
    )
    context: str | None = setting(
        None,
        parse_text,
        "RESPALDO_CONTEXT",
        flag="--context",
        kind="NAME",
        summary=N_("context of the kubeconfig, whose path is in KUBECONFIG"),
    )
    labels: Mapping[str, str] | None = setting(
        None,
        parse_labels,
        "RESPALDO_LABELS",
        flag="--labels",
        kind="K=V[,K=V]",
        summary=N_("labels that the container or the pod has"),
    )
    standby: bool = setting(
        False,
        parse_truth,
        "RESPALDO_STANDBY",
        flag="--standby",
        kind="",
        summary=N_("of replicas read a standby, its replay held meanwhile, instead of the primary"),
    )
    host: str | None = setting(
        None,
        parse_text,
        "RESPALDO_HOST",
        flag="--host",
        kind="HOST",
        summary=N_("host or socket directory of a local server"),
    )
    port: int | None = setting(
        None, parse_whole(1, 65535), "RESPALDO_PORT", flag="--port", kind="PORT", summary=N_("port of a local server")
    )
    database: str | None = setting(
        None, parse_text, "RESPALDO_DATABASE", flag="--database", kind="NAME", summary=N_("database to back up")
    )
    user: str | None = setting(
        None, parse_text, "RESPALDO_USER", flag="--user", kind="NAME", summary=N_("role to connect as")
    )
    password: str | None = secret("RESPALDO_PASSWORD", kind="TEXT", summary=N_("password of that role"))
    jobs: int = setting(
        max(2, min(4, os.cpu_count() or 2)),
        parse_whole(1, 256),
        "RESPALDO_JOBS",
        flag="--jobs",
        kind="N",
        summary=N_("sessions that read or load at once"),
        shown=N_("the machine's cores, 2 to 4"),
    )
    lock_timeout_s: int = setting(
        30,
        parse_whole(1),
        "RESPALDO_LOCK_TIMEOUT",
        flag="--lock-timeout",
        kind="SECONDS",
        summary=N_("how long to wait for a table that is being altered"),
    )
    full_every_days: int = setting(
        7,
        parse_whole(1),
        "RESPALDO_FULL_EVERY_DAYS",
        flag="--full-every-days",
        kind="N",
        summary=N_("age at which a full is too old for incrementals"),
    )
    incrementals_per_full: int = setting(
        5,
        parse_whole(0),
        "RESPALDO_INCREMENTALS_PER_FULL",
        flag="--incrementals-per-full",
        kind="N",
        summary=N_("incrementals that may use one full"),
    )
    largest_share: float = setting(
        0.6,
        parse_share,
        "RESPALDO_LARGEST_SHARE",
        flag="--largest-share",
        kind="SHARE",
        summary=N_("size of an incremental, as a part of its full, past which a full follows"),
    )

    retention_daily: int = setting(
        7, parse_whole(0), "RETENTION_DAILY", flag="--retention-daily", kind="N", summary=N_("daily backups to keep")
    )
    retention_weekly: int = setting(
        4, parse_whole(0), "RETENTION_WEEKLY", flag="--retention-weekly", kind="N", summary=N_("weekly backups to keep")
    )
    retention_monthly: int = setting(
        12,
        parse_whole(0),
        "RETENTION_MONTHLY",
        flag="--retention-monthly",
        kind="N",
        summary=N_("monthly backups to keep"),
    )
    retention_full: int = setting(
        3, parse_whole(0), "RETENTION_FULL", flag="--retention-full", kind="N", summary=N_("full backups to keep")
    )
    rpo_objective_h: int = setting(
        24,
        parse_whole(1),
        "RESPALDO_RPO",
        flag="--rpo-objective",
        kind="HOURS",
        summary=N_("hours that the newest backup may be old"),
    )
    rto_objective_s: int = setting(
        300,
        parse_whole(1),
        "RESPALDO_RTO",
        flag="--rto-objective",
        kind="SECONDS",
        summary=N_("seconds within which a recovery should be done"),
    )
    time_zone: str | None = setting(
        None,
        parse_zone,
        "RESPALDO_TIME_ZONE",
        flag="--time-zone",
        kind="ZONE",
        summary=N_("time zone of days, weeks and months"),
        shown=N_("that of the machine"),
    )

    @property
    def zone(self) -> ZoneInfo | None:
        """The time zone of days, weeks and months; None for the machine's."""
        return ZoneInfo(self.time_zone) if self.time_zone else None

    @property
    def names_an_instance(self) -> bool:
        """Whether a person said which server is meant, and not only where to look."""
        return (self.container, self.pod, self.labels, self.host) != (None,) * 4

    @property
    def full_every(self) -> timedelta:
        return timedelta(days=self.full_every_days)

    @classmethod
    def load(cls, flags: Mapping[str, Any], variables: Mapping[str, str]) -> Self:
        """Return the settings of a run. ``flags``: values as text, by the setting's name, None where not given.

        Raise UsageError naming the flag or the variable whose value cannot be meant.
        """
        settings, error = cls.load_usable(flags, variables)
        if error is not None:
            raise error
        return settings

    @classmethod
    def load_usable(cls, flags: Mapping[str, Any], variables: Mapping[str, str]) -> tuple[Self, UsageError | None]:
        """Return the settings, those that cannot be meant at their defaults, and the first error, for whoever tells."""
        values, first = {}, None
        for one in fields(cls):
            flag = flags.get(one.name)
            try:
                text, name = (flag, one.metadata["flag"]) if flag is not None else _variable(one.metadata, variables)
                if text is not None:
                    values[one.name] = _parse(one.metadata, text, name)
            except UsageError as error:
                first = first or error
        return cls(**values), first

    def secrets(self) -> list[str]:
        """Return the values that no log, message or error may hold."""
        values = [getattr(self, one.name) for one in fields(self) if one.metadata["is_secret"]]
        return [text for value in values if value for text in ([value] if isinstance(value, str) else value)]


def _variable(metadata: Mapping[str, Any], variables: Mapping[str, str]) -> tuple[str | None, str]:
    """Return the first variable's value that is set, and its name; for a secret, ``NAME_FILE`` names a file with it."""
    for name in metadata["variables"]:
        if variables.get(name):
            return variables[name], name
        if metadata["is_secret"] and variables.get(f"{name}_FILE"):
            return _read_secret(f"{name}_FILE", Path(variables[f"{name}_FILE"])), f"{name}_FILE"
    return None, ""


def _read_secret(name: str, path: Path) -> str:
    try:
        with path.open("rb") as file:
            data = file.read(MAX_SECRET_BYTES + 1)
        if len(data) > MAX_SECRET_BYTES:
            raise ValueError
        return data.decode().rstrip("\r\n")
    except (OSError, ValueError) as error:
        raise UsageError(
            _("{origin}: the file {path} cannot be read").format(origin=name, path=path),
            hint=_("it holds the secret and nothing else, and this user may read it"),
        ) from error


def secret_variables() -> tuple[str, ...]:
    """Return the environment variables whose values are secrets: those of the settings that ``repr`` leaves out."""
    return tuple(name for one in fields(Settings) if not one.repr for name in one.metadata["variables"])


def _parse(metadata: Mapping[str, Any], text: str, origin: str) -> Any:
    try:
        return metadata["parse"](str(text))
    except ValueError as error:
        raise UsageError(
            _("{origin}: {value} is not a valid value").format(
                origin=origin, value="***" if metadata["is_secret"] else text
            ),
            hint=_("what it means: {summary}").format(summary=_(metadata["summary"])),
        ) from (None if metadata["is_secret"] else error)
