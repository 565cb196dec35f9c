-- How volatile the functions ($1, $2) and operators ($3, $4) of a file are, each the most volatile of its name: which one a call
-- means is known only with its arguments' types.
SELECT w.s, w.n, max(p.provolatile::text)
  FROM unnest($1::text[], $2::text[]) AS w(s, n)
  JOIN pg_proc p ON p.proname = w.n
  JOIN pg_namespace n ON n.oid = p.pronamespace
 WHERE n.nspname = w.s OR w.s = '' AND n.nspname = ANY (current_schemas(true))
 GROUP BY 1, 2
UNION ALL
SELECT w.s, w.n, max(p.provolatile::text)
  FROM unnest($3::text[], $4::text[]) AS w(s, n)
  JOIN pg_operator o ON o.oprname = w.n
  JOIN pg_proc p ON p.oid = o.oprcode
  JOIN pg_namespace n ON n.oid = o.oprnamespace
 WHERE n.nspname = w.s OR w.s = '' AND n.nspname = ANY (current_schemas(true))
 GROUP BY 1, 2
