"""Proofs: what drills and checks found, kept beside the backup as documents of their own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from respaldo.language import _
from respaldo.repository.fields import FieldError
from respaldo.repository.format import is_uid
from respaldo.repository.manifest import format_instant, seal, unseal

MAX_PROOF_BYTES = 1 << 20


class ProofKind(StrEnum):
    """Where a proof comes from: a drill restored the backup, a check read its bytes."""

    DRILL = "drill"
    CHECK = "check"


class Verdict(StrEnum):
    """Proven, failed, or inconclusive where nothing could be found out: never a false alarm, never a false pass."""

    PROVEN = "proven"
    FAILED = "failed"
    INCONCLUSIVE = "inconclusive"


@dataclass(frozen=True, slots=True, kw_only=True)
class Proof:
    """One result. ``uid``: of the very backup, whose name another may bear later. ``seconds`` by phase; ``facts`` are
    numbers that a report shows; ``findings`` say what differs."""

    uid: str
    kind: ProofKind
    verdict: Verdict
    made: datetime
    tool_version: str
    disaster: str = ""
    target: str = ""
    seconds: Mapping[str, float] = field(default_factory=dict)
    facts: Mapping[str, str] = field(default_factory=dict)
    findings: tuple[str, ...] = ()

    @property
    def has_failed(self) -> bool:
        return self.verdict is Verdict.FAILED

    @property
    def is_conclusive(self) -> bool:
        return self.verdict is not Verdict.INCONCLUSIVE

    @property
    def object_name(self) -> str:
        """The name of its object beside the backup's manifest."""
        return f"proof-{self.made:%Y%m%dT%H%M%S%fZ}.json"


def encode_proof(proof: Proof) -> bytes:
    """Return the bytes of a proof's document."""
    return seal(
        {
            "format": 1,
            "uid": proof.uid,
            "kind": proof.kind.value,
            "verdict": proof.verdict.value,
            "made": format_instant(proof.made),
            "tool_version": proof.tool_version,
            "disaster": proof.disaster,
            "target": proof.target,
            "milliseconds": {name: round(1000 * seconds) for name, seconds in proof.seconds.items()},
            "facts": dict(proof.facts),
            "findings": list(proof.findings),
        }
    )


def decode_proof(data: bytes) -> Proof:
    """Return the proof that a document is; raise FieldError for anything else."""
    fields = unseal(data)
    uid, kind, verdict = fields.text("uid"), fields.text("kind"), fields.text("verdict")
    if not is_uid(uid) or kind not in set(ProofKind) or verdict not in set(Verdict):
        raise FieldError(_("uid, kind or verdict is none"))
    milliseconds = fields.fields("milliseconds")
    return Proof(
        uid=uid,
        kind=ProofKind(kind),
        verdict=Verdict(verdict),
        made=fields.instant("made"),
        tool_version=fields.text("tool_version"),
        disaster=fields.text("disaster"),
        target=fields.text("target"),
        seconds={name: milliseconds.count(name) / 1000 for name in milliseconds.members},
        facts=fields.text_mapping("facts"),
        findings=fields.texts("findings"),
    )
