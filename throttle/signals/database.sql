-- The slow signals of one database in one statement and one round trip; one row. $1 is the OIDs of the jobs' tables, leaf by leaf; $2 how
-- many dead rows a table must have for their share to say something.
-- The CTEs io and checkpoints stand before this text: they depend on the server's version.
-- Nothing here takes a lock on a user's table or walks a directory.
, sessions AS MATERIALIZED (
    SELECT pid, datname, usename, application_name, state, backend_type, xact_start, backend_xmin,
           backend_type = 'autovacuum worker' AND query LIKE '%(to prevent wraparound)' AS against_wraparound
      FROM pg_stat_activity
     WHERE pid <> pg_backend_pid() AND application_name NOT LIKE 'backfleet %'
), tables AS MATERIALIZED (
    SELECT c.oid, format('%I.%I', n.nspname, c.relname) AS name, pg_stat_get_live_tuples(c.oid) AS live,
           pg_stat_get_dead_tuples(c.oid) AS dead, pg_stat_get_tuples_updated(c.oid) AS updated, pg_stat_get_tuples_hot_updated(c.oid) AS hot
      FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
     WHERE c.oid = ANY ($1::oid[])
)
SELECT (SELECT count(*) FROM sessions WHERE backend_type = 'client backend' AND state = 'active') AS active,
       (SELECT requested FROM checkpoints)::int8 AS checkpoints,
       current_setting('archive_mode') <> 'off' AS archives,
       pg_wal_lsn_diff(pg_current_wal_lsn(), '0/0')::int8 AS wal,
       pg_size_bytes(current_setting('wal_segment_size')) AS segment,
       coalesce(archiver.last_archived_wal, '') AS archived,
       coalesce(archiver.last_failed_wal, '') AS failed,
       coalesce(vacuum.kind, 0) AS vacuum, coalesce(vacuum.who, '') AS vacuum_who,
       coalesce(dead.ratio, 0) AS dead, coalesce(dead.who, '') AS dead_who,
       written.updated::int8, written.hot::int8,
       frozen.age AS frozen_age, frozen.who AS frozen_who,
       coalesce(oldest.age, 0) AS transaction, coalesce(oldest.who, '') AS transaction_who,
       coalesce(held.age, 0) AS xmin, coalesce(held.who, '') AS xmin_who,
       io.operations::float8 AS io_operations, io.ms::float8 AS io_ms, current_setting('track_io_timing')::bool AS io_timed
  FROM pg_stat_archiver archiver
 CROSS JOIN io
 CROSS JOIN (SELECT sum(updated) AS updated, sum(hot) AS hot FROM tables) written
 CROSS JOIN (SELECT age(datfrozenxid) AS age, 'database ' || datname AS who FROM pg_database ORDER BY 1 DESC LIMIT 1) frozen
  LEFT JOIN (
       SELECT CASE WHEN s.against_wraparound THEN 2 ELSE 1 END AS kind,
              t.name || ': ' || p.phase || CASE WHEN s.against_wraparound THEN ', to prevent wraparound' ELSE '' END AS who
         FROM pg_stat_progress_vacuum p
         JOIN tables t ON t.oid = p.relid
         LEFT JOIN sessions s ON s.pid = p.pid
        ORDER BY 1 DESC, 2 LIMIT 1
       ) vacuum ON true
  LEFT JOIN (
       SELECT dead / (live + dead)::float8 AS ratio, name AS who
         FROM tables
        WHERE dead >= $2
        ORDER BY 1 DESC, 2 LIMIT 1
       ) dead ON true
  LEFT JOIN (
       SELECT extract(epoch FROM clock_timestamp() - began)::float8 AS age, who
         FROM (SELECT xact_start AS began, format('pid %s of %s, %s', pid, usename, coalesce(nullif(application_name, ''), state)) AS who
                 FROM sessions
                WHERE datname = current_database() AND backend_type = 'client backend' AND xact_start IS NOT NULL
                UNION ALL
               SELECT prepared, format('prepared transaction %s of %s', gid, owner) FROM pg_prepared_xacts WHERE database = current_database()) x
        ORDER BY began LIMIT 1
       ) oldest ON true
  LEFT JOIN (
       SELECT age(xmin) AS age, who
         FROM (SELECT backend_xmin AS xmin, format('pid %s, %s', pid, coalesce(nullif(application_name, ''), backend_type)) AS who
                 FROM sessions
                -- A walsender has no database. A vacuum's own snapshot holds no other back.
                WHERE (datname = current_database() OR datname IS NULL) AND backend_type <> 'autovacuum worker'
                UNION ALL
               SELECT transaction, format('prepared transaction %s', gid) FROM pg_prepared_xacts WHERE database = current_database()
                UNION ALL
               SELECT xmin, format('slot %s', slot_name) FROM pg_replication_slots) x
        WHERE xmin IS NOT NULL
        ORDER BY 1 DESC LIMIT 1
       ) held ON true
