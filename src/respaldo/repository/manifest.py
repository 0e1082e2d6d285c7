"""The manifest as bytes: a JSON document that ends in the BLAKE3 of everything before that.

Only what passes every check becomes a Manifest: checksum, types, names, sizes.
"""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime

from blake3 import blake3

from respaldo.errors import DamagedError
from respaldo.language import _
from respaldo.repository.fields import FieldError, Fields, as_object, parse_object
from respaldo.repository.format import FORMAT, is_backup_name, is_digest, is_object_name, is_uid
from respaldo.repository.records import BackupType, Decision, Manifest, ObjectEntry, TargetPath, Totals

_CHECKSUM_START = b',\n  "checksum": "'
_CHECKSUM_END = b'"\n}\n'
_TAIL_BYTES = len(_CHECKSUM_START) + 64 + len(_CHECKSUM_END)
_PREFIX = re.compile(r"(?:r[0-9a-f]{8}-)?")


def seal(document: dict[str, object]) -> bytes:
    """Return a JSON document with its checksum as the last member."""
    text = json.dumps(document, ensure_ascii=False, indent=2)
    # What is no Unicode becomes the \\udc80 that JSON writes for it anyway.
    body = text.removesuffix("\n}").encode(errors="backslashreplace")
    return body + _CHECKSUM_START + blake3(body).hexdigest().encode() + _CHECKSUM_END


def unseal(data: bytes) -> Fields:
    """Return the members of a sealed document; raise FieldError where a byte of it is not the one written."""
    body = data[:-_TAIL_BYTES]
    checksum = blake3(body).hexdigest().encode()
    if data[-_TAIL_BYTES:] != _CHECKSUM_START + checksum + _CHECKSUM_END:
        raise FieldError(_("its checksum is wrong"))
    return parse_object(data)


def format_instant(instant: datetime) -> str:
    """Write an aware time as format 1 does: UTC, microseconds, ``Z``."""
    return instant.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def encode_manifest(manifest: Manifest) -> bytes:
    """Return the bytes of ``manifest.json``."""
    totals = manifest.totals
    return seal(
        {
            "format": FORMAT,
            "name": manifest.name,
            "uid": manifest.uid,
            "type": manifest.type.value,
            "base": manifest.base,
            "base_uid": manifest.base_uid,
            "prefix": manifest.prefix,
            "instance": manifest.target.instance,
            "database": manifest.target.database,
            "started": format_instant(manifest.started),
            "finished": format_instant(manifest.finished),
            "environment": manifest.environment,
            "tool_version": manifest.tool_version,
            "decision": {"code": manifest.decision.code, "text": manifest.decision.text},
            "server": dict(manifest.server),
            "totals": {name: getattr(totals, name) for name in Totals.__slots__},
            "objects": [
                {"name": entry.name, "size": entry.size_bytes, "blake3": entry.digest} for entry in manifest.objects
            ],
            "warnings": list(manifest.warnings),
        }
    )


def decode_manifest(data: bytes, *, target: TargetPath, name: str) -> Manifest:
    """Return the manifest that ``data`` is, if it is that of backup ``name`` of ``target``; else raise DamagedError."""
    try:
        manifest = _manifest(unseal(data))
        if manifest.target != target or manifest.name != name:
            raise FieldError(_("it is that of {target}/{name}").format(target=manifest.target, name=manifest.name))
    except FieldError as error:
        raise DamagedError(
            _("the manifest of {target}/{name} is damaged: {reason}").format(target=target, name=name, reason=error),
            hint=_("Restore from another backup; the packs of this one are zstd frames that zstd -d still reads."),
        ) from error
    return manifest


def _manifest(fields: Fields) -> Manifest:
    if fields.count("format") != FORMAT:
        raise FieldError(_("format {version} is not known to this version").format(version=fields.count("format")))
    name, base, base_uid = fields.text("name"), fields.optional_text("base"), fields.optional_text("base_uid")
    kind = fields.text("type")
    if kind not in (BackupType.FULL, BackupType.INCREMENTAL):
        raise FieldError(_("type is neither full nor incremental"))
    if kind == BackupType.FULL and (base, base_uid) != (None, None):
        raise FieldError(_("a full has no base"))
    if kind == BackupType.INCREMENTAL and (
        base is None or base_uid is None or not is_backup_name(base) or not is_uid(base_uid) or base == name
    ):
        raise FieldError(_("an incremental has a base"))
    if not is_backup_name(name) or not is_uid(fields.text("uid")):
        raise FieldError(_("name or uid is none"))
    if not _PREFIX.fullmatch(fields.text("prefix")):
        raise FieldError(_("prefix is none"))
    decision = fields.fields("decision")
    return Manifest(
        name=name,
        uid=fields.text("uid"),
        type=BackupType(kind),
        base=base,
        base_uid=base_uid,
        prefix=fields.text("prefix"),
        target=TargetPath(instance=fields.text("instance"), database=fields.text("database")),
        started=fields.instant("started"),
        finished=fields.instant("finished"),
        environment=fields.text("environment"),
        tool_version=fields.text("tool_version"),
        decision=Decision(code=decision.text("code"), text=decision.text("text")),
        server=fields.text_mapping("server"),
        totals=_totals(fields.fields("totals")),
        objects=_objects(fields),
        warnings=fields.texts("warnings"),
    )


def _totals(fields: Fields) -> Totals:
    return Totals(**{name: fields.count(name) for name in Totals.__slots__})


def _objects(fields: Fields) -> tuple[ObjectEntry, ...]:
    entries = []
    for item in fields.items("objects"):
        members = Fields(as_object(item, _("an object")))
        entry = ObjectEntry(name=members.text("name"), size_bytes=members.count("size"), digest=members.text("blake3"))
        if not is_object_name(entry.name) or not is_digest(entry.digest):
            raise FieldError(_("an object's name or digest is none"))
        entries.append(entry)
    if len({entry.name for entry in entries}) != len(entries):
        raise FieldError(_("an object is listed twice"))
    return tuple(entries)
