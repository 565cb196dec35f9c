-- What a replica says of itself: whether it is one, how far it has replayed, whether a person paused that, and the last heartbeat
-- of the primary that it shows. A server that has been promoted answers too.
SELECT r.replays,
       coalesce(pg_wal_lsn_diff(pg_last_wal_replay_lsn(), '0/0'), 0)::bigint,
       CASE WHEN r.replays THEN pg_is_wal_replay_paused() ELSE false END,
       coalesce((SELECT (extract(epoch FROM ts) * 1000000)::bigint FROM backfleet.heartbeat WHERE id), 0)
  FROM (SELECT pg_is_in_recovery() AS replays) r
