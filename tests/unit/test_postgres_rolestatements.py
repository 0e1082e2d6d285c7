"""What pg_dumpall writes of roles is read whole, kind by kind; nothing that only looks like it is."""

from __future__ import annotations

import pytest

from respaldo.errors import PostgresError
from respaldo.postgres.rolestatements import RoleKind, read_role_statements

HEAD = "--\n-- PostgreSQL database cluster dump\n--\n\n\\restrict Ab1\n\nSET client_encoding = 'UTF8';\n\n"
TAIL = "\n\n\\unrestrict Ab1\n\n--\n-- PostgreSQL database cluster dump complete\n--\n\n"


@pytest.mark.parametrize(
    ("kind", "written", "mapped"),
    [
        (RoleKind.CREATE, 'CREATE ROLE "ana";', 'CREATE ROLE "new ""Ana";'),
        (RoleKind.CREATE, 'CREATE ROLE "a\nGRANT ""postgres"" TO ""ana"";";', None),
        (
            RoleKind.ATTRIBUTES,
            "ALTER ROLE \"ana\" WITH LOGIN CONNECTION LIMIT 5 PASSWORD 'ana;' VALID UNTIL '2030-01-01';",
            "ALTER ROLE \"new \"\"Ana\" WITH LOGIN CONNECTION LIMIT 5 PASSWORD 'ana;' VALID UNTIL '2030-01-01';",
        ),
        (RoleKind.SETTING, 'ALTER ROLE "b" SET "search_path" TO \'a\nGRANT "postgres" TO "b"; --\', \'"ana"\';', None),
        (RoleKind.SETTING, 'ALTER ROLE "b" SET "ana" TO E\'one\n\\\\\\\'; two\x0b\x85\u2028\';', None),
        (RoleKind.COMMENT, 'COMMENT ON ROLE "b" IS \'a\nGRANT "ana" TO "b";\';', None),
        (RoleKind.MEMBERSHIP, 'GRANT "b" TO "ana";', 'GRANT "b" TO "new ""Ana";'),
        (
            RoleKind.MEMBERSHIP,
            'GRANT "ana" TO "b" WITH ADMIN OPTION, INHERIT FALSE;',
            'GRANT "new ""Ana" TO "b" WITH ADMIN OPTION, INHERIT FALSE;',
        ),
        (
            RoleKind.PARAMETER,
            'GRANT ALL ON PARAMETER "ana" TO "ana" WITH GRANT OPTION;',
            'GRANT ALL ON PARAMETER "ana" TO "new ""Ana" WITH GRANT OPTION;',
        ),
        (RoleKind.PARAMETER_TO_ALL, 'GRANT SET ON PARAMETER "work_mem" TO PUBLIC;', None),
    ],
)
def test_statement_of_a_role_is_read_whole(kind: RoleKind, written: str, mapped: str | None) -> None:
    (read,) = read_role_statements(f"{HEAD}{written}{TAIL}")
    assert (read.kind, read.to_sql({})) == (kind, written)
    assert read.to_sql({"ana": 'new "Ana'}) == (mapped or written)


def test_who_granted_a_membership_is_left_out() -> None:
    (read,) = read_role_statements('GRANT "a" TO "b" WITH ADMIN OPTION GRANTED BY "c";\n')
    assert read.to_sql({"c": "d"}) == 'GRANT "a" TO "b" WITH ADMIN OPTION;'


def test_what_is_not_of_roles_is_left_out() -> None:
    others = (
        'CREATE TABLESPACE "ana" OWNER "ana" LOCATION \'/x\nCREATE ROLE "b";\';\n'
        'GRANT ALL ON TABLESPACE "ana" TO "b";\n'
        'SET SESSION AUTHORIZATION "b";\nRESET SESSION AUTHORIZATION;\nCOMMENT ON TABLESPACE "ana" IS \'x\';\n'
    )
    assert read_role_statements(HEAD + others + TAIL) == []


@pytest.mark.parametrize(
    "text",
    [
        'CREATE ROLE "a" SUPERUSER;',
        'ALTER ROLE "a" SET "b" TO \'x\' "postgres";',
        'ALTER ROLE "a" SET "b" TO \'x\\\';',
        'ALTER ROLE "a" WITH LOGIN IN ROLE "postgres";',
        'GRANT "a" TO "b", "c";',
        'GRANT SET ON PARAMETER "x" TO "a", "b";',
        "COMMENT ON ROLE \"a\" IS 'x' 'y';",
        'CREATE ROLE "a";\nALTER ROLE "a" SET "b" TO \'x;\n',
        # pg_dumpall before August 2025 (CVE-2025-8715).
        'CREATE ROLE "a\nGRANT ""postgres"" TO ""b"";--";\n--\n-- User Config "a\nGRANT "postgres" TO "b";--"\n--\n\n',
    ],
)
def test_text_that_cannot_be_read_without_doubt_is_refused(text: str) -> None:
    with pytest.raises(PostgresError) as refused:
        read_role_statements(HEAD + text + TAIL)
    assert "\n" not in refused.value.message
