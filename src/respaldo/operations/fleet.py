"""Many targets at once: one's failure does not stop the others, and none is left out in silence."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from respaldo.errors import RespaldoError
from respaldo.operations.anomalies import Anomaly
from respaldo.repository.records import Manifest, TargetPath
from respaldo.repository.repository import Repository


@dataclass(frozen=True, slots=True, kw_only=True)
class FleetBackup:
    """A committed backup. ``failures``: what did not work after it, a hook or retention; ``warnings``: the rest of what
    a person should know."""

    manifest: Manifest
    warnings: tuple[str, ...] = ()
    failures: tuple[str, ...] = ()
    anomalies: tuple[Anomaly, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class JobBackup:
    """A backup that a Job of a cluster has committed, where its manifest may be out of our reach. ``document``: the
    JSON that it printed; ``failures`` as a ``FleetBackup`` has them."""

    name: str
    type: str
    stored_bytes: int
    document: str
    failures: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class FleetTask:
    """One target by the name that a person knows, and what backs it up. Tasks of one instance share ``instance``."""

    instance: str
    database: str
    run: Callable[[], FleetBackup | JobBackup]


@dataclass(frozen=True, slots=True, kw_only=True)
class FleetResult:
    """What came of one target: exactly one of ``backup``, ``job`` and ``error``."""

    instance: str
    database: str
    backup: FleetBackup | None = None
    job: JobBackup | None = None
    error: RespaldoError | None = None

    @property
    def manifest(self) -> Manifest | None:
        return self.backup.manifest if self.backup else None


def run_fleet(
    tasks: Iterable[FleetTask], *, at_once: int, told: Callable[[FleetResult], None]
) -> Sequence[FleetResult]:
    """Run every task, ``at_once`` of them at a time, and return their results in the tasks' order.

    ``told`` hears of each as it ends. An interrupt lets those that run end their own way and starts no other.
    """

    def run(task: FleetTask) -> FleetResult:
        try:
            made = task.run()
            result = FleetResult(
                instance=task.instance,
                database=task.database,
                backup=made if isinstance(made, FleetBackup) else None,
                job=made if isinstance(made, JobBackup) else None,
            )
        except RespaldoError as error:
            result = FleetResult(instance=task.instance, database=task.database, error=error)
        told(result)
        return result

    pool = ThreadPoolExecutor(at_once, thread_name_prefix="respaldo-fleet")
    try:
        return list(pool.map(run, list(tasks)))
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def find_missing(
    repository: Repository,
    environment: str,
    found: Mapping[str, Collection[str] | None],
    *,
    sees_all: bool,
    retired: Collection[str],
) -> list[TargetPath]:
    """Return the targets that were backed up in an environment and are not there any more; not ``postgres``, which is
    left out where it is empty. ``found``: the databases of each instance, None where they were not asked for;
    ``sees_all``: an instance that was not found is none."""
    missing = []
    for target in repository.targets():
        databases = found.get(target.instance, () if sees_all else None)
        if databases is None or target.database in {*databases, "postgres"} or str(target) in retired:
            continue
        manifests = repository.backups(target).manifests
        if manifests and manifests[-1].environment == environment:
            missing.append(target)
    return missing
