-- One statement, one round trip: set_config is local to the statement's own transaction, so a dead synchronous standby does
-- not hang the commit, and a pooler cannot separate the two. The position is the one before this commit; the value, in
-- microseconds, is only ever compared with the same value seen on a replica.
WITH level AS MATERIALIZED (SELECT set_config('synchronous_commit', 'local', true))
UPDATE backfleet.heartbeat SET ts = clock_timestamp()
  FROM level
 WHERE id
RETURNING pg_wal_lsn_diff(pg_current_wal_lsn(), '0/0')::bigint, (extract(epoch FROM ts) * 1000000)::bigint
