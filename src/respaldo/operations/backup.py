"""Back up one database of one server into a repository: decide, read everything under one snapshot, commit."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import datetime

from respaldo.catalog.history import identity, past_backups
from respaldo.catalog.strategy import BackupType, Decision, Reason, StrategyPolicy, decide
from respaldo.clock import Clock
from respaldo.errors import DamagedError
from respaldo.events import Listener, TypeDecided, Warned
from respaldo.language import _
from respaldo.operations.proofs import newest_proofs
from respaldo.operations.reading import Reading
from respaldo.postgres.replay import paused_replay
from respaldo.postgres.server import Server
from respaldo.postgres.snapshot import restore_settings
from respaldo.repository.format import check_backup_name
from respaldo.repository.reader import BackupReader
from respaldo.repository.records import BackupType as StoredType
from respaldo.repository.records import Manifest, TargetPath
from respaldo.repository.repository import Repository


@dataclass(frozen=True, slots=True, kw_only=True)
class BackupRequest:
    """What the person asked for. ``name`` None: named by the time. ``jobs``: sessions that read at once. ``is_safety``:
    made of what a restore is about to replace."""

    name: str | None = None
    asked: BackupType | None = None
    replace: bool = False
    is_safety: bool = False
    jobs: int = 2
    lock_timeout_s: int = 30
    policy: StrategyPolicy = field(default_factory=StrategyPolicy)


def run_backup(
    server: Server,
    repository: Repository,
    target: TargetPath,
    request: BackupRequest,
    *,
    clock: Clock,
    listen: Listener,
) -> Manifest:
    """Make one backup and return its manifest.

    Either it is committed whole, or an error is raised and nothing of it is left. May be repeated after a crash at any
    point: the next run removes what the dead one left. Raise LockedError while another run holds the target.
    """
    if request.name is not None:
        check_backup_name(request.name)
    started = clock.now()
    failed: set[str] = set()
    with repository.acquire(target) as lease, paused_replay(server, lambda said: listen(Warned(message=said))):
        repository.sweep(target, lease)
        name = request.name if request.name is not None else _free_name(repository, target, started)
        while True:
            decision, base = _decide(server, repository, target, request, started, listen, failed)
            listen(TypeDecided(type=decision.type.value, reason=decision.text))
            try:
                with repository.begin(
                    target,
                    name,
                    type=StoredType(decision.type.value),
                    base=base,
                    lease=lease,
                    replace=request.replace,
                    preamble=restore_settings(server.facts.encoding),
                ) as writer:
                    reading = Reading(
                        server, writer, base, jobs=request.jobs, lock_timeout_s=request.lock_timeout_s, listen=listen
                    )
                    return writer.commit(reading.execute(started=started, decision=_told(decision, request)))
            except DamagedError as error:
                # A base that turns out damaged only while it is read must not cost this night its backup.
                if decision.base is None:
                    raise
                listen(Warned(message=error.message))
                failed.add(decision.base)


def _decide(
    server: Server,
    repository: Repository,
    target: TargetPath,
    request: BackupRequest,
    now: datetime,
    listen: Listener,
    failed: set[str],
) -> tuple[Decision, BackupReader | None]:
    """Decide, and open the base; a base that cannot be read means a full, and is told. ``failed``: bases known so."""
    listing = repository.backups(target)
    for damaged in listing.damaged:
        listen(Warned(message=damaged.error.message))
    now_is = identity(
        version_num=str(server.facts.version_num),
        system_identifier=server.facts.system_identifier,
        database=target.database,
    )
    newest_full = [manifest for manifest in listing.manifests if manifest.type is StoredType.FULL][-1:]
    disproven = {name for name, proof in newest_proofs(repository, newest_full).items() if proof.has_failed}
    # A backup that is about to be replaced can be nobody's base.
    gone = request.name if request.replace else None
    manifests = [manifest for manifest in listing.manifests if manifest.name != gone]
    history = past_backups(manifests, failed=failed | disproven)
    decision = decide(history, now=now, identity=now_is, policy=request.policy, asked=request.asked)
    if decision.base is None:
        return decision, None
    base = repository.reader(target, decision.base)
    try:
        base.check_objects()
        base.check_segments()
    except DamagedError as error:
        listen(Warned(message=error.message))
        history = past_backups(manifests, failed={decision.base})
        return decide(history, now=now, identity=now_is, policy=request.policy, asked=request.asked), None
    return decision, base


def _told(decision: Decision, request: BackupRequest) -> Decision:
    """Return the decision as the manifest keeps it: of a safety backup, that it is one."""
    if not request.is_safety:
        return decision
    return replace(decision, reason=Reason.SAFETY, text=_("of what a restore was about to replace"))


def _free_name(repository: Repository, target: TargetPath, started: datetime) -> str:
    """Return ``backup_YYYYMMDD_HHMMSS`` in local time, which is how people look for it; a second one gets a number."""
    stem = started.astimezone().strftime("backup_%Y%m%d_%H%M%S")
    listing = repository.backups(target)
    taken = {manifest.name for manifest in listing.manifests} | {damaged.name for damaged in listing.damaged}
    names = [stem, *(f"{stem}_{number}" for number in range(2, len(taken) + 3))]
    return next(name for name in names if name not in taken)
