"""``.env`` of the working directory: variables that the environment does not have already.

Read as Docker Compose reads one: ``NAME=value``, ``export NAME=value``, quotes over several lines, comments. Nothing is
expanded: a password may hold a dollar sign.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, MutableMapping
from pathlib import Path

from respaldo.errors import UsageError
from respaldo.language import _
from respaldo.units import MIB

DOTENV = Path(".env")
_LONGEST_BYTES = MIB
_ASSIGNMENT = re.compile(
    r"""^[ \t]*(?:export[ \t]+)?(?P<name>[A-Za-z_][A-Za-z0-9_]*)[ \t]*=[ \t]*
        (?: '(?P<single>[^']*)' | "(?P<double>(?:[^"\\]|\\.)*)" | (?P<plain>(?:[^'"\s\#]|(?<==)\#)[^\r\n]*?)? )
        [ \t]*(?:(?<=\s)\#[^\r\n]*|(?<=['"])\#[^\r\n]*)?\r?$""",
    re.VERBOSE | re.MULTILINE | re.DOTALL,
)
_ESCAPES = {"n": "\n", "r": "\r", "t": "\t", '"': '"', "\\": "\\", "$": "$"}


def parse_dotenv(text: str) -> dict[str, str]:
    """Return the variables that a text sets, the last of a name. Lines that set none are left out."""
    return {match["name"]: _value(match) for match in _ASSIGNMENT.finditer(text.removeprefix("\ufeff"))}


def _value(match: re.Match[str]) -> str:
    if match["single"] is not None:
        return match["single"]
    if match["double"] is not None:
        return re.sub(r"\\(.)", lambda pair: _ESCAPES.get(pair[1], pair[0]), match["double"], flags=re.DOTALL)
    return re.split(r"\s\#", match["plain"] or "", maxsplit=1)[0].rstrip()


def read_dotenv(path: Path = DOTENV) -> dict[str, str]:
    """Return the variables of a file, none where there is no such file. Raise UsageError for one that is no text."""
    try:
        if not path.is_file():
            return {}
        data = path.read_bytes()[: _LONGEST_BYTES + 1]
        if len(data) > _LONGEST_BYTES or b"\0" in data:
            raise ValueError
        return parse_dotenv(data.decode())
    except (OSError, ValueError) as error:
        raise UsageError(
            _("{path} cannot be read as a list of variables").format(path=path.absolute()),
            hint=_("one NAME=value a line, in UTF-8; or run from another directory"),
        ) from error


def load_dotenv(environment: MutableMapping[str, str], path: Path = DOTENV) -> None:
    """Set the variables of a file that the environment does not have: the environment wins."""
    for name, value in read_dotenv(path).items():
        environment.setdefault(name, value)


def with_dotenv(environment: Mapping[str, str], path: Path = DOTENV) -> dict[str, str]:
    """Return the variables of a file and the environment's, which win."""
    return {**read_dotenv(path), **environment}
