"""SQL text is cut at the semicolons that end a statement, and only there; what never ends is refused."""

from __future__ import annotations

import pytest

from respaldo.errors import PostgresError
from respaldo.postgres.statements import split_statements


@pytest.mark.parametrize(
    "statement",
    [
        "SELECT 'a;''b\n;';",
        "SELECT 'a\\';",
        "SELECT E'a\\';''\\\\';",
        "SELECT e'\\\\;';",
        'SELECT ";""\n;";',
        "SELECT $$;'$$;",
        "SELECT $x$;$$;$y$ $x$;",
        "SELECT a$b$, c$b$;",
        "SELECT tablE'a\\';",
        '-- it\'s; "one" $$\nSELECT 1;',
        "-- ends at a return;\rSELECT 1;",
        "SELECT 1 /* it's; \n */;",
        "SELECT '\x0b;\x0c\x1c\x1d\x1e\x85\u2028\u2029';",
        "SELECT ';\udcff';",
        ";",
    ],
)
def test_semicolon_inside_ends_nothing(statement: str) -> None:
    assert list(split_statements(f"{statement}{statement}\n--")) == [statement, statement, "\n--"]
    assert list(split_statements(f"\n{statement}\n-- x")) == [f"\n{statement}", "\n-- x"]


@pytest.mark.parametrize(
    "text", ["'", "'a''", '"', "E'\\'", "E'a\\\\''", "$$", "$x$ $$", "/*", "/* /* */", "'a' 'b", "SELECT 1; SELECT 'a;"]
)
def test_what_is_not_closed_is_refused(text: str) -> None:
    for written in (text, f"{text};", f"SELECT 1;\n{text};\n"):
        with pytest.raises(PostgresError):
            list(split_statements(written))


def test_a_large_text_takes_no_longer_than_it_is() -> None:
    text = "'" + "x''\\" * 500_000
    assert list(split_statements(f"SELECT {text}';")) == [f"SELECT {text}';", ""]
    with pytest.raises(PostgresError):
        list(split_statements(text))
