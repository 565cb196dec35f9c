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

-- name: freeze_wait
SELECT freeze_wait FROM backfleet.jobs WHERE id = $1

-- name: range_insert
INSERT INTO backfleet.ranges (job_id, index, relation, lo, hi, hi_inclusive, chunk_lo, chunk_hi, key)
VALUES ($1, $2, $3, $4, $5, $6, $4, $5, $4)

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

-- name: verify_insert
-- Some of the ranges of verification round $2, which walks keys: every fill range if it is the first that does ($3), those that found
-- something for a later one. A relation that is gone has nothing to prove. It takes $5 of them behind index $4 and says how many there were
-- and which was the last: one statement for all would run into its timeout where they are hundreds of thousands.
WITH source AS MATERIALIZED (
    SELECT r.* FROM backfleet.ranges r JOIN backfleet.relations l USING (job_id, relation)
     WHERE r.job_id = $1 AND r.index > $4 AND r.state = 'done' AND NOT l.dropped AND l.file IS NULL
       AND CASE WHEN $3 THEN r.kind = 'fill' ELSE r.kind = 'verify' AND r.round = $2::int - 1 AND r.residual + r.check_fails > 0 END
     ORDER BY r.index LIMIT $5),
added AS (
    INSERT INTO backfleet.ranges (job_id, index, kind, round, relation, lo, hi, hi_inclusive, chunk_lo, chunk_hi, key)
    SELECT job_id, (SELECT max(index) FROM backfleet.ranges WHERE job_id = $1) + row_number() OVER (ORDER BY index),
           'verify', $2::int, relation, lo, hi, hi_inclusive, lo, hi, lo
      FROM source)
SELECT count(*), coalesce(max(index), -1) FROM source

-- name: verify_blocks
-- Ranges of a verification round over all blocks that a relation has now: $4 of them in each, up to $5.
INSERT INTO backfleet.ranges (job_id, index, kind, round, relation, lo, hi, hi_inclusive, chunk_lo, chunk_hi, key, file)
SELECT $1, (SELECT coalesce(max(index), -1) FROM backfleet.ranges WHERE job_id = $1) + row_number() OVER (ORDER BY b),
       'verify', $2::int, $3, x.lo, x.hi, b + $4::bigint >= $5::bigint, x.lo, x.hi, x.lo, $6
  FROM generate_series(0, $5::bigint - 1, $4::bigint) b,
       LATERAL (SELECT CASE WHEN b > 0 THEN ARRAY[format('(%s,0)', b)] END AS lo, ARRAY[format('(%s,0)', least(b + $4::bigint, $5::bigint))] AS hi) x

-- name: last_look
UPDATE backfleet.jobs SET last_look = $3 WHERE id = $1 AND state = 'verifying' AND verify_round = $2
   AND NOT EXISTS (SELECT 1 FROM backfleet.events WHERE job_id = $1 AND id > $4 AND action <> 'set')

-- name: moved
SELECT coalesce(max(id), 0) FROM backfleet.events WHERE job_id = $1 AND action <> 'set'

-- name: verify_round
UPDATE backfleet.jobs SET verify_round = $2, state = 'verifying', snapshot = $3, block_rounds = block_rounds + ($3::text IS NOT NULL)::int,
       revision = revision + 1
 WHERE id = $1 RETURNING @job

-- name: files
-- The blocks of each relation that a round in block order reads. Of a file that is replaced meanwhile, no size.
SELECT l.relation, pg_relation_filenode(l.relation), pg_relation_size(l.relation) / current_setting('block_size')::bigint,
       pg_relation_filenode(l.relation)
  FROM backfleet.relations l WHERE l.job_id = $1 AND NOT l.dropped AND l.bound IS NOT NULL ORDER BY l.ordinal

-- name: any_skipped
SELECT EXISTS (SELECT 1 FROM backfleet.ranges WHERE job_id = $1 AND state = 'skipped')

-- name: blocks_forgotten
-- Whoever was faster has taken this round back.
UPDATE backfleet.jobs SET snapshot = NULL, revision = revision + 1
 WHERE id = $1 AND snapshot = $2 RETURNING verify_round

-- name: blocks_dropped
-- The fence keeps who is at work on one from committing it.
UPDATE backfleet.ranges SET state = 'dropped', ended_at = clock_timestamp(), lease_until = NULL
 WHERE job_id = $1 AND kind = 'verify' AND round = $2

-- name: blocks_left
-- Whether a round in block order proves nothing: a range was given up, or passed by a program that does not know of blocks.
SELECT coalesce((SELECT coalesce(last_error, 'range ' || index || ' was not read') FROM backfleet.ranges
  WHERE job_id = $1 AND kind = 'verify' AND round = $2 AND state <> 'dropped' AND (state <> 'done' OR blocks_left <> 0) ORDER BY index LIMIT 1), '')

-- name: unsettled
-- Whether a range is still to be done: open, or given up until a person decides.
SELECT (SELECT index FROM backfleet.ranges WHERE job_id = $1 AND state = 'queued' ORDER BY index LIMIT 1) IS NOT NULL
    OR (SELECT index FROM backfleet.ranges WHERE job_id = $1 AND state IN ('released', 'running') ORDER BY index LIMIT 1) IS NOT NULL
    OR (SELECT index FROM backfleet.ranges WHERE job_id = $1 AND state = 'failed' ORDER BY index LIMIT 1) IS NOT NULL

-- name: round_result
SELECT count(*), coalesce(sum(residual), 0)::bigint, coalesce(sum(check_fails), 0)::bigint
  FROM backfleet.ranges WHERE job_id = $1 AND kind = 'verify' AND round = $2 AND state <> 'dropped'

-- name: failing_keys
SELECT failing_key FROM backfleet.ranges
 WHERE job_id = $1 AND kind = 'verify' AND round = $2 AND failing_key IS NOT NULL ORDER BY index LIMIT 10

-- name: spans
-- Those of a file that was replaced prove nothing.
SELECT r.index, r.relation, r.lo, r.hi, r.hi_inclusive, r.state, r.state = 'done' AND r.key IS DISTINCT FROM r.hi
  FROM backfleet.ranges r JOIN backfleet.relations l USING (job_id, relation)
 WHERE r.job_id = $1 AND r.kind = 'fill' AND r.index > $2 AND r.file IS NOT DISTINCT FROM l.file ORDER BY r.index LIMIT $3

-- name: end_lsn
UPDATE backfleet.jobs SET end_lsn = coalesce(end_lsn, pg_current_wal_lsn()::text) WHERE id = $1
RETURNING end_lsn

-- name: forget_round
UPDATE backfleet.jobs SET verify_round = 0, end_lsn = NULL, snapshot = NULL, block_rounds = 0, last_look = NULL WHERE id = $1

-- name: forget_ranges
DELETE FROM backfleet.ranges WHERE job_id = $1 AND kind = 'verify'
