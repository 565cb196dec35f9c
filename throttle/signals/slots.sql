-- Every replication slot, the WAL that it keeps, and what a slot may keep: NULL is without limit. On a server without slots one row
-- with a NULL name; the WAL position is asked for slots only, since not every server that has none tells it.
SELECT s.slot_name::text,
       coalesce(s.slot_type, ''),
       coalesce(s.active, false),
       coalesce(s.wal_status, ''),
       CASE WHEN s.restart_lsn IS NULL THEN 0 ELSE pg_wal_lsn_diff(pg_current_wal_lsn(), s.restart_lsn) END::float8,
       l.most
  FROM (SELECT CASE current_setting('max_slot_wal_keep_size') WHEN '-1' THEN NULL
               ELSE greatest(pg_size_bytes(current_setting('max_slot_wal_keep_size')), pg_size_bytes(current_setting('wal_keep_size')))
               END::float8 AS most) l
  LEFT JOIN pg_replication_slots s ON true
