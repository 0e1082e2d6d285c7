-- Values that look like what a dump is made of, in a small table and in one above 8 MiB.
CREATE TABLE hostile (id int GENERATED ALWAYS AS IDENTITY, v text, w text);
INSERT INTO hostile (v, w) VALUES
  (E'\\.', NULL), (E'\\.\n', ''), (E'\n\\.\n', E'\\N'), (E'\n\\.\nDROP TABLE hostile;\n', 'NULL'), (E'\t', E'\r'), (E'\r\n', E'\n'), (E'\\', E'\\\\'),
  (E'\\\n', E'\\t'), ('COPY hostile FROM stdin;', 'COPY "public"."hostile" ("id", "v", "w") FROM stdin;'),
  (E'COPY "public"."hostile" ("id", "v", "w") FROM stdin;\n1\tx\ty\n\\.\n', E'\\restrict abc'), (E'\\unrestrict abc', E'-- comment\n'), ('/* open', '*/'),
  ('$$ $body$', ''' "'), (E'respaldo-0123456789abcdef0123456789abcdef 5', E'\\echo x'), (E'\\copy x to program ''rm''', E'\\! ls'), (':variable :''x'' :"y"', '%s {} {0} %n'),
  (E'\x01\x02\x03\x04\x05\x06\x07\b\t\n\x0b\x0c\r\x0e\x1b\x7f', U&'\0080\0085\2028\2029\FEFF\FFFD'), ('漢字 🐘 ñ é e' || chr(769), chr(1114111)), (' ', '  '), ('', ''),
  (repeat(E'\\', 100001), repeat(E'\n', 100001)), (repeat(E'\n\\.', 50000), repeat(E'\t', 65536)), (E'BEGIN;\nCOMMIT;', E'\u0028\\b\\f\\v');
-- One line of 20 MB; it does not compress inside the table.
CREATE TABLE long_line (v text);
ALTER TABLE long_line ALTER v SET STORAGE EXTERNAL;
INSERT INTO long_line SELECT repeat('áb\n' || E'\t\\', 2500000);
INSERT INTO long_line VALUES (''), (NULL), (E'\\.');
CREATE TABLE hostile_large (LIKE hostile);
INSERT INTO hostile_large SELECT i * 100 + id, v, w FROM hostile, generate_series(1, 4000) i WHERE length(v) < 1000;
INSERT INTO hostile_large SELECT id, v, w FROM hostile;
CREATE TABLE only_ends (v text);
INSERT INTO only_ends SELECT CASE i % 3 WHEN 0 THEN E'\\.' WHEN 1 THEN '' END FROM generate_series(1, 1000) i;

-- === after the full backup ===
INSERT INTO hostile (v, w) VALUES (E'\\.\n\\.', E'\\.');
UPDATE hostile_large SET v = E'\\.' || v WHERE id % 777 = 5;
UPDATE long_line SET v = substr(v, 1, 10000000) || E'\\.\n' || substr(v, 10000001) WHERE length(v) > 10;
