-- All that Postgres knows to depend on columns: $1 are their relations, $2 their numbers (0: the relation as a whole). A dependency that is
-- normal makes DROP refuse; all others are dropped with it. What depends on a dependent goes the same way.
WITH RECURSIVE target(relid, num) AS MATERIALIZED (
    SELECT * FROM unnest($1::oid[], $2::int[])
), walk(classid, objid, subid, blocks) AS (
    SELECT 'pg_catalog.pg_class'::regclass::oid, relid, num, false FROM target
    UNION
    SELECT next.* FROM walk w CROSS JOIN LATERAL (
        SELECT d.classid, d.objid, d.objsubid, w.blocks OR d.deptype = 'n' FROM pg_catalog.pg_depend d
         WHERE d.refclassid = w.classid AND d.refobjid = w.objid AND (w.subid = 0 OR d.refobjsubid = w.subid) AND d.deptype NOT IN ('e', 'x')
        UNION ALL -- a rule that makes a view is the view
        SELECT 'pg_catalog.pg_class'::regclass::oid, r.ev_class, 0, w.blocks FROM pg_catalog.pg_rewrite r JOIN pg_catalog.pg_class v ON v.oid = r.ev_class
         WHERE w.classid = 'pg_catalog.pg_rewrite'::regclass AND r.oid = w.objid AND v.relkind IN ('v', 'm')
        UNION ALL -- what generates a column is the column
        SELECT 'pg_catalog.pg_class'::regclass::oid, g.adrelid, g.adnum::int, w.blocks FROM pg_catalog.pg_attrdef g
          JOIN pg_catalog.pg_attribute a ON a.attrelid = g.adrelid AND a.attnum = g.adnum
         WHERE w.classid = 'pg_catalog.pg_attrdef'::regclass AND g.oid = w.objid AND a.attgenerated <> ''
    ) next
), found AS (
    SELECT classid, objid, subid, bool_and(blocks) AS blocks FROM walk
     WHERE (classid, objid, subid) NOT IN (SELECT 'pg_catalog.pg_class'::regclass::oid, relid, num FROM target)
     GROUP BY 1, 2, 3
), named AS (
    SELECT f.*, c.relkind, k.contype,
           CASE f.classid
           WHEN 'pg_catalog.pg_class'::regclass THEN CASE
               WHEN f.subid > 0 THEN 'generated column'
               WHEN c.relkind = 'v' THEN 'view' WHEN c.relkind = 'm' THEN 'materialized view'
               WHEN c.relkind IN ('i', 'I') THEN 'index' WHEN c.relkind = 'S' THEN 'sequence' ELSE 'table' END
           WHEN 'pg_catalog.pg_rewrite'::regclass THEN 'rule'
           WHEN 'pg_catalog.pg_proc'::regclass THEN 'function'
           WHEN 'pg_catalog.pg_trigger'::regclass THEN 'trigger'
           WHEN 'pg_catalog.pg_constraint'::regclass THEN CASE k.contype
               WHEN 'f' THEN CASE WHEN k.conrelid IN (SELECT relid FROM target) THEN 'foreign key' ELSE 'referencing foreign key' END
               WHEN 'c' THEN 'check constraint' WHEN 'u' THEN 'unique constraint' WHEN 'p' THEN 'primary key' WHEN 'x' THEN 'exclusion constraint' ELSE 'constraint' END
           WHEN 'pg_catalog.pg_attrdef'::regclass THEN 'default'
           WHEN 'pg_catalog.pg_statistic_ext'::regclass THEN 'statistics'
           WHEN 'pg_catalog.pg_policy'::regclass THEN 'policy'
           WHEN 'pg_catalog.pg_publication_rel'::regclass THEN 'publication'
           ELSE 'object' END AS kind
      FROM found f
      LEFT JOIN pg_catalog.pg_class c ON f.classid = 'pg_catalog.pg_class'::regclass AND c.oid = f.objid
      LEFT JOIN pg_catalog.pg_constraint k ON f.classid = 'pg_catalog.pg_constraint'::regclass AND k.oid = f.objid
      LEFT JOIN pg_catalog.pg_trigger g ON f.classid = 'pg_catalog.pg_trigger'::regclass AND g.oid = f.objid
      LEFT JOIN pg_catalog.pg_rewrite r ON f.classid = 'pg_catalog.pg_rewrite'::regclass AND r.oid = f.objid
      LEFT JOIN pg_catalog.pg_class v ON v.oid = r.ev_class
      LEFT JOIN pg_catalog.pg_attrdef g2 ON f.classid = 'pg_catalog.pg_attrdef'::regclass AND g2.oid = f.objid
      LEFT JOIN pg_catalog.pg_attribute a2 ON a2.attrelid = g2.adrelid AND a2.attnum = g2.adnum
      LEFT JOIN pg_catalog.pg_type t ON f.classid = 'pg_catalog.pg_type'::regclass AND t.oid = f.objid
     WHERE NOT coalesce(c.relnamespace = 'pg_toast'::regnamespace OR c.relispartition  -- a partition's index goes with its parent's
               OR c.relkind IN ('i', 'I') AND EXISTS (SELECT 1 FROM pg_catalog.pg_depend d WHERE d.classid = f.classid AND d.objid = f.objid
                   AND d.refclassid = 'pg_catalog.pg_constraint'::regclass AND d.deptype = 'i'), false)   -- nor is a constraint's index one more
       AND NOT coalesce(k.contype IN ('n', 't') OR k.conparentid <> 0, false)       -- NOT NULL is the column's own
       AND NOT coalesce(g.tgisinternal OR g.tgparentid <> 0, false)
       AND NOT coalesce(v.relkind IN ('v', 'm'), false)
       AND NOT coalesce(a2.attgenerated <> '' OR (g2.adrelid, g2.adnum::int) IN (SELECT relid, num FROM target)
               OR g2.adrelid IN (SELECT relid FROM target WHERE num = 0), false)    -- its own default
       AND NOT coalesce(t.typrelid <> 0 OR t.typelem <> 0, false)                   -- the row's type
)
SELECT n.kind, i.identity, n.blocks,
       EXISTS (SELECT 1 FROM pg_catalog.pg_depend d JOIN target t ON t.relid = d.refobjid AND t.num > 0
                WHERE d.classid = n.classid AND d.objid = n.objid AND d.objsubid = n.subid AND d.refclassid = 'pg_catalog.pg_class'::regclass AND d.refobjsubid > 0
                  AND (d.refobjid, d.refobjsubid) NOT IN (SELECT relid, num FROM target)) AS shared
  FROM named n CROSS JOIN LATERAL pg_catalog.pg_identify_object(n.classid, n.objid, n.subid) i
 WHERE n.blocks OR NOT EXISTS (SELECT 1 FROM target WHERE num = 0)                  -- a table's own indexes go with it, and are no readers
 ORDER BY 1, 2
