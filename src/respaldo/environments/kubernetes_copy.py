"""A throwaway copy of a pod, as documents: what is taken over from the source's container, what is left out.

Pure. The pod owns its Secret and its claim: they go with it, whoever removes it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Any, Final

from respaldo.environments.recognition import DRILL_LABEL, ENABLE_LABEL

Document = dict[str, Any]

SERVER: Final = "postgres"
HOLDER: Final = "respaldo"
VOLUME: Final = "respaldo-data"
#: The kubelet ends what nobody removed; the next run takes it away.
LONGEST_S: Final = 24 * 3600
PASSWORDS: Final = ("POSTGRES_PASSWORD", "POSTGRESQL_PASSWORD")
_SECRET_WORDS: Final = ("PASSWORD", "SECRET", "TOKEN", "KEY", "CREDENTIAL", "_FILE", "DSN", "URL", "URI")
#: What shapes a server, of the official image and Bitnami's: taken over also from a whole Secret or ConfigMap.
_SHAPING: Final = (
    "PGDATA", "POSTGRES_USER", "POSTGRES_DB", "POSTGRES_INITDB_ARGS", "POSTGRES_HOST_AUTH_METHOD",
    "POSTGRESQL_USERNAME", "POSTGRESQL_DATABASE", "POSTGRESQL_SHARED_PRELOAD_LIBRARIES", "POSTGRESQL_EXTRA_FLAGS",
    "LANG", "LC_ALL", "TZ",
)  # fmt: skip
_KEPT_OF_POD: Final = (
    "nodeSelector", "tolerations", "imagePullSecrets", "securityContext", "runtimeClassName",
)  # fmt: skip
_KEPT_OF_CONTAINER: Final = ("command", "args", "workingDir", "securityContext", "resources")
_KEPT_VOLUMES: Final = ("configMap", "emptyDir", "downwardAPI")


@dataclass(frozen=True, slots=True, kw_only=True)
class Copy:
    """What a throwaway pod is made from. ``image_id``: the digest that runs at the source, ``""`` where unknown;
    ``claim``: the specification of the source's claim, None where its data lie in no claim."""

    namespace: str
    image: str
    image_id: str = ""
    pod: Mapping[str, Any] = field(default_factory=dict)
    container: Mapping[str, Any] = field(default_factory=dict)
    volumes: Sequence[Mapping[str, Any]] = ()
    directory: str = "/var/lib/postgresql"
    claim: Mapping[str, Any] | None = None


def claim_name(pod: Mapping[str, Any], container_name: str, data: str) -> str:
    """Return the name of the claim that a container's data directory lies in, or ``""``."""
    mount = _data_mount(_container(pod, container_name), data)
    volumes = {one["name"]: one for one in pod["spec"].get("volumes") or []}
    found: Mapping[str, Any] = volumes.get(mount["name"], {}) if mount else {}
    return str((found.get("persistentVolumeClaim") or {}).get("claimName") or "")


def copy_pod(pod: Mapping[str, Any], container_name: str, data: str, claim: Mapping[str, Any] | None = None) -> Copy:
    """Return what a copy of a pod's container is made from. ``data``: its data directory; ``claim``: the document of
    the claim that this lies in."""
    container = _container(pod, container_name)
    mount = _data_mount(container, data)
    kept = [one for one in pod["spec"].get("volumes") or [] if any(kind in one for kind in _KEPT_VOLUMES)]
    names = {one["name"] for one in kept} - {mount["name"] if mount else ""}
    mounts = [one for one in container.get("volumeMounts") or [] if one["name"] in names]
    statuses = pod.get("status", {}).get("containerStatuses") or []
    image_id = next((str(one.get("imageID") or "") for one in statuses if one["name"] == container_name), "")
    return Copy(
        namespace=str(pod["metadata"]["namespace"]),
        image=_pinned(str(container["image"]), image_id),
        image_id=image_id,
        pod={key: pod["spec"][key] for key in _KEPT_OF_POD if pod["spec"].get(key)},
        container={
            **{key: container[key] for key in _KEPT_OF_CONTAINER if container.get(key)},
            "env": copy_variables(container),
            "volumeMounts": mounts,
        },
        volumes=[one for one in kept if one["name"] in {mount["name"] for mount in mounts}],
        directory=str(mount["mountPath"]) if mount else str(PurePosixPath(data).parent),
        claim=_claim_specification(claim) if claim else None,
    )


def copy_variables(container: Mapping[str, Any]) -> list[Document]:
    """Return a container's variables but the secrets among them. References stay references: no value of a Secret
    stands in the copy's document."""
    own = [dict(one) for one in container.get("env") or [] if not _is_secret(str(one["name"]))]
    names = {str(one["name"]) for one in container.get("env") or []}
    for source in container.get("envFrom") or []:
        prefix = str(source.get("prefix") or "")
        for kind, reference in (("secretKeyRef", "secretRef"), ("configMapKeyRef", "configMapRef")):
            if reference in source:
                own += [
                    {
                        "name": name,
                        "valueFrom": {
                            kind: {
                                "name": source[reference]["name"],
                                "key": name.removeprefix(prefix),
                                "optional": True,
                            }
                        },
                    }
                    for name in _SHAPING
                    if name not in names and name.startswith(prefix)
                ]
    return own


def pod_document(copy: Copy, name: str, annotations: Mapping[str, str], *, with_claim: bool) -> Document:
    """Return the throwaway pod: the server, and beside it the same image idle, which reaches the data of a server that
    is stopped."""
    mount: Document = {"name": VOLUME, "mountPath": copy.directory}
    source: Document = {"emptyDir": {}}
    if with_claim:
        # A new file system has a directory of its own at its root: initdb wants an empty one.
        mount["subPath"] = "data"
        source = {"persistentVolumeClaim": {"claimName": name}}
    kept = dict(copy.container)
    mounts = [*kept.pop("volumeMounts", []), mount]
    passwords = [
        {"name": variable, "valueFrom": {"secretKeyRef": {"name": name, "key": "password"}}} for variable in PASSWORDS
    ]
    server = {
        **kept,
        "name": SERVER,
        "image": copy.image,
        "imagePullPolicy": "IfNotPresent",
        "env": [*kept.get("env", []), *passwords],
        "volumeMounts": mounts,
    }
    holder = {
        "name": HOLDER,
        "image": copy.image,
        "imagePullPolicy": "IfNotPresent",
        # Process 1 has no default handlers: it ends at once only where it asks for it.
        "command": ["sh", "-c", "trap 'exit 0' TERM; while :; do sleep 3600 & wait; done"],
        "volumeMounts": [mount],
        **({"securityContext": kept["securityContext"]} if "securityContext" in kept else {}),
    }
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": name,
            "namespace": copy.namespace,
            "labels": {DRILL_LABEL: "true", ENABLE_LABEL: "false"},
            "annotations": dict(annotations),
        },
        "spec": {
            **copy.pod,
            "automountServiceAccountToken": False,
            "enableServiceLinks": False,
            "restartPolicy": "Always",
            "activeDeadlineSeconds": LONGEST_S,
            "containers": [server, holder],
            "volumes": [*copy.volumes, {"name": VOLUME, **source}],
        },
    }


def secret_document(pod: Mapping[str, Any], password: str) -> Document:
    """Return the Secret with the copy's own password."""
    return {"apiVersion": "v1", "kind": "Secret", "metadata": _owned(pod), "stringData": {"password": password}}


def claim_document(pod: Mapping[str, Any], specification: Mapping[str, Any]) -> Document:
    """Return the copy's own claim."""
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": _owned(pod),
        "spec": dict(specification),
    }


def _owned(pod: Mapping[str, Any]) -> Document:
    metadata = pod["metadata"]
    owner = {"apiVersion": "v1", "kind": "Pod", "name": metadata["name"], "uid": metadata["uid"]}
    return {
        "name": metadata["name"],
        "namespace": metadata["namespace"],
        "labels": {DRILL_LABEL: "true"},
        "ownerReferences": [owner],
    }


def _claim_specification(claim: Mapping[str, Any]) -> Document:
    """Return a claim of the same class, size and modes, bound to no volume yet."""
    return {
        key: claim["spec"][key]
        for key in ("accessModes", "resources", "storageClassName", "volumeMode")
        if key in claim["spec"]
    }


def _container(pod: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    found: Mapping[str, Any] = next(one for one in pod["spec"]["containers"] if one["name"] == name)
    return found


def _data_mount(container: Mapping[str, Any], data: str) -> Mapping[str, Any] | None:
    """Return the innermost mount that a directory lies in."""
    path = PurePosixPath(data)
    over = [one for one in container.get("volumeMounts") or [] if path.is_relative_to(one["mountPath"])]
    return max(over, key=lambda one: len(str(one["mountPath"])), default=None)


def _is_secret(name: str) -> bool:
    return any(word in name for word in _SECRET_WORDS)


def _pinned(image: str, image_id: str) -> str:
    """Return the image by the digest that runs, where the engine knows it under the image's own name."""
    repository, at, digest = image_id.rpartition("://")[2].partition("@")
    name = image.partition("@")[0]
    name = name if "/" not in name.rpartition(":")[2] and ":" not in name else name.rpartition(":")[0]
    official = repository.removeprefix("docker.io/").removeprefix("library/")
    is_same = name.removeprefix("docker.io/").removeprefix("library/") == official
    return f"{name}@{digest}" if at and is_same else image
