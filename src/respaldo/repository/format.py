"""Format 1 in names and numbers: object names, what a name may be, and how much is read of anything.

docs/repository-format.md says the same in words. Everything in a repository is untrusted when it is read back.
"""

from __future__ import annotations

import re
import unicodedata
from urllib.parse import unquote_to_bytes

from blake3 import blake3

from respaldo.errors import UsageError
from respaldo.language import _
from respaldo.units import MIB

FORMAT = 1
REPOSITORY = "respaldo.json"
LOCKS = "locks"
METADATA = ".metadata"
LABELS = "labels.json"
MANIFEST = "manifest.json"
SEGMENTS = "segments.json.zst"
PROOF = re.compile(r"proof-[0-9A-Za-z]{1,32}\.json")

MAX_REPOSITORY_BYTES = 64 * 1024
MAX_MANIFEST_BYTES = 32 * MIB
MAX_LOCK_BYTES = 64 * 1024
MAX_LABELS_BYTES = 8 * MIB
MAX_SEGMENTS_BYTES = 128 * MIB
MAX_SEGMENTS_TEXT = 1024 * MIB
MAX_DELTA_TEXT = 512 * MIB
"""A delta holds its text and its base's in memory; a larger segment is stored as a frame."""
PACK_BYTES = 256 * MIB
"""A pack that has reached this size ends at the next segment's border."""

MAX_NAME_BYTES = 255
"""What ext4, xfs and most others let one part of a path have."""
MAX_BACKUP_NAME = 120
_MAX_LOCK_STEM = 180
_RESERVED_PARTS = {LOCKS, REPOSITORY}
_RESERVED_BACKUPS = {LABELS, MANIFEST, REPOSITORY, LOCKS, "latest"}
# What stands in a name as it is, if it is a letter of some alphabet.
_OTHERS = re.compile(r"[^A-Za-z0-9_.-]")
_OBJECT = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,119}")
_HEX_DIGEST = re.compile(r"[0-9a-f]{64}")
_UID = re.compile(r"[0-9a-f]{32}")


def encode_name(name: str) -> str:
    """Return the part of a path that stands for an instance or a database; ``decode_name`` gives the name back.

    Raise UsageError for the empty name, for what is not UTF-8, and for a result past 255 bytes.
    """
    # A file system that normalizes names must have nothing to change: other forms are written as bytes.
    stable = unicodedata.is_normalized("NFC", name)
    try:
        encoded = _OTHERS.sub(lambda one: one[0] if stable and _is_letter(one[0]) else _percent(one[0]), name)
    except UnicodeEncodeError as error:
        raise UsageError(_("{name!r} cannot be written as UTF-8").format(name=name)) from error
    if not encoded:
        raise UsageError(_("an instance and a database need a name"))
    # "." and ".." are no names; a file system may hide a leading dot; "locks" is the repository's own.
    if encoded[0] == "." or encoded in _RESERVED_PARTS:
        encoded = _percent(encoded[0]) + encoded[1:]
    if len(encoded.encode()) > MAX_NAME_BYTES:
        message = _("the name {name!r} takes more than {limit} bytes as a file name")
        raise UsageError(message.format(name=name, limit=MAX_NAME_BYTES))
    return encoded


def _is_letter(character: str) -> bool:
    return unicodedata.category(character)[0] == "L"


def _percent(character: str) -> str:
    return "".join(f"%{byte:02X}" for byte in character.encode())


def decode_name(encoded: str) -> str | None:
    """Return the name that ``encode_name`` wrote so, or None where it never writes that."""
    try:
        name = unquote_to_bytes(encoded).decode()
        return name if encode_name(name) == encoded else None
    except (UnicodeError, UsageError):
        return None


def check_backup_name(name: str) -> None:
    """Raise UsageError unless ``name`` may be a backup's: letters, digits, ``_ . -``, at most 120, no path."""
    if not is_backup_name(name):
        raise UsageError(
            _("{name!r} cannot be the name of a backup").format(name=name),
            hint=_("Use at most {limit} letters, digits, '_', '-' and '.', starting with a letter or digit.").format(
                limit=MAX_BACKUP_NAME
            ),
        )


def is_backup_name(name: str) -> bool:
    """Tell whether ``name`` may be a backup's: what ``check_backup_name`` lets pass."""
    return (
        0 < len(name) <= MAX_BACKUP_NAME
        and name[0] not in ".-"
        and name.lower() not in _RESERVED_BACKUPS
        and unicodedata.is_normalized("NFC", name)
        and all(map(_is_letter, _OTHERS.findall(name)))
        and len(name.encode()) <= MAX_NAME_BYTES
    )


def is_object_name(name: str) -> bool:
    """Tell whether a manifest may list an object of this name."""
    return _OBJECT.fullmatch(name) is not None and name != MANIFEST and PROOF.fullmatch(name) is None


def is_digest(text: str) -> bool:
    """Tell whether ``text`` is a BLAKE3 digest as format 1 writes it: 64 lower-case hex digits."""
    return _HEX_DIGEST.fullmatch(text) is not None


def is_uid(text: str) -> bool:
    """Tell whether ``text`` is a repository's or a backup's uid: 32 lower-case hex digits."""
    return _UID.fullmatch(text) is not None


def lock_stem(instance: str, database: str) -> str:
    """Return a target's lock name without its ending; one that would be too long is named by its digest."""
    stem = f"{encode_name(instance)}+{encode_name(database)}"  # "+" is in no encoded name
    return f"{LOCKS}/{stem if len(stem.encode()) <= _MAX_LOCK_STEM else blake3(stem.encode()).hexdigest()}"
