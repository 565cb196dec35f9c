-- The table $1.$2 and all that inherit from it, with the numbers of the columns $3.
WITH RECURSIVE tree(oid, depth) AS (
    SELECT c.oid, 0 FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
     WHERE n.nspname = $1 AND c.relname = $2 AND c.relkind NOT IN ('i', 'I', 't', 'c')
    UNION
    SELECT i.inhrelid, t.depth + 1 FROM tree t JOIN pg_catalog.pg_inherits i ON i.inhparent = t.oid
)
SELECT c.oid, n.nspname::text, c.relname::text, c.relkind::text, c.relowner,
       ARRAY(SELECT a.attnum FROM pg_catalog.pg_attribute a WHERE a.attrelid = c.oid AND a.attname = ANY ($3::name[]) AND a.attnum > 0 AND NOT a.attisdropped ORDER BY 1),
       ARRAY(SELECT a.attname::text FROM pg_catalog.pg_attribute a
              WHERE a.attrelid = c.oid AND a.attname = ANY ($3::name[]) AND a.attnum > 0 AND NOT a.attisdropped AND a.attinhcount > 0 ORDER BY 1),
       c.reloftype <> 0,
       coalesce((SELECT string_agg(i.inhparent::regclass::text, ', ' ORDER BY i.inhseqno) FROM pg_catalog.pg_inherits i WHERE i.inhrelid = c.oid), ''),
       coalesce(CASE WHEN c.relkind = 'p' THEN pg_catalog.pg_get_partkeydef(c.oid) END, '')
  FROM (SELECT oid, min(depth) AS depth FROM tree GROUP BY oid) t JOIN pg_catalog.pg_class c ON c.oid = t.oid
  JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
 ORDER BY t.depth, n.nspname, c.relname
