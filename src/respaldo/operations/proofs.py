"""The newest proof of each backup, for whoever decides by it; and how one is kept."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime

from respaldo.clock import CORRECTION
from respaldo.errors import StorageError
from respaldo.repository.proof import Proof
from respaldo.repository.records import Manifest
from respaldo.repository.repository import Repository


def keep_proof(repository: Repository, manifest: Manifest, proof: Proof) -> str:
    """Keep a proof beside its backup; return why it could not be kept, else nothing. A copy that may only be read, or a
    full disk: what was found out is not lost for that."""
    try:
        repository.add_proof(manifest.target, manifest.name, proof)
    except StorageError as error:
        return error.message
    return ""


def newest_proofs(repository: Repository, manifests: Iterable[Manifest]) -> dict[str, Proof]:
    """Return each backup's newest conclusive proof by the backup's name; those of one target, or the names mix."""
    found = {}
    for manifest in manifests:
        proofs = [proof for proof in repository.proofs(manifest) if proof.is_conclusive]
        if proofs:
            found[manifest.name] = proofs[-1]
    return found


def is_ahead(manifest: Manifest, now: datetime) -> bool:
    """Tell whether a backup bears a time that is not yet: the clock was wrong when it was made, and its age is not
    known."""
    return manifest.started > now + CORRECTION


def of_known_age(manifests: Sequence[Manifest], now: datetime) -> Iterator[Manifest]:
    """Yield the backups whose age is known, the newest first. ``manifests``: of one target, the oldest first."""
    return (one for one in reversed(manifests) if not is_ahead(one, now))


def newest_good(repository: Repository, manifests: Sequence[Manifest], now: datetime) -> Manifest | None:
    """Return the newest backup whose age is known and whose last conclusive proof did not fail. ``manifests``: of one
    target, the oldest first."""
    for manifest in of_known_age(manifests, now):
        proof = newest_proofs(repository, [manifest]).get(manifest.name)
        if proof is None or not proof.has_failed:
            return manifest
    return None
