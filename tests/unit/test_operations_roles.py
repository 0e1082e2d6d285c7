"""Roles in pg_dump's definitions get other names; text that only looks like it stays."""

from __future__ import annotations

import pytest

from respaldo.errors import UsageError
from respaldo.operations.roles import map_roles, parse_role_map

MAP = {"ana": "new Ana", 'Be"n': "ben2"}


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ('ALTER TABLE "public"."t" OWNER TO "ana";', 'ALTER TABLE "public"."t" OWNER TO "new Ana";'),
        ("ALTER TABLE public.t OWNER TO ana;", 'ALTER TABLE public.t OWNER TO "new Ana";'),
        (
            'GRANT SELECT ON TABLE "t" TO "ana" WITH GRANT OPTION;',
            'GRANT SELECT ON TABLE "t" TO "new Ana" WITH GRANT OPTION;',
        ),
        ('REVOKE ALL ON SCHEMA "x" FROM "ana";', 'REVOKE ALL ON SCHEMA "x" FROM "new Ana";'),
        ('GRANT ALL ON TABLE "t" TO "Be""n";', 'GRANT ALL ON TABLE "t" TO "ben2";'),
        (
            'ALTER DEFAULT PRIVILEGES FOR ROLE "ana" IN SCHEMA "public" GRANT SELECT ON TABLES TO "Be""n";',
            'ALTER DEFAULT PRIVILEGES FOR ROLE "new Ana" IN SCHEMA "public" GRANT SELECT ON TABLES TO "ben2";',
        ),
        ('CREATE SCHEMA "x" AUTHORIZATION "ana";', 'CREATE SCHEMA "x" AUTHORIZATION "new Ana";'),
        (
            'CREATE POLICY "p" ON "t" TO "ana", "Be""n" USING (true);',
            'CREATE POLICY "p" ON "t" TO "new Ana", "ben2" USING (true);',
        ),
        (
            'ALTER ROLE ana IN DATABASE :"database" SET search_path TO ana, public;',
            'ALTER ROLE "new Ana" IN DATABASE :"database" SET search_path TO ana, public;',
        ),
        ('ALTER DATABASE :"database" SET search_path TO ana, public;',) * 2,
        ('GRANT CONNECT ON DATABASE :"database" TO ana;', 'GRANT CONNECT ON DATABASE :"database" TO "new Ana";'),
        ('GRANT SELECT("a", "ana", "b") ON TABLE "x TO ana" TO "x";',) * 2,
        ('GRANT SELECT ON TABLE "ana" TO "x";', 'GRANT SELECT ON TABLE "ana" TO "x";'),
        ("SELECT 'GRANT x TO ana;';", "SELECT 'GRANT x TO ana;';"),
        ("  RETURN 'x TO ana,';", "  RETURN 'x TO ana,';"),
        ('COMMENT ON TABLE "t" IS \'TO "ana";\';', 'COMMENT ON TABLE "t" IS \'TO "ana";\';'),
    ],
)
def test_definition_gets_the_other_roles_where_a_role_stands(line: str, expected: str) -> None:
    assert map_roles(line, MAP) == expected
    assert map_roles(f"-- x\n{line}\n\n{line}", MAP) == f"-- x\n{expected}\n\n{expected}"


@pytest.mark.parametrize(
    "text",
    [
        "CREATE FUNCTION f() RETURNS text LANGUAGE sql AS $$\nGRANT x TO ana;\n$$;\n",
        "COMMENT ON TABLE t IS 'first\nGRANT x TO \"ana\";\n';\n",
        'CREATE POLICY "p" ON "t" USING ("x" = \'a TO "ana" \');\n',
    ],
)
def test_text_inside_of_quotes_is_left_alone(text: str) -> None:
    assert map_roles(text, MAP) == text


def test_map_is_read_and_anything_else_refused() -> None:
    assert parse_role_map(("a=b", "c=d=e")) == {"a": "b", "c": "d=e"}
    for wrong in ("a", "=b", "a=", ""):
        with pytest.raises(UsageError):
            parse_role_map((wrong,))
