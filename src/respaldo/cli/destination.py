"""Whether a restore goes to the server that its backup is of. Where it goes to another that only happens to run, a
person says that this one is meant: it may have a database of the same name, which would be replaced."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from respaldo.cli.asking import confirm
from respaldo.config.settings import Settings
from respaldo.errors import UsageError
from respaldo.language import _
from respaldo.repository.records import Manifest

if TYPE_CHECKING:
    from respaldo.postgres.server import Server

#: The setting that names an instance in each environment.
NAMED_BY = {"docker": "container", "kubernetes": "pod", "local": "host"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Stranger:
    """A server that was found by itself and is not the backup's. ``flag``: how a person says that it is meant."""

    warning: str
    flag: str

    def is_meant(self, question: str, *, yes: bool) -> bool:
        """Ask. Raise UsageError where nobody can answer; ``yes`` answers other questions, not this one."""
        hint = _("if it is meant, say so: {flag}").format(flag=self.flag)
        if yes:
            raise UsageError(self.warning, hint=hint)
        return confirm(question, hint=hint)


def find_stranger(settings: Settings, server: Server, chosen: Manifest | Path) -> Stranger | None:
    """Return the server as a stranger; None where a person named it, or where it is the backup's own: by its name, or
    by the identifier that its data directory has had since initdb (a container renamed, a volume moved)."""
    if isinstance(chosen, Path) or settings.names_an_instance:
        return None
    instance, known = server.runner.instance, chosen.server.get("system_identifier")
    if (instance.environment, instance.name) == (chosen.environment, chosen.target.instance):
        return None
    if known and known == server.facts.system_identifier:
        return None
    name = instance.name
    if instance.environment == "local":
        name = instance.id.rpartition(":")[0]
    if instance.environment == "kubernetes":
        namespace, name, _container = instance.id.split("/")
        name = f"{name} --namespace {namespace}"
    return Stranger(
        warning=_("{name} is of {source}; {found}, found by itself, is another server").format(
            name=chosen.name, source=chosen.target.instance, found=instance.name
        ),
        flag=f"--{NAMED_BY[instance.environment]} {name}",
    )
