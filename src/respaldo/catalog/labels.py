"""What may be done to a target's labels: pure changes, from the labels as they are to the labels as they will be."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import replace

from respaldo.catalog.versions import Step, Version, check_tag, next_version
from respaldo.errors import UsageError
from respaldo.language import _
from respaldo.repository.labels import MAX_DESCRIPTION, MAX_TAGS, BackupLabels, Labels, Rollback
from respaldo.repository.records import Manifest


def labels_of(labels: Labels, manifest: Manifest) -> BackupLabels:
    """Return what a backup is called; empty where nothing is said of this very one."""
    found = labels.backups.get(manifest.name)
    return found if found is not None and found.uid == manifest.uid else BackupLabels(uid=manifest.uid)


def version_of(labels: Labels, manifest: Manifest) -> Version | None:
    """Return a backup's version, None where it has none."""
    text = labels_of(labels, manifest).version
    return Version.parse(text) if text else None


def last_version(labels: Labels, branch: str) -> Version | None:
    """Return the last version that was given in a branch, whether its backup is still there or not."""
    known = [labels.branches.get(branch, ""), *(one.version or "" for one in labels.backups.values())]
    versions = [version for version in map(Version.parse, known) if version and version.branch == branch]
    return max(versions, key=lambda version: version.build, default=None)


def give_version(labels: Labels, manifest: Manifest, branch: str, *, step: Step, asked: str | None) -> Labels:
    """Give a backup the next version of a branch."""
    version = next_version(branch, last_version(labels, branch), step=step, asked=asked)
    changed = _set(labels, replace(labels_of(labels, manifest), version=str(version)), manifest.name)
    return replace(changed, branches={**labels.branches, branch: str(version)})


def add_tags(labels: Labels, manifest: Manifest, tags: Iterable[str]) -> Labels:
    """Add tags to a backup; one that it has stays as it is."""
    one = labels_of(labels, manifest)
    all_tags = tuple(dict.fromkeys([*one.tags, *tags]))
    for tag in all_tags:
        check_tag(tag)
    if len(all_tags) > MAX_TAGS:
        raise UsageError(_("{name} would have more than {limit} tags").format(name=manifest.name, limit=MAX_TAGS))
    return _set(labels, replace(one, tags=all_tags), manifest.name)


def remove_tag(labels: Labels, manifest: Manifest, tag: str) -> Labels:
    """Take a tag away. Raise UsageError where the backup has no such."""
    one = labels_of(labels, manifest)
    if tag not in one.tags:
        raise UsageError(
            _("{name} has no tag {tag}").format(name=manifest.name, tag=tag),
            hint=_("it has: {names}").format(names=", ".join(one.tags) or _("none")),
        )
    return _set(labels, replace(one, tags=tuple(other for other in one.tags if other != tag)), manifest.name)


def describe(labels: Labels, manifest: Manifest, description: str) -> Labels:
    """Set a backup's description, in one line."""
    text = clean_description(description)
    return _set(labels, replace(labels_of(labels, manifest), description=text), manifest.name)


def clean_description(description: str) -> str:
    """Return a description in one line without what a terminal would obey; raise UsageError for one too long."""
    text = " ".join("".join(c if c.isprintable() else " " for c in description).split())
    if len(text) > MAX_DESCRIPTION:
        raise UsageError(_("a description has at most {limit} characters").format(limit=MAX_DESCRIPTION))
    return text


def set_pinned(labels: Labels, manifest: Manifest, *, is_pinned: bool) -> Labels:
    """Pin a backup, so that retention leaves it alone, or unpin it."""
    return _set(labels, replace(labels_of(labels, manifest), is_pinned=is_pinned), manifest.name)


def add_rollback(labels: Labels, rollback: Rollback) -> Labels:
    """Write down a rollback."""
    return replace(labels, rollbacks=(*labels.rollbacks, rollback))


def without_removed(labels: Labels, manifests: Iterable[Manifest], damaged: Collection[str]) -> Labels:
    """Drop the labels of backups that are gone or replaced. Of a damaged backup nobody knows which it is: they stay."""
    uids = {manifest.name: manifest.uid for manifest in manifests}
    backups = {name: one for name, one in labels.backups.items() if name in damaged or uids.get(name, "") == one.uid}
    return labels if len(backups) == len(labels.backups) else replace(labels, backups=backups)


def _set(labels: Labels, one: BackupLabels, name: str) -> Labels:
    backups = {**labels.backups, name: one}
    if one.is_empty:
        del backups[name]
    return replace(labels, backups=backups)
