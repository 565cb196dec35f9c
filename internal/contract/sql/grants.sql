-- Roles that were granted something on one of the columns themselves: $1 are their relations, $2 their numbers.
SELECT a.attrelid::regclass::text, a.attname::text, CASE e.grantee WHEN 0 THEN 'PUBLIC' ELSE pg_catalog.pg_get_userbyid(e.grantee)::text END,
       string_agg(e.privilege_type, ', ' ORDER BY e.privilege_type)
  FROM unnest($1::oid[], $2::int[]) t(relid, num) JOIN pg_catalog.pg_attribute a ON a.attrelid = t.relid AND a.attnum = t.num
  CROSS JOIN LATERAL pg_catalog.aclexplode(a.attacl) e
 GROUP BY 1, 2, 3 ORDER BY 1, 2, 3
