-- Sessions of others in this database: how many were at work in the last second, and which wait for a lock of ours. pg_blocking_pids looks into every part of the lock table, so it
-- is asked for those who wait only, and for 16 of them at most.
WITH sessions AS MATERIALIZED (
    SELECT pid, application_name LIKE 'backfleet %' AS ours, wait_event_type = 'Lock' AS waits, state_change,
           coalesce(nullif(application_name, ''), usename, '') AS who,
           backend_type = 'client backend' AND (state = 'active' OR state_change > clock_timestamp() - interval '1 second') AS works
      FROM pg_stat_activity
     WHERE datname = current_database()
), blocked AS (
    SELECT w.pid, w.who, extract(epoch FROM clock_timestamp() - w.state_change)::float8 AS seconds
      FROM (SELECT * FROM sessions WHERE waits AND NOT ours ORDER BY state_change LIMIT 16) w
     WHERE EXISTS (SELECT 1 FROM sessions b WHERE b.ours AND b.pid = ANY (pg_blocking_pids(w.pid)))
)
SELECT (SELECT count(*) FROM sessions WHERE works AND NOT ours) AS working,
       count(*) AS blocked,
       coalesce((array_agg(format('pid %s, %s', pid, who) ORDER BY seconds DESC))[1], '') AS who,
       quote_ident(current_user) AS role,
       pg_has_role(current_user, 'pg_read_all_stats', 'USAGE') AS sees_others
  FROM blocked
