-- name: release
-- Committed before anything is published: a message without its generation here is stale. The array, and not IN, has them looked up
-- one by one, whatever the planner takes the limit for.
UPDATE backfleet.ranges SET state = 'released', generation = generation + 1, released_at = clock_timestamp(),
       lease_until = NULL, reply_subject = NULL
 WHERE job_id = $1 AND index = ANY (ARRAY(
    SELECT index FROM backfleet.ranges WHERE job_id = $1 AND state = 'queued' ORDER BY index LIMIT $2 FOR UPDATE SKIP LOCKED))
RETURNING index, generation, file IS NOT NULL

-- name: room
-- How many ranges may still be released: none where nothing is queued, which is the usual answer and a cheap one.
-- By order, here and below: else the planner trusts to luck and may read what is done first.
SELECT CASE WHEN (SELECT index FROM backfleet.ranges WHERE job_id = $1 AND state = 'queued' ORDER BY index LIMIT 1) IS NOT NULL
            THEN greatest($2::bigint - (SELECT count(*) FROM backfleet.ranges WHERE job_id = $1 AND state IN ('released', 'running')), 0)
            ELSE 0 END

-- name: open_any
SELECT (SELECT index FROM backfleet.ranges WHERE job_id = $1 AND state = 'queued' ORDER BY index LIMIT 1) IS NOT NULL
    OR (SELECT index FROM backfleet.ranges WHERE job_id = $1 AND state IN ('released', 'running') ORDER BY index LIMIT 1) IS NOT NULL

-- name: runnable
-- Ranges of each job that a slot could take now, counted up to as many as there are slots.
SELECT j.id, (SELECT count(*) FROM ((SELECT 1 FROM backfleet.ranges WHERE job_id = j.id AND state = 'queued' ORDER BY index LIMIT $2)
                                    UNION ALL
                                    (SELECT 1 FROM backfleet.ranges WHERE job_id = j.id AND state IN ('released', 'running')
                                        AND state = 'released' ORDER BY index LIMIT $2) LIMIT $2) r)
  FROM unnest($1::text[]) j(id)

-- name: unrelease
UPDATE backfleet.ranges SET state = 'queued'
 WHERE job_id = $1 AND state = 'released' AND (index, generation) IN (SELECT * FROM unnest($2::int[], $3::int[]))

-- name: released_list
SELECT index, generation, file IS NOT NULL FROM backfleet.ranges
 WHERE job_id = $1 AND state = 'released' AND state IN ('released', 'running') AND released_at < clock_timestamp() - make_interval(secs => $2)

-- name: expired
-- Take back ranges whose lease ran out. The message is redelivered by a proxy NAK; the same generation is claimed again.
WITH e AS (
    SELECT index, owner, reply_subject FROM backfleet.ranges
     WHERE job_id = $1 AND state = 'running' AND lease_until < clock_timestamp() FOR UPDATE SKIP LOCKED)
UPDATE backfleet.ranges r SET state = 'released', released_at = clock_timestamp(), lease_until = NULL,
       last_error = 'the lease of ' || e.owner || ' ran out'
  FROM e WHERE r.job_id = $1 AND r.index = e.index
RETURNING r.index, r.generation, e.owner, coalesce(e.reply_subject, '')

-- name: given_back
-- Ranges whose message was given back and that nobody has claimed since.
SELECT index, generation, coalesce(owner, ''), reply_subject FROM backfleet.ranges
 WHERE job_id = $1 AND state = 'released' AND reply_subject IS NOT NULL

-- name: claim
-- One of: released and free; running with an expired lease; running and mine, claimed anew after an unknown commit.
UPDATE backfleet.ranges r
   SET state = 'running', fence = r.fence + 1, claim_token = gen_random_uuid(), owner = $4, reply_subject = $5,
       lease_until = clock_timestamp() + interval '10 seconds', claims = r.claims + 1,
       attempts = r.attempts + CASE WHEN r.fence = $6 AND r.claim_token = $7::uuid THEN 0 ELSE 1 END, -- whoever claims anew is alive
       started_at = coalesce(r.started_at, clock_timestamp())
  FROM backfleet.jobs j
 WHERE r.job_id = $1 AND r.index = $2 AND r.generation = $3 AND j.id = r.job_id
   AND j.state IN ('running', 'verifying')
   AND backfleet.knows_blocks()
   AND (r.state = 'released'
        OR (r.state = 'running' AND r.lease_until < clock_timestamp())
        OR (r.state = 'running' AND r.fence = $6 AND r.claim_token = $7::uuid))
RETURNING r.kind, r.relation, r.lo, r.hi, r.hi_inclusive, r.chunk_lo, r.chunk_hi, r.k, r.pass, r.key,
          r.fence, r.claim_token::text, r.attempts,
          (SELECT count(*) FROM backfleet.quarantine q WHERE q.job_id = r.job_id AND q.relation = r.relation),
          (SELECT l.leaf FROM backfleet.relations l WHERE l.job_id = r.job_id AND l.relation = r.relation), coalesce(r.file, 0::oid),
          (SELECT l.bound FROM backfleet.relations l WHERE l.job_id = r.job_id AND l.relation = r.relation)

-- name: claim_refused
SELECT r.state, r.generation, coalesce(extract(epoch FROM r.lease_until - clock_timestamp()), 0)::float8,
       j.state, coalesce(r.claim_token::text, '')
  FROM backfleet.ranges r JOIN backfleet.jobs j ON j.id = r.job_id WHERE r.job_id = $1 AND r.index = $2

-- name: relation_name
SELECT n.nspname, c.relname, c.relispartition, coalesce(pg_relation_filenode(c.oid), 0)
  FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.oid = $1

-- name: renew
UPDATE backfleet.ranges SET lease_until = clock_timestamp() + interval '10 seconds'
 WHERE job_id = $1 AND index = $2 AND fence = $3 AND claim_token = $4::uuid AND state = 'running'

-- name: hand_back
-- To `released` where the message shall be delivered again ($5) and the job may run, else to `queued`.
UPDATE backfleet.ranges r
   SET state = n.state, lease_until = NULL, attempts = 0,
       reply_subject = CASE WHEN n.state = 'released' THEN r.reply_subject END,
       released_at = CASE WHEN n.state = 'released' THEN clock_timestamp() ELSE r.released_at END
  FROM (SELECT CASE WHEN $5 AND state IN ('running', 'verifying') THEN 'released' ELSE 'queued' END AS state
          FROM backfleet.jobs WHERE id = $1) n
 WHERE r.job_id = $1 AND r.index = $2 AND r.fence = $3 AND r.claim_token = $4::uuid AND r.state = 'running'
RETURNING r.state

-- name: unclaimed_back
-- A message that came while its job may not run: back to the ledger, if nobody has it.
UPDATE backfleet.ranges SET state = 'queued' WHERE job_id = $1 AND index = $2 AND generation = $3 AND state = 'released'

-- name: range_failed
UPDATE backfleet.ranges SET state = 'failed', last_error = $5, lease_until = NULL, ended_at = clock_timestamp()
 WHERE job_id = $1 AND index = $2 AND fence = $3 AND claim_token = $4::uuid AND state = 'running'

-- name: range_error
UPDATE backfleet.ranges SET last_error = $5, retries = retries + 1
 WHERE job_id = $1 AND index = $2 AND fence = $3 AND claim_token = $4::uuid

-- name: range_failing_key
UPDATE backfleet.ranges SET failing_key = coalesce(failing_key, $5::text[])
 WHERE job_id = $1 AND index = $2 AND fence = $3 AND claim_token = $4::uuid

-- name: range_skip
WITH o AS (
    SELECT state, file FROM backfleet.ranges
     WHERE job_id = $1 AND index = $2 AND state IN ('queued', 'released', 'running', 'failed') FOR NO KEY UPDATE)
UPDATE backfleet.ranges SET state = 'skipped', last_error = $3, lease_until = NULL, ended_at = clock_timestamp(), fence = fence + 1
  FROM o WHERE job_id = $1 AND index = $2
RETURNING o.state, o.file IS NOT NULL

-- name: retry_failed
UPDATE backfleet.ranges SET state = 'queued', attempts = 0, ended_at = NULL WHERE job_id = $1 AND state = 'failed'

-- name: counts
SELECT kind, round, state, count(*), coalesce(sum(rows), 0)::bigint, coalesce(sum(walked), 0)::bigint,
       coalesce(sum(batches), 0)::bigint, coalesce(sum(retries), 0)::bigint, coalesce(sum(greatest(claims - 1, 0)), 0)::bigint
  FROM backfleet.ranges WHERE job_id = $1 GROUP BY kind, round, state

-- name: range_blocks
-- The ranges of the present phase in the order of their index, which is key order within a relation, summed up into at most $2 cells.
-- A round that had nothing to count made no ranges: then the one before it.
WITH phase AS (
    SELECT r.round, min(r.index) AS first, max(r.index) - min(r.index) + 1 AS n
      FROM backfleet.ranges r JOIN backfleet.jobs j ON j.id = r.job_id
     WHERE r.job_id = $1 AND r.round <= j.verify_round GROUP BY r.round ORDER BY r.round DESC LIMIT 1)
SELECT ((r.index - p.first)::bigint * least($2::bigint, p.n) / p.n)::int, r.state, count(*)
  FROM backfleet.ranges r JOIN phase p ON p.round = r.round
 WHERE r.job_id = $1 GROUP BY 1, 2 ORDER BY 1, 2

-- name: ranges_page
SELECT r.index, r.kind, r.round, coalesce(l.name, ''), r.lo, r.hi, r.hi_inclusive, r.key, r.state, r.attempts, greatest(r.claims - 1, 0),
       coalesce(r.owner, ''), r.lease_until, r.rows, r.walked, r.batches, r.retries, r.residual, r.check_fails, coalesce(r.last_error, ''),
       r.started_at, r.ended_at
  FROM backfleet.ranges r LEFT JOIN backfleet.relations l USING (job_id, relation)
 WHERE r.job_id = $1 AND r.index > $2 AND ($3 = '' OR r.state = $3) ORDER BY r.index LIMIT $4

-- name: running_list
SELECT coalesce(owner, ''), index, rows, coalesce(last_error, '') FROM backfleet.ranges WHERE job_id = $1 AND state = 'running' ORDER BY index

-- name: worker_totals
SELECT coalesce(owner, ''), count(*), coalesce(sum(rows), 0)::bigint
  FROM backfleet.ranges WHERE job_id = $1 AND owner IS NOT NULL GROUP BY 1 ORDER BY 1

-- name: failed_list
SELECT index, coalesce(last_error, '') FROM backfleet.ranges WHERE job_id = $1 AND state = 'failed' ORDER BY index LIMIT 5

-- name: skipped_list
-- Also those of a verification: what they span is not proved.
SELECT lo, hi, hi_inclusive FROM backfleet.ranges WHERE job_id = $1 AND state = 'skipped' ORDER BY index LIMIT 100

-- name: undone
-- Where the first range of a job begins that is not done, else where its plan is to go on. NULL is at the least key.
SELECT coalesce((SELECT count(*) FROM backfleet.relations WHERE job_id = $1), 0), (SELECT walk = 'block' FROM backfleet.jobs WHERE id = $1), EXISTS (SELECT 1 FROM backfleet.relations WHERE job_id = $1 AND NOT planned),
       EXISTS (SELECT 1 FROM backfleet.ranges WHERE job_id = $1 AND kind = 'fill' AND state <> 'done'),
       (SELECT chunk_lo FROM backfleet.ranges WHERE job_id = $1 AND kind = 'fill' AND state <> 'done' ORDER BY index LIMIT 1),
       (SELECT planned_to FROM backfleet.relations WHERE job_id = $1 LIMIT 1)
