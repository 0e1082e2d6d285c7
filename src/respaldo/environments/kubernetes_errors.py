"""What an API server says when it refuses, in our errors: one clear line, and what to do."""

from __future__ import annotations

import json
import re
from typing import Final

from respaldo.environments.kubernetes_config import Cluster
from respaldo.errors import EnvironmentFailedError
from respaldo.language import _

# The API server's own words: User "…" cannot list resource "pods" in API group "" in the namespace "shop".
_FORBIDDEN: Final = re.compile(
    r'cannot (?P<verb>\w+) resource "(?P<resource>[\w/.]+)"(?: in API group "(?P<group>[\w.]*)")?'
    r'(?: in the namespace "(?P<namespace>[\w.-]+)")?'
)

_QUERY: Final = re.compile(r'(?<=\w)\?[\w.~-]+=[^\s"]*')

_VERBS: Final = {
    "pods/exec": "get, create",
    "pods/log": "get",
    "cronjobs": "get, list, create, patch, delete",
    "jobs": "get, create, delete",
}
"""What respaldo does with a resource; with others it looks."""


def read_message(body: bytes) -> str:
    """Return the message of an API server's Status document, or the text itself where it is none; on one line, and
    without the queries of its addresses, which hold whole commands."""
    try:
        document = json.loads(body)
    except ValueError:
        return _shorten(body.decode("utf-8", "replace"))[:500]
    message = document.get("message") if isinstance(document, dict) else None
    return _shorten(str(message or document))


def _shorten(text: str) -> str:
    return _QUERY.sub("", " ".join(text.split()))


def refused(cluster: Cluster, status: int, message: str) -> EnvironmentFailedError:
    """Return the error for an HTTP status of the API."""
    if status == 401:
        return EnvironmentFailedError(
            _("the cluster at {server} does not accept the login of {origin}").format(
                server=cluster.server, origin=cluster.origin
            ),
            hint=_("log in again; this must work: kubectl get pods"),
        )
    if status == 403:
        return EnvironmentFailedError(
            _("the cluster at {server} forbids it: {reason}").format(server=cluster.server, reason=message),
            hint=_role_hint(message),
        )
    if status == 404:
        hint = _("list the pods: kubectl get pods --all-namespaces")
    elif status == 429:
        hint = _("the API server is overloaded: try again later")
    else:
        hint = _("see whether the cluster is well: kubectl get --raw /readyz?verbose")
    return EnvironmentFailedError(
        _("the cluster at {server} refused ({status}): {reason}").format(
            server=cluster.server, status=status, reason=message
        ),
        hint=hint,
    )


def _role_hint(message: str) -> str:
    found = _FORBIDDEN.search(message)
    if found is None:
        return _("the login's Role must allow what deploy/kubernetes/rbac.yaml lists")
    verbs = _VERBS.get(found["resource"], "get, list")
    rule = f'{{apiGroups: ["{found["group"] or ""}"], resources: [{found["resource"]}], verbs: [{verbs}]}}'
    if found["namespace"]:
        return _("add to a Role in the namespace {namespace}, bound to this login, the rule {rule}").format(
            namespace=found["namespace"], rule=rule
        )
    return _(
        "add to a ClusterRole, bound to this login, the rule {rule}; or name one namespace with --namespace"
    ).format(rule=rule)


def unreachable(cluster: Cluster, error: Exception) -> EnvironmentFailedError:
    """Return the error for a server that did not answer."""
    reason = getattr(error, "verify_message", None) or getattr(error, "strerror", None) or str(error) or repr(error)
    return EnvironmentFailedError(
        _("the cluster at {server} ({origin}) cannot be reached: {reason}").format(
            server=cluster.server, origin=cluster.origin, reason=reason
        ),
        hint=_("choose another with --context or KUBECONFIG, or see why it does not answer: kubectl version"),
    )


def not_running(name: str, namespace: str, pod: str, container: str, state: str) -> EnvironmentFailedError:
    """Return the error for a pod's container that is there and cannot be used now. One that ends by itself says why in
    what it wrote; of others the cluster knows."""
    has_ended = state in {"CrashLoopBackOff", "Error"}
    return EnvironmentFailedError(
        _("{name} is not running ({state})").format(name=name, state=state or "?"),
        hint=f"kubectl --namespace {namespace} "
        + (f"logs {pod} --container {container}" if has_ended else f"describe pod {pod}"),
    )


def gone(name: str) -> EnvironmentFailedError:
    """Return the error for a pod that was there."""
    return EnvironmentFailedError(
        _("the pod {name} is not there any more").format(name=name),
        hint=_("list the pods: kubectl get pods --all-namespaces"),
    )
