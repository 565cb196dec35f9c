-- What people look at.

-- name: jobs_shown
-- Every job that has not ended, and the newest of those that have, the newest first.
SELECT @job FROM (
    SELECT * FROM backfleet.jobs WHERE state NOT IN ('complete', 'complete_with_errors', 'failed', 'cancelled')
    UNION ALL
    (SELECT * FROM backfleet.jobs WHERE state IN ('complete', 'complete_with_errors', 'failed', 'cancelled') ORDER BY submitted_at DESC LIMIT 50)) j
 ORDER BY submitted_at DESC

-- name: range_cells
-- A cell is the state's number times 256, plus 128 where something went wrong, plus the percentage that is done.
SELECT coalesce(min(r.index), 0), coalesce(array_agg(((
         CASE r.state WHEN 'queued' THEN 0 WHEN 'released' THEN 256 WHEN 'running' THEN 512 WHEN 'done' THEN 768
                      WHEN 'failed' THEN 1024 WHEN 'dropped' THEN 1280 ELSE 1536 END)
       + CASE WHEN r.last_error IS NOT NULL
                OR r.index IN (SELECT range_index FROM backfleet.quarantine WHERE job_id = $1 AND range_index IS NOT NULL) THEN 128 ELSE 0 END
       + CASE WHEN r.state = 'done' THEN 100 ELSE least(r.walked * 100 / greatest($3::bigint, 1), 99) END)::int2 ORDER BY r.index), '{}')
  FROM backfleet.ranges r WHERE r.job_id = $1 AND r.round = $2

-- name: range_detail
SELECT r.index, r.kind, r.round, coalesce(l.name, r.relation::text), r.lo, r.hi, r.hi_inclusive, r.key, r.state, r.generation, r.fence,
       coalesce(r.owner, ''), r.lease_until, r.attempts, r.claims, r.rows, r.walked, r.batches, r.retries, r.residual, r.check_fails,
       coalesce(r.last_error, ''), r.started_at, r.ended_at,
       (SELECT count(*) FROM backfleet.quarantine q WHERE q.job_id = r.job_id AND q.range_index = r.index)
  FROM backfleet.ranges r LEFT JOIN backfleet.relations l ON l.job_id = r.job_id AND l.relation = r.relation
 WHERE r.job_id = $1 AND r.index = $2

-- name: history
-- At most $3 points from $2 on. Each step tells its means and, of what has no mean, the moment of its worst lag.
WITH span AS (
    SELECT min(at) AS first, make_interval(secs => greatest(extract(epoch FROM max(at) - min(at))::float8 / $3, 1)) AS step
      FROM backfleet.samples WHERE job_id = $1 AND at > $2)
SELECT min(s.at), max(s.rows), avg(s.rate), max(s.lag), mode() WITHIN GROUP (ORDER BY s.limiting), avg(s.lost),
       (array_agg(s.moment ORDER BY s.lag DESC, s.at DESC))[1]
  FROM backfleet.samples s, span
 WHERE s.job_id = $1 AND s.at > $2
 GROUP BY date_bin(span.step, s.at, span.first) ORDER BY 1

-- name: last_point
SELECT at, rows, rate, lag, limiting, lost, moment FROM backfleet.samples
 WHERE job_id = $1 AND at > clock_timestamp() - make_interval(secs => $2) ORDER BY at DESC LIMIT 1
