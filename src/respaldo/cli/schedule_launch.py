"""How this machine starts the program when nobody is logged in: where it lies, and which variables it is given."""

from __future__ import annotations

import os
import site
import sys
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path

import respaldo
from respaldo.app import App
from respaldo.config.dotenv import DOTENV, read_dotenv
from respaldo.config.settings import Settings, secret_variables
from respaldo.language import choose_language
from respaldo.schedule.plan import Launch

# An address may hold a password.
_PROXIES = (
    "ALL_PROXY", "HTTPS_PROXY", "HTTP_PROXY", "NO_PROXY", "all_proxy", "http_proxy", "https_proxy", "no_proxy",
)  # fmt: skip
# What is not ours, and decides where engine, cluster and server are found, how, and whom is trusted.
_OF_OTHERS = (
    "DOCKER_CERT_PATH", "DOCKER_CONFIG", "DOCKER_CONTEXT", "DOCKER_HOST", "DOCKER_TLS_VERIFY", "KUBECONFIG",
    "PGDATABASE", "PGHOST", "PGPASSFILE", "PGPORT", "PGSERVICE", "PGSERVICEFILE", "PGSSLCERT", "PGSSLCRL", "PGSSLKEY",
    "PGSSLMODE", "PGSSLROOTCERT", "PGUSER", "SSL_CERT_DIR", "SSL_CERT_FILE", "TZ", "XDG_RUNTIME_DIR", "XDG_STATE_HOME",
    *_PROXIES,
)  # fmt: skip
OUTPUT = "scheduled_backups.out"
# What says where a database outside of the cluster is, or what is another thing inside of it.
_NOT_IN_CLUSTER = (
    "container", "host", "port", "environment", "context", "namespace", "all_namespaces", "metrics_file", "repository",
)  # fmt: skip


def build_launch(app: App, name: str, added: Mapping[str, str]) -> Launch:
    """Return how cron or systemd starts a schedule: from the working directory, whose ``.env`` is read there again.

    ``added``: variables of its runs beside those of the environment.
    """
    path = dict.fromkeys(filter(None, os.environ.get("PATH", os.defpath).split(os.pathsep)))
    variables = {"PATH": os.pathsep.join(path), "RESPALDO_LANG": choose_language(os.environ)}
    variables |= import_path()
    location = app.settings.repository
    repository = location if "://" in location else str(Path(location).absolute())
    return Launch(
        argv=(sys.executable, "-m", "respaldo", "--repository", repository, "schedule", "run", name),
        directory=Path.cwd(),
        variables={**_given(), **added, **variables},
        output=app.records / OUTPUT,
    )


def import_path() -> dict[str, str]:
    """Return what another process needs to find this program where it is not installed, but run from a clone."""
    home = str(Path(respaldo.__file__).parent.parent)
    return {} if home in {*site.getsitepackages(), site.getusersitepackages()} else {"PYTHONPATH": home}


def cluster_variables(language: str) -> dict[str, str]:
    """Return the variables that a CronJob's container is given: settings without secrets, and where the backups lie."""
    declared = (one for one in fields(Settings) if one.name not in _NOT_IN_CLUSTER and not one.metadata["is_secret"])
    names = (name for one in declared for name in one.metadata["variables"])
    given = {name: os.environ[name] for name in names if os.environ.get(name)}
    return {**given, "BACKUP_DIR": "/backups", "RESPALDO_LANG": language}


def unwritten_secrets() -> list[str]:
    """Return the secret variables that are set here, and that a scheduled run will not have: they stand in no
    ``.env``."""
    known = read_dotenv()
    return sorted(name for name in _secrets() if os.environ.get(name) and name not in known)


def is_dotenv_open() -> bool:
    """Tell whether others may read ``.env`` of the working directory, and there are secrets in it."""
    try:
        mode = DOTENV.stat().st_mode
    except OSError:
        return False
    return bool(mode & 0o077) and bool(_secrets() & set(read_dotenv()))


def _secrets() -> set[str]:
    """Return the variables with secrets, ours and others'."""
    return {*secret_variables(), "PGPASSWORD", *(name for name in _PROXIES if "@" in os.environ.get(name, ""))}


def _given() -> dict[str, str]:
    """Return the variables that decide what a run does, without secrets and without what ``.env`` says alike."""
    known = read_dotenv()
    declared = {name for one in fields(Settings) for name in one.metadata["variables"]}
    # The file with a secret may be named, the secret may not.
    files = {f"{name}_FILE" for name in secret_variables()}
    names = (declared | files | set(_OF_OTHERS)) - {"BACKUP_DIR"} - _secrets()
    found = {
        name: os.environ[name] for name in sorted(names) if os.environ.get(name) and known.get(name) != os.environ[name]
    }
    found |= {name: str(Path(found[name]).absolute()) for name in files & found.keys()}
    if "KUBECONFIG" in found:
        paths = found["KUBECONFIG"].split(os.pathsep)
        found["KUBECONFIG"] = os.pathsep.join(str(Path(path).absolute()) for path in paths if path)
    return found
