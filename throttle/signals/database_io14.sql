-- Before pg_stat_io: what the databases read, what the background processes and backends wrote, and WAL. Times of WAL count only
-- where track_wal_io_timing is on.
SELECT d.reads + b.buffers_checkpoint + b.buffers_clean + b.buffers_backend + w.wal_write AS operations,
       d.ms + w.wal_write_time + w.wal_sync_time AS ms
  FROM (SELECT sum(blks_read) AS reads, sum(blk_read_time + blk_write_time) AS ms FROM pg_stat_database) d,
       pg_stat_bgwriter b, pg_stat_wal w
