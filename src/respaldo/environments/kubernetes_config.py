"""Which cluster is meant: a kubeconfig's context, or the one that this very process runs in as a pod."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from respaldo.environments.kubernetes_login import FixedLogin, Login, PluginLogin, Proof, TokenFileLogin, basic
from respaldo.errors import EnvironmentFailedError, UsageError
from respaldo.language import _

#: Where the kubelet puts a pod's own token, authority and namespace.
ACCOUNT: Final = Path("/var/run/secrets/kubernetes.io/serviceaccount")
DEFAULT_NAMESPACE: Final = "default"


@dataclass(frozen=True, slots=True, kw_only=True)
class Cluster:
    """One API server, how to trust it and how to log in. ``origin`` says in a message where this was read."""

    server: str
    origin: str
    namespace: str
    login: Login = field(repr=False)
    authority: str | None = field(default=None, repr=False)
    is_verified: bool = True
    server_name: str | None = None
    proxy: str | None = None

    @property
    def is_tls(self) -> bool:
        return self.server.startswith("https://")

    @property
    def host(self) -> str:
        return urlsplit(self.server).hostname or ""

    @property
    def port(self) -> int:
        return urlsplit(self.server).port or (443 if self.is_tls else 80)

    @property
    def path(self) -> str:
        return urlsplit(self.server).path.rstrip("/")


def find_cluster(variables: Mapping[str, str], context: str | None = None, account: Path = ACCOUNT) -> Cluster:
    """Return the cluster for a process with these variables.

    A context or KUBECONFIG that was given wins; then a pod's own service account; then ~/.kube/config. Raise UsageError
    for a context that is not there, EnvironmentFailedError, with a hint, where no cluster is configured.
    """
    given = variables.get("KUBECONFIG", "")
    if not context and not given and variables.get("KUBERNETES_SERVICE_HOST") and (account / "token").exists():
        return _own_cluster(variables, account)
    home = Path(variables.get("HOME") or Path.home())
    paths = [Path(part).expanduser() for part in given.split(":") if part] or [home / ".kube" / "config"]
    return _read_kubeconfig(paths, context)


def _own_cluster(variables: Mapping[str, str], account: Path) -> Cluster:
    host = variables["KUBERNETES_SERVICE_HOST"]
    port = variables.get("KUBERNETES_SERVICE_PORT_HTTPS") or variables.get("KUBERNETES_SERVICE_PORT") or "443"
    namespace = account / "namespace"
    return Cluster(
        server=f"https://[{host}]:{port}" if ":" in host else f"https://{host}:{port}",
        origin=_("this pod's service account"),
        namespace=namespace.read_text().strip() if namespace.exists() else DEFAULT_NAMESPACE,
        login=TokenFileLogin(account / "token"),
        authority=(account / "ca.crt").read_text() if (account / "ca.crt").exists() else None,
    )


def _read_kubeconfig(paths: list[Path], wanted: str | None) -> Cluster:
    documents = [(path, _load(path)) for path in paths if path.exists()]
    tried = ", ".join(str(path) for path in paths)
    if not documents:
        raise EnvironmentFailedError(
            _("no Kubernetes cluster is configured: there is no {path}").format(path=tried),
            hint=_("set KUBECONFIG to a kubeconfig's path"),
        )
    current = next((str(one["current-context"]) for _path, one in documents if one.get("current-context")), "")
    name = wanted or current
    if not name:
        raise EnvironmentFailedError(
            _("the kubeconfig {path} has no current context").format(path=tried), hint=_("name one with --context")
        )
    _folder, context = _entry(documents, "contexts", "context", name)
    if context is None:
        raise _no_context(documents, name, tried)
    folder, cluster = _entry(documents, "clusters", "cluster", str(context.get("cluster") or ""))
    if cluster is None or not urlsplit(str(cluster.get("server") or "")).hostname:
        raise EnvironmentFailedError(
            _("the context {name} of {path} names no usable cluster").format(name=name, path=tried),
            hint=_("name one with --context"),
        )
    login_folder, user = _entry(documents, "users", "user", str(context.get("user") or ""))
    return Cluster(
        server=str(cluster["server"]),
        origin=_("context {name}").format(name=name),
        namespace=str(context.get("namespace") or DEFAULT_NAMESPACE),
        login=_login(user or {}, login_folder, cluster),
        authority=_pem(cluster, "certificate-authority", folder),
        is_verified=not cluster.get("insecure-skip-tls-verify"),
        server_name=cluster.get("tls-server-name"),
        proxy=cluster.get("proxy-url"),
    )


def _no_context(documents: list[tuple[Path, dict[str, Any]]], name: str, tried: str) -> UsageError:
    names = [str(entry.get("name")) for _path, one in documents for entry in one.get("contexts") or []]
    return UsageError(
        _("the kubeconfig {path} has no context {name}").format(path=tried, name=name),
        hint=_("there are: {names}").format(names=", ".join(names) or "-"),
    )


def _load(path: Path) -> dict[str, Any]:
    import yaml

    try:
        document = yaml.safe_load(path.read_bytes())
    except (OSError, yaml.YAMLError) as error:
        reason = " ".join(str(error).split())
        raise EnvironmentFailedError(
            _("the kubeconfig {path} cannot be read: {reason}").format(path=path, reason=reason),
            hint=_("set KUBECONFIG to a kubeconfig's path"),
        ) from error
    if not isinstance(document, dict):
        raise EnvironmentFailedError(
            _("{path} is no kubeconfig").format(path=path), hint=_("set KUBECONFIG to a kubeconfig's path")
        )
    return document


def _entry(
    documents: list[tuple[Path, dict[str, Any]]], kind: str, field_name: str, name: str
) -> tuple[Path, dict[str, Any] | None]:
    """Return the first file's entry of this name, and the directory that its relative paths start from."""
    for path, document in documents:
        for entry in document.get(kind) or []:
            if entry.get("name") == name:
                return path.parent, entry.get(field_name) or {}
    return Path(), None


def _login(user: Mapping[str, Any], folder: Path, cluster: Mapping[str, Any]) -> Login:
    if user.get("exec"):
        known = ("server", "certificate-authority-data", "tls-server-name", "insecure-skip-tls-verify", "proxy-url")
        return PluginLogin(user["exec"], folder, {key: cluster[key] for key in known if key in cluster})
    if user.get("tokenFile"):
        return TokenFileLogin(folder / str(user["tokenFile"]))
    if user.get("auth-provider"):
        raise EnvironmentFailedError(
            _("the kubeconfig logs in by auth-provider, which Kubernetes removed in 1.26"),
            hint=_("make the kubeconfig again with your provider's present tool, which writes an exec plugin"),
        )
    authorization = None
    if user.get("token"):
        authorization = f"Bearer {user['token']}"
    elif user.get("username"):
        authorization = basic(str(user["username"]), str(user.get("password") or ""))
    certificate, key = _pem(user, "client-certificate", folder), _pem(user, "client-key", folder)
    return FixedLogin(Proof(authorization=authorization, certificate=certificate, key=key))


def _pem(entry: Mapping[str, Any], name: str, folder: Path) -> str | None:
    """Return the text of ``NAME-data`` (base64) or of the file that ``NAME`` names."""
    try:
        if entry.get(f"{name}-data"):
            return base64.b64decode(entry[f"{name}-data"]).decode("ascii")
        if entry.get(name):
            return (folder / str(entry[name])).read_text()
    except (OSError, ValueError, binascii.Error) as error:
        raise EnvironmentFailedError(
            _("the kubeconfig's {name} cannot be read: {error}").format(name=name, error=error)
        ) from error
    return None
