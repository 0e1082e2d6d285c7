"""The one rule by which secrets are struck out."""

from __future__ import annotations

import pytest

from respaldo.redaction import redact, redact_end


def test_redact_takes_out_every_form_of_a_secret() -> None:
    text = redact("a pa$$/word, pa%24%24%2Fword and pa%24%24/word", ["pa$$", "pa$$/word"])
    assert text == "a ***, *** and ***"


def test_redact_leaves_words_that_only_hold_a_short_secret() -> None:
    assert redact("user pg of pg_dump: pgpass, 'pg'", ["pg", ""]) == "user *** of pg_dump: pgpass, '***'"


def test_redact_knows_a_secret_whose_blanks_were_set_otherwise() -> None:
    assert redact("it is one two,\none\n  two and one%20%20two", ["one  two"]) == "it is ***,\n*** and ***"
    assert redact("it is one  two", [" one two\n", "  "]) == "it is ***"


def test_redact_leaves_nothing_of_secrets_that_overlap() -> None:
    assert redact("0123456789 abcabcab", ["012345", "3456789", "abcab"]) == "*** ***"


@pytest.mark.parametrize("most", range(40))
def test_redact_end_shows_no_part_of_a_secret_wherever_it_cuts(most: int) -> None:
    secret = "ABCDEFGHIJ KLMNOP"
    shown = redact_end(f"one {secret} two {secret}", [secret], most)
    assert not set(secret) - {" "} & set(shown)
    whole = "one *** two ***"
    assert whole.endswith(shown)
    assert redact_end(f"one {secret} two", [secret], 100) == "one *** two"


def test_redact_takes_a_secret_that_is_no_unicode() -> None:
    assert redact("a p\udcffss, p%FFss", ["p\udcffss"]) == "a ***, ***"
