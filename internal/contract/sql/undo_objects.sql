-- What is dropped with the columns ($1 relations, $2 numbers; 0: the relation as a whole), as statements that make it again: kind, name,
-- definition, its comment, whether it is valid, on which relation, and
-- of a partition's index that of the table.
WITH target(relid, num) AS (SELECT * FROM unnest($1::oid[], $2::int[])),
uses AS ( -- whatever depends on one of the columns, or on the table
    SELECT DISTINCT d.classid, d.objid FROM pg_catalog.pg_depend d JOIN target t ON d.refobjid = t.relid AND (t.num = 0 OR t.num = d.refobjsubid)
     WHERE d.refclassid = 'pg_catalog.pg_class'::regclass)
SELECT 'constraint', k.conname::text, pg_catalog.pg_get_constraintdef(k.oid), coalesce(pg_catalog.obj_description(k.oid, 'pg_constraint'), ''), k.convalidated,
       pg_catalog.format('%I.%I', n.nspname, c.relname), c.relkind = 'p', k.contype::text, coalesce(pg_catalog.pg_get_indexdef(x.oid), ''),
       CASE WHEN x.oid IS NULL THEN '' ELSE pg_catalog.format('%I.%I', xn.nspname, x.relname) END, coalesce(i.indisclustered, false), coalesce(i.indisreplident, false),
       coalesce((SELECT string_agg(o, ', ') FROM unnest(x.reloptions) o), ''), CASE WHEN k.condeferrable THEN ' DEFERRABLE' || CASE WHEN k.condeferred THEN ' INITIALLY DEFERRED' ELSE '' END ELSE '' END,
       CASE k.contype WHEN 'p' THEN 1 WHEN 'u' THEN 2 WHEN 'x' THEN 3 WHEN 'c' THEN 4 ELSE 6 END AS ord, '' AS parent
  FROM uses u JOIN pg_catalog.pg_constraint k ON u.classid = 'pg_catalog.pg_constraint'::regclass AND k.oid = u.objid
  JOIN pg_catalog.pg_class c ON c.oid = k.conrelid JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
  LEFT JOIN pg_catalog.pg_class x ON x.oid = k.conindid AND k.contype IN ('p', 'u', 'x') LEFT JOIN pg_catalog.pg_namespace xn ON xn.oid = x.relnamespace
  LEFT JOIN pg_catalog.pg_index i ON i.indexrelid = x.oid
 WHERE k.contype IN ('p', 'u', 'x', 'c', 'f') AND k.conparentid = 0 AND k.coninhcount = 0 AND k.conrelid IN (SELECT relid FROM target)
UNION ALL
SELECT 'index', x.relname::text, pg_catalog.pg_get_indexdef(x.oid), coalesce(pg_catalog.obj_description(x.oid, 'pg_class'), ''), i.indisvalid,
       pg_catalog.format('%I.%I', n.nspname, c.relname), c.relkind = 'p', '', '', pg_catalog.format('%I.%I', xn.nspname, x.relname), i.indisclustered, i.indisreplident, '', '',
       5, coalesce((SELECT p.inhparent::regclass::text FROM pg_catalog.pg_inherits p WHERE p.inhrelid = x.oid), '')
  FROM uses u JOIN pg_catalog.pg_class x ON u.classid = 'pg_catalog.pg_class'::regclass AND x.oid = u.objid AND x.relkind IN ('i', 'I')
  JOIN pg_catalog.pg_namespace xn ON xn.oid = x.relnamespace JOIN pg_catalog.pg_index i ON i.indexrelid = x.oid
  JOIN pg_catalog.pg_class c ON c.oid = i.indrelid JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
 WHERE NOT EXISTS (SELECT 1 FROM pg_catalog.pg_constraint k WHERE k.conindid = x.oid AND k.contype IN ('p', 'u', 'x'))
   AND NOT EXISTS (SELECT 1 FROM pg_catalog.pg_inherits p JOIN pg_catalog.pg_constraint k ON k.conindid = p.inhparent WHERE p.inhrelid = x.oid) AND c.oid IN (SELECT relid FROM target)
UNION ALL
SELECT 'statistics', e.stxname::text, pg_catalog.pg_get_statisticsobjdef(e.oid), coalesce(pg_catalog.obj_description(e.oid, 'pg_statistic_ext'), ''), true,
       pg_catalog.format('%I.%I', n.nspname, c.relname), false, '', '', pg_catalog.format('%I.%I', sn.nspname, e.stxname), false, false,
       coalesce(nullif(e.stxstattarget::int, -1)::text, ''), '', 7, ''
  FROM uses u JOIN pg_catalog.pg_statistic_ext e ON u.classid = 'pg_catalog.pg_statistic_ext'::regclass AND e.oid = u.objid
  JOIN pg_catalog.pg_namespace sn ON sn.oid = e.stxnamespace JOIN pg_catalog.pg_class c ON c.oid = e.stxrelid JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
UNION ALL
SELECT 'trigger', g.tgname::text, pg_catalog.pg_get_triggerdef(g.oid), coalesce(pg_catalog.obj_description(g.oid, 'pg_trigger'), ''), true,
       pg_catalog.format('%I.%I', n.nspname, c.relname), false, g.tgenabled::text, '', '', false, false, '', '', 8, ''
  FROM target t JOIN pg_catalog.pg_trigger g ON g.tgrelid = t.relid AND NOT g.tgisinternal AND g.tgparentid = 0
  JOIN pg_catalog.pg_class c ON c.oid = g.tgrelid JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace WHERE t.num = 0
 ORDER BY 15, 6, 2
