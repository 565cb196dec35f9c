-- Publications that send one of the columns $2 of the relations $1; without columns, any. Before 15 a publication sends all columns.
SELECT DISTINCT p.pubname::text, (SELECT count(*) FROM pg_catalog.pg_replication_slots s WHERE s.slot_type = 'logical' AND s.database = current_database())
  FROM pg_catalog.pg_publication_tables p
 WHERE EXISTS (SELECT 1 FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
                WHERE c.oid = ANY ($1::oid[]) AND n.nspname = p.schemaname AND c.relname = p.tablename)
   AND (cardinality($2::text[]) = 0 OR coalesce(to_jsonb(p)->'attnames' ?| $2::text[], true))
 ORDER BY 1
