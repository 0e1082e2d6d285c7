"""A schedule: what runs when, and what starts it; and the line of the program that it starts."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Final

from respaldo.errors import UsageError
from respaldo.language import _
from respaldo.schedule.expression import CronExpression

LONGEST_NAME: Final = 52
"""What Kubernetes leaves a CronJob: its Jobs append 11 characters to the 63 of a DNS label."""
ALWAYS: Final = datetime(1970, 1, 1, tzinfo=UTC)
"""When a schedule was made that stands in a command line, and so is given anew at each start."""
_NAME: Final = re.compile(r"[a-z0-9](?:[-a-z0-9]*[a-z0-9])?")


class Trigger(StrEnum):
    """What starts the runs of a schedule."""

    CRONTAB = "crontab"
    SYSTEMD = "systemd"
    KUBERNETES = "kubernetes"
    SERVE = "serve"


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """What runs when. ``command``: the words after ``respaldo``; ``time_zone``: None for that of the machine;
    ``jitter_s``: a run may begin so many seconds late."""

    name: str
    expression: CronExpression
    command: tuple[str, ...]
    trigger: Trigger
    created: datetime
    time_zone: str | None = None
    jitter_s: int = 0

    @property
    def title(self) -> str:
        """The schedule as a comment names it."""
        return f"{self.name}: {' '.join(self.command)}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Launch:
    """How a machine starts the program with nothing of a person's session there: absolute paths, and the variables that
    it needs. Secrets are not among them."""

    argv: tuple[str, ...]
    directory: Path
    variables: Mapping[str, str] = field(default_factory=dict)
    output: Path


def check_name(name: str) -> str:
    """Return a schedule's name; raise UsageError for one that cron, systemd or Kubernetes would not take."""
    if len(name) > LONGEST_NAME or not _NAME.fullmatch(name):
        raise UsageError(
            _("{name!r} cannot be the name of a schedule").format(name=name),
            hint=_("lower-case letters a to z, digits and hyphens, at most {count}: Kubernetes takes no other").format(
                count=LONGEST_NAME
            ),
        )
    return name
