"""Reading documents that anybody may have written: every value's type is checked before it is used."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TypeAlias

from respaldo.language import _

MAX_INTEGER = 2**63 - 1

Json: TypeAlias = "str | int | float | bool | list[Json] | dict[str, Json] | None"


class FieldError(ValueError):
    """What a document has in place of what it should; who reads says of which object."""


def parse_object(data: bytes) -> Fields:
    """Parse a JSON document whose outermost value is an object; raise FieldError for anything else."""
    try:
        # Not every ValueError of json is a JSONDecodeError: a number of 5 000 digits is one of the others.
        document: Json = json.loads(data.decode())
    except (ValueError, RecursionError) as error:
        raise FieldError(_("no JSON document: {error}").format(error=error)) from error
    return Fields(as_object(document, _("the document")))


def as_object(value: Json, what: str) -> dict[str, Json]:
    if not isinstance(value, dict):
        raise FieldError(_("{field} is no object").format(field=what))
    return value


def as_list(value: Json, what: str) -> list[Json]:
    if not isinstance(value, list):
        raise FieldError(_("{field} is no list").format(field=what))
    return value


def as_text(value: Json, what: str) -> str:
    if not isinstance(value, str):
        raise FieldError(_("{field} is no text").format(field=what))
    return value


def as_count(value: Json, what: str) -> int:
    if type(value) is not int or not 0 <= value <= MAX_INTEGER:
        raise FieldError(_("{field} is no count").format(field=what))
    return value


@dataclass(frozen=True, slots=True)
class Fields:
    """The members of one JSON object. A missing member is a FieldError, one too many is none."""

    members: Mapping[str, Json]

    def get(self, name: str) -> Json:
        if name not in self.members:
            raise FieldError(_("{field} is missing").format(field=name))
        return self.members[name]

    def text(self, name: str) -> str:
        return as_text(self.get(name), name)

    def optional_text(self, name: str) -> str | None:
        value = self.get(name)
        return None if value is None else as_text(value, name)

    def count(self, name: str) -> int:
        return as_count(self.get(name), name)

    def flag(self, name: str) -> bool:
        value = self.get(name)
        if not isinstance(value, bool):
            raise FieldError(_("{field} is neither true nor false").format(field=name))
        return value

    def items(self, name: str) -> list[Json]:
        return as_list(self.get(name), name)

    def texts(self, name: str) -> tuple[str, ...]:
        return tuple(as_text(item, name) for item in self.items(name))

    def fields(self, name: str) -> Fields:
        return Fields(as_object(self.get(name), name))

    def text_mapping(self, name: str) -> dict[str, str]:
        return {key: as_text(value, key) for key, value in as_object(self.get(name), name).items()}

    def instant(self, name: str) -> datetime:
        try:
            instant = datetime.fromisoformat(self.text(name))
        except ValueError as error:
            raise FieldError(_("{field} is no time").format(field=name)) from error
        if instant.tzinfo is not UTC:
            raise FieldError(_("{field} is not in UTC").format(field=name))
        return instant
