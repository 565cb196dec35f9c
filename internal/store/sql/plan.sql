-- name: relation_insert
INSERT INTO backfleet.relations (job_id, ordinal, relation, name, leaf, bound, planned, size, file)
VALUES ($1, (SELECT coalesce(max(ordinal), -1) + 1 FROM backfleet.relations WHERE job_id = $1), $2, $3, $4, $5, $5::text[] IS NULL, pg_relation_size($2::oid), $6)
ON CONFLICT (job_id, relation) DO NOTHING

-- name: relation_rewritten
-- A relation that is planned by row addresses and has another file now: its plan begins anew.
UPDATE backfleet.relations SET name = $3, bound = $4, planned_to = NULL, planned = $4::text[] IS NULL, file = $5
 WHERE job_id = $1 AND relation = $2 AND file <> $5

-- name: ranges_rewritten
-- What is left of the plan of another file.
UPDATE backfleet.ranges SET state = 'dropped', ended_at = clock_timestamp(), lease_until = NULL
 WHERE job_id = $1 AND relation = $2 AND file <> $3 AND state IN ('queued', 'released', 'running', 'failed')

-- name: relations_rewritten
-- Relations of a job that are planned by row addresses and have another file now.
SELECT l.relation FROM backfleet.relations l JOIN pg_class c ON c.oid = l.relation
 WHERE l.job_id = $1 AND NOT l.dropped AND l.file <> pg_relation_filenode(c.oid)

-- name: relation_back
-- A leaf partition that was detached and is attached again: it keeps the bound and the checkpoints that it had.
-- A boundary may fall on the bound itself, so only the range that is closed above says that its plan is whole.
UPDATE backfleet.relations l SET dropped = false, name = $3,
       planned = bound IS NULL OR EXISTS (SELECT 1 FROM backfleet.ranges r
          WHERE r.job_id = l.job_id AND r.relation = l.relation AND r.kind = 'fill' AND r.hi_inclusive AND r.file IS NOT DISTINCT FROM l.file)
 WHERE job_id = $1 AND relation = $2 AND dropped

-- name: ranges_back
UPDATE backfleet.ranges r SET state = 'queued', attempts = 0, ended_at = NULL
  FROM backfleet.relations l
 WHERE r.job_id = $1 AND r.relation = $2 AND r.state = 'dropped'
   AND l.job_id = r.job_id AND l.relation = r.relation AND r.file IS NOT DISTINCT FROM l.file

-- name: relations
SELECT relation, name, leaf, bound, planned_to, planned, dropped, coalesce(file, 0) FROM backfleet.relations WHERE job_id = $1 ORDER BY ordinal

-- name: writers
-- Transactions that hold a lock on one of the relations under which they may have written it; prepared ones have no pid.
SELECT DISTINCT l.virtualtransaction
       || coalesce(' xid ' || (SELECT min(x.transactionid::text::bigint) FROM pg_locks x
                                WHERE x.locktype = 'transactionid' AND x.mode = 'ExclusiveLock' AND x.granted
                                  AND x.virtualtransaction = l.virtualtransaction AND x.pid IS NOT DISTINCT FROM l.pid), '')
       || coalesce(' pid ' || l.pid, ' prepared')
  FROM pg_locks l
 WHERE l.locktype = 'relation' AND l.granted AND l.relation = ANY ($1::oid[])
   AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
   AND l.mode IN ('RowExclusiveLock', 'ShareRowExclusiveLock', 'ExclusiveLock', 'AccessExclusiveLock')
   AND l.pid IS DISTINCT FROM pg_backend_pid()

-- name: frozen
UPDATE backfleet.jobs SET freeze_wait = $2 WHERE id = $1

-- name: relation_planned
UPDATE backfleet.relations SET planned_to = $3, planned = $4 WHERE job_id = $1 AND relation = $2

-- name: plan_counts
SELECT (SELECT coalesce(max(index), -1) + 1 FROM backfleet.ranges WHERE job_id = $1),
       (SELECT count(*) FROM backfleet.ranges WHERE job_id = $1 AND state = 'queued')

-- name: planned
UPDATE backfleet.jobs SET planned_at = clock_timestamp() WHERE id = $1 AND planned_at IS NULL

-- name: unplanned
UPDATE backfleet.jobs SET planned_at = NULL WHERE id = $1

-- name: relation_dropped
UPDATE backfleet.relations SET dropped = true, planned = true WHERE job_id = $1 AND relation = $2

-- name: ranges_dropped
UPDATE backfleet.ranges SET state = 'dropped', ended_at = clock_timestamp(), lease_until = NULL
 WHERE job_id = $1 AND relation = $2 AND state IN ('queued', 'released', 'running', 'failed')

-- name: files
-- The blocks of each relation that a round in block order reads. Of a file that is replaced meanwhile, no size.
SELECT l.relation, pg_relation_filenode(l.relation), pg_relation_size(l.relation) / current_setting('block_size')::bigint,
       pg_relation_filenode(l.relation)
  FROM backfleet.relations l WHERE l.job_id = $1 AND NOT l.dropped AND l.bound IS NOT NULL ORDER BY l.ordinal

-- name: spans
-- Those of a file that was replaced prove nothing.
SELECT r.index, r.relation, r.lo, r.hi, r.hi_inclusive, r.state, r.state = 'done' AND r.key IS DISTINCT FROM r.hi
  FROM backfleet.ranges r JOIN backfleet.relations l USING (job_id, relation)
 WHERE r.job_id = $1 AND r.kind = 'fill' AND r.index > $2 AND r.file IS NOT DISTINCT FROM l.file ORDER BY r.index LIMIT $3

-- name: end_lsn
UPDATE backfleet.jobs SET end_lsn = coalesce(end_lsn, pg_current_wal_lsn()::text) WHERE id = $1
RETURNING end_lsn
