"""How a setting is declared, and how the text of a flag or a variable becomes its value."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import field
from typing import Any
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError


def parse_text(value: str) -> str:
    return value


def parse_whole(least: int, most: int = 1_000_000) -> Callable[[str], int]:
    def parse(value: str) -> int:
        number = int(value)
        if not least <= number <= most:
            raise ValueError
        return number

    return parse


def parse_truth(value: str) -> bool:
    if value.lower() not in {"1", "true", "yes", "on", "0", "false", "no", "off"}:
        raise ValueError
    return value.lower() in {"1", "true", "yes", "on"}


def parse_share(value: str) -> float:
    number = float(value)
    if not 0 < number <= 10:
        raise ValueError
    return number


def parse_zone(value: str) -> str:
    try:
        return ZoneInfo(value).key
    except (ZoneInfoNotFoundError, OSError) as error:
        raise ValueError(value) from error


def parse_labels(value: str) -> Mapping[str, str]:
    pairs = [pair.partition("=") for pair in value.split(",")]
    if not all(key and equals for key, equals, _value in pairs):
        raise ValueError
    return {key: text for key, _equals, text in pairs}


def parse_words(value: str) -> tuple[str, ...]:
    """Words between commas or blanks; at least one."""
    words = tuple(word for word in value.replace(",", " ").split() if word)
    if not words:
        raise ValueError
    return words


def parse_addresses(value: str) -> tuple[str, ...]:
    """E-mail addresses between commas, or blanks where none has a name, as in ``Ops <ops@example.com>``.

    Names are left out: Python folds a header with several accented ones so that addresses are lost.
    """
    if "<" not in value:
        return parse_words(value)
    # Most runs have no such address, and must not wait for this.
    from email.errors import MessageError, ObsoleteHeaderDefect
    from email.policy import default

    try:
        header = default.header_factory("To", value)
    except (MessageError, IndexError) as error:
        raise ValueError(value) from error
    if not all(isinstance(one, ObsoleteHeaderDefect) for one in header.defects):
        raise ValueError(value)
    return tuple(one.addr_spec for one in header.addresses)


def parse_choice(*words: str) -> Callable[[str], str]:
    def parse(value: str) -> str:
        if value not in words:
            raise ValueError
        return value

    return parse


def parse_choices(*words: str) -> Callable[[str], tuple[str, ...]]:
    def parse(value: str) -> tuple[str, ...]:
        chosen = parse_words(value)
        if not set(chosen) <= set(words):
            raise ValueError
        return chosen

    return parse


def parse_url(value: str) -> str:
    """An address that is asked by HTTP; plain HTTP too, for what runs on the same machine."""
    parts = urlsplit(value.strip())
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise ValueError
    return value.strip()


def setting(
    default: Any,
    parse: Callable[[str], Any],
    *variables: str,
    flag: str | None,
    kind: str,
    summary: str,
    shown: str | None = None,
    is_secret: bool = False,
) -> Any:
    """Declare a setting. ``kind`` is the word that stands for its value in help; ``summary`` is a gettext message, as
    is ``shown``, which stands for a default that the machine decides."""
    metadata = {
        "parse": parse,
        "variables": variables,
        "flag": flag,
        "kind": kind,
        "summary": summary,
        "shown": shown,
        "is_secret": is_secret,
    }
    return field(default=default, repr=not is_secret, metadata=metadata)


def secret(
    *variables: str,
    kind: str,
    summary: str,
    parse: Callable[[str], Any] = parse_text,
    flag: str | None = None,
) -> Any:
    """Declare a setting whose value is shown nowhere. Each variable has a ``_FILE`` form: the path of a file with it,
    as Docker's and Kubernetes' secrets are mounted. ``flag``: only for what was documented before us."""
    return setting(None, parse, *variables, flag=flag, kind=kind, summary=summary, is_secret=True)
