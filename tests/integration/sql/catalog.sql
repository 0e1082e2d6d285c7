-- What the system catalogues say of a database, one line an object, independent of oids and of pg_dump.
-- Privileges are sorted: their order means nothing.
\set ON_ERROR_STOP 1
SET search_path = '';
CREATE FUNCTION pg_temp.acl(items aclitem[]) RETURNS text LANGUAGE sql AS
  $$SELECT CASE WHEN items IS NULL THEN 'default' ELSE (SELECT coalesce(pg_catalog.string_agg(i::text, ' ' ORDER BY i::text COLLATE "C"), '')
                                        FROM pg_catalog.unnest(items) i) END$$;
-- Debian's builds note a number of their own among a column's options.
CREATE FUNCTION pg_temp.own(options text[]) RETURNS text LANGUAGE sql AS
  $$SELECT pg_catalog.string_agg(o, ',') FROM pg_catalog.unnest(options) o WHERE o !~ '^pg_attver='$$;
SELECT line FROM (
  SELECT 'schema ' || pg_catalog.concat_ws('|', quote_literal(nspname), pg_catalog.pg_get_userbyid(nspowner), pg_temp.acl(nspacl)) AS line
    FROM pg_catalog.pg_namespace WHERE nspname !~ '^pg_'
  UNION ALL
  SELECT 'relation ' || pg_catalog.concat_ws('|', c.relnamespace::regnamespace, quote_literal(c.relname), c.relkind, c.relpersistence,
           pg_catalog.pg_get_userbyid(c.relowner), pg_temp.acl(c.relacl), c.relrowsecurity, c.relforcerowsecurity, c.relispartition,
           c.relispopulated, c.relreplident, c.reloptions, a.amname)
    FROM pg_catalog.pg_class c LEFT JOIN pg_catalog.pg_am a ON a.oid = c.relam
   WHERE c.relnamespace::regnamespace::text !~ '^pg_' AND c.relnamespace::regnamespace::text <> 'information_schema'
  UNION ALL
  SELECT 'column ' || pg_catalog.concat_ws('|', a.attrelid::regclass,
           pg_catalog.row_number() OVER (PARTITION BY a.attrelid ORDER BY a.attnum), quote_literal(a.attname),
           pg_catalog.format_type(a.atttypid, a.atttypmod), a.attnotnull, a.attidentity, a.attgenerated, a.attstorage,
           nullif(a.attstattarget, -1), a.attcollation::regcollation, pg_temp.own(a.attoptions), a.attislocal, a.attinhcount,
           pg_temp.acl(a.attacl), quote_literal(pg_catalog.pg_get_expr(d.adbin, d.adrelid)))
    FROM pg_catalog.pg_attribute a JOIN pg_catalog.pg_class c ON c.oid = a.attrelid
    LEFT JOIN pg_catalog.pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
   WHERE a.attnum > 0 AND NOT a.attisdropped AND c.relkind IN ('r', 'p', 'v', 'm', 'c', 'f')
     AND c.relnamespace::regnamespace::text !~ '^pg_' AND c.relnamespace::regnamespace::text <> 'information_schema'
  UNION ALL
  SELECT 'parent ' || pg_catalog.concat_ws('|', inhrelid::regclass, inhparent::regclass, inhseqno) FROM pg_catalog.pg_inherits
  UNION ALL
  SELECT 'index ' || pg_catalog.concat_ws('|', pg_catalog.pg_get_indexdef(indexrelid), indisvalid, indisclustered, indisreplident)
    FROM pg_catalog.pg_index i JOIN pg_catalog.pg_class c ON c.oid = i.indexrelid
   WHERE c.relnamespace::regnamespace::text !~ '^pg_'
  UNION ALL
  SELECT 'constraint ' || pg_catalog.concat_ws('|', conrelid::regclass, contypid::regtype, quote_literal(conname),
           quote_literal(pg_catalog.pg_get_constraintdef(oid)), condeferrable, condeferred, convalidated)
    FROM pg_catalog.pg_constraint WHERE connamespace::regnamespace::text NOT IN ('pg_catalog', 'information_schema')
  UNION ALL
  SELECT 'trigger ' || pg_catalog.concat_ws('|', quote_literal(pg_catalog.pg_get_triggerdef(oid)), tgenabled)
    FROM pg_catalog.pg_trigger WHERE NOT tgisinternal
  UNION ALL
  SELECT 'event trigger ' || pg_catalog.concat_ws('|', evtname, evtevent, pg_catalog.pg_get_userbyid(evtowner), evtfoid::regproc, evtenabled, evttags)
    FROM pg_catalog.pg_event_trigger
  UNION ALL
  SELECT 'policy ' || pg_catalog.concat_ws('|', polrelid::regclass, quote_literal(polname), polcmd, polpermissive,
           (SELECT pg_catalog.string_agg(CASE r WHEN 0 THEN 'public' ELSE r::regrole::text END, ' ' ORDER BY r) FROM pg_catalog.unnest(polroles) r),
           pg_catalog.pg_get_expr(polqual, polrelid), pg_catalog.pg_get_expr(polwithcheck, polrelid))
    FROM pg_catalog.pg_policy
  UNION ALL
  SELECT 'routine ' || pg_catalog.concat_ws('|', p.oid::regprocedure, pg_catalog.pg_get_userbyid(p.proowner), pg_temp.acl(p.proacl), p.prokind,
           p.provolatile, p.prosecdef, p.proconfig, pg_catalog.md5(p.prosrc))
    FROM pg_catalog.pg_proc p WHERE p.pronamespace::regnamespace::text !~ '^pg_' AND p.pronamespace::regnamespace::text <> 'information_schema'
  UNION ALL
  SELECT 'type ' || pg_catalog.concat_ws('|', t.oid::regtype, t.typtype, pg_catalog.pg_get_userbyid(t.typowner), pg_temp.acl(t.typacl), t.typnotnull,
           quote_literal(t.typdefault),
           (SELECT pg_catalog.string_agg(quote_literal(e.enumlabel), ',' ORDER BY e.enumsortorder) FROM pg_catalog.pg_enum e WHERE e.enumtypid = t.oid))
    FROM pg_catalog.pg_type t WHERE t.typnamespace::regnamespace::text !~ '^pg_' AND t.typnamespace::regnamespace::text <> 'information_schema'
  UNION ALL
  SELECT 'default privileges ' || pg_catalog.concat_ws('|', pg_catalog.pg_get_userbyid(defaclrole), nullif(defaclnamespace, 0)::regnamespace, defaclobjtype, pg_temp.acl(defaclacl))
    FROM pg_catalog.pg_default_acl
  UNION ALL
  SELECT 'extension ' || pg_catalog.concat_ws('|', extname, extversion, extnamespace::regnamespace, pg_catalog.pg_get_userbyid(extowner))
    FROM pg_catalog.pg_extension
  UNION ALL
  SELECT 'publication ' || pg_catalog.concat_ws('|', p.pubname, pg_catalog.pg_get_userbyid(p.pubowner), p.puballtables, p.pubinsert, p.pubupdate, p.pubdelete,
           p.pubtruncate, (SELECT pg_catalog.string_agg(r.prrelid::regclass::text, ',' ORDER BY r.prrelid::regclass::text)
                             FROM pg_catalog.pg_publication_rel r WHERE r.prpubid = p.oid))
    FROM pg_catalog.pg_publication p
  UNION ALL
  SELECT 'comment ' || pg_catalog.concat_ws('|', i.type, i.identity, quote_literal(d.description))
    FROM pg_catalog.pg_description d, LATERAL pg_catalog.pg_identify_object(d.classoid, d.objoid, d.objsubid) i
   WHERE i.schema IS DISTINCT FROM 'pg_catalog' AND i.schema IS DISTINCT FROM 'information_schema' AND d.objoid >= 16384
     AND d.classoid <> 'pg_catalog.pg_largeobject'::regclass
  UNION ALL
  SELECT 'statistics ' || pg_catalog.pg_get_statisticsobjdef(oid) FROM pg_catalog.pg_statistic_ext
  UNION ALL
  SELECT 'rule ' || quote_literal(definition) FROM pg_catalog.pg_rules WHERE schemaname !~ '^pg_'
  UNION ALL
  SELECT 'view ' || pg_catalog.concat_ws('|', c.oid::regclass, quote_literal(pg_catalog.pg_get_viewdef(c.oid)))
    FROM pg_catalog.pg_class c WHERE c.relkind IN ('v', 'm') AND c.relnamespace::regnamespace::text !~ '^pg_'
     AND c.relnamespace::regnamespace::text <> 'information_schema'
  UNION ALL
  SELECT 'database ' || (pg_catalog.to_jsonb(d) - '{oid,datname,datdba,datacl,datfrozenxid,datminmxid,datlastsysoid,dathasloginevt,datistemplate}'::text[])::text
         || pg_catalog.pg_get_userbyid(datdba) || ' ' || pg_temp.acl(datacl)
         || ' ' || coalesce(quote_literal(pg_catalog.shobj_description(oid, 'pg_database')), 'no comment')
    FROM pg_catalog.pg_database d WHERE datname = pg_catalog.current_database()
  UNION ALL
  SELECT 'setting ' || CASE setrole WHEN 0 THEN 'everybody' ELSE setrole::regrole::text END || ' ' || setconfig::text
    FROM pg_catalog.pg_db_role_setting s JOIN pg_catalog.pg_database d ON d.oid = s.setdatabase
   WHERE d.datname = pg_catalog.current_database()
  UNION ALL
  SELECT 'large object ' || pg_catalog.concat_ws('|', oid, pg_catalog.pg_get_userbyid(lomowner), pg_temp.acl(lomacl),
           quote_literal(pg_catalog.obj_description(oid, 'pg_largeobject')), pg_catalog.length(pg_catalog.lo_get(oid)), pg_catalog.md5(pg_catalog.lo_get(oid)))
    FROM pg_catalog.pg_largeobject_metadata
) lines ORDER BY line COLLATE "C";
