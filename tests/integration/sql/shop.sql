-- The shop of the demonstration, and pgbench's tables at scale 2 (as `pgbench -i -s 2` fills them).
CREATE TABLE usuarios (
  usuario_id serial PRIMARY KEY,
  nombre varchar(100) NOT NULL,
  apellido varchar(100) NOT NULL
);
CREATE TABLE productos (
  producto_id serial PRIMARY KEY,
  nombre_producto varchar(200) NOT NULL,
  manufacturador varchar(100),
  precio numeric(10, 2) CHECK (precio >= 0)
);
CREATE TABLE pedidos (
  pedido_id serial PRIMARY KEY,
  usuario_id int REFERENCES usuarios ON DELETE CASCADE,
  producto_id int REFERENCES productos ON DELETE CASCADE,
  cantidad int CHECK (cantidad > 0),
  fecha_pedido timestamptz NOT NULL DEFAULT now()
);
INSERT INTO usuarios (nombre, apellido) VALUES ('Ana', 'García'), ('Luis', 'Pérez'), ('Íñigo', 'Núñez');
INSERT INTO productos (nombre_producto, manufacturador, precio) VALUES ('Cámara', 'Ñandú', 199.99), ('Café', NULL, 3);
INSERT INTO pedidos (usuario_id, producto_id, cantidad) SELECT 1 + i % 3, 1 + i % 2, i FROM generate_series(1, 300) i;

CREATE TABLE pgbench_branches (bid int PRIMARY KEY, bbalance int, filler char(88)) WITH (fillfactor = 100);
CREATE TABLE pgbench_tellers (tid int PRIMARY KEY, bid int, tbalance int, filler char(84)) WITH (fillfactor = 100);
CREATE TABLE pgbench_accounts (aid int PRIMARY KEY, bid int, abalance int, filler char(84)) WITH (fillfactor = 100);
CREATE TABLE pgbench_history (tid int, bid int, aid int, delta int, mtime timestamp, filler char(22));
INSERT INTO pgbench_branches SELECT i, 0, '' FROM generate_series(1, 2) i;
INSERT INTO pgbench_tellers SELECT i, 1 + (i - 1) / 10, 0, '' FROM generate_series(1, 20) i;
INSERT INTO pgbench_accounts SELECT i, 1 + (i - 1) / 100000, 0, '' FROM generate_series(1, 200000) i;

-- === after the full backup ===
UPDATE pgbench_accounts SET abalance = abalance + aid WHERE aid % 997 = 0;
INSERT INTO pgbench_history SELECT 1, 1, aid, abalance, now() FROM pgbench_accounts WHERE abalance <> 0;
DELETE FROM pgbench_accounts WHERE aid BETWEEN 1000 AND 1100;
UPDATE productos SET precio = precio * 1.21;
DELETE FROM usuarios WHERE usuario_id = 2;
INSERT INTO pedidos (usuario_id, producto_id, cantidad) VALUES (3, 2, 7);
