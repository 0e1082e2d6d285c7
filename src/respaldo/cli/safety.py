"""The backup of what a restore is about to replace."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from respaldo.app import App
from respaldo.cli.printing import Output, Progress
from respaldo.language import _
from respaldo.repository.records import Manifest

if TYPE_CHECKING:
    from respaldo.postgres.server import Server


def save_live(app: App, server: Server, database: str, output: Output) -> Manifest:
    """Back a live database up as ``before_restore_YYYYMMDD_HHMMSS``, and return that backup."""
    from respaldo.operations.backup import run_backup

    live = app.reconnect(server, database)
    request = app.backup_request(name=f"before_restore_{app.clock.now().astimezone():%Y%m%d_%H%M%S}", is_safety=True)
    target = replace(app.target_of(server), database=database)
    with Progress(output, _("safety backup")) as listen:
        return run_backup(live, app.open_or_create_repository(), target, request, clock=app.clock, listen=listen)
