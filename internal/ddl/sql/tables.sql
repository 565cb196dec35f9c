-- The tables that a file names ($1 their schemas or '', $2 their names), an index standing for its table, those that they reference, and
-- all partitions and children. pg_table_size reads file sizes, so nothing here depends on a table's size.
WITH RECURSIVE named AS (
	SELECT to_regclass(CASE WHEN s = '' THEN quote_ident(n) ELSE quote_ident(s) || '.' || quote_ident(n) END)::oid AS oid
	  FROM unnest($1::text[], $2::text[]) AS w(s, n)
), heap AS (
	SELECT coalesce(i.indrelid, c.oid) AS oid
	  FROM named n JOIN pg_class c ON c.oid = n.oid LEFT JOIN pg_index i ON i.indexrelid = c.oid
	 WHERE c.relnamespace <> 'pg_catalog'::regnamespace
), near AS (
	SELECT oid FROM heap
	UNION SELECT k.confrelid FROM pg_constraint k JOIN heap h ON k.conrelid = h.oid WHERE k.contype = 'f'
	UNION SELECT i.inhparent FROM pg_inherits i JOIN heap h ON i.inhrelid = h.oid
), family AS (
	SELECT oid FROM near
	UNION
	SELECT i.inhrelid FROM pg_inherits i JOIN family f ON i.inhparent = f.oid
)
SELECT json_build_object(
	'schema', n.nspname, 'name', c.relname, 'kind', c.relkind, 'rows', c.reltuples::bigint,
	'bytes', CASE WHEN c.relkind IN ('r', 'm', 't') THEN pg_table_size(c.oid) ELSE 0 END,
	'columns', (SELECT json_agg(json_build_object(
			'name', a.attname, 'type', format_type(a.atttypid, a.atttypmod), 'not_null', a.attnotnull AND NOT EXISTS (
				SELECT FROM pg_constraint k WHERE k.conrelid = c.oid AND k.contype = 'n' AND k.conkey = ARRAY[a.attnum] AND NOT k.convalidated),
			'default', pg_get_expr(d.adbin, d.adrelid)) ORDER BY a.attnum)
		  FROM pg_attribute a LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
		 WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped),
	'indexes', (SELECT json_agg(json_build_object(
			'name', x.relname, 'unique', i.indisunique, 'primary', i.indisprimary, 'valid', i.indisvalid,
			'plain', i.indpred IS NULL AND i.indexprs IS NULL,
			'columns', ARRAY(SELECT a.attname FROM unnest(i.indkey::int2[]) WITH ORDINALITY k(num, ord)
				JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum = k.num ORDER BY k.ord)) ORDER BY x.relname)
		  FROM pg_index i JOIN pg_class x ON x.oid = i.indexrelid WHERE i.indrelid = c.oid),
	'constraints', (SELECT json_agg(json_build_object(
			'name', k.conname, 'kind', k.contype, 'valid', k.convalidated,
			'columns', ARRAY(SELECT a.attname FROM unnest(k.conkey) WITH ORDINALITY u(num, ord)
				JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum = u.num ORDER BY u.ord),
			'expression', CASE WHEN k.contype = 'c' THEN pg_get_expr(k.conbin, k.conrelid) END,
			'references', CASE WHEN k.contype = 'f' THEN (SELECT json_build_object('schema', rn.nspname, 'name', r.relname)
				FROM pg_class r JOIN pg_namespace rn ON rn.oid = r.relnamespace WHERE r.oid = k.confrelid) END) ORDER BY k.conname)
		  FROM pg_constraint k WHERE k.conrelid = c.oid AND k.contype <> 't'),
	'children', (SELECT json_agg(json_build_object('schema', hn.nspname, 'name', h.relname) ORDER BY hn.nspname, h.relname)
		  FROM pg_inherits i JOIN pg_class h ON h.oid = i.inhrelid JOIN pg_namespace hn ON hn.oid = h.relnamespace WHERE i.inhparent = c.oid),
	'parent', (SELECT json_build_object('schema', pn.nspname, 'name', p.relname)
		  FROM pg_inherits i JOIN pg_class p ON p.oid = i.inhparent JOIN pg_namespace pn ON pn.oid = p.relnamespace
		 WHERE i.inhrelid = c.oid AND c.relispartition),
	'default_partition', (SELECT json_build_object('schema', dn.nspname, 'name', d.relname)
		  FROM pg_partitioned_table p JOIN pg_class d ON d.oid = p.partdefid JOIN pg_namespace dn ON dn.oid = d.relnamespace
		 WHERE p.partrelid = c.oid),
	'partition_key', (SELECT array_agg(a.attname::text) FROM pg_partitioned_table p, unnest(p.partattrs::int2[]) u
		  JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum = u WHERE p.partrelid = c.oid),
	'referenced_by', (SELECT json_agg(DISTINCT jsonb_build_object('schema', rn.nspname, 'name', r.relname))
		  FROM pg_constraint k JOIN pg_class r ON r.oid = k.conrelid JOIN pg_namespace rn ON rn.oid = r.relnamespace
		 WHERE k.confrelid = c.oid AND k.contype = 'f' AND k.conrelid <> c.oid)
)
  FROM (SELECT DISTINCT oid FROM family) f JOIN pg_class c ON c.oid = f.oid JOIN pg_namespace n ON n.oid = c.relnamespace
 WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f', 'S')
