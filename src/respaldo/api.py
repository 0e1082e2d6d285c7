"""The public API of respaldo, for other programs: what its own command line is written with.

Names that stand here stay; their modules may move. Everything is typed and synchronous; sizes are bytes, times are
aware UTC. What goes wrong is a ``RespaldoError``: its ``message``, ``hint`` and ``exit_code`` are what the command line
prints and exits with.

    from respaldo.api import App, Settings, ignore, run_backup

    app = App(Settings(repository="/srv/backups", container="pc_db"))
    server = app.find_server(ignore)
    manifest = run_backup(
        server,
        app.open_or_create_repository(),
        app.target_of(server),
        app.backup_request(name=None),
        clock=app.clock,
        listen=ignore,
    )
    print(manifest.name, manifest.totals.rows)
"""

from __future__ import annotations

from respaldo import __version__
from respaldo.app import App
from respaldo.catalog.retention import RetentionPolicy
from respaldo.catalog.strategy import Decision, StrategyPolicy
from respaldo.catalog.versions import Step, Version
from respaldo.clock import Clock, FixedClock, SystemClock
from respaldo.config.dotenv import with_dotenv
from respaldo.config.settings import Settings
from respaldo.errors import (
    DamagedError,
    EnvironmentFailedError,
    InterruptedRunError,
    LockedError,
    PostgresError,
    ProofFailedError,
    RepositoryError,
    RespaldoError,
    StorageError,
    UsageError,
)
from respaldo.events import Event, Listener, ignore
from respaldo.operations.backup import BackupRequest, run_backup
from respaldo.operations.check import CheckReport, CheckRequest, run_check
from respaldo.operations.compare import Comparison, compare_backups
from respaldo.operations.restore import Restored, RestorePlan, RestoreRequest, execute_restore, plan_restore
from respaldo.operations.retain import RetentionPlan, apply_retention, plan_target
from respaldo.operations.summary import SummaryPolicy, TargetSummary, summarize
from respaldo.operations.versions import (
    LabelledBackup,
    LabelRequest,
    apply_version_prune,
    find_labelled,
    label_backup,
    list_branches,
    list_labelled,
    list_tags,
    plan_version_prune,
    select_versions,
)
from respaldo.repository.proof import Proof
from respaldo.repository.reader import BackupReader
from respaldo.repository.records import BackupListing, BackupType, Manifest, TargetPath
from respaldo.repository.repository import Repository

__all__ = [
    "App",
    "BackupListing",
    "BackupReader",
    "BackupRequest",
    "BackupType",
    "CheckReport",
    "CheckRequest",
    "Clock",
    "Comparison",
    "DamagedError",
    "Decision",
    "EnvironmentFailedError",
    "Event",
    "FixedClock",
    "InterruptedRunError",
    "LabelRequest",
    "LabelledBackup",
    "Listener",
    "LockedError",
    "Manifest",
    "PostgresError",
    "Proof",
    "ProofFailedError",
    "Repository",
    "RepositoryError",
    "RespaldoError",
    "RestorePlan",
    "RestoreRequest",
    "Restored",
    "RetentionPlan",
    "RetentionPolicy",
    "Settings",
    "Step",
    "StorageError",
    "StrategyPolicy",
    "SummaryPolicy",
    "SystemClock",
    "TargetPath",
    "TargetSummary",
    "UsageError",
    "Version",
    "__version__",
    "apply_retention",
    "apply_version_prune",
    "compare_backups",
    "execute_restore",
    "find_labelled",
    "ignore",
    "label_backup",
    "list_branches",
    "list_labelled",
    "list_tags",
    "plan_restore",
    "plan_target",
    "plan_version_prune",
    "run_backup",
    "run_check",
    "select_versions",
    "summarize",
    "with_dotenv",
]
