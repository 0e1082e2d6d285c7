"""What many unit tests use."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.unit.languages import speaking


@pytest.fixture
def in_english() -> Iterator[None]:
    """Have messages be English, for tests that look for words in them."""
    with speaking("en"):
        yield
