"""What a person says about a restore, as one record."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class RestoreFlags:
    """What the person said beside the settings. ``is_elsewhere``: the backup is for another server than its own."""

    name: str | None
    to: str | None = None
    in_place: bool = False
    drop_old: bool = False
    schema_only: bool = False
    data_only: bool = False
    tables: tuple[str, ...] = ()
    replace_table: bool = False
    with_roles: bool = False
    role_map: tuple[str, ...] = ()
    is_safe: bool = True
    yes: bool = False
    dry_run: bool = False
    as_json: bool = False
    is_elsewhere: bool = False
