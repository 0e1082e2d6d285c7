"""Which of several replicas of one server is meant: the servers themselves are asked, where no label says it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from respaldo.environments.base import Environment, Instance, InstanceQuery
from respaldo.environments.detect import choose
from respaldo.errors import EnvironmentFailedError, RespaldoError
from respaldo.language import _
from respaldo.postgres.server import ServerFacts

#: Of more instances than that, a person says which; each is asked by a connection.
MOST_ASKED: Final = 8


def choose_member(
    environment: Environment, query: InstanceQuery, ask: Callable[[Instance], ServerFacts], *, wants_standby: bool
) -> Instance:
    """Return the one instance that is meant: of the replicas of one server (they share its system identifier) the
    primary, or the first standby by name where that is wanted.

    Raise as ``choose`` does; EnvironmentFailedError where a standby is wanted and none runs.
    """
    running = [instance for instance in environment.find(query) if instance.is_running]
    if len(running) > MOST_ASKED or (len(running) < 2 and not wants_standby):
        return choose(environment, query)
    if not running:
        return choose(environment, query)
    try:
        facts = [(instance, ask(instance)) for instance in running]
    except RespaldoError:
        if wants_standby:
            raise
        return choose(environment, query)
    if len({one.system_identifier for _instance, one in facts}) > 1:
        return choose(environment, query)
    members = [instance for instance, one in facts if one.is_standby == wants_standby]
    if wants_standby and not members:
        raise EnvironmentFailedError(
            _("there is no standby that runs; there are: {names}").format(names=_names(running)),
            hint=_("leave --standby out to back up the primary"),
        )
    return members[0] if members and (wants_standby or len(members) == 1) else choose(environment, query)


def one_of_each(facts: Sequence[tuple[Instance, ServerFacts]], *, wants_standby: bool) -> list[Instance]:
    """Return the instances of a fleet, of replicas of one server only the primary, or the first standby where that is
    wanted; where there is no such one, all of them."""
    kept: list[Instance] = []
    for instance, one in facts:
        members = [other for other in facts if other[1].system_identifier == one.system_identifier]
        wanted = [other for other, its in members if its.is_standby == wants_standby]
        if not wanted or instance is wanted[0]:
            kept.append(instance)
    return kept


def _names(instances: Sequence[Instance]) -> str:
    return ", ".join(instance.name for instance in instances)
