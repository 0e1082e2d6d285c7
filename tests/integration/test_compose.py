"""The demonstration's docker-compose.yml comes up as written, with the tables that the documentation shows."""

from __future__ import annotations

import pytest

from tests.rig.compose import await_health
from tests.rig.containers import PostgresContainer
from tests.rig.engine import RigError


def test_compose_file_comes_up_healthy_with_the_documented_tables(pc_db: PostgresContainer) -> None:
    await_health(pc_db)
    columns = pc_db.psql(
        "SELECT table_name, string_agg(column_name, ',' ORDER BY ordinal_position) FROM information_schema.columns "
        "WHERE table_schema = 'public' GROUP BY table_name ORDER BY table_name"
    )
    assert columns.splitlines() == [
        "pedidos|pedido_id,usuario_id,producto_id,cantidad,fecha_pedido",
        "productos|producto_id,nombre_producto,manufacturador,precio",
        "usuarios|usuario_id,nombre,apellido",
    ]
    assert pc_db.psql("SELECT apellido FROM usuarios WHERE usuario_id = 3") == "Núñez"

    for statement in (
        "INSERT INTO productos (nombre_producto, manufacturador, precio) VALUES ('x', 'y', -1)",
        "INSERT INTO pedidos (usuario_id, producto_id, cantidad) VALUES (1, 1, -1)",
    ):
        with pytest.raises(RigError, match="violates check constraint"):
            pc_db.psql(statement)

    before = int(pc_db.psql("SELECT count(*) FROM pedidos"))
    pc_db.psql("DELETE FROM usuarios WHERE usuario_id = 1; DELETE FROM productos WHERE producto_id = 3")
    assert int(pc_db.psql("SELECT count(*) FROM pedidos")) == before - 4
