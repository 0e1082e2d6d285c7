"""How secrets are struck out of what is shown, sent or written down: one rule for all. Standard library only."""

from __future__ import annotations

import re
from collections.abc import Iterable
from urllib.parse import quote

HIDDEN = "***"
_LONG = 4
"""Shorter ones are parts of ordinary words: they are struck out only where they stand alone."""


def redact(text: str, secrets: Iterable[str]) -> str:
    """Return a text without the secrets, as they are, as a URL writes them, and with their blanks set otherwise.

    To cut a text is for after this: half a secret is not known for one.
    """
    return _strike(text, _find(text, secrets))


def redact_end(text: str, secrets: Iterable[str], most: int) -> str:
    """Return the end of a text without the secrets, ``most`` characters of the text itself; a secret that the cut goes
    through is left out."""
    found = _find(text, secrets)
    cut = max(0, len(text) - most)
    cut = next((end for begin, end in found if begin < cut < end), cut)
    return _strike(text[cut:], [(begin - cut, end - cut) for begin, end in found if begin >= cut])


def _find(text: str, secrets: Iterable[str]) -> list[tuple[int, int]]:
    """Return where secrets begin and end, in order; those that overlap as one."""
    forms = {form for secret in secrets for form in (secret, _quote(secret, ""), _quote(secret, "/")) if form.strip()}
    spans = sorted(match.span(1) for form in forms for match in re.finditer(_pattern(form), text))
    found: list[tuple[int, int]] = []
    for begin, end in spans:
        if found and begin < found[-1][1]:
            found[-1] = (found[-1][0], max(end, found[-1][1]))
        else:
            found.append((begin, end))
    return found


def _quote(secret: str, safe: str) -> str:
    return quote(secret, safe=safe, errors="surrogateescape")


def _pattern(form: str) -> str:
    """Return the expression whose first group is a secret; it takes no characters, so that each occurrence is found."""
    words = r"\s+".join(map(re.escape, form.split()))
    return f"(?=({words}))" if len(form.strip()) >= _LONG else rf"(?<!\w)(?=({words})(?!\w))"


def _strike(text: str, found: Iterable[tuple[int, int]]) -> str:
    pieces, at = [], 0
    for begin, end in found:
        pieces += [text[at:begin], HIDDEN]
        at = end
    return "".join(pieces) + text[at:]
