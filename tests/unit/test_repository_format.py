"""Names: encoded reversibly, bounded, none of them a path."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from respaldo.errors import UsageError
from respaldo.repository.format import check_backup_name, decode_name, encode_name, is_backup_name, lock_stem
from respaldo.storage.base import check_object_name

NAMES = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=28)


@pytest.mark.parametrize(
    ("name", "encoded"),
    [
        ("ventas_2026", "ventas_2026"),
        ("Ñandú", "Ñandú"),
        ("日本", "日本"),
        ("a/b", "a%2Fb"),
        ("..", "%2E."),
        (".hidden", "%2Ehidden"),
        ("a b%", "a%20b%25"),
        ("locks", "%6Cocks"),
        ("respaldo.json", "%72espaldo.json"),
        ("e\u0301", "e%CC%81"),
        ("\u212b", "%E2%84%AB"),
        ("\u1100\u1161", "%E1%84%80%E1%85%A1"),
        ("٣", "%D9%A3"),
    ],
)
def test_name_is_encoded_and_back(name: str, encoded: str) -> None:
    assert encode_name(name) == encoded
    assert decode_name(encoded) == name


@given(NAMES)
def test_any_name_is_encoded_safely_and_back(name: str) -> None:
    try:
        encoded = encode_name(name)
    except UsageError:
        assert len(name.encode()) * 3 > 255
        return
    check_object_name(f"{encoded}/{encoded}")
    assert "/" not in encoded
    assert encoded[0] != "."
    assert unicodedata.normalize("NFC", encoded) == encoded
    assert decode_name(encoded) == name


@given(NAMES, NAMES)
def test_different_names_are_encoded_differently(one: str, other: str) -> None:
    if one != other and max(len(one.encode()), len(other.encode())) * 3 <= 255:
        assert encode_name(one) != encode_name(other)


@given(st.text(max_size=40))
def test_decoding_accepts_only_what_encoding_writes(text: str) -> None:
    name = decode_name(text)
    assert name is None or encode_name(name) == text


@pytest.mark.parametrize("name", ["", "/" * 86, "ñ" * 128, "\udc80"])
def test_name_that_cannot_be_encoded_is_refused(name: str) -> None:
    with pytest.raises(UsageError):
        encode_name(name)


@pytest.mark.parametrize("name", ["backup_20261124_020000", "antes-de-migración", "v1.2", "ÑANDÚ", "7", "x" * 120])
def test_backup_name_is_accepted(name: str) -> None:
    check_backup_name(name)
    assert encode_name(name) == name


@pytest.mark.parametrize(
    "name",
    [
        "",
        ".",
        "..",
        ".x",
        "-rf",
        "a/b",
        "a\\b",
        "a b",
        "a\0",
        "a\n",
        "labels.json",
        "LATEST",
        "e\u0301",
        "x" * 121,
        "日" * 90,
        "a%2F",
        "manifest.json",
        "\udc80",
        "٣",
        "a:b",
    ],
)
def test_backup_name_is_refused_with_a_hint(name: str) -> None:
    with pytest.raises(UsageError) as caught:
        check_backup_name(name)
    assert caught.value.hint


@given(st.text())
def test_any_backup_name_is_one_part_of_a_path(name: str) -> None:
    if is_backup_name(name):
        check_object_name(name)
        assert "/" not in name


def test_lock_of_long_names_fits_a_file_name() -> None:
    assert lock_stem("a", "b/c") == "locks/a+b%2Fc"
    assert len(lock_stem("x" * 200, "y" * 200)) < 200
    assert lock_stem("x" * 200, "y" * 200) != lock_stem("x" * 200, "z" * 200)
    assert lock_stem("a/b", "c") != lock_stem("a", "b/c")
