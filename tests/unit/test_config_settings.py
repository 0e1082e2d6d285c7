"""Settings: a flag wins over a variable, that over the default; what cannot be meant is refused by its name."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import fields
from datetime import timedelta
from pathlib import Path
from typing import Any

import click
import pytest

from respaldo.cli.flat import build_parser
from respaldo.cli.main import cli
from respaldo.cli.printing import Output
from respaldo.config.dotenv import with_dotenv
from respaldo.config.settings import Settings
from respaldo.errors import UsageError
from tests.unit.languages import say_in_each
from tests.unit.test_docs import commands_of


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


@pytest.mark.parametrize(
    ("text", "addresses"),
    [
        ("a@x.org", ("a@x.org",)),
        ("a@x.org b@x.org,c@x.org , d@x.org", ("a@x.org", "b@x.org", "c@x.org", "d@x.org")),
        ("Ops <o@x.org>", ("o@x.org",)),
        ("Ops on call <o@x.org>, a@x.org,<b@x.org>", ("o@x.org", "a@x.org", "b@x.org")),
        ('"Ruiz, Ana" <a@x.org>, Íñigo <i@x.org>', ("a@x.org", "i@x.org")),
        ("Dr. Who <w@x.org>", ("w@x.org",)),
    ],
)
def test_addresses_may_have_names(text: str, addresses: tuple[str, ...]) -> None:
    assert Settings.load({}, {"RESPALDO_EMAIL_TO": text}).email_to == addresses
    assert Settings.load({"email_to": text}, {}).email_to == addresses


@pytest.mark.parametrize(
    "text",
    [
        "Ops <>",
        "Ops <ox.org>",
        "Ops <o@x.org",
        "Ops <o@x.org> Dba <d@x.org>",
        "a@x.org Ops <o@x.org> b@x.org",
        "Ops <o@x.org>\r\nBcc: e@x.org",
        "<",
        ",",
    ],
)
def test_what_is_no_list_of_addresses_is_refused(text: str) -> None:
    with pytest.raises(UsageError) as caught:
        Settings.load({}, {"RESPALDO_EMAIL_TO": text})
    assert caught.value.message.startswith("RESPALDO_EMAIL_TO: ")


def test_hint_of_a_value_that_cannot_be_meant_is_a_sentence_whatever_the_summary_is() -> None:
    """Summaries are a noun, what, who, how, an imperative: what stands before must go with each."""
    said = {}
    for one in fields(Settings):
        variables = {one.metadata["variables"][0]: "\0"}

        def hint(variables: dict[str, str] = variables) -> str:
            with pytest.raises(UsageError) as caught:
                Settings.load({}, variables)
            return caught.value.hint or ""

        try:
            one.metadata["parse"]("\0")
        except ValueError:
            said[one.metadata["summary"]] = say_in_each(hint)
    assert len(said) > 20
    for summary, hints in said.items():
        assert hints["en"] == f"what it means: {summary}"
        assert hints["es"].startswith("qué significa: ")


# Texts of every form that a setting may take.
TEXTS = (
    *("true", "3", "7", "0.5", "2", "Europe/Madrid", "UTC", "a=b", "c=d", "https://one.example/x"),
    *("https://two.example/y", "success", "failure,warning", "starttls", "tls", "none", "one@example.com"),
)
SETTINGS = {one.name: one for one in fields(Settings)}


def two_texts(name: str) -> list[str]:
    """Return two texts that a setting takes, for two values that are neither alike nor its default."""
    values: dict[str, Any] = {}
    for text in TEXTS:
        with suppress(ValueError):
            value = SETTINGS[name].metadata["parse"](text)
            if value not in [*values.values(), SETTINGS[name].default]:
                values[text] = value
    # What is true or false has one that is not its default.
    return (list(values) * 2)[:2]


@pytest.mark.parametrize("name", SETTINGS)
def test_each_setting_comes_from_its_flag_its_variables_and_a_file(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    declared = SETTINGS[name].metadata
    one, other = two_texts(name)
    parse = declared["parse"]
    monkeypatch.chdir(tmp_path)
    for variable in declared["variables"]:
        assert getattr(Settings.load({}, {variable: one}), name) == parse(one)
        # A flag wins over the environment, and that over the file.
        assert getattr(Settings.load({name: other}, {variable: one}), name) == parse(other)
        Path(".env").write_text(f"{variable}='{one}'\n")
        assert getattr(Settings.load({}, with_dotenv({})), name) == parse(one)
        assert getattr(Settings.load({}, with_dotenv({variable: other})), name) == parse(other)
        if declared["is_secret"]:
            Path("secret").write_text(f"{one}\n")
            assert getattr(Settings.load({}, {f"{variable}_FILE": str(tmp_path / "secret")}), name) == parse(one)
    variables = [variable for field in SETTINGS.values() for variable in field.metadata["variables"]]
    assert all(variables.count(variable) == 1 for variable in declared["variables"]), "declared twice"


@pytest.mark.parametrize("name", [name for name, one in SETTINGS.items() if one.metadata["flag"]])
def test_each_flag_is_one_of_a_command_and_reaches_its_setting(name: str) -> None:
    flag, text = SETTINGS[name].metadata["flag"], two_texts(name)[0]
    for command in [cli, *(command for _path, command in commands_of(cli, "respaldo"))]:
        option = next((one for one in command.params if flag in one.opts), None)
        if option is not None:
            assert option.name == name
            words = [flag] if isinstance(option, click.Option) and option.is_flag else [flag, text]
            context = click.Context(command, obj=Output())
            given, _rest, _order = command.make_parser(context).parse_args(list(words))
            expected = SETTINGS[name].metadata["parse"]("true" if len(words) == 1 else text)
            assert getattr(Settings.load({name: option.process_value(context, given[name])}, {}), name) == expected
            return
    # What was documented before there were commands.
    assert getattr(build_parser().parse_args([flag, text]), name) == text
