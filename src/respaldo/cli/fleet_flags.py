"""The flags of ``respaldo backup`` that mean many targets, as one record."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import wraps
from typing import Any, TypeVar

import click

from respaldo import __version__
from respaldo.errors import UsageError
from respaldo.language import _

Command = TypeVar("Command", bound=Callable[..., Any])
AT_ONCE = 2
JOBS_AT_ONCE = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class FleetFlags:
    """Which targets, how many of them at once, and whether Jobs of the cluster do the work."""

    every_instance: bool = False
    all_databases: bool = False
    at_once: int | None = None
    as_jobs: bool = False
    job_image: str = f"respaldo:{__version__}"
    job_claim: str = "respaldo-backups"
    job_account: str = "respaldo-fleet-job"
    job_secret: str | None = None

    @property
    def is_meant(self) -> bool:
        return self.every_instance or self.all_databases

    @property
    def name(self) -> str:
        """The flag that a person gave."""
        return "--all" if self.every_instance else "--all-databases"

    @property
    def limit(self) -> int:
        """How many targets are backed up at once."""
        return self.at_once or (JOBS_AT_ONCE if self.as_jobs else AT_ONCE)


def fleet_options(command: Command) -> Command:
    """Add the flags; the command receives one ``fleet``."""

    @wraps(command)
    def with_fleet(**values: Any) -> Any:
        given = {name: values.pop(name) for name in FleetFlags.__dataclass_fields__}
        fleet = FleetFlags(**given)
        if not fleet.is_meant and (fleet.as_jobs or fleet.at_once):
            raise UsageError(
                _("{first} takes {second}").format(
                    first="--as-jobs" if fleet.as_jobs else "--at-once", second="--all / --all-databases"
                ),
                hint=_("one target alone needs neither"),
            )
        return command(fleet=fleet, **values)

    defaults = FleetFlags()
    for option in (
        click.option("--job-secret", metavar="NAME", help=_("a Secret whose keys become variables of the Jobs")),
        click.option(
            "--job-account",
            metavar="NAME",
            default=defaults.job_account,
            help=_("service account of the Jobs [default: {value}]").format(value=defaults.job_account),
        ),
        click.option(
            "--job-claim",
            metavar="NAME",
            default=defaults.job_claim,
            help=_("claim of the volume with the repository [default: {value}]").format(value=defaults.job_claim),
        ),
        click.option(
            "--job-image",
            metavar="IMAGE",
            default=defaults.job_image,
            help=_("image of the Jobs [default: {value}]").format(value=defaults.job_image),
        ),
        click.option(
            "--as-jobs", is_flag=True, help=_("a Kubernetes Job for each target, so that many nodes share them")
        ),
        click.option(
            "--at-once",
            metavar="N",
            type=click.IntRange(1, 1000),
            help=_("targets at once [default: {alone}, with --as-jobs {jobs}]").format(
                alone=AT_ONCE, jobs=JOBS_AT_ONCE
            ),
        ),
        click.option("--all-databases", is_flag=True, help=_("every database of the instance")),
        click.option("--all", "every_instance", is_flag=True, help=_("every database of every instance that is found")),
    ):
        with_fleet = option(with_fleet)
    return with_fleet  # type: ignore[return-value]  # click's decorators keep what they decorate
