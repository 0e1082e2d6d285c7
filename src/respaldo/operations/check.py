"""Read a repository without a server, and say what is damaged and what that puts at stake."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from enum import Enum
from typing import Any

from respaldo import __version__
from respaldo.clock import Clock
from respaldo.errors import DamagedError, RepositoryError, StorageError
from respaldo.events import Listener, SegmentDone, WorkPlanned
from respaldo.language import _
from respaldo.operations.proofs import keep_proof
from respaldo.operations.schedules import DOCUMENT, stored_schedules
from respaldo.repository.proof import Proof, ProofKind, Verdict
from respaldo.repository.reader import BackupReader
from respaldo.repository.records import Manifest, Segment, TargetPath
from respaldo.repository.repository import Repository


class Depth(Enum):
    """How much is read: manifests and sizes; every byte; or every byte of a share of the segments."""

    QUICK = "quick"
    FULL = "full"
    SAMPLE = "sample"


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckRequest:
    """What is asked for. ``share``: between 0 and 1, for a sample. ``backup`` None: every one. ``target`` None: what
    bears that name in any of them."""

    depth: Depth = Depth.FULL
    share: float = 1.0
    backup: str | None = None
    target: TargetPath | None = None
    jobs: int = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One fault. ``table`` and ``rows``: what cannot be restored because of it, where that is known.

    ``target`` None: in a document of the repository as a whole; its name stands in ``backup`` then. ``remedy``: of what
    could not be read, and so may be whole, what to do about that.
    """

    target: TargetPath | None
    backup: str
    message: str
    table: str = ""
    rows: int = 0
    remedy: str | None = None

    @property
    def is_damage(self) -> bool:
        return self.remedy is None


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckReport:
    """What was read, and every fault that was found. ``unkept``: why results could not be kept beside their backups."""

    backups: int
    read_bytes: int
    findings: tuple[Finding, ...]
    unkept: str = ""


def run_check(repository: Repository, request: CheckRequest, *, clock: Clock, listen: Listener) -> CheckReport:
    """Check every backup, or one, and keep each result beside its backup. Raise RepositoryError for an unknown name."""
    chosen: list[Manifest] = []
    findings: list[Finding] = []
    for target in [request.target] if request.target else repository.targets():
        listing = repository.backups(target)
        chosen += [one for one in listing.manifests if request.backup in {None, one.name}]
        findings += [
            _finding(target, damaged.name, damaged.error)
            for damaged in listing.damaged
            if request.backup in {None, damaged.name}
        ]
        if request.backup is None:
            findings += _check_labels(repository, target)
    if request.backup is None:
        findings += _check_schedules(repository)
    if request.backup is not None and not chosen and not findings:
        raise RepositoryError(
            _("there is no backup {name}").format(name=request.backup),
            hint=_("respaldo list shows those that there are"),
        )
    listen(WorkPlanned(backups=len(chosen), size_bytes=sum(manifest.totals.stored_bytes for manifest in chosen)))
    read_bytes = 0
    unkept = ""
    for manifest in chosen:
        found = list(_check_backup(repository, manifest, request, listen))
        read_bytes += manifest.totals.stored_bytes if request.depth is not Depth.QUICK else 0
        findings += found
        findings += _check_proofs(repository, manifest)
        reason = _keep(repository, manifest, request, found, clock)
        unkept = unkept or reason
    return CheckReport(backups=len(chosen), read_bytes=read_bytes, findings=tuple(findings), unkept=unkept)


def _finding(target: TargetPath | None, name: str, error: DamagedError | StorageError, **stake: Any) -> Finding:
    remedy = (error.hint or "") if isinstance(error, StorageError) else None
    return Finding(target=target, backup=name, message=error.message, remedy=remedy, **stake)


def _check_labels(repository: Repository, target: TargetPath) -> Iterator[Finding]:
    try:
        repository.labels(target).read()
    except (DamagedError, StorageError) as error:
        yield _finding(target, "labels.json", error)


def _check_proofs(repository: Repository, manifest: Manifest) -> Iterator[Finding]:
    """A proof that is damaged says nothing about its backup."""
    message = _("the proof {name} is damaged and proves nothing: remove it, and drill again")
    try:
        for name in repository.damaged_proofs(manifest):
            yield Finding(target=manifest.target, backup=manifest.name, message=message.format(name=name))
    except StorageError as error:
        yield _finding(manifest.target, manifest.name, error)


def _check_schedules(repository: Repository) -> Iterator[Finding]:
    try:
        stored_schedules(repository.storage)
    except (DamagedError, StorageError) as error:
        yield _finding(None, DOCUMENT, error)


def _check_backup(
    repository: Repository, manifest: Manifest, request: CheckRequest, listen: Listener
) -> Iterator[Finding]:
    reader = repository.reader(manifest.target, manifest.name)
    try:
        reader.check_objects()
        segments = reader.segments
        if manifest.base is not None:
            reader.base.check_objects()
    except (DamagedError, StorageError) as error:
        yield _finding(manifest.target, manifest.name, error)
        return
    if request.depth is Depth.QUICK:
        return
    chosen = list(segments)
    if request.depth is Depth.SAMPLE:
        count = max(1, round(len(chosen) * request.share))
        chosen = random.Random(manifest.uid).sample(chosen, min(count, len(chosen)))
    with ThreadPoolExecutor(request.jobs, thread_name_prefix="respaldo-check") as pool:
        yield from (finding for finding in pool.map(_checker(reader, manifest, listen), chosen) if finding)
        if request.depth is Depth.FULL:
            # What lies between the segments too: heads and tails of plain SQL, definitions, roles.
            names = [entry.name for entry in manifest.objects]
            yield from (finding for finding in pool.map(lambda name: _check_object(reader, name), names) if finding)


def _checker(reader: BackupReader, manifest: Manifest, listen: Listener) -> Callable[[Segment], Finding | None]:
    def check(segment: Segment) -> Finding | None:
        table = reader.series[segment.series].key
        try:
            for _text in reader.open_text(segment):
                pass
        except (DamagedError, StorageError) as error:
            return _finding(manifest.target, manifest.name, error, table=table, rows=segment.rows)
        listen(
            SegmentDone(
                table=table,
                rows=segment.rows,
                raw_bytes=segment.raw_size,
                stored_bytes=segment.length,
                heap_bytes=segment.length,
            )
        )
        return None

    return check


def _check_object(reader: BackupReader, name: str) -> Finding | None:
    try:
        reader.verify_object(name)
    except (DamagedError, StorageError) as error:
        return _finding(reader.manifest.target, reader.manifest.name, error)
    return None


def _keep(repository: Repository, manifest: Manifest, request: CheckRequest, found: list[Finding], clock: Clock) -> str:
    """Keep the result of a whole check; half a look proves nothing, but a fault is a fault. What could not be read is
    neither. Return why it could not be kept."""
    is_known = all(finding.is_damage for finding in found)
    if not is_known or not (request.depth is Depth.FULL or found):
        return ""
    proof = Proof(
        uid=manifest.uid,
        kind=ProofKind.CHECK,
        verdict=Verdict.FAILED if found else Verdict.PROVEN,
        made=clock.now(),
        tool_version=__version__,
        facts={"depth": request.depth.value},
        findings=tuple(finding.message for finding in found),
    )
    return keep_proof(repository, manifest, proof)
