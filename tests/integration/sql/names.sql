-- Names that a shell, psql, a format string or COPY would take for something else; each with a small table and one
-- above 8 MiB, and a sequence.
CREATE TABLE odd_names AS
SELECT n, row_number() OVER () AS i FROM unnest(ARRAY[
  'with space', 'with  two   spaces ', ' leading', 'Upper', 'quote''single', 'quote"double', '"', '""', '''', E'new\nline', E'carriage\rreturn', E'tab\there',
  'select', 'table', 'user', 'public', 'pg catalog', 'a.b', 'a,b', '(a)', 'a;b', ';', '$1', '$$', '$x$', '%', '%s%d%%', '{}', '{0}', '{name}', '-', '-x', '--table',
  '*', '?', 'a*b?', '|', 'a|b', '[a-z]', '+', '^a$', '\', '\.', 'back\slash', '\copy', ':x', ':"x"', ':''x''', '`ls`', '$(ls)', '~', '#', '@', '&', '<>', '!', '=', 'a=b',
  'ñandú', '漢字', '🐘', 'e' || chr(769), U&'\FEFF', 'x COPY y', 'a COPY "b" FROM stdin;', 'FROM stdin;', 'COPY', repeat('n', 63), repeat('ñ', 31), 'statements', '/etc/passwd', '../x',
  'rows', 't', 'c', 'n', 'q', 'line', '1', '1a', 'NULL', 'true', '[bold]', E'\u00a0', E'\x01'
]) n;
SELECT format('CREATE TABLE %I (%I int, %I text DEFAULT %L)', n, n, n || '2', n) FROM odd_names WHERE octet_length(n) < 63 \gexec
SELECT format('INSERT INTO %I VALUES (1, %L), (2, DEFAULT), (3, NULL)', n, n) FROM odd_names WHERE octet_length(n) < 63 \gexec
SELECT format('CREATE TABLE %I AS SELECT 1 AS a', n) FROM odd_names WHERE octet_length(n) = 63 \gexec
SELECT format('CREATE SCHEMA %I', n) FROM odd_names WHERE n NOT IN ('public') \gexec
SELECT format('CREATE TABLE %I.%I (%I int GENERATED ALWAYS AS IDENTITY)', n, n, n) FROM odd_names WHERE n <> 'public' \gexec
SELECT format('INSERT INTO %I.%I DEFAULT VALUES', n, n) FROM odd_names WHERE n <> 'public' \gexec
SELECT format('CREATE SEQUENCE %I.%I START 7', n, left(n, 50) || ' seq') FROM odd_names WHERE n <> 'public' \gexec
SELECT format('COMMENT ON SCHEMA %I IS %L', n, n) FROM odd_names WHERE n <> 'public' \gexec
-- The large ones: fewer, each with several of the dangers to \copy's line.
CREATE TABLE odd_large AS SELECT n FROM unnest(ARRAY[
  E'with  two   ''single ''\n\\', E'(a) "double"\t%s%d%% ñandú', '-x :"x" `ls` x COPY y', 'select', '{}']) n;
SELECT format('CREATE TABLE %I (%I int, %I text); INSERT INTO %1$I SELECT i, repeat(%L, 1900 / octet_length(%4$L)) FROM generate_series(1, 4800) i',
  n || ' L', n, n || '2', n) FROM odd_large \gexec

-- === after the full backup ===
SELECT format('INSERT INTO %I VALUES (4, %L)', n, n) FROM odd_names WHERE octet_length(n) < 63 AND i % 2 = 0 \gexec
SELECT format('UPDATE %I SET %I = -1 WHERE %2$I = 77', n || ' L', n) FROM odd_large \gexec
SELECT format('SELECT nextval(%L)', format('%I.%I', n, left(n, 50) || ' seq')) FROM odd_names WHERE n <> 'public' AND i % 3 = 0 \gexec
SELECT format('ALTER TABLE %I RENAME TO %I', n || ' L', n || ' renamed') FROM odd_large WHERE n = '{}' \gexec
