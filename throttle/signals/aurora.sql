-- One row an instance of an Aurora cluster. Readers share the writer's storage and appear in no pg_stat_replication; the writer is
-- told by its session. The positions are those of the shared volume; times are compared for change only, never with a clock.
SELECT server_id::text,
       session_id::text = 'MASTER_SESSION_ID',
       coalesce(durable_lsn, 0)::bigint,
       (replica_lag_in_msec / 1000.0)::float8,
       coalesce(last_update_timestamp::text, '')
  FROM aurora_replica_status()
