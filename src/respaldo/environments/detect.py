"""Which environment is meant, and which instance in it: what was said wins, then what is there, then an error."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Final

from respaldo.environments.base import Environment, Instance, InstanceQuery
from respaldo.errors import EnvironmentFailedError, UsageError
from respaldo.language import _

#: Set in every container of a pod.
IN_CLUSTER: Final = "KUBERNETES_SERVICE_HOST"
KUBERNETES: Final = "kubernetes"
MOST_LISTED: Final = 20


def detect(
    environments: Sequence[Environment],
    forced: str | None = None,
    *,
    variables: Mapping[str, str] | None = None,
) -> Environment:
    """Return the environment to use: the forced one, unchecked; in a pod Kubernetes; else the first that answers.

    ``environments`` come in order of preference: docker, kubernetes, local. Raise UsageError for an unknown name, and
    EnvironmentFailedError, with the first environment's reason, where none can be used.
    """
    variables = os.environ if variables is None else variables
    by_name = {environment.name: environment for environment in environments}
    if forced is not None:
        if forced not in by_name:
            raise UsageError(
                _("there is no environment {name}").format(name=forced),
                hint=_("choose one of: {names}").format(names=", ".join(by_name)),
            )
        return by_name[forced]
    if variables.get(IN_CLUSTER) and KUBERNETES in by_name:
        return by_name[KUBERNETES]
    reasons: list[EnvironmentFailedError] = []
    for environment in environments:
        try:
            environment.check()
        except EnvironmentFailedError as error:
            reasons.append(error)
        else:
            return environment
    message = "; ".join(error.message for error in reasons) or _("there is no environment to look for PostgreSQL in")
    raise EnvironmentFailedError(message, hint=reasons[0].hint if reasons else None)


def choose(environment: Environment, query: InstanceQuery) -> Instance:
    """Return the one running instance that the query means.

    Of several that match, the only one that runs is meant. Raise UsageError where none or several match (the error
    lists names), EnvironmentFailedError where the one that matches does not run.
    """
    found = environment.find(query)
    if not found:
        raise _none(environment, query)
    found = [instance for instance in found if instance.should_run] or found
    running = [instance for instance in found if instance.is_running]
    if len(running) == 1:
        return running[0]
    if len(found) == 1:
        raise environment.describe_stopped(found[0])
    names = ", ".join(instance.name if instance.is_running else _stopped(instance) for instance in found[:MOST_LISTED])
    raise UsageError(
        _("several instances match: {names}").format(names=names),
        hint=_("{flag} NAME picks one").format(flag=environment.flag),
    )


def _none(environment: Environment, query: InstanceQuery) -> UsageError:
    names = ", ".join(environment.list_names()[:MOST_LISTED])
    there = _("there are: {names}").format(names=names) if names else _("there is nothing at all")
    if query.name is not None:
        what = _("nothing in {environment} is called {name}").format(environment=environment.name, name=query.name)
    elif query.labels:
        labels = ", ".join(f"{key}={value}" for key, value in query.labels.items())
        what = _("nothing in {environment} has the labels {labels}").format(environment=environment.name, labels=labels)
    else:
        what = _("nothing in {environment} looks like PostgreSQL").format(environment=environment.name)
    hint = environment.hint_elsewhere(query.name) if query.name is not None else ""
    hint = hint or _("{flag} NAME picks one by its name").format(flag=environment.flag)
    return UsageError(f"{what}; {there}", hint=hint)


def _stopped(instance: Instance) -> str:
    return f"{instance.name} ({instance.state})"
