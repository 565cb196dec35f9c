-- What makes the columns $2 of relation $1 again; all of its columns where $2 is empty. Only what is not so by itself is told.
SELECT a.attname::text, a.attnum, pg_catalog.format_type(a.atttypid, a.atttypmod),
       coalesce((SELECT pg_catalog.format('%I.%I', n.nspname, l.collname) FROM pg_catalog.pg_collation l JOIN pg_catalog.pg_namespace n ON n.oid = l.collnamespace
                  WHERE l.oid = a.attcollation AND a.attcollation <> t.typcollation), ''),
       CASE WHEN a.attstorage <> t.typstorage THEN CASE a.attstorage WHEN 'p' THEN 'PLAIN' WHEN 'e' THEN 'EXTERNAL' WHEN 'm' THEN 'MAIN' ELSE 'EXTENDED' END ELSE '' END,
       CASE a.attcompression WHEN 'p' THEN 'pglz' WHEN 'l' THEN 'lz4' ELSE '' END,
       coalesce(nullif(a.attstattarget::int, -1), -1),
       coalesce((SELECT string_agg(o, ', ') FROM unnest(a.attoptions) o), ''),
       a.attnotnull, coalesce(to_jsonb(a)->>'attgenerated', ''),
       CASE a.attidentity WHEN 'a' THEN 'ALWAYS' WHEN 'd' THEN 'BY DEFAULT' ELSE '' END,
       coalesce(pg_catalog.pg_get_expr(d.adbin, d.adrelid), ''),
       coalesce(pg_catalog.col_description(a.attrelid, a.attnum), ''),
       coalesce((SELECT k.conname::text FROM pg_catalog.pg_constraint k WHERE k.conrelid = a.attrelid AND k.contype = 'n' AND a.attnum = ANY (k.conkey)), ''),
       coalesce(s.seq, ''), coalesce(s.options, ''), coalesce(s.position, ''), coalesce(s.unlogged, false), coalesce(s.oid, 0::oid)
  FROM pg_catalog.pg_attribute a JOIN pg_catalog.pg_type t ON t.oid = a.atttypid
  LEFT JOIN pg_catalog.pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
  LEFT JOIN LATERAL ( -- the sequence that the column owns
    SELECT pg_catalog.format('%I.%I', n.nspname, c.relname) AS seq,
           pg_catalog.format('START WITH %s INCREMENT BY %s MINVALUE %s MAXVALUE %s CACHE %s%s', q.seqstart, q.seqincrement, q.seqmin, q.seqmax, q.seqcache,
               CASE WHEN q.seqcycle THEN ' CYCLE' ELSE '' END) AS options,
           (SELECT v.last_value FROM pg_catalog.pg_sequences v WHERE v.schemaname = n.nspname AND v.sequencename = c.relname)::text AS position,
           c.relpersistence = 'u' AS unlogged, c.oid
      FROM pg_catalog.pg_depend p JOIN pg_catalog.pg_class c ON c.oid = p.objid AND c.relkind = 'S' JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
      JOIN pg_catalog.pg_sequence q ON q.seqrelid = c.oid
     WHERE p.classid = 'pg_catalog.pg_class'::regclass AND p.refclassid = 'pg_catalog.pg_class'::regclass AND p.refobjid = a.attrelid AND p.refobjsubid = a.attnum
       AND p.deptype IN ('a', 'i') LIMIT 1) s ON true
 WHERE a.attrelid = $1 AND a.attnum > 0 AND NOT a.attisdropped AND (cardinality($2::text[]) = 0 OR a.attname = ANY ($2::name[]))
 ORDER BY a.attnum
