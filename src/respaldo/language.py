"""The language of every user-visible string: English in the source, Spanish from the catalogue.

Standard library only. The choice is made once, at the first string, from ``RESPALDO_LANG``, ``LC_ALL``,
``LC_MESSAGES``, ``LANG``; where none names ``es`` or ``en``, Spanish, the project's first language.
"""

from __future__ import annotations

import gettext
import os
from collections.abc import Mapping
from functools import cache
from pathlib import Path

LANGUAGES = ("es", "en")
CATALOGUES = Path(__file__).parent / "locale"
VARIABLES = ("RESPALDO_LANG", "LC_ALL", "LC_MESSAGES", "LANG")


def choose_language(variables: Mapping[str, str]) -> str:
    """Return ``es`` or ``en`` for a process with these environment variables."""
    for name in VARIABLES:
        language = variables.get(name, "")[:2].lower()
        if language in LANGUAGES:
            return language
    return LANGUAGES[0]


@cache
def _translation() -> gettext.NullTranslations:
    language = choose_language(os.environ)
    # click and argparse translate their own words through the process's default domain.
    os.environ["LANGUAGE"] = language
    gettext.bindtextdomain("messages", str(CATALOGUES))
    return gettext.translation("messages", str(CATALOGUES), languages=[language], fallback=True)


def _(message: str) -> str:
    """Return a user-visible string in the chosen language. ``{fields}`` are filled by the caller, after."""
    return _translation().gettext(message)


def ngettext(singular: str, plural: str, count: int) -> str:
    """Return the form of a user-visible string that belongs to ``count``."""
    return _translation().ngettext(singular, plural, count)


def N_(message: str) -> str:  # noqa: N802 - gettext's own name for "translate this later"
    """Return the message as it is, and have it extracted: ``_`` is called on it where its time comes."""
    return message
