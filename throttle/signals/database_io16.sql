SELECT i.operations + w.wal_write AS operations, i.ms + w.wal_write_time + w.wal_sync_time AS ms
  FROM (SELECT sum(coalesce(reads, 0) + coalesce(writes, 0) + coalesce(extends, 0)) AS operations,
               sum(coalesce(read_time, 0) + coalesce(write_time, 0) + coalesce(extend_time, 0) + coalesce(writeback_time, 0)
                   + coalesce(fsync_time, 0)) AS ms
          FROM pg_stat_io) i, pg_stat_wal w
