"""``respaldo schedule``: what runs by itself, and when. Its commands are in the modules of this name's beginning."""

from __future__ import annotations

from respaldo.cli.lazy import LazyGroup
from respaldo.language import _

schedule = LazyGroup(
    "schedule",
    short_help=_("what runs by itself, and when"),
    commands_of={
        "add": ("respaldo.cli.schedule_change", "add", _("have a command run by itself")),
        "list": ("respaldo.cli.schedule_show", "list_schedules", _("show the schedules, their next and last runs")),
        "remove": ("respaldo.cli.schedule_change", "remove", _("remove a schedule")),
        "run": ("respaldo.cli.schedule_run", "run", _("run a schedule's command now, and note what came of it")),
        "history": ("respaldo.cli.schedule_show", "history", _("show the runs that were, the newest first")),
    },
    help=_(
        """Have backups, retention, checks and drills run by themselves.

cron, systemd, a Kubernetes cluster or respaldo serve starts the runs. Each is noted in scheduled_backups.log and
.metadata/last_status.json of the repository.

\b
Examples:
  respaldo schedule add nightly
  respaldo schedule list
  respaldo schedule history nightly
"""
    ),
)
