"""``respaldo version``: the versions of the backups. Each of its commands is in a module of this name's beginning."""

from __future__ import annotations

from respaldo.cli.lazy import LazyGroup
from respaldo.language import _

version = LazyGroup(
    "version",
    short_help=_("versions, branches and tags of the backups"),
    commands_of={
        "list": ("respaldo.cli.version_show", "list_versions", _("show the versions, the newest first")),
        "info": ("respaldo.cli.version_show", "info", _("show all that is known of one version")),
        "branches": ("respaldo.cli.version_show", "branches", _("show the branches and the newest version of each")),
        "tags": ("respaldo.cli.version_show", "tags", _("show the tags and what bears them")),
        "compare": ("respaldo.cli.version_compare", "compare", _("show what changed between two backups")),
        "tag": ("respaldo.cli.version_change", "tag", _("give a backup a tag, or take one away")),
        "rollback": ("respaldo.cli.version_rollback", "rollback", _("put a version in the place of the live database")),
        "history": ("respaldo.cli.version_rollback", "history", _("show the rollbacks that were made")),
        "prune": ("respaldo.cli.version_change", "prune", _("keep the newest versions of each branch")),
    },
    help=_(
        """List, compare, tag, roll back and clean up the versions of the backups.

A version is MAJOR.MINOR.PATCH-BRANCH.BUILD. respaldo backup --branch gives one; BUILD counts the versions of a branch.
Wherever a backup is named, a version or a tag does as well.

\b
Examples:
  respaldo backup --branch main
  respaldo version list --branch main
  respaldo version compare 1.0.0-main.1 1.0.1-main.2
"""
    ),
)
