"""Builds the objects of a run from its settings: the only place that knows everything."""

from __future__ import annotations

import hashlib
import os
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from respaldo.clock import Clock, SystemClock
from respaldo.config.settings import Settings
from respaldo.environments.base import Environment, Instance, InstanceQuery
from respaldo.events import InstanceFound, Listener
from respaldo.repository.records import Manifest, TargetPath
from respaldo.repository.repository import Repository
from respaldo.storage.base import Storage
from respaldo.storage.directory import DirectoryStorage

if TYPE_CHECKING:
    from respaldo.catalog.retention import RetentionPolicy
    from respaldo.catalog.strategy import StrategyPolicy
    from respaldo.operations.announcing import Announcer
    from respaldo.operations.backup import BackupRequest
    from respaldo.operations.hooks import Hooks
    from respaldo.operations.source import Source
    from respaldo.operations.status import TargetStatus
    from respaldo.operations.summary import SummaryPolicy
    from respaldo.postgres.connection import ConnectionOverrides
    from respaldo.postgres.server import Server, ServerFacts


class App:
    """One run. Holds no connection; what it opens, its caller closes."""

    def __init__(self, settings: Settings, *, clock: Clock | None = None) -> None:
        self.settings = settings
        self.clock = clock or SystemClock()

    def open_repository(self) -> Repository:
        """Open the repository; raise RepositoryError where there is none."""
        return Repository.open(self._storage(), self.clock)

    def open_or_create_repository(self) -> Repository:
        """Open the repository, or begin one."""
        return Repository.open_or_create(self._storage(), self.clock)

    @property
    def records(self) -> Path:
        """The directory where schedules and what their runs came to are kept: the repository's own; for one that is no
        directory, one of the user's state, named by the repository."""
        location = self.settings.repository
        if "://" not in location:
            return Path(location).absolute()
        state = os.environ.get("XDG_STATE_HOME") or Path.home() / ".local/state"
        return Path(state) / "respaldo" / hashlib.sha256(location.encode()).hexdigest()[:16]

    def find_server(self, listen: Listener, *, any_database: bool = False, preferred: str = "") -> Server:
        """Find the instance, connect, and tell what was found. ``any_database``: the one meant need not exist.
        ``preferred``: the environment to look in where the settings mean none."""
        from respaldo.postgres.server import connect

        environment, instance = self._find_instance(preferred)
        settings = self.settings
        overrides = self.connection_overrides(settings.database)
        server = connect(environment.open(instance), overrides, any_database=any_database)
        listen(
            InstanceFound(
                environment=environment.name,
                instance=instance.name,
                image=instance.image,
                database="" if any_database else server.connection.database,
                server_version=server.facts.short_version,
                by_itself=not settings.names_an_instance,
            )
        )
        return server

    def find_instances(self, environment: Environment, *, every: bool) -> Sequence[Instance]:
        """Return the instance that the settings mean; or every one that looks like PostgreSQL, running or not."""
        if not every:
            return [self._choose(environment)]
        return environment.find(replace(self._query(environment), every=True))

    def connect(self, environment: Environment, instance: Instance) -> Server:
        """Connect to an instance, to whichever of its databases is always there."""
        from respaldo.postgres.server import connect

        return connect(environment.open(instance), self.connection_overrides(None), any_database=True)

    def reconnect(self, server: Server, database: str) -> Server:
        """Return the same server as seen from another of its databases."""
        from respaldo.postgres.server import reconnect

        return reconnect(server, self.connection_overrides(database))

    def open_source(self, server: Server, chosen: Manifest | Path, role_map: Mapping[str, str] | None = None) -> Source:
        """Open what is to be restored; a dump file is read to its end first."""
        from respaldo.operations.foreign import open_dump
        from respaldo.operations.source import BackupSource, DumpSource

        if isinstance(chosen, Path):
            return DumpSource.open(server, open_dump(chosen))
        return BackupSource(self.open_repository().reader(chosen.target, chosen.name), role_map)

    def database_of(self, server: Server, chosen: Manifest | Path) -> str:
        """Return the database that a restore replaces where nothing else is said: the backup's own; for a dump file
        the one that would be backed up."""
        from respaldo.postgres.connection import resolve_connection

        if isinstance(chosen, Path):
            return resolve_connection(server.runner, self.connection_overrides(self.settings.database)).database
        return chosen.target.database

    def target_of(self, server: Server) -> TargetPath:
        """Return what the repository files this server's database under."""
        return TargetPath(instance=server.runner.instance.name, database=server.connection.database)

    def backup_request(
        self, *, name: str | None, asked: str | None = None, replace: bool = False, is_safety: bool = False
    ) -> BackupRequest:
        """Return the request that these flags and the settings make."""
        from respaldo.catalog.strategy import BackupType
        from respaldo.operations.backup import BackupRequest

        settings = self.settings
        return BackupRequest(
            name=name,
            asked=BackupType(asked) if asked and asked != "auto" else None,
            replace=replace,
            is_safety=is_safety,
            jobs=settings.jobs,
            lock_timeout_s=settings.lock_timeout_s,
            policy=self.strategy_policy(),
        )

    def strategy_policy(self) -> StrategyPolicy:
        """Return the rule of full and incremental that the settings make."""
        from respaldo.catalog.strategy import StrategyPolicy

        settings = self.settings
        return StrategyPolicy(
            full_every=settings.full_every,
            incrementals_per_full=settings.incrementals_per_full,
            largest_share=settings.largest_share,
        )

    def summary_policy(self) -> SummaryPolicy:
        """Return what a summary measures against, as the settings say it."""
        from respaldo.operations.summary import SummaryPolicy

        return SummaryPolicy(
            rpo=timedelta(hours=self.settings.rpo_objective_h),
            retention=self.retention_policy(),
            strategy=self.strategy_policy(),
        )

    def announcer(self) -> Announcer:
        """Return who tells of what comes of a run, by the settings."""
        from respaldo.channels import telling_policy
        from respaldo.operations.announcing import Announcer

        return Announcer(
            self._storage(),
            telling_policy(self.settings),
            clock=self.clock,
            program=shlex.join(["respaldo", "--repository", self.settings.repository]),
        )

    def next_runs(self, others: Mapping[str, datetime] | None = None) -> Mapping[str, datetime]:
        """Return when the next backup of each target is due, where a schedule says so that backed it up before.
        ``others``: when those of a cluster run next, by their names."""
        from respaldo.operations.schedules import next_backups

        return next_backups(self.records, self.settings.zone, now=self.clock.now(), others=others)

    def read_status(self) -> list[TargetStatus]:
        """Return whether the backups are fresh, target by target."""
        from respaldo.operations.alert_state import AlertStore
        from respaldo.operations.status import read_status

        return read_status(
            self.open_repository(),
            AlertStore(self._storage(), self.clock).read(),
            rpo=timedelta(hours=self.settings.rpo_objective_h),
            retired=self.settings.retired or (),
            next_runs=self.next_runs(),
            now=self.clock.now(),
        )

    def metrics_text(self) -> str:
        """Return the status as Prometheus reads it."""
        from respaldo import __version__
        from respaldo.metrics.exposition import write_metrics
        from respaldo.operations.alert_state import AlertStore
        from respaldo.operations.status import sample_of

        storage = self._storage()
        sample = sample_of(
            self.read_status(),
            AlertStore(storage, self.clock).read(),
            version=__version__,
            repository=storage.location,
            rpo=timedelta(hours=self.settings.rpo_objective_h),
            rto_s=float(self.settings.rto_objective_s),
        )
        return write_metrics(sample)

    def hooks(self) -> Hooks:
        """Return what the settings say is run before and after a backup."""
        from respaldo.config.settings import secret_variables
        from respaldo.operations.hooks import Hooks

        settings = self.settings
        return Hooks(
            pre_command=settings.pre_hook,
            post_command=settings.post_hook,
            pre_sql=settings.pre_sql,
            post_sql=settings.post_sql,
            timeout_s=settings.hook_timeout_s,
            hidden=secret_variables(),
            secrets=settings.secrets(),
        )

    def retention_policy(self) -> RetentionPolicy:
        """Return the policy that the settings make."""
        from respaldo.catalog.retention import RetentionPolicy

        settings = self.settings
        return RetentionPolicy(
            daily=settings.retention_daily,
            weekly=settings.retention_weekly,
            monthly=settings.retention_monthly,
            full=settings.retention_full,
            zone=settings.zone,
        )

    def connection_overrides(self, database: str | None) -> ConnectionOverrides:
        """Return how the settings say to connect."""
        from respaldo.postgres.connection import ConnectionOverrides

        return ConnectionOverrides(user=self.settings.user, database=database, password=self.settings.password)

    def _storage(self) -> Storage:
        return DirectoryStorage(Path(self.settings.repository))

    def find_environment(self, preferred: str = "") -> Environment:
        """Return the environment that is meant, else the preferred one where it answers, else the first that does."""
        from respaldo.environments.detect import detect

        settings = self.settings
        forced = settings.environment if settings.environment != "auto" else None
        if forced is None and settings.host is not None:
            forced = "local"
        if forced is None and (settings.pod or settings.k8s_container or settings.context or settings.all_namespaces):
            forced = "kubernetes"
        environments = self._environments()
        if forced is None:
            for environment in environments:
                if environment.name == preferred and environment.is_available():
                    return environment
        return detect(environments, forced)

    def _find_instance(self, preferred: str) -> tuple[Environment, Instance]:
        environment = self.find_environment(preferred)
        return environment, self._choose(environment)

    def _choose(self, environment: Environment) -> Instance:
        from respaldo.operations.members import choose_member

        def ask(instance: Instance) -> ServerFacts:
            return self.connect(environment, instance).facts

        return choose_member(environment, self._query(environment), ask, wants_standby=self.settings.standby)

    def _query(self, environment: Environment) -> InstanceQuery:
        settings = self.settings
        name = settings.pod if environment.name == "kubernetes" else settings.container
        return InstanceQuery(name=name, labels=settings.labels or {}, standby=settings.standby)

    def _environments(self) -> Sequence[Environment]:
        from respaldo.environments.docker import DockerEnvironment
        from respaldo.environments.kubernetes import KubernetesEnvironment
        from respaldo.environments.local import LocalEnvironment

        settings = self.settings
        kubernetes = KubernetesEnvironment(
            context=settings.context,
            namespace=settings.namespace,
            all_namespaces=settings.all_namespaces,
            container=settings.k8s_container,
        )
        return [DockerEnvironment(), kubernetes, LocalEnvironment(settings.host, settings.port)]
