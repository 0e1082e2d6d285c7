-- What contrib's extensions bring, with row security, partitions and large objects beside it.
CREATE SCHEMA contrib;
CREATE EXTENSION bloom SCHEMA contrib;
CREATE EXTENSION btree_gin SCHEMA contrib;
CREATE EXTENSION btree_gist SCHEMA contrib;
CREATE EXTENSION citext SCHEMA contrib;
CREATE EXTENSION cube;
CREATE EXTENSION earthdistance;
CREATE EXTENSION fuzzystrmatch;
CREATE EXTENSION hstore SCHEMA contrib;
CREATE EXTENSION intarray;
CREATE EXTENSION isn;
CREATE EXTENSION ltree;
CREATE EXTENSION pg_stat_statements;
CREATE EXTENSION pg_trgm;
CREATE EXTENSION pgcrypto;
CREATE EXTENSION pgstattuple;
CREATE EXTENSION postgres_fdw;
CREATE EXTENSION seg;
CREATE EXTENSION tablefunc;
CREATE EXTENSION unaccent;
CREATE TABLE extended (
  id int PRIMARY KEY, name contrib.citext UNIQUE, tags contrib.hstore, path ltree, book isbn13, place cube, span seg, numbers int[],
  secret text, EXCLUDE USING gist (id WITH =, path WITH =));
INSERT INTO extended SELECT i, 'Name ' || i, contrib.hstore('k' || i % 7, 'v' || i), ('top.n' || i % 10 || '.leaf' || i)::ltree,
    '978-0-393-04002-9', cube(i), (i || ' .. ' || i + 3)::seg, array[i, i * 2], md5(i::text) FROM generate_series(1, 400) i;
CREATE INDEX ON extended USING gin (tags);
CREATE INDEX ON extended USING gist (path);
CREATE INDEX ON extended USING gin (numbers gin__int_ops);
CREATE INDEX ON extended USING gin (secret gin_trgm_ops);
CREATE INDEX ON extended USING bloom (id);
CREATE INDEX ON extended USING gist (numbers gist__int_ops);
CREATE FOREIGN DATA WRAPPER idle;
CREATE SERVER elsewhere FOREIGN DATA WRAPPER postgres_fdw OPTIONS (host 'nowhere.invalid', dbname 'x');
CREATE FOREIGN TABLE far_away (id int) SERVER elsewhere;

CREATE TABLE measured (at date, place text, v numeric) PARTITION BY RANGE (at);
CREATE TABLE measured_2025 PARTITION OF measured FOR VALUES FROM ('2025-01-01') TO ('2026-01-01') PARTITION BY LIST (place);
CREATE TABLE measured_2025_a PARTITION OF measured_2025 FOR VALUES IN ('a');
CREATE TABLE measured_2025_rest PARTITION OF measured_2025 DEFAULT;
CREATE TABLE measured_2026 PARTITION OF measured FOR VALUES FROM ('2026-01-01') TO ('2027-01-01');
CREATE INDEX ON measured (at, place);
INSERT INTO measured SELECT '2025-01-01'::date + i % 700, chr(97 + i % 3), i / 7.0 FROM generate_series(1, 5000) i;

CREATE TABLE owned (id int PRIMARY KEY, owner name NOT NULL DEFAULT current_user, note text);
INSERT INTO owned SELECT i, CASE i % 2 WHEN 0 THEN 'ana' ELSE 'ben' END, 'note ' || i FROM generate_series(1, 500) i;
ALTER TABLE owned ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
CREATE POLICY own ON owned USING (owner = current_user) WITH CHECK (owner = current_user);
CREATE POLICY seen ON owned AS RESTRICTIVE FOR SELECT USING (id > 10);

SELECT count(lo_from_bytea(5000 + i, decode(repeat(md5(i::text), 100 * i), 'hex'))) FROM generate_series(1, 12) i;
COMMENT ON LARGE OBJECT 5001 IS 'the first';

-- === after the full backup ===
UPDATE extended SET tags = tags OPERATOR(contrib.||) '"new" => "1"'::contrib.hstore, secret = 'changed' WHERE id % 50 = 0;
DELETE FROM extended WHERE id BETWEEN 100 AND 120;
INSERT INTO measured SELECT '2026-06-01', 'b', i FROM generate_series(1, 100) i;
DELETE FROM owned WHERE id < 20;
SELECT lo_put(5003, 10, 'written over'), lo_unlink(5004);
