-- Functions whose body is text that Postgres does not look into, and that holds one of the words $2. $1 are the relations.
SELECT i.identity, l.lanname::text, p.prosrc, pg_catalog.pg_get_function_arguments(p.oid),
       ARRAY(SELECT t.tgrelid::regclass::text || ': ' || t.tgname FROM pg_catalog.pg_trigger t
              WHERE t.tgfoid = p.oid AND t.tgrelid = ANY ($1::oid[]) AND NOT t.tgisinternal AND t.tgparentid = 0 AND t.tgenabled <> 'D' ORDER BY 1),
       EXISTS (SELECT 1 FROM pg_catalog.pg_class c WHERE c.oid = ANY ($1::oid[]) AND (c.reltype = p.prorettype OR c.reltype = ANY (p.proargtypes::oid[])))
  FROM pg_catalog.pg_proc p JOIN pg_catalog.pg_language l ON l.oid = p.prolang JOIN pg_catalog.pg_namespace n ON n.oid = p.pronamespace
  CROSS JOIN LATERAL pg_catalog.pg_identify_object('pg_catalog.pg_proc'::regclass, p.oid, 0) i
 WHERE l.lanname NOT IN ('c', 'internal') AND n.nspname NOT IN ('pg_catalog', 'information_schema') AND p.prosqlbody IS NULL
   AND EXISTS (SELECT 1 FROM unnest($2::text[]) w(word) WHERE pg_catalog.strpos(lower(p.prosrc), lower(word)) > 0)
   AND (n.nspname <> 'backfleet' OR EXISTS (SELECT 1 FROM pg_catalog.pg_trigger t WHERE t.tgfoid = p.oid AND t.tgrelid = ANY ($1::oid[]))) -- the ledger's own
 ORDER BY 1
