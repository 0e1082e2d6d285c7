"""What many unit tests use."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from respaldo import language


@pytest.fixture
def in_english(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Have messages be English, for tests that look for words in them."""
    monkeypatch.setenv("RESPALDO_LANG", "en")
    monkeypatch.setenv("LANGUAGE", "en")
    language._translation.cache_clear()
    yield
    language._translation.cache_clear()
