"""The one rule by which secrets are struck out."""

from __future__ import annotations

from respaldo.redaction import redact


def test_redact_takes_out_every_form_of_a_secret() -> None:
    text = redact("a pa$$/word, pa%24%24%2Fword and pa%24%24/word", ["pa$$", "pa$$/word"])
    assert text == "a ***, *** and ***"


def test_redact_leaves_words_that_only_hold_a_short_secret() -> None:
    assert redact("user pg of pg_dump: pgpass, 'pg'", ["pg", ""]) == "user *** of pg_dump: pgpass, '***'"
