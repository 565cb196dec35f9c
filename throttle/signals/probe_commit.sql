-- The value stays: readers of replicas compare it. The commit level is set within the statement's own transaction, so that a dead
-- synchronous standby does not hang the probe.
WITH level AS MATERIALIZED (SELECT set_config('synchronous_commit', 'local', true))
UPDATE backfleet.heartbeat SET ts = ts
  FROM level
 WHERE id
