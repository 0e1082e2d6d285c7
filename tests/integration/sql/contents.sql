-- Every table's rows as two digests (the sum of each row's, which is made of its values', in no order; one in the heap's
-- order where it has at most 4 blocks: in a larger one even PostgreSQL's own COPY fills what it finds free), and every
-- sequence's state. What a hash chose is compared in the table above it: an enumeration's value hashes to something
-- else in every database.
\set ON_ERROR_STOP 1
SET search_path = '';
SET extra_float_digits = 3;
SET synchronize_seqscans = off;
SET max_parallel_workers_per_gather = 0;
SET DateStyle = 'ISO';
SET bytea_output = 'hex';
SET IntervalStyle = 'postgres';
SET row_security = off;
SELECT CASE WHEN c.relkind = 'S'
  THEN pg_catalog.format('SELECT %L, last_value, is_called FROM %s', c.oid::regclass, c.oid::regclass)
  ELSE pg_catalog.format($q$SELECT %L, count(*), sum(hashtextextended(ROW(%s)::text COLLATE "C", 0)::numeric),
    CASE WHEN %s THEN md5(coalesce(string_agg(md5((t.*)::text), ''), '')) END FROM %s t$q$,
    c.oid::regclass,
    (SELECT pg_catalog.string_agg(pg_catalog.format($c$
       CASE num_nulls(t.%1$I) WHEN 0 THEN hashtextextended(concat(t.%1$I) COLLATE "C", 0) END$c$, a.attname), ',' ORDER BY attnum)
       FROM pg_catalog.pg_attribute a WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped),
    (c.relkind = 'r' AND pg_catalog.pg_relation_size(c.oid) <= 4 * 8192)::text,
    CASE c.relkind WHEN 'p' THEN '' ELSE 'ONLY ' END || c.oid::regclass::text) END
  FROM pg_catalog.pg_class c
 WHERE c.relkind IN ('r', 'p', 'm', 'S') AND c.relnamespace::regnamespace::text !~ '^pg_'
   AND c.relnamespace::regnamespace::text <> 'information_schema' AND c.relpersistence <> 't'
   AND (c.relkind <> 'm' OR c.relispopulated)
   AND NOT EXISTS (SELECT FROM pg_catalog.pg_partition_ancestors(c.oid) p
                     JOIN pg_catalog.pg_partitioned_table t ON t.partrelid = p.relid AND t.partstrat = 'h' AND p.relid <> c.oid)
 ORDER BY c.oid::regclass::text COLLATE "C"
\gexec
