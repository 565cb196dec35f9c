-- The other clients of this database: who, by which program, and their last statement.
SELECT coalesce(usename::text, ''), coalesce(application_name, ''), coalesce(state, ''), coalesce(query, ''), pid
  FROM pg_catalog.pg_stat_activity
 WHERE datname = current_database() AND pid <> pg_backend_pid() AND coalesce(backend_type, 'client backend') = 'client backend'
   AND coalesce(application_name, '') NOT LIKE 'backfleet%'
 ORDER BY pid
