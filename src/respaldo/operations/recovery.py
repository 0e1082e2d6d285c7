"""The recoveries that a repository's proofs tell of."""

from __future__ import annotations

from respaldo.metrics.recovery import Recovery
from respaldo.repository.proof import ProofKind, Verdict
from respaldo.repository.repository import Repository


def read_recoveries(repository: Repository) -> list[Recovery]:
    """Return every recovery that a drill proved, the oldest first."""
    found = [
        Recovery(
            target=str(target),
            disaster=proof.disaster,
            made=proof.made,
            seconds=proof.seconds["restore"],
            raw_bytes=manifest.totals.raw_bytes,
        )
        for target in repository.targets()
        for manifest in repository.backups(target).manifests
        for proof in repository.proofs(manifest)
        if proof.kind is ProofKind.DRILL and proof.verdict is Verdict.PROVEN and "restore" in proof.seconds
    ]
    return sorted(found, key=lambda recovery: recovery.made)
