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

-- name: last_look
UPDATE backfleet.jobs SET last_look = $3 WHERE id = $1 AND state = 'verifying' AND verify_round = $2
   AND NOT EXISTS (SELECT 1 FROM backfleet.events WHERE job_id = $1 AND id > $4 AND action <> 'set')

-- name: moved
SELECT coalesce(max(id), 0) FROM backfleet.events WHERE job_id = $1 AND action <> 'set'

-- name: verify_round
UPDATE backfleet.jobs SET verify_round = $2, state = 'verifying', snapshot = $3, block_rounds = block_rounds + ($3::text IS NOT NULL)::int,
       revision = revision + 1
 WHERE id = $1 RETURNING @job

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

-- name: forget_round
UPDATE backfleet.jobs SET verify_round = 0, end_lsn = NULL, snapshot = NULL, block_rounds = 0, last_look = NULL WHERE id = $1

-- name: forget_ranges
DELETE FROM backfleet.ranges WHERE job_id = $1 AND kind = 'verify'
