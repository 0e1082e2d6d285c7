"""Which language a process speaks."""

from __future__ import annotations

import pytest

from respaldo.language import choose_language


@pytest.mark.parametrize(
    ("variables", "language"),
    [
        ({}, "es"),
        ({"LANG": "C"}, "es"),
        ({"LANG": "C.UTF-8"}, "es"),
        ({"LANG": "pt_BR.UTF-8"}, "es"),
        ({"LANG": "en_US.UTF-8"}, "en"),
        ({"LANG": "es_PE.UTF-8"}, "es"),
        ({"LANG": "en_US.UTF-8", "LC_MESSAGES": "es_ES"}, "es"),
        ({"LANG": "es_ES", "LC_MESSAGES": "es_ES", "LC_ALL": "en_GB"}, "en"),
        ({"LC_ALL": "C", "LANG": "en_US.UTF-8"}, "en"),
        ({"RESPALDO_LANG": "EN", "LC_ALL": "es_ES"}, "en"),
        ({"RESPALDO_LANG": "", "LANG": "en_US"}, "en"),
    ],
)
def test_choose_language_takes_the_first_variable_that_names_one(variables: dict[str, str], language: str) -> None:
    assert choose_language(variables) == language
