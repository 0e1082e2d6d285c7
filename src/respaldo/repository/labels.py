"""labels.json: what people call the backups of a target. The only document that changes after a commit.

Bytes and bounds; what a version or a branch means is the catalogue's. Whoever changes it holds a short lease of its
own beside the target's, so that a pin need not wait for a backup that runs.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from types import MappingProxyType

from respaldo.clock import Clock
from respaldo.errors import DamagedError, LockedError, ObjectNotFoundError, StorageError, UsageError
from respaldo.language import _
from respaldo.repository.fields import FieldError, Fields, as_object
from respaldo.repository.format import FORMAT, MAX_LABELS_BYTES, is_backup_name, is_uid
from respaldo.repository.lock import Lease
from respaldo.repository.manifest import format_instant, seal, unseal
from respaldo.repository.records import TargetPath
from respaldo.storage.base import Storage

MAX_TAGS = 32
MAX_DESCRIPTION = 1000
MAX_ROLLBACKS = 500
"""Of the history of rollbacks the newest stay."""
LEASE = "labels"
WAIT_S = 10.0
_PAUSE_S = 0.05


@dataclass(frozen=True, slots=True, kw_only=True)
class BackupLabels:
    """What one backup is called. ``uid``: of the very backup, whose name another may bear later."""

    uid: str
    version: str | None = None
    tags: tuple[str, ...] = ()
    description: str = ""
    is_pinned: bool = False

    @property
    def is_empty(self) -> bool:
        return not (self.version or self.tags or self.description or self.is_pinned)

    @property
    def is_kept(self) -> bool:
        """Whether retention leaves it alone."""
        return self.is_pinned or bool(self.tags)


@dataclass(frozen=True, slots=True, kw_only=True)
class Rollback:
    """One return to a version. ``safety``: the backup of what it replaced, None where nothing was there."""

    made: datetime
    version: str
    backup: str
    uid: str
    database: str
    safety: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Labels:
    """A target's labels. ``backups`` by name; ``branches``: the last version given in each, removed since or not."""

    revision: int = 0
    backups: Mapping[str, BackupLabels] = field(default_factory=lambda: MappingProxyType({}))
    branches: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    rollbacks: tuple[Rollback, ...] = ()


def encode_labels(labels: Labels) -> bytes:
    """Return the bytes of ``labels.json``; raise UsageError where they would be more than may be read back."""
    data = seal(
        {
            "format": FORMAT,
            "revision": labels.revision,
            "backups": {
                name: {
                    "uid": one.uid,
                    "version": one.version,
                    "tags": list(one.tags),
                    "description": one.description,
                    "pinned": one.is_pinned,
                }
                for name, one in labels.backups.items()
            },
            "branches": dict(labels.branches),
            "rollbacks": [
                {
                    "made": format_instant(one.made),
                    "version": one.version,
                    "backup": one.backup,
                    "uid": one.uid,
                    "database": one.database,
                    "safety": one.safety,
                }
                for one in labels.rollbacks[-MAX_ROLLBACKS:]
            ],
        }
    )
    if len(data) > MAX_LABELS_BYTES:
        raise UsageError(
            _("the labels of a target take more than {limit} bytes").format(limit=MAX_LABELS_BYTES),
            hint=_("remove backups, or shorten descriptions"),
        )
    return data


def decode_labels(data: bytes) -> Labels:
    """Return the labels that a document is; raise FieldError for anything else."""
    fields = unseal(data)
    if fields.count("format") != FORMAT:
        raise FieldError(_("format {version} is not known to this version").format(version=fields.count("format")))
    backups = {name: _backup(name, item) for name, item in as_object(fields.get("backups"), "backups").items()}
    branches = fields.text_mapping("branches")
    for branch, version in branches.items():
        _check_printable("branches", branch, version)
    rollbacks = tuple(_rollback(Fields(as_object(item, "rollbacks"))) for item in fields.items("rollbacks"))
    return Labels(
        revision=fields.count("revision"), backups=backups, branches=branches, rollbacks=rollbacks[-MAX_ROLLBACKS:]
    )


def _backup(name: str, item: object) -> BackupLabels:
    fields = Fields(as_object(item, name))  # type: ignore[arg-type]  # as_object looks
    one = BackupLabels(
        uid=fields.text("uid"),
        version=fields.optional_text("version"),
        tags=fields.texts("tags"),
        description=fields.text("description"),
        is_pinned=fields.flag("pinned"),
    )
    if not is_backup_name(name) or not is_uid(one.uid):
        raise FieldError(_("name or uid is none"))
    if len(one.tags) > MAX_TAGS or len(one.description) > MAX_DESCRIPTION:
        raise FieldError(_("{field} is too long").format(field=name))
    _check_printable("backups", one.version or "", one.description, *one.tags)
    return one


def _rollback(fields: Fields) -> Rollback:
    one = Rollback(
        made=fields.instant("made"),
        version=fields.text("version"),
        backup=fields.text("backup"),
        uid=fields.text("uid"),
        database=fields.text("database"),
        safety=fields.optional_text("safety"),
    )
    names = [one.backup, *([one.safety] if one.safety is not None else [])]
    if not all(map(is_backup_name, names)) or not is_uid(one.uid):
        raise FieldError(_("name or uid is none"))
    _check_printable("rollbacks", one.version)
    return one


def _check_printable(what: str, *texts: str) -> None:
    """Refuse what a terminal would obey. No program of ours writes it, so it is damage, or an attack."""
    if not all(text.isprintable() for text in texts):
        raise FieldError(_("{field} holds what cannot be printed").format(field=what))


class LabelStore:
    """The labels of one target. Thread-safe; between processes, whoever changes them holds a lease for that moment."""

    def __init__(
        self,
        storage: Storage,
        clock: Clock,
        target: TargetPath,
        path: str,
        *,
        pause: Callable[[float], None] = time.sleep,
    ) -> None:
        self._storage = storage
        self._clock = clock
        self._target = target
        self._path = path
        self._pause = pause

    def read(self) -> Labels:
        """Return the labels, empty where there are none. Raise DamagedError: to guess could lose a pin."""
        try:
            return decode_labels(self._storage.get(self._path, limit_bytes=MAX_LABELS_BYTES))
        except ObjectNotFoundError:
            return Labels()
        except FieldError as error:
            raise self._damaged(str(error)) from error
        except StorageError as error:
            if self._storage.size(self._path) <= MAX_LABELS_BYTES:
                raise
            raise self._damaged(_("it is too large")) from error

    def change(self, change: Callable[[Labels], Labels]) -> Labels:
        """Read, change and write the labels while no one else does; return what is there now.

        ``change`` may be called when others have changed them since the caller looked, and raises what forbids it.
        One that returns what it got writes nothing. Raise LockedError after ten seconds of others' changes.
        """
        with self._lease() as lease:
            before = self.read()
            after = change(before)
            if after == before:
                return before
            after = replace(after, revision=before.revision + 1)
            data = encode_labels(after)
            lease.check()
            self._storage.put(self._path, data)
            return after

    def _lease(self) -> Lease:
        """Take the lease; others hold it for moments."""
        attempts = round(WAIT_S / _PAUSE_S)
        while True:
            lease = Lease(self._storage, self._clock, self._target, part=LEASE)
            try:
                lease.acquire()
            except LockedError:
                if not attempts:
                    raise
                attempts -= 1
                self._pause(_PAUSE_S)
            else:
                return lease

    def _damaged(self, reason: str) -> DamagedError:
        return DamagedError(
            _("the labels of {target} are damaged: {reason}").format(target=self._target, reason=reason),
            hint=_(
                "Bring {path} back from a copy of the repository; removing it loses versions, tags and pins."
            ).format(path=self._path),
        )
