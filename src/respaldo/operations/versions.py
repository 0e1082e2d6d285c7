"""Versions, tags and pins of the backups in a repository. Needs no server, and no lease on the target but to remove."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from respaldo.catalog.labels import (
    add_rollback,
    add_tags,
    clean_description,
    describe,
    give_version,
    labels_of,
    last_version,
    set_pinned,
    version_of,
    without_removed,
)
from respaldo.catalog.retention import SAFETY_AGE
from respaldo.catalog.strategy import Reason
from respaldo.catalog.versions import (
    PruneVerdict,
    Step,
    Version,
    Versioned,
    check_branch,
    check_tag,
    next_version,
    plan_prune,
    prune_order,
)
from respaldo.errors import RepositoryError, UsageError
from respaldo.language import _
from respaldo.operations.proofs import newest_proofs
from respaldo.repository.labels import MAX_TAGS, BackupLabels, Labels, Rollback
from respaldo.repository.records import BackupType, DamagedBackup, Manifest, TargetPath
from respaldo.repository.repository import Repository


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelRequest:
    """What a new backup is to be called. ``branch`` None: it gets no version."""

    branch: str | None = None
    version: str | None = None
    step: Step = Step.PATCH
    tags: tuple[str, ...] = ()
    description: str = ""
    is_pinned: bool = False

    @property
    def is_empty(self) -> bool:
        return self.branch is None and not (self.tags or self.description or self.is_pinned)


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelledBackup:
    """A backup with what it is called."""

    manifest: Manifest
    labels: BackupLabels
    version: Version | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Branch:
    """One branch of a target: its versions that are still there, the newest of them, and the one to come by a patch."""

    target: TargetPath
    name: str
    count: int
    newest: LabelledBackup | None
    following: Version


@dataclass(frozen=True, slots=True, kw_only=True)
class PrunePlan:
    """What stays and what goes of one target's versions; ``removals`` in the order in which they are made."""

    target: TargetPath
    verdicts: tuple[PruneVerdict, ...]
    removals: tuple[str, ...]
    freed_bytes: int


def check_request(repository: Repository, target: TargetPath, request: LabelRequest) -> Version | None:
    """Return the version that a backup will get if nobody else makes one before. Raise UsageError for what could not
    be given, before the backup is made."""
    for tag in request.tags:
        check_tag(tag)
    if len(request.tags) > MAX_TAGS:
        raise UsageError(_("a backup has at most {limit} tags").format(limit=MAX_TAGS))
    clean_description(request.description)
    if request.branch is None:
        if request.version is not None:
            raise UsageError(
                _("a version needs a branch"), hint=_("add {flag}, or leave it out").format(flag="--branch")
            )
        return None
    check_branch(request.branch)
    last = last_version(repository.labels(target).read(), request.branch)
    return next_version(request.branch, last, step=request.step, asked=request.version)


def label_backup(repository: Repository, manifest: Manifest, request: LabelRequest) -> LabelledBackup:
    """Give a committed backup its version, tags and description. Raise UsageError where the version was taken
    meanwhile, LockedError where others change labels all the time."""

    def change(labels: Labels) -> Labels:
        if request.branch is not None:
            labels = give_version(labels, manifest, request.branch, step=request.step, asked=request.version)
        if request.tags:
            labels = add_tags(labels, manifest, request.tags)
        if request.description:
            labels = describe(labels, manifest, request.description)
        if request.is_pinned:
            labels = set_pinned(labels, manifest, is_pinned=True)
        return labels

    return _labelled(change_labels(repository, manifest.target, change), manifest)


def change_labels(repository: Repository, target: TargetPath, change: Callable[[Labels], Labels]) -> Labels:
    """Change a target's labels, and drop those of backups that are gone."""

    def with_removal(labels: Labels) -> Labels:
        # Looked at while the labels are held: what is labelled by now was committed before.
        listing = repository.backups(target)
        damaged = [one.name for one in listing.damaged]
        return without_removed(change(labels), listing.manifests, damaged)

    return repository.labels(target).change(with_removal)


def change_backup(
    repository: Repository, manifest: Manifest, change: Callable[[Labels, Manifest], Labels]
) -> LabelledBackup:
    """Change the labels of one backup. Raise RepositoryError where it was removed meanwhile."""

    def checked(labels: Labels) -> Labels:
        uids = {one.name: one.uid for one in repository.backups(manifest.target).manifests}
        if uids.get(manifest.name) != manifest.uid:
            raise RepositoryError(
                _("backup {name} was removed meanwhile").format(name=manifest.name),
                hint=_("respaldo list shows those that there are"),
            )
        return change(labels, manifest)

    return _labelled(change_labels(repository, manifest.target, checked), manifest)


def drop_removed(repository: Repository, target: TargetPath) -> None:
    """Drop the labels of backups that are gone. They mean nothing already: their uid is no backup's."""
    if repository.labels(target).read().backups:
        change_labels(repository, target, lambda labels: labels)


def record_rollback(
    repository: Repository, manifest: Manifest, *, made: datetime, database: str, safety: str | None
) -> None:
    """Write a rollback into the history of its target."""

    def change(labels: Labels) -> Labels:
        rollback = Rollback(
            made=made,
            version=labels_of(labels, manifest).version or "",
            backup=manifest.name,
            uid=manifest.uid,
            database=database,
            safety=safety,
        )
        return add_rollback(labels, rollback)

    change_labels(repository, manifest.target, change)


def read_rollbacks(repository: Repository, targets: Iterable[TargetPath]) -> list[tuple[TargetPath, Rollback]]:
    """Return every rollback of these targets, the oldest first."""
    found = [(target, one) for target in targets for one in repository.labels(target).read().rollbacks]
    return sorted(found, key=lambda pair: pair[1].made)


def list_labelled(repository: Repository, targets: Iterable[TargetPath]) -> list[LabelledBackup]:
    """Return every backup of these targets with what it is called, the oldest first."""
    return read_labelled(repository, targets)[0]


def read_labelled(
    repository: Repository, targets: Iterable[TargetPath]
) -> tuple[list[LabelledBackup], list[DamagedBackup]]:
    """Return what ``list_labelled`` does, and the backups that cannot be read."""
    found: list[LabelledBackup] = []
    damaged: list[DamagedBackup] = []
    for target in targets:
        labels = repository.labels(target).read()
        listing = repository.backups(target)
        found += [_labelled(labels, manifest) for manifest in listing.manifests]
        damaged += listing.damaged
    return sorted(found, key=lambda one: (one.manifest.started, one.manifest.name)), damaged


def select_versions(
    backups: Iterable[LabelledBackup], *, branch: str | None = None, tag: str | None = None, limit: int | None = None
) -> list[LabelledBackup]:
    """Return those that have a version, of one branch, with one tag, the newest first."""
    found = [
        one
        for one in backups
        if one.version is not None and branch in (None, one.version.branch) and (tag is None or tag in one.labels.tags)
    ]
    return found[::-1][:limit]


def find_labelled(backups: Sequence[LabelledBackup], word: str) -> list[LabelledBackup]:
    """Return the backups that a person means by a version, by its three numbers, or by a tag: the newest of each
    target."""
    asked = Version.parse(word)
    core = word.removeprefix("v")
    for is_meant in (
        lambda one: asked is not None and one.version == asked,
        lambda one: one.version is not None and one.version.core == core,
        lambda one: word in one.labels.tags,
    ):
        newest = {one.manifest.target: one for one in backups if is_meant(one)}
        if newest:
            return list(newest.values())
    return []


def list_branches(repository: Repository, targets: Iterable[TargetPath]) -> list[Branch]:
    """Return the branches of these targets, those too whose versions were all removed."""
    found = []
    for target in targets:
        labels = repository.labels(target).read()
        backups = list_labelled(repository, [target])
        names = {*labels.branches, *(one.version.branch for one in backups if one.version is not None)}
        for name in sorted(names):
            members = [one for one in backups if one.version is not None and one.version.branch == name]
            found.append(
                Branch(
                    target=target,
                    name=name,
                    count=len(members),
                    newest=max(members, key=lambda one: one.version.build if one.version else 0, default=None),
                    following=next_version(name, last_version(labels, name)),
                )
            )
    return found


def list_tags(backups: Iterable[LabelledBackup]) -> dict[str, list[LabelledBackup]]:
    """Return each tag with the backups that have it, by name."""
    found: dict[str, list[LabelledBackup]] = {}
    for one in backups:
        for tag in one.labels.tags:
            found.setdefault(tag, []).append(one)
    return dict(sorted(found.items()))


def plan_version_prune(repository: Repository, target: TargetPath, *, keep: int, now: datetime) -> PrunePlan:
    """Plan the clean-up of one target's versions. Changes nothing. Raise StorageError where a backup cannot be read."""
    listing = repository.backups(target)
    listing.require_readable()
    manifests = listing.manifests
    labels = repository.labels(target).read()
    proven = {name for name, proof in newest_proofs(repository, manifests).items() if not proof.has_failed}
    verdicts = plan_prune([_versioned(labels, one, proven, now) for one in manifests], keep)
    removals = prune_order(verdicts, {one.name for one in manifests if one.type is BackupType.FULL})
    sizes = {manifest.name: manifest.totals.stored_bytes for manifest in manifests}
    return PrunePlan(
        target=target,
        verdicts=tuple(verdicts),
        removals=tuple(removals),
        freed_bytes=sum(sizes[name] for name in removals),
    )


def apply_version_prune(repository: Repository, target: TargetPath, *, keep: int, now: datetime) -> PrunePlan:
    """Plan afresh, under the target's lease, and remove the backups of the versions that go. Repeatable."""
    with repository.acquire(target) as lease:
        plan = plan_version_prune(repository, target, keep=keep, now=now)
        for name in plan.removals:
            lease.check()
            repository.remove(target, name)
    drop_removed(repository, target)
    return plan


def _labelled(labels: Labels, manifest: Manifest) -> LabelledBackup:
    return LabelledBackup(manifest=manifest, labels=labels_of(labels, manifest), version=version_of(labels, manifest))


def _versioned(labels: Labels, manifest: Manifest, proven: set[str], now: datetime) -> Versioned:
    return Versioned(
        name=manifest.name,
        base=manifest.base,
        started=manifest.started,
        version=version_of(labels, manifest),
        is_pinned=labels_of(labels, manifest).is_kept,
        is_proven=manifest.name in proven,
        is_recent_safety=manifest.decision.code == Reason.SAFETY and now - manifest.started < SAFETY_AGE,
    )
