"""What two databases have set is the same, or not, whatever the order in which it was read."""

from __future__ import annotations

import pytest

from respaldo.operations.equality import are_same_settings

# As a version wrote it that let the roles' settings come in the server's order.
STORED = """SET client_encoding = 'UTF8';
ALTER DATABASE :"database" SET work_mem TO '5MB';
ALTER ROLE "normal" IN DATABASE :"database" SET work_mem TO '6MB';
ALTER DATABASE :"database" SET "app.text" TO 'one
two; three';
REVOKE ALL ON DATABASE :"database" FROM PUBLIC, postgres;
GRANT CREATE ON DATABASE :"database" TO ben;
GRANT CREATE ON DATABASE :"database" TO ben;
"""
LIVE = """SET client_encoding = 'UTF8';
ALTER DATABASE :"database" SET work_mem TO '5MB';
ALTER DATABASE :"database" SET "app.text" TO 'one
two; three';
ALTER ROLE "normal" IN DATABASE :"database" SET work_mem TO '6MB';
REVOKE ALL ON DATABASE :"database" FROM PUBLIC, postgres;
GRANT CREATE ON DATABASE :"database" TO ben;
"""


def test_order_of_roles_and_grantors_does_not_count() -> None:
    assert are_same_settings(STORED, LIVE)
    assert are_same_settings("", "")


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("'5MB'", "'6MB'"),
        ("two; three", "two;  three"),
        ("TO ben;", "TO ben WITH GRANT OPTION;"),
        ('REVOKE ALL ON DATABASE :"database" FROM PUBLIC, postgres;\n', ""),
        (LIVE, ""),
    ],
)
def test_any_other_difference_does(old: str, new: str) -> None:
    assert not are_same_settings(STORED, LIVE.replace(old, new))
    assert not are_same_settings(LIVE.replace(old, new), STORED)
