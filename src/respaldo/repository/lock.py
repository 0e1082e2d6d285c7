"""The lease on a target: one run at a time writes there.

A lease is an object that is created if absent and refreshed every 20 s. It is stale after 120 s without that, or at
once when the process that holds it ran here and is gone. Of all who would take over a stale lease, one does.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from datetime import timedelta
from threading import Event, Lock, Thread
from types import TracebackType
from typing import Self

from blake3 import blake3

from respaldo.clock import Clock
from respaldo.errors import LockedError, ObjectExistsError, ObjectNotFoundError, StorageError
from respaldo.language import _
from respaldo.process import ProcessIdentity, identify_process, is_gone
from respaldo.repository.fields import FieldError, parse_object
from respaldo.repository.format import MAX_LOCK_BYTES, is_uid, lock_stem
from respaldo.repository.manifest import format_instant, seal
from respaldo.repository.records import TargetPath
from respaldo.storage.base import Storage

REFRESH_S = 20.0
STALE_AFTER = timedelta(seconds=120)
_CLAIMS = 1000


class Lease:
    """A held target. Thread-safe. Whoever acquired it releases it, by ``with`` or ``release``."""

    def __init__(
        self,
        storage: Storage,
        clock: Clock,
        target: TargetPath,
        *,
        refresh_s: float = REFRESH_S,
        part: str = "",
    ) -> None:
        """``part``: of the target, with a lease of its own; empty for the target as a whole."""
        self.target = target
        self.token = secrets.token_hex(16)
        self._storage = storage
        self._clock = clock
        self._refresh_s = refresh_s
        self._acquired = format_instant(clock.now())
        self._identity = identify_process()
        self._stem = lock_stem(target.instance, target.database) + (f"+{part}" if part else "")
        self._name = f"{self._stem}.json"
        self._writing = Lock()
        self._released = Event()
        self._thread: Thread | None = None

    def acquire(self) -> None:
        """Take the lease, or raise LockedError that says who holds it."""
        while True:
            try:
                self._storage.put_if_absent(self._name, self._document())
                break
            except ObjectExistsError:
                if self._take_over():
                    break
        self._thread = Thread(target=self._keep, name=f"lease {self.target}", daemon=True)
        self._thread.start()

    def check(self) -> None:
        """Raise LockedError unless the lease is still this one's. Nothing is committed without it."""
        if self._released.is_set() or not self._is_ours():
            raise LockedError(
                _("the lock on {target} was lost to another run").format(target=self.target),
                hint=_("This run stood still for too long; run it again."),
            )

    def is_held(self) -> bool:
        """Tell whether somebody holds it now. Changes nothing."""
        holder = _read_holder(self._storage, self._name)
        return holder is not None and not self._is_stale(self._name, holder)

    def release(self) -> None:
        """Give the lease back. Repeatable; harmless when it was lost."""
        if self._released.is_set():
            return
        self._released.set()
        if self._thread is not None:
            self._thread.join()
        if self._is_ours():
            self._storage.delete(self._name)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()

    def refresh(self) -> bool:
        """Say that the holder lives; return False where the lease is no longer this one's."""
        with self._writing:
            if not self._is_ours():
                return False
            self._storage.put(self._name, self._document())
            return True

    def _keep(self) -> None:
        while not self._released.wait(self._refresh_s):
            try:
                if not self.refresh():
                    return
            except StorageError:
                # Nothing is lost yet: the next round tries again, and check() asks the store itself.
                continue

    def _is_ours(self) -> bool:
        try:
            return _holder_of(self._storage.get(self._name, limit_bytes=MAX_LOCK_BYTES)).token == self.token
        except ObjectNotFoundError:
            return False

    def _document(self) -> bytes:
        return seal(
            {
                "token": self.token,
                "host": self._identity.host,
                "boot": self._identity.boot,
                "pid_namespace": self._identity.pid_namespace,
                "pid": self._identity.pid,
                "pid_started": self._identity.started,
                "acquired": self._acquired,
                "refreshed": format_instant(self._clock.now()),
            }
        )

    def _take_over(self) -> bool:
        """Replace a stale lease; return False where it is gone by now, raise LockedError where it is held.

        The claims ``<lock>.<token>-<n>`` decide between rivals: of those who find the same stale lease one creates
        claim 0; a claim whose own maker died is passed by with claim 1, and so on. Whoever has the claim looks at the
        lease again, so a rival that comes late, after claims were removed, finds the new lease and gives up.
        """
        stale = self._stale_holder(self._name)
        if stale is None:
            return False
        claim = self._claim(stale.token)
        if claim is None or self._current_token() != stale.token:
            if claim is not None:
                self._storage.delete(claim)
            raise self._locked(_read_holder(self._storage, self._name))
        self._storage.put(self._name, self._document())
        self._storage.delete(claim)
        for number in range(int(claim.rsplit("-", 1)[1])):
            self._storage.delete(f"{self._stem}.{stale.token}-{number}")
        return True

    def _claim(self, token: str) -> str | None:
        for number in range(_CLAIMS):
            claim = f"{self._stem}.{token}-{number}"
            try:
                self._storage.put_if_absent(claim, self._document())
            except ObjectExistsError:
                holder = _read_holder(self._storage, claim)
                if holder is None or not self._is_stale(claim, holder):
                    return None
            else:
                return claim
        return None

    def _current_token(self) -> str | None:
        holder = _read_holder(self._storage, self._name)
        return holder.token if holder else None

    def _stale_holder(self, name: str) -> Holder | None:
        """Return who let the lease go stale, None where it is gone by now; raise LockedError while it is held."""
        holder = _read_holder(self._storage, name)
        if holder is not None and not self._is_stale(name, holder):
            raise self._locked(holder)
        return holder

    def _is_stale(self, name: str, holder: Holder) -> bool:
        if holder.identity is not None and is_gone(holder.identity):
            return True
        # The store's own time beside the holder's: a clock that is slow elsewhere does not make a lease stale.
        modified = [stored.modified for stored in self._storage.list(name)]
        times = [format_instant(instant) for instant in modified] + ([holder.refreshed] if holder.refreshed else [])
        return max(times, default="") < format_instant(self._clock.now() - STALE_AFTER)

    def _locked(self, holder: Holder | None) -> LockedError:
        who = _("another run")
        if holder is not None and holder.identity is not None:
            who = _("process {pid} on {host}, since {since}").format(
                pid=holder.identity.pid, host=holder.identity.host, since=holder.acquired
            )
        return LockedError(
            _("{target} is locked by {who}").format(target=self.target, who=who),
            hint=_("Wait for it to end. A run that died is noticed by itself after {seconds} s.").format(
                seconds=int(STALE_AFTER.total_seconds())
            ),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Holder:
    """Who holds a lease, as far as its object says."""

    token: str
    identity: ProcessIdentity | None = None
    acquired: str = ""
    refreshed: str = ""


def _read_holder(storage: Storage, name: str) -> Holder | None:
    try:
        return _holder_of(storage.get(name, limit_bytes=MAX_LOCK_BYTES))
    except ObjectNotFoundError:
        return None


def _holder_of(data: bytes) -> Holder:
    """Return the holder; one that cannot be read (half written, or not ours) is known by its digest alone."""
    try:
        fields = parse_object(data)
        token = fields.text("token")
        if not is_uid(token):
            raise FieldError(_("token is none"))
        identity = ProcessIdentity(
            host=fields.text("host"),
            boot=fields.text("boot"),
            pid_namespace=fields.text("pid_namespace"),
            pid=fields.count("pid"),
            started=fields.text("pid_started"),
        )
        return Holder(
            token=token,
            identity=identity,
            acquired=format_instant(fields.instant("acquired")),
            refreshed=format_instant(fields.instant("refreshed")),
        )
    except FieldError:
        return Holder(token=blake3(data).hexdigest()[:32])
