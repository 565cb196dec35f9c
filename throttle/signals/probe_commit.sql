-- The commit level is set within the statement's own transaction, so that a dead synchronous standby does not hang the probe.
WITH level AS MATERIALIZED (SELECT set_config('synchronous_commit', 'local', true))
UPDATE backfleet.heartbeat SET ts = clock_timestamp()
  FROM level
 WHERE id
