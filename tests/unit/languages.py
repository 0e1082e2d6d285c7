"""What a person is told, once in Spanish and once in English."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from respaldo import language
from respaldo.errors import RespaldoError


@contextmanager
def speaking(name: str) -> Iterator[None]:
    """Have every message be in this language."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RESPALDO_LANG", name)
        patch.setenv("LANGUAGE", name)
        language._translation.cache_clear()
        try:
            yield
        finally:
            language._translation.cache_clear()


def say_in_each(say: Callable[[], str]) -> dict[str, str]:
    """Return what ``say`` says in each language, by language; fail where it is not translated or a field is left."""
    said = {}
    for name in language.LANGUAGES:
        with speaking(name):
            said[name] = say()
    assert len(set(said.values())) == len(said), f"the same in all languages: {said}"
    assert not any("{" in text or "None" in text for text in said.values()), said
    return said


def raise_in_each(expected: type[Exception], call: Callable[[], object], *facts: object) -> list[str]:
    """See that ``call`` raises this error and that its message names these facts in each language; return its hints,
    one a language, where it is an error that must have one."""

    def message() -> str:
        with pytest.raises(expected) as caught:
            call()
        return str(caught.value)

    def hint() -> str:
        with pytest.raises(expected) as caught:
            call()
        assert isinstance(caught.value, RespaldoError)
        return caught.value.hint or ""

    for text in say_in_each(message).values():
        assert all(str(fact) in text for fact in facts), f"{facts} in {text}"
    return list(say_in_each(hint).values()) if issubclass(expected, RespaldoError) else []
