"""What many unit tests use."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, settings

from tests.unit.languages import speaking

# How long anything takes, a busy machine says.
settings.register_profile("untimed", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("untimed")


@pytest.fixture
def in_english() -> Iterator[None]:
    """Have messages be English, for tests that look for words in them."""
    with speaking("en"):
        yield
