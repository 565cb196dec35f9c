-- The grants on the columns $2 of the relations $1 (0: on the relation itself), as statements in their order, with the role that granted.
SELECT pg_catalog.format('GRANT %s%s ON %s%I.%I TO %s%s', e.privilege_type, CASE WHEN t.num > 0 THEN pg_catalog.format(' (%I)', a.attname) ELSE '' END,
           CASE c.relkind WHEN 'S' THEN 'SEQUENCE ' ELSE '' END, n.nspname, c.relname,
           CASE e.grantee WHEN 0 THEN 'PUBLIC' ELSE pg_catalog.quote_ident(pg_catalog.pg_get_userbyid(e.grantee)) END,
           CASE WHEN e.is_grantable THEN ' WITH GRANT OPTION' ELSE '' END),
       CASE WHEN e.grantor = c.relowner THEN '' ELSE pg_catalog.quote_ident(pg_catalog.pg_get_userbyid(e.grantor)) END
  FROM unnest($1::oid[], $2::int[]) WITH ORDINALITY t(relid, num, ord) JOIN pg_catalog.pg_class c ON c.oid = t.relid JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
  LEFT JOIN pg_catalog.pg_attribute a ON a.attrelid = t.relid AND a.attnum = t.num AND t.num > 0
  CROSS JOIN LATERAL unnest(CASE WHEN t.num > 0 THEN a.attacl ELSE c.relacl END) WITH ORDINALITY i(item, place)
  CROSS JOIN LATERAL pg_catalog.aclexplode(ARRAY[i.item]) e
 ORDER BY t.ord, i.place, e.privilege_type
