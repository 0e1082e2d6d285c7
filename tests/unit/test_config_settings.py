"""Settings: a flag wins over a variable, that over the default; what cannot be meant is refused by its name."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from respaldo.config.settings import Settings
from respaldo.errors import UsageError


def test_load_of_nothing_gives_the_defaults() -> None:
    settings = Settings.load({}, {})
    assert settings == Settings()
    assert (settings.repository, settings.environment, settings.container) == ("backups", "auto", None)
    assert settings.full_every == timedelta(days=7)
    assert 2 <= settings.jobs <= 4


def test_load_prefers_flags_to_variables_and_the_first_variable() -> None:
    variables = {"BACKUP_DIR": "v", "POSTGRES_CONTAINER": "first", "CONTAINER_NAME": "second", "RESPALDO_JOBS": "3"}
    settings = Settings.load({"repository": "flag", "container": None}, variables)
    assert (settings.repository, settings.container, settings.jobs) == ("flag", "first", 3)
    del variables["POSTGRES_CONTAINER"]
    assert Settings.load({}, variables).container == "second"


def test_load_takes_an_empty_variable_for_none() -> None:
    assert Settings.load({}, {"BACKUP_DIR": "", "RESPALDO_JOBS": ""}) == Settings()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("jobs", "0"),
        ("jobs", "257"),
        ("jobs", "1.5"),
        ("jobs", "many"),
        ("port", "0"),
        ("port", "65536"),
        ("lock_timeout_s", "0"),
        ("full_every_days", "99999999999"),
        ("incrementals_per_full", "-1"),
        ("largest_share", "0"),
        ("largest_share", "10.1"),
        ("largest_share", "nan"),
        ("largest_share", "inf"),
        ("labels", ""),
        ("labels", "a"),
        ("labels", "=b"),
        ("labels", "a=b,"),
    ],
)
def test_load_of_what_cannot_be_meant_names_the_flag(name: str, value: str) -> None:
    with pytest.raises(UsageError) as caught:
        Settings.load({name: value}, {})
    assert caught.value.message.startswith(f"--{name.removesuffix('_s').replace('_', '-')}: {value} ")
    assert caught.value.hint


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("jobs", "256", 256),
        ("port", "65535", 65535),
        ("incrementals_per_full", "0", 0),
        ("largest_share", "10", 10.0),
        ("labels", "a=b,c=d=e,f=", {"a": "b", "c": "d=e", "f": ""}),
    ],
)
def test_load_at_the_boundary_is_taken(name: str, text: str, value: Any) -> None:
    assert getattr(Settings.load({name: text}, {}), name) == value
