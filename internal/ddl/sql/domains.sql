-- Which of the types ($1 their schemas or '', $2 their names) are domains, and whether a domain under them has a constraint.
WITH RECURSIVE base AS (
	SELECT w.s, w.n, t.oid, t.typbasetype, t.typnotnull
	  FROM unnest($1::text[], $2::text[]) AS w(s, n)
	  JOIN pg_type t ON t.typname = w.n AND t.typtype = 'd'
	  JOIN pg_namespace n ON n.oid = t.typnamespace
	 WHERE n.nspname = w.s OR w.s = '' AND n.nspname = ANY (current_schemas(true))
	UNION ALL
	SELECT b.s, b.n, t.oid, t.typbasetype, t.typnotnull FROM base b JOIN pg_type t ON t.oid = b.typbasetype WHERE t.typtype = 'd'
)
SELECT s, n, bool_or(typnotnull OR EXISTS (SELECT FROM pg_constraint k WHERE k.contypid = base.oid)) FROM base GROUP BY 1, 2
