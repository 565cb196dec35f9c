-- Where the primary's WAL stands and how far each physical replica has replayed it. One row a replica; without any, one row
-- with a NULL name.
-- Left out: logical walsenders (their position is what a consumer chose to confirm), base backups and pg_receivewal (they
-- replay nothing). A row whose state is NULL stays: it is hidden from a role without pg_monitor.
-- The name is application_name. A replica that set none is told apart by its slot, else by its address.
WITH cur AS MATERIALIZED (SELECT pg_current_wal_lsn() AS lsn)
SELECT left(pg_walfile_name(cur.lsn), 8),
       pg_wal_lsn_diff(cur.lsn, '0/0')::bigint,
       r.name,
       r.state,
       pg_wal_lsn_diff(r.replay_lsn, '0/0')::bigint,
       extract(epoch FROM r.replay_lag)::float8
  FROM cur
  LEFT JOIN (
       SELECT CASE WHEN w.application_name NOT IN ('', 'walreceiver') THEN w.application_name
                   ELSE coalesce(s.slot_name::text, 'walreceiver@' || coalesce(host(w.client_addr), 'local'))
               END AS name,
              w.state, w.replay_lsn, w.replay_lag
         FROM pg_stat_replication w
         LEFT JOIN pg_replication_slots s ON s.active_pid = w.pid
        WHERE s.slot_type IS DISTINCT FROM 'logical'
          AND (w.state IS NULL OR w.state <> 'backup' AND w.replay_lsn IS NOT NULL)
       ) r ON true
