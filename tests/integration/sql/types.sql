-- Every built-in type with its extremes, in a small table and in one above 8 MiB.
SELECT :major >= 14 AS has_multiranges, :major >= 17 AS has_infinite_intervals \gset
CREATE TYPE mood AS ENUM ('happy', 'sad', 'it''s "complicated"', 'tab	here', 'ñandú');
CREATE TYPE pair AS (a int, "b c" text, d numeric[]);
CREATE DOMAIN positive AS int CHECK (VALUE > 0);
CREATE DOMAIN positives AS positive[] CHECK (cardinality(VALUE) < 9);
CREATE TYPE text_range AS RANGE (subtype = text, collation = "C");
CREATE EXTENSION hstore;
CREATE TABLE types (
  id int, i2 smallint, i4 int, i8 bigint, n numeric, n2 numeric(12, 3), f4 real, f8 double precision, m money,
  b boolean, c char(5), vc varchar(20), t text, q "char", nm name, by bytea,
  d date, ti time, tz timetz, ts timestamp, tt timestamptz, ts0 timestamp(0), iv interval, ivy interval year to month,
  u uuid, j json, jb jsonb, jp jsonpath, x xml, ip inet, ci cidr, ma macaddr, ma8 macaddr8, bi bit(5), vb varbit,
  tv tsvector, tq tsquery, po point, li line, ls lseg, bx box, pa path, pg polygon, ce circle,
  r4 int4range, r8 int8range, rn numrange, rd daterange, rt tsrange, rz tstzrange, rx text_range,
  ai int[], at text[], aj jsonb[], am mood[], ap pair[], ab bytea[], o oid, xi xid, x8 xid8, td tid, lsn pg_lsn, ps pg_snapshot,
  rc regclass, rp regproc, ro regrole, ry regtype, ov oidvector, iv2 int2vector, ac aclitem, rf refcursor,
  mo mood, pr pair, dom positive, doms positives, hs hstore
);
INSERT INTO types (id) VALUES (0);
INSERT INTO types VALUES (
  1, -32768, -2147483648, -9223372036854775808, 'NaN', -999999999.999, 'NaN', 'NaN', '-92233720368547758.08',
  true, 'a', '', '', '', '', '',
  '4714-11-24 BC', '00:00', '00:00:00+15:59:59', '4714-11-24 00:00:00 BC', '4714-11-24 00:00:00+00 BC', '-infinity',
  '-178000000 years', '-178000000 years',
  '00000000-0000-0000-0000-000000000000', 'null', 'null', '$', '', '0.0.0.0/0', '0.0.0.0/0', '00:00:00:00:00:00', '00:00:00:00:00:00:00:00',
  B'00000', B'', '', '', '(NaN,NaN)', '{1,-1,0}', '[(0,0),(0,0)]', '(0,0),(0,0)', '[(0,0)]', '((0,0))', '<(0,0),0>',
  'empty', 'empty', 'empty', 'empty', 'empty', 'empty', 'empty',
  '{}', '{}', '{}', '{}', '{}', '{}', 0, '0', '0', '(0,0)', '0/0', '10:20:10,14,15',
  '-', '-', '-', '-', '', '', 'postgres=/postgres', '',
  'happy', '(,,)', 1, '{}', '');
INSERT INTO types VALUES (
  2, 32767, 2147483647, 9223372036854775807, '1e-1000', 999999999.999, 'Infinity', 'Infinity', '92233720368547758.07',
  false, 'ñandú', 'áéíóú ñ 漢字 🐘', E'tab\t newline\n return\r backslash\\ quote'' \x01 \x1f \x7f', 'x', 'a name "quoted"',
  decode((SELECT string_agg(lpad(to_hex(i), 2, '0'), '') FROM generate_series(0, 255) i), 'hex'),
  '5874897-12-31', '24:00:00', '24:00:00-15:59:59', '294276-12-31 23:59:59.999999', '294276-12-31 23:59:59.999999+00', 'infinity',
  '178000000 years', '178000000 years 11 mons',
  'ffffffff-ffff-ffff-ffff-ffffffffffff', E'{"a" : [1,2 ,\n {"b":"\\u00f1\\\\"}], "a": 2}', '{"a": [1, 2.50, {"b": "ñ\"\n"}], "": null, "big": 123456789012345678901234567890.123}', '$."a"[*] ? (@.x > 1)',
  E'<?xml version="1.0"?>\n<a b="c">t &amp; &lt;ñ&gt;\t</a>', 'ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff/64', '2001:db8::/32', 'ff:ff:ff:ff:ff:ff', 'ff:ff:ff:ff:ff:ff:ff:ff',
  B'10101', repeat('10', 500)::varbit, '''a b'':1A,2B ''it''''s'':3 ''back\\\\slash''', '''a'' & !(''b'':A | ''c'':*) <-> ''d''',
  '(1e308,-Infinity)', '{0.1,0.2,0.3}', '[(1,2),(3,4)]', '(3,4),(1,2)', '((0,0),(1,1),(2,0))', '((0,0),(1,1),(2,0))', '<(1.5,-2.5),1e-10>',
  '[-2147483648,2147483647)', '(,)', '[NaN,NaN]', '[-infinity,infinity]', '["4714-11-24 00:00:00 BC",infinity)', '(,"2024-02-29 12:00+00"]', '["a, b)","z\"("]',
  '[-2:0][5:6]={{1,2},{3,NULL},{5,6}}', E'{NULL,"NULL","","a\\"b","c\\\\d","e,f","{g}"," h ",ñ,"new\nline"}', ARRAY['{"a": 1}', 'null', NULL]::jsonb[],
  ARRAY['it''s "complicated"', 'tab	here', NULL]::mood[], ARRAY[ROW(1, 'x "y" (z), \', ARRAY[1.50, NULL, 'NaN'])::pair, NULL], ARRAY['\x00ff'::bytea, ''],
  4294967295, '4294967295', '18446744073709551615', '(4294967295,65535)', 'FFFFFFFF/FFFFFFFF', '1:9223372036854775807:1,2',
  'types', 'pg_catalog.now', 'postgres', 'mood[]', '1 2 4294967295', '-32768 0 32767', 'postgres=arwdDxt*/postgres', 'a cursor',
  'it''s "complicated"', ROW(-5, E'quote" back\\ paren) comma, \n', '{1,NULL,3.14}'), 2147483647, '{1,2}', '"a b"=>"c\"d", e=>NULL, ""=>""');
INSERT INTO types (id, n, f4, f8, iv, d, ts, tt, rd, x, by, j, ts0) VALUES
  (3, ('-' || repeat('9', 131072))::numeric, '-0', '-0', '-1 year -2 mons +3 days -04:05:06.789012', 'infinity', 'infinity', '-infinity', '(,infinity]',
   'text <b/> and <c/>', decode(repeat('5c', 5000), 'hex'), '"\u0041"', '2024-02-29 23:59:59.5'),
  (4, '1e-16383', '1e-45', '4.9e-324', '1 year 13 mons -2 days 25:59:59', '0001-01-01 BC', '0044-03-15 12:00:00 BC', '1883-11-18 12:03:57-08', '[0001-01-01 BC,)',
   '<!-- c -->', '\x0d0a', '[]', '1999-12-31'),
  (5, '0.1', '3.4028235e38', '1.7976931348623157e308', '-00:00:00.000001', '2000-02-29', '1582-10-15', '2024-03-31 01:59:59.999999+00', '[2024-01-01,2024-01-01]', NULL, NULL, NULL, NULL),
  (6, '-0.000', '0.1', '0.1', '0', '-infinity', '-infinity', 'infinity', NULL, NULL, NULL, NULL, NULL),
  (7, '123456789.123456789', '1.17549435e-38', '0.30000000000000004', '@ 999 hours ago', NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL);
\if :has_multiranges
  INSERT INTO types (id, n) VALUES (8, 'Infinity'), (9, '-Infinity');
  CREATE TABLE multiranges (m4 int4multirange, mn nummultirange, md datemultirange, mz tstzmultirange, a int8multirange[]);
  INSERT INTO multiranges VALUES ('{}', '{}', '{}', '{}', '{}'), ('{[1,3),[5,9)}', '{(,1],[2.5,)}', '{(,)}', '{["4714-11-24 00:00:00+00 BC",infinity)}', ARRAY['{[1,2)}', NULL]::int8multirange[]);
\endif
\if :has_infinite_intervals
  INSERT INTO types (id, iv) VALUES (10, 'infinity'), (11, '-infinity');
\endif
CREATE TABLE types_large (LIKE types INCLUDING ALL, n_copy int GENERATED ALWAYS AS IDENTITY);
ALTER TABLE types_large ALTER x SET STORAGE EXTERNAL, ALTER by SET STORAGE EXTERNAL;
INSERT INTO types_large SELECT t.* FROM types t, generate_series(1, 1500) i WHERE t.id <> 3;
INSERT INTO types_large SELECT t.* FROM types t, generate_series(1, 10) i WHERE t.id = 3;
ALTER TABLE types_large ALTER t SET STORAGE PLAIN;
INSERT INTO types_large (t) SELECT repeat(chr(200 + i % 50), 1500) FROM generate_series(1, 2000) i;

-- === after the full backup ===
ALTER TYPE mood ADD VALUE 'new' BEFORE 'sad';
UPDATE types SET t = coalesce(t, '') || 'changed' WHERE id % 2 = 0;
UPDATE types_large SET f8 = 1 / 3.0::float8, iv = '1 mon' WHERE n_copy % 300 = 0;
DELETE FROM types_large WHERE n_copy BETWEEN 500 AND 550;
