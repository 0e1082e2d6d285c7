"""A repository: which backups there are, who may write, and how a backup comes and goes. Bytes only, no meaning."""

from __future__ import annotations

import secrets
from collections.abc import Iterator, Sequence, Set
from contextlib import suppress
from datetime import timedelta

from respaldo.clock import Clock
from respaldo.errors import (
    DamagedError,
    ObjectExistsError,
    ObjectNotFoundError,
    RepositoryError,
    StorageError,
    UsageError,
)
from respaldo.language import _
from respaldo.repository.fields import FieldError
from respaldo.repository.format import (
    FORMAT,
    LABELS,
    LOCKS,
    MANIFEST,
    MAX_MANIFEST_BYTES,
    MAX_REPOSITORY_BYTES,
    METADATA,
    PROOF,
    REPOSITORY,
    check_backup_name,
    decode_name,
    encode_name,
    is_backup_name,
    is_uid,
)
from respaldo.repository.labels import LabelStore
from respaldo.repository.lock import Lease
from respaldo.repository.manifest import decode_manifest, format_instant, seal, unseal
from respaldo.repository.proof import MAX_PROOF_BYTES, Proof, decode_proof, encode_proof
from respaldo.repository.reader import BackupReader
from respaldo.repository.records import BackupListing, BackupType, DamagedBackup, Manifest, TargetPath
from respaldo.repository.writer import BackupWriter
from respaldo.storage.base import Storage

_LOCK_WRITE_AGE = timedelta(hours=1)
"""An unfinished write of a lock this old is a dead run's."""


class Repository:
    """The backups of one or more targets on a storage. Thread-safe; between processes, writers hold a lease."""

    def __init__(self, storage: Storage, clock: Clock, *, uid: str) -> None:
        self.storage = storage
        self.uid = uid
        self._clock = clock

    @classmethod
    def open(cls, storage: Storage, clock: Clock) -> Repository:
        """Open the repository on ``storage``. Raise RepositoryError where there is none, or none of this format."""
        try:
            data = storage.get(REPOSITORY, limit_bytes=MAX_REPOSITORY_BYTES)
        except ObjectNotFoundError as error:
            raise RepositoryError(
                _("there is no repository in {location}").format(location=storage.location),
                hint=_("Make a first backup there with respaldo backup, or name the right directory with -d."),
            ) from error
        try:
            fields = unseal(data)
            version, uid = fields.count("format"), fields.text("id")
            if not is_uid(uid):
                raise FieldError(_("its id is none"))
        except FieldError as error:
            raise DamagedError(
                _("{name} in {location} is damaged: {reason}").format(
                    name=REPOSITORY, location=storage.location, reason=error
                ),
                hint=_("The backups beside it are whole: copy {name} from a copy of this repository.").format(
                    name=REPOSITORY
                ),
            ) from error
        if version != FORMAT:
            raise RepositoryError(
                _("the repository in {location} has format {version}, this version reads format {known}").format(
                    location=storage.location, version=version, known=FORMAT
                ),
                hint=_("Install a newer respaldo."),
            )
        return cls(storage, clock, uid=uid)

    @classmethod
    def open_or_create(cls, storage: Storage, clock: Clock) -> Repository:
        """Open the repository on ``storage``, or begin one there. Of several who begin at once all open the same."""
        document: dict[str, object] = {
            "format": FORMAT,
            "id": secrets.token_hex(16),
            "created": format_instant(clock.now()),
        }
        try:
            storage.size(REPOSITORY)
        except ObjectNotFoundError:
            try:
                storage.put_if_absent(REPOSITORY, seal(document))
            except ObjectExistsError:
                return cls.open(storage, clock)
        return cls.open(storage, clock)

    def targets(self) -> list[TargetPath]:
        """Return every target that has a directory here, sorted."""
        found = []
        for instance in self.storage.list_directories():
            name = None if instance == LOCKS else decode_name(instance)
            if name is not None:
                databases = (decode_name(database) for database in self.storage.list_directories(instance))
                found += [TargetPath(instance=name, database=database) for database in databases if database]
        return sorted(found)

    def backups(self, target: TargetPath) -> BackupListing:
        """Return a target's backups, the oldest first. Manifests that are damaged, that cannot be read, or that are
        missing though an incremental needs them, stand apart and fail nothing; who removes something looks at
        ``require_readable`` first."""
        found, damaged = self._read_manifests(target)
        manifests = sorted((one for one in found.values() if one), key=lambda one: (one.started, one.name))
        damaged += self._missing_bases(target, manifests, {one.name for one in damaged})
        return BackupListing(manifests=tuple(manifests), damaged=tuple(damaged))

    def acquire(self, target: TargetPath) -> Lease:
        """Take the lease on a target, or raise LockedError that says who holds it."""
        lease = Lease(self.storage, self._clock, target)
        lease.acquire()
        return lease

    def is_busy(self, target: TargetPath) -> bool:
        """Tell whether somebody holds the lease on a target."""
        return Lease(self.storage, self._clock, target).is_held()

    def begin(
        self,
        target: TargetPath,
        name: str,
        *,
        type: BackupType,
        base: BackupReader | None,
        lease: Lease,
        replace: bool = False,
        preamble: str = "",
    ) -> BackupWriter:
        """Begin a backup; ``preamble`` is what plain SQL begins with in each worker's first pack.

        Raise UsageError for a name that cannot be one, is in use and not to be replaced, or is that
        of a full that others are based on."""
        check_backup_name(name)
        if lease.target != target:
            raise ValueError(f"the lease is on {lease.target}")
        if (base is not None) != (type is BackupType.INCREMENTAL):
            raise ValueError("an incremental has a base, a full has none")
        if base is not None and (base.manifest.type is not BackupType.FULL or base.manifest.target != target):
            raise ValueError("a base is a full of the same target")
        lease.check()
        replaced = self._manifest(target, name)
        if replaced is not None:
            self._check_replaceable(replaced, base=base, replace=replace)
        elif any(self.storage.list(_directory(target, name))):
            self._check_unneeded(target, name)
        return BackupWriter(
            self.storage,
            self._clock,
            _directory(target, name),
            target=target,
            name=name,
            type=type,
            base=base,
            lease=lease,
            replaced=replaced,
            preamble=preamble,
            remove_replaced=self._remove_replaced,
        )

    def reader(self, target: TargetPath, name: str) -> BackupReader:
        """Open a committed backup; RepositoryError where there is none of that name, DamagedError for its manifest."""
        check_backup_name(name)
        manifest = self._manifest(target, name)
        if manifest is None:
            raise RepositoryError(
                _("there is no backup {target}/{name}").format(target=target, name=name),
                hint=_("respaldo list shows those that there are."),
            )
        return BackupReader(self.storage, _directory(target, name), manifest, lambda: self._base_of(manifest))

    def remove(self, target: TargetPath, name: str) -> None:
        """Remove a backup: its manifest first, so that one interrupted is a leftover and never half a backup.

        Repeatable. Incrementals based on it are lost with it; who calls has looked.
        """
        check_backup_name(name)
        directory = _directory(target, name)
        self.storage.delete(f"{directory}/{MANIFEST}")
        for stored in self.storage.list(directory):
            self.storage.delete(stored.name)

    def add_proof(self, target: TargetPath, name: str, proof: Proof) -> None:
        """Put a proof beside its backup. Needs no lease: nothing else is touched."""
        self.storage.put(f"{_directory(target, name)}/{proof.object_name}", encode_proof(proof))

    def proofs(self, manifest: Manifest) -> list[Proof]:
        """Return the proofs of this very backup, the oldest first; one that is damaged or another's proves nothing."""
        directory = _directory(manifest.target, manifest.name)
        found = []
        for stored in self.storage.list(directory):
            if PROOF.fullmatch(stored.name.removeprefix(f"{directory}/")):
                with suppress(FieldError, ObjectNotFoundError):
                    found.append(decode_proof(self.storage.get(stored.name, limit_bytes=MAX_PROOF_BYTES)))
        return sorted((proof for proof in found if proof.uid == manifest.uid), key=lambda proof: proof.made)

    def damaged_proofs(self, manifest: Manifest) -> list[str]:
        """Return the objects that bear the name of a proof of this backup and cannot be read as one."""
        directory = _directory(manifest.target, manifest.name)
        damaged = []
        for stored in self.storage.list(directory):
            if PROOF.fullmatch(stored.name.removeprefix(f"{directory}/")):
                try:
                    decode_proof(self.storage.get(stored.name, limit_bytes=MAX_PROOF_BYTES))
                except FieldError:
                    damaged.append(stored.name)
        return damaged

    def labels(self, target: TargetPath) -> LabelStore:
        """Return what a target's backups are called, to read and to change. Needs no lease on the target."""
        return LabelStore(self.storage, self._clock, target, f"{_directory(target)}/{LABELS}")

    def sweep(self, target: TargetPath, lease: Lease) -> int:
        """Remove what dead runs left of a target and return how many objects that was: backups without a manifest,
        objects their manifest does not list, temporary files (who holds the lease is the only one to write). Call it
        before ``begin``: the backup in the making has no manifest either.

        A backup whose manifest is damaged or cannot be read is left alone. So is one without a manifest that an
        incremental needs: what was lost is its manifest, and a copy of that makes it whole again.
        """
        if lease.target != target:
            raise ValueError(f"the lease is on {lease.target}")
        lease.check()
        found, damaged = self._read_manifests(target)
        needed = {manifest.base for manifest in found.values() if manifest}
        removed = 0
        for name, manifest in found.items():
            # One that is damaged or cannot be read may need it too.
            if manifest is None and (name in needed or damaged):
                continue
            for leftover in self._leftovers(target, name, manifest):
                self.storage.delete(leftover)
                removed += 1
        now = self._clock.now()
        # Others write these meanwhile, each in a moment.
        for directory in (LOCKS, METADATA):
            removed += self.storage.sweep(directory, older_than=now - _LOCK_WRITE_AGE)
        return removed + self.storage.sweep(_directory(target), older_than=now)

    def _leftovers(self, target: TargetPath, name: str, manifest: Manifest | None) -> Iterator[str]:
        listed = {MANIFEST}
        if manifest is not None:
            listed |= {manifest.prefix + entry.name for entry in manifest.objects}
        directory = _directory(target, name)
        for stored in list(self.storage.list(directory)):
            rest = stored.name.removeprefix(f"{directory}/")
            if rest not in listed and not (manifest is not None and PROOF.fullmatch(rest)):
                yield stored.name

    def _remove_replaced(self, manifest: Manifest) -> None:
        """Remove everything of the backup that ``manifest`` has replaced, its proofs too: they prove another one."""
        directory = _directory(manifest.target, manifest.name)
        listed = {MANIFEST} | {manifest.prefix + entry.name for entry in manifest.objects}
        for stored in list(self.storage.list(directory)):
            if stored.name.removeprefix(f"{directory}/") not in listed:
                self.storage.delete(stored.name)

    def _read_manifests(self, target: TargetPath) -> tuple[dict[str, Manifest | None], list[DamagedBackup]]:
        """Return the manifest of each directory, None where there is none, and apart those that cannot be had."""
        found: dict[str, Manifest | None] = {}
        damaged = []
        for name in self.storage.list_directories(_directory(target)):
            if is_backup_name(name):
                try:
                    found[name] = self._manifest(target, name)
                except (DamagedError, StorageError) as error:
                    damaged.append(DamagedBackup(name=name, error=error))
        return found, damaged

    def _missing_bases(
        self, target: TargetPath, manifests: Sequence[Manifest], damaged: Set[str]
    ) -> Iterator[DamagedBackup]:
        """Yield the bases that have no manifest, not even a damaged one."""
        message = _("the manifest of {target}/{name} is missing, and needed by {users}: bring it back from a copy")
        hint = _("Restore from a full backup meanwhile; what is left of {name} is kept.")
        there = damaged | {manifest.name for manifest in manifests}
        for name in sorted({manifest.base for manifest in manifests if manifest.base} - there):
            users = [one.name for one in manifests if one.base == name]
            # Retention may be removing both at this moment: the base goes last.
            if any(self._manifest(target, user) for user in users):
                error = message.format(target=target, name=name, users=", ".join(users))
                yield DamagedBackup(name=name, error=DamagedError(error, hint=hint.format(name=name)))

    def _manifest(self, target: TargetPath, name: str) -> Manifest | None:
        path = f"{_directory(target, name)}/{MANIFEST}"
        try:
            data = self.storage.get(path, limit_bytes=MAX_MANIFEST_BYTES)
        except ObjectNotFoundError:
            return None
        except StorageError as error:
            if self.storage.size(path) <= MAX_MANIFEST_BYTES:
                raise
            message = _("the manifest of {target}/{name} is damaged: it is too large")
            hint = _("Restore from another backup; the packs of this one are zstd frames that zstd -d still reads.")
            raise DamagedError(message.format(target=target, name=name), hint=hint) from error
        return decode_manifest(data, target=target, name=name)

    def _base_of(self, manifest: Manifest) -> BackupReader:
        hint = _("Restore from a full backup, or bring {base} back from a copy of the repository.")
        base = manifest.base or ""
        try:
            reader = self.reader(manifest.target, base)
        except DamagedError:
            raise
        except RepositoryError as error:
            message = _("backup {name} needs its base {base}, which is missing")
            raise DamagedError(message.format(name=manifest.name, base=base), hint=hint.format(base=base)) from error
        if reader.manifest.uid != manifest.base_uid or reader.manifest.type is not BackupType.FULL:
            message = _("backup {name} needs its base {base}, which is another backup by now")
            raise DamagedError(message.format(name=manifest.name, base=base), hint=hint.format(base=base))
        return reader

    def _check_replaceable(self, replaced: Manifest, *, base: BackupReader | None, replace: bool) -> None:
        if not replace:
            raise UsageError(
                _("a backup named {name} exists already").format(name=replaced.name),
                hint=_("Choose another name, or replace it with --replace."),
            )
        listing = self.backups(replaced.target)
        listing.require_readable()
        users = [m.name for m in listing.manifests if m.base == replaced.name]
        if users or (base is not None and base.manifest.name == replaced.name):
            raise UsageError(
                _("{name} cannot be replaced: these are based on it: {users}").format(
                    name=replaced.name, users=", ".join(users) or replaced.name
                ),
                hint=_("Choose another name, or remove those first."),
            )

    def _check_unneeded(self, target: TargetPath, name: str) -> None:
        """Raise UsageError where what lies there without a manifest is some incremental's base."""
        for one in self.backups(target).damaged:
            if one.name == name:
                raise UsageError(one.error.message, hint=_("Choose another name, or remove those first."))


def _directory(target: TargetPath, backup: str | None = None) -> str:
    directory = f"{encode_name(target.instance)}/{encode_name(target.database)}"
    return directory if backup is None else f"{directory}/{backup}"
