-- name: growth_base
-- Of relations that a program of before froze: their size at the first look counts.
UPDATE backfleet.relations SET size = pg_relation_size(relation) WHERE job_id = $1 AND size IS NULL AND NOT dropped

-- name: growth_sizes
-- Rows are those of the statistics; a table without them makes the sum 0, so that nobody takes the rest for the whole.
SELECT coalesce(sum(l.size), 0)::float8, coalesce(sum(pg_relation_size(l.relation)), 0)::float8,
       CASE WHEN bool_and(c.reltuples > 0 OR l.size = 0) THEN sum(greatest(c.reltuples, 0)) ELSE 0 END::float8
  FROM backfleet.relations l JOIN pg_class c ON c.oid = l.relation WHERE l.job_id = $1 AND NOT l.dropped

-- name: growth_tables
-- What vacuum means for each relation of a job. Autovacuum's limits are the table's own, else the server's.
SELECT c.oid, format('%I.%I', n.nspname, c.relname), pg_stat_get_dead_tuples(c.oid),
       CASE WHEN coalesce(o.enabled, current_setting('autovacuum')::bool AND current_setting('track_counts')::bool) THEN
         least(coalesce(o.threshold, current_setting('autovacuum_vacuum_threshold')::float8)
               + coalesce(o.scale, current_setting('autovacuum_vacuum_scale_factor')::float8) * greatest(c.reltuples, 0),
               nullif(coalesce(o.most, current_setting('autovacuum_vacuum_max_threshold', true)::float8), -1)) END,
       greatest(pg_stat_get_last_vacuum_time(c.oid), pg_stat_get_last_autovacuum_time(c.oid)),
       pg_has_role(c.relowner, 'USAGE')
         OR (SELECT pg_has_role(d.datdba, 'USAGE') FROM pg_database d WHERE d.datname = current_database())
         OR CASE WHEN current_setting('server_version_num')::int >= 170000 THEN has_table_privilege(c.oid, 'MAINTAIN') ELSE false END,
       coalesce(p.phase, ''), coalesce(p.heap_blks_scanned::float8 / nullif(p.heap_blks_total, 0), 0)::float8,
       coalesce((SELECT a.backend_type = 'autovacuum worker' FROM pg_stat_activity a WHERE a.pid = p.pid), false),
       pg_relation_size(c.oid) - coalesce(l.size, 0)
  FROM backfleet.relations l JOIN pg_class c ON c.oid = l.relation JOIN pg_namespace n ON n.oid = c.relnamespace
  LEFT JOIN pg_stat_progress_vacuum p ON p.relid = c.oid AND p.datname = current_database()
 CROSS JOIN LATERAL (
    SELECT max(option_value) FILTER (WHERE option_name = 'autovacuum_enabled')::bool AS enabled,
           max(option_value) FILTER (WHERE option_name = 'autovacuum_vacuum_threshold')::float8 AS threshold,
           max(option_value) FILTER (WHERE option_name = 'autovacuum_vacuum_scale_factor')::float8 AS scale,
           max(option_value) FILTER (WHERE option_name = 'autovacuum_vacuum_max_threshold')::float8 AS most
      FROM pg_options_to_table(c.reloptions)) o
 WHERE l.job_id = $1 AND NOT l.dropped ORDER BY 10 DESC

-- name: growth_horizon
-- The next transaction, and the oldest that others keep dead rows for, both without wrap-around; 0 and nobody where there is none. A session keeps
-- them by its snapshot, and by having written: idle in READ COMMITTED it has no snapshot. A batch of ours lasts no longer than a batch; a proof of
-- ours may.
WITH now AS (SELECT pg_snapshot_xmax(pg_current_snapshot())::text::bigint AS xid)
SELECT now.xid, coalesce(h.xid, 0), coalesce(h.who, '')
  FROM now LEFT JOIN (
    SELECT now.xid - age(x.xmin) AS xid, x.who FROM now, (
        SELECT s.xmin, format('pid %s, %s', pid, coalesce(nullif(application_name, ''), backend_type)) AS who
          FROM pg_stat_activity CROSS JOIN LATERAL (VALUES (backend_xmin), (backend_xid)) s(xmin)
         WHERE (datname = current_database() OR datname IS NULL) AND pid <> pg_backend_pid() AND backend_type <> 'autovacuum worker'
           AND (application_name NOT LIKE 'backfleet %' OR application_name LIKE 'backfleet proof of %')
         UNION ALL
        SELECT transaction, format('prepared transaction %s', gid) FROM pg_prepared_xacts WHERE database = current_database()
         UNION ALL
        SELECT xmin, format('slot %s', slot_name) FROM pg_replication_slots) x
     WHERE x.xmin IS NOT NULL ORDER BY age(x.xmin) DESC LIMIT 1) h ON true
