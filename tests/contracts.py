"""The contract of ``--json`` as docs/en/contracts.md writes it down, and whether a document keeps it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any, TypeAlias

from respaldo.catalog.versions import Version

ROOT = Path(__file__).parents[1]
Shape: TypeAlias = "str | dict[str, Shape]"
"""A type as the page writes it, or the keys of an object. A key ends in ``?`` where its object may be null, in ``[]``
where it is a list of objects."""

_PLAIN: dict[str, type | tuple[type, ...]] = {"string": str, "integer": int, "number": (int, float), "boolean": bool}


class Contract:
    """One language's page."""

    def __init__(self, language: str = "en") -> None:
        self.text = (ROOT / "docs" / language / "contracts.md").read_text()
        self.commands = {
            path: [kind for kind in re.findall(r"`([^`]+)`", cell) if not kind.startswith("--")]
            for path, cell in re.findall(r"^\| `(respaldo [a-z ]+)` \| ([^|]+) \|.*\|$", self.text, re.MULTILINE)
        }
        self.rows = {
            name: re.findall(r"^\| ([^|]+) \| `([^`]+)` \| .*\|$", body, re.MULTILINE)
            for name, body in re.findall(r"^### `([a-z]+)`\n(.*?)(?=^##|\Z)", self.text, re.MULTILINE | re.DOTALL)
        }
        self.seen: set[tuple[str, str]] = set()
        """The record and the key of everything that was looked at."""

    def check(self, command: str, document: Any) -> None:
        """Raise AssertionError where a command printed something else than its row says."""
        kinds = [kind for kind in self.commands[command] if kind.startswith("[") == isinstance(document, list)]
        faults = [list(self._faults(kind, document, command)) for kind in kinds]
        assert [] in faults, f"{command}: {min(faults, key=len, default=document)}"

    def check_record(self, name: str, document: Any) -> None:
        """Raise AssertionError where a document is not the record of that name, no more and no less."""
        assert list(self._faults(name, document, name)) == []

    def keys(self) -> set[tuple[str, str]]:
        """Return the record and the key of every row."""
        return {(name, key.strip("`")) for name, rows in self.rows.items() for key, _kind in rows if key[0] == "`"}

    def _shape(self, name: str) -> dict[str, Any]:
        shape: dict[str, Any] = {}
        for cell, kind in self.rows[name]:
            if cell[0] == "`":
                *way, last = cell.strip("`").split(".")
                _descend(shape, way)[last] = (kind, name, cell.strip("`"))
            else:
                inner = re.search(r"`(.+)`", cell)
                _descend(shape, [inner[1]] if inner else []).update(self._shape(kind))
        return shape

    def _faults(self, kind: str, value: Any, at: str) -> Iterator[str]:
        if kind.endswith("?"):
            if value is not None:
                yield from self._faults(kind[:-1], value, at)
        elif kind[0] in "[{":
            expected = list if kind[0] == "[" else dict
            if not isinstance(value, expected):
                yield f"{at}: {value!r} is no {kind}"
                return
            for number, one in enumerate(value if isinstance(value, list) else value.values()):
                yield from self._faults(kind[1:-1], one, f"{at}[{number}]")
        elif kind in self.rows:
            yield from self._shape_faults(self._shape(kind), value, at)
        elif not _is_plain(kind, value):
            yield f"{at}: {value!r} is no {kind}"

    def _shape_faults(self, shape: dict[str, Any], value: Any, at: str) -> Iterator[str]:
        if not isinstance(value, dict):
            yield f"{at}: {value!r} is no object"
            return
        names = {key.rstrip("?[]"): key for key in shape}
        for name in sorted(names.keys() ^ value.keys()):
            yield f"{at}.{name} is {'not printed' if name in names else 'not documented'}"
        for name in names.keys() & value.keys():
            key, inner = names[name], shape[names[name]]
            one = value[name]
            if isinstance(inner, tuple):
                kind, record, path = inner
                self.seen.add((record, path))
                yield from self._faults(kind, one, f"{at}.{name}")
            elif key.endswith("[]") and isinstance(one, list):
                for number, element in enumerate(one):
                    yield from self._shape_faults(inner, element, f"{at}.{name}[{number}]")
            elif not (key.endswith("?") and one is None):
                yield from self._shape_faults(inner, one, f"{at}.{name}")


def _descend(shape: dict[str, Any], way: list[str]) -> dict[str, Any]:
    for key in way:
        shape = shape.setdefault(key, {})
    return shape


def _is_plain(kind: str, value: Any) -> bool:
    if kind == "time":
        return isinstance(value, str) and value.endswith("Z") and datetime.fromisoformat(value) is not None
    if kind == "version":
        return isinstance(value, str) and Version.parse(value) is not None
    assert kind in _PLAIN, f"the page has no type {kind}"
    return isinstance(value, _PLAIN[kind]) and isinstance(value, bool) == (kind == "boolean")


CONTRACT = Contract()
