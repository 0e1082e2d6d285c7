"""Every setting, declared once; a flag wins over an environment variable, that over the default."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from datetime import timedelta
from typing import Any, Self
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from respaldo.errors import UsageError
from respaldo.language import N_, _


def _text(value: str) -> str:
    return value


def _whole(least: int, most: int = 1_000_000) -> Callable[[str], int]:
    def parse(value: str) -> int:
        number = int(value)
        if not least <= number <= most:
            raise ValueError
        return number

    return parse


def _truth(value: str) -> bool:
    if value.lower() not in {"1", "true", "yes", "on", "0", "false", "no", "off"}:
        raise ValueError
    return value.lower() in {"1", "true", "yes", "on"}


def _share(value: str) -> float:
    number = float(value)
    if not 0 < number <= 10:
        raise ValueError
    return number


def _zone(value: str) -> str:
    try:
        return ZoneInfo(value).key
    except (ZoneInfoNotFoundError, OSError) as error:
        raise ValueError(value) from error


def _labels(value: str) -> Mapping[str, str]:
    pairs = [pair.partition("=") for pair in value.split(",")]
    if not all(key and equals for key, equals, _value in pairs):
        raise ValueError
    return {key: text for key, _equals, text in pairs}


def _setting(
    default: Any,
    parse: Callable[[str], Any],
    *variables: str,
    flag: str | None,
    kind: str,
    summary: str,
    shown: str | None = None,
) -> Any:
    """Declare a setting. ``kind`` is the word that stands for its value in help; ``summary`` is a gettext message, as
    is ``shown``, which stands for a default that the machine decides."""
    metadata = {"parse": parse, "variables": variables, "flag": flag, "kind": kind, "summary": summary, "shown": shown}
    return field(default=default, metadata=metadata)


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """The values of one run. ``password`` has no flag: a command line is visible to every user of the machine."""

    repository: str = _setting(
        "backups", _text, "BACKUP_DIR", flag="--repository", kind="DIR", summary=N_("directory of the repository")
    )
    environment: str = _setting(
        "auto",
        _text,
        "RESPALDO_ENVIRONMENT",
        flag="--environment",
        kind="NAME",
        summary=N_("where PostgreSQL runs: docker, kubernetes, local, auto"),
    )
    container: str | None = _setting(
        None,
        _text,
        "POSTGRES_CONTAINER",
        "CONTAINER_NAME",
        flag="--container",
        kind="NAME",
        summary=N_("container that runs PostgreSQL"),
    )
    pod: str | None = _setting(
        None,
        _text,
        "POD_NAME",
        flag="--pod",
        kind="NAME",
        summary=N_("pod that runs PostgreSQL, or its StatefulSet, Deployment or cluster"),
    )
    namespace: str | None = _setting(
        None,
        _text,
        "NAMESPACE",
        "KUBE_NAMESPACE",
        flag="--namespace",
        kind="NAME",
        summary=N_("Kubernetes namespace to look in"),
    )
    all_namespaces: bool = _setting(
        False,
        _truth,
        "RESPALDO_ALL_NAMESPACES",
        flag="--all-namespaces",
        kind="",
        summary=N_("look in every namespace of the cluster"),
    )
    k8s_container: str | None = _setting(
        None,
        _text,
        "RESPALDO_K8S_CONTAINER",
        flag="--k8s-container",
        kind="NAME",
        summary=N_("container of the pod that runs PostgreSQL"),
    )
    context: str | None = _setting(
        None,
        _text,
        "RESPALDO_CONTEXT",
        flag="--context",
        kind="NAME",
        summary=N_("context of the kubeconfig, whose path is in KUBECONFIG"),
    )
    labels: Mapping[str, str] | None = _setting(
        None,
        _labels,
        "RESPALDO_LABELS",
        flag="--labels",
        kind="K=V[,K=V]",
        summary=N_("labels that the container or the pod has"),
    )
    host: str | None = _setting(
        None,
        _text,
        "RESPALDO_HOST",
        flag="--host",
        kind="HOST",
        summary=N_("host or socket directory of a local server"),
    )
    port: int | None = _setting(
        None, _whole(1, 65535), "RESPALDO_PORT", flag="--port", kind="PORT", summary=N_("port of a local server")
    )
    database: str | None = _setting(
        None, _text, "RESPALDO_DATABASE", flag="--database", kind="NAME", summary=N_("database to back up")
    )
    user: str | None = _setting(
        None, _text, "RESPALDO_USER", flag="--user", kind="NAME", summary=N_("role to connect as")
    )
    password: str | None = field(
        default=None,
        repr=False,
        metadata={
            "parse": _text,
            "variables": ("RESPALDO_PASSWORD",),
            "flag": None,
            "kind": "TEXT",
            "summary": N_("password of that role"),
        },
    )
    jobs: int = _setting(
        max(2, min(4, os.cpu_count() or 2)),
        _whole(1, 256),
        "RESPALDO_JOBS",
        flag="--jobs",
        kind="N",
        summary=N_("sessions that read or load at once"),
        shown=N_("the machine's cores, 2 to 4"),
    )
    lock_timeout_s: int = _setting(
        30,
        _whole(1),
        "RESPALDO_LOCK_TIMEOUT",
        flag="--lock-timeout",
        kind="SECONDS",
        summary=N_("how long to wait for a table that is being altered"),
    )
    full_every_days: int = _setting(
        7,
        _whole(1),
        "RESPALDO_FULL_EVERY_DAYS",
        flag="--full-every-days",
        kind="N",
        summary=N_("age at which a full is too old for incrementals"),
    )
    incrementals_per_full: int = _setting(
        5,
        _whole(0),
        "RESPALDO_INCREMENTALS_PER_FULL",
        flag="--incrementals-per-full",
        kind="N",
        summary=N_("incrementals that may use one full"),
    )
    largest_share: float = _setting(
        0.6,
        _share,
        "RESPALDO_LARGEST_SHARE",
        flag="--largest-share",
        kind="SHARE",
        summary=N_("size of an incremental, as a part of its full, past which a full follows"),
    )

    retention_daily: int = _setting(
        7, _whole(0), "RETENTION_DAILY", flag="--retention-daily", kind="N", summary=N_("daily backups to keep")
    )
    retention_weekly: int = _setting(
        4, _whole(0), "RETENTION_WEEKLY", flag="--retention-weekly", kind="N", summary=N_("weekly backups to keep")
    )
    retention_monthly: int = _setting(
        12, _whole(0), "RETENTION_MONTHLY", flag="--retention-monthly", kind="N", summary=N_("monthly backups to keep")
    )
    retention_full: int = _setting(
        3, _whole(0), "RETENTION_FULL", flag="--retention-full", kind="N", summary=N_("full backups to keep")
    )
    rpo_objective_h: int = _setting(
        24,
        _whole(1),
        "RESPALDO_RPO",
        flag="--rpo-objective",
        kind="HOURS",
        summary=N_("hours that the newest backup may be old"),
    )
    rto_objective_s: int = _setting(
        300,
        _whole(1),
        "RESPALDO_RTO",
        flag="--rto-objective",
        kind="SECONDS",
        summary=N_("seconds within which a recovery should be done"),
    )
    time_zone: str | None = _setting(
        None,
        _zone,
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
    def full_every(self) -> timedelta:
        return timedelta(days=self.full_every_days)

    @classmethod
    def load(cls, flags: Mapping[str, Any], variables: Mapping[str, str]) -> Self:
        """Return the settings of a run. ``flags``: values as text, by the setting's name, None where not given.

        Raise UsageError naming the flag or the variable whose value cannot be meant.
        """
        values = {}
        for one in fields(cls):
            flag = flags.get(one.name)
            name = next((name for name in one.metadata["variables"] if variables.get(name)), "")
            text = flag if flag is not None else variables.get(name)
            if text is not None:
                values[one.name] = _parse(one.metadata, text, one.metadata["flag"] if flag is not None else name)
        return cls(**values)


def secret_variables() -> tuple[str, ...]:
    """Return the environment variables whose values are secrets: those of the settings that ``repr`` leaves out."""
    return tuple(name for one in fields(Settings) if not one.repr for name in one.metadata["variables"])


def _parse(metadata: Mapping[str, Any], text: str, origin: str) -> Any:
    try:
        return metadata["parse"](str(text))
    except ValueError as error:
        raise UsageError(
            _("{origin}: {value} is not a valid value").format(origin=origin, value=text),
            hint=_("it is the {summary}").format(summary=_(metadata["summary"])),
        ) from error
