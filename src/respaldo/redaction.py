"""How secrets are struck out of what is shown, sent or written down: one rule for all. Standard library only."""

from __future__ import annotations

import re
from collections.abc import Iterable
from urllib.parse import quote

HIDDEN = "***"
_LONG = 4
"""Shorter ones are parts of ordinary words: they are struck out only where they stand alone."""


def redact(text: str, secrets: Iterable[str]) -> str:
    """Return a text without the secrets, as they are and as a URL writes them; the longest first, for one may hold
    another."""
    forms = {form for secret in secrets for form in (secret, quote(secret, safe=""), quote(secret)) if form}
    for form in sorted(forms, key=len, reverse=True):
        if len(form) >= _LONG:
            text = text.replace(form, HIDDEN)
        else:
            text = re.sub(rf"(?<!\w){re.escape(form)}(?!\w)", HIDDEN, text)
    return text
