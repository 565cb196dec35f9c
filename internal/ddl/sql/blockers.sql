-- Who keeps the session $1 waiting. A prepared transaction has no session, and so the pid 0.
SELECT b.pid, coalesce(a.usename, '')::text, coalesce(a.application_name, ''), coalesce(a.backend_type, ''), coalesce(a.state, ''),
       coalesce(left(a.query, 300), ''),
       coalesce(extract(epoch FROM clock_timestamp() - a.query_start), 0)::float8,
       coalesce(extract(epoch FROM clock_timestamp() - a.xact_start), 0)::float8
  FROM (SELECT DISTINCT unnest(pg_blocking_pids($1)) AS pid) b LEFT JOIN pg_stat_activity a USING (pid)
 ORDER BY a.xact_start NULLS LAST, b.pid
