-- What a relation is beside its columns.
SELECT pg_catalog.quote_ident(pg_catalog.pg_get_userbyid(c.relowner)), c.relpersistence = 'u', coalesce(m.amname::text, ''), coalesce(s.spcname::text, ''),
       coalesce((SELECT string_agg(o, ', ') FROM unnest(c.reloptions) o), ''), c.relrowsecurity, c.relforcerowsecurity, c.relreplident::text,
       coalesce(pg_catalog.obj_description(c.oid, 'pg_class'), ''), coalesce(pg_catalog.pg_get_expr(c.relpartbound, c.oid), ''),
       coalesce((SELECT i.inhparent::regclass::text FROM pg_catalog.pg_inherits i WHERE i.inhrelid = c.oid LIMIT 1), '')
  FROM pg_catalog.pg_class c LEFT JOIN pg_catalog.pg_am m ON m.oid = c.relam LEFT JOIN pg_catalog.pg_tablespace s ON s.oid = c.reltablespace
 WHERE c.oid = $1
