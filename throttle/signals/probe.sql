-- Whether the server looks like Amazon Aurora. Some of its releases have their functions without an entry in pg_proc, so its
-- settings count as well.
SELECT to_regprocedure('aurora_replica_status()') IS NOT NULL
    OR EXISTS (SELECT FROM pg_settings WHERE name LIKE 'apg\_%' OR name LIKE 'aurora\_%' OR name LIKE 'aurora.%')
