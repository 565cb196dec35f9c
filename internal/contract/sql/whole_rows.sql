-- Views of the relations $1 that Postgres does not know to need one of the columns $2: they may take whole rows.
SELECT n.nspname::text || '.' || v.relname, pg_catalog.pg_get_viewdef(v.oid), pg_catalog.format('%I.%I', n.nspname, v.relname), v.relkind = 'm'
  FROM pg_catalog.pg_class v JOIN pg_catalog.pg_namespace n ON n.oid = v.relnamespace JOIN pg_catalog.pg_rewrite r ON r.ev_class = v.oid
 WHERE v.relkind IN ('v', 'm')
   AND EXISTS (SELECT 1 FROM pg_catalog.pg_depend d WHERE d.classid = 'pg_catalog.pg_rewrite'::regclass AND d.objid = r.oid
                  AND d.refclassid = 'pg_catalog.pg_class'::regclass AND d.refobjid = ANY ($1::oid[]) AND d.refobjsubid = 0)
   AND NOT EXISTS (SELECT 1 FROM pg_catalog.pg_depend d JOIN unnest($1::oid[], $2::int[]) t(relid, num) ON t.relid = d.refobjid AND t.num = d.refobjsubid
                    WHERE d.classid = 'pg_catalog.pg_rewrite'::regclass AND d.objid = r.oid AND d.refclassid = 'pg_catalog.pg_class'::regclass)
 ORDER BY 1
