"""``respaldo doctor`` on a real server: what it says of a drill's image."""

from __future__ import annotations

import json
from collections.abc import Callable

from tests.contracts import CONTRACT
from tests.integration.conftest import RoundTrips
from tests.rig.containers import PostgresContainer


def test_extension_that_only_the_running_container_has_is_bad(
    postgres_container: Callable[..., PostgresContainer], round_trip: RoundTrips
) -> None:
    trip = round_trip(postgres_container(15))
    words = ("doctor", "--container", trip.server.name, "--database", trip.source.name, "--json")
    trip.source.psql("CREATE EXTENSION pg_trgm")
    assert not any("pg_trgm" in one["text"] for one in json.loads(trip.respaldo.run(*words).out))
    install = (
        'cd "$(pg_config --sharedir)/extension" && echo "default_version = \'1\'" >casera.control && : >casera--1.sql'
    )
    trip.server.exec(["sh", "-c", install], user="root")
    trip.source.psql("CREATE EXTENSION casera")
    ended = trip.respaldo.run(*words)
    assert ended.status == 50
    CONTRACT.check("respaldo doctor", json.loads(ended.out))
    (found,) = [one for one in json.loads(ended.out) if "casera" in one["text"]]
    assert found["state"] == "bad"
    assert found["remedy"]
