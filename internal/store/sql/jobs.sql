-- name: job_insert
INSERT INTO backfleet.jobs (id, name, database, spec, spec_hash, limits, state, key_columns, idempotent, auto_passes,
                            search_path, estimate, estimate_by, submitted_by, forecast, submitted_as, plan, plan_hash, walk)
VALUES ($1, $2, $3, $4, $5, $6, CASE WHEN (SELECT approval FROM backfleet.policy) THEN 'awaiting_approval' ELSE 'planning' END,
        $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18)
RETURNING @job

-- name: job_by_name
-- The unfinished job of the name, else its latest.
SELECT @job FROM backfleet.jobs WHERE name = $1 OR id = $1
ORDER BY state NOT IN ('complete', 'complete_with_errors', 'failed', 'cancelled') DESC, submitted_at DESC LIMIT 1

-- name: job_lock
SELECT @job FROM backfleet.jobs WHERE id = $1 FOR NO KEY UPDATE

-- name: job_get
SELECT @job FROM backfleet.jobs WHERE id = $1

-- name: jobs_all
SELECT @job FROM backfleet.jobs ORDER BY submitted_at DESC LIMIT 1000

-- name: jobs_page
SELECT @job FROM backfleet.jobs
 WHERE ($1 = '' OR id < $1) AND (NOT $2 OR state NOT IN ('complete', 'complete_with_errors', 'failed', 'cancelled'))
 ORDER BY id DESC LIMIT $3

-- name: job_plan
SELECT plan FROM backfleet.jobs WHERE id = $1

-- name: request_answered
SELECT fingerprint, job_id, created FROM backfleet.requests WHERE by = $1 AND key = $2

-- name: request_remember
INSERT INTO backfleet.requests (by, key, fingerprint, job_id, created) VALUES ($1, $2, $3, $4, $5)

-- name: request_forget
DELETE FROM backfleet.requests WHERE at < clock_timestamp() - make_interval(secs => $1)

-- name: policy
SELECT approval FROM backfleet.policy

-- name: policy_set
UPDATE backfleet.policy SET approval = $1

-- name: policy_lock
SELECT approval FROM backfleet.policy FOR NO KEY UPDATE

-- name: job_approved
UPDATE backfleet.jobs SET approved_as = $2, approved_at = clock_timestamp() WHERE id = $1

-- name: jobs_open
-- Every job that the coordinator still has something to do for.
SELECT @job FROM backfleet.jobs
 WHERE state NOT IN ('complete', 'complete_with_errors', 'failed', 'cancelled') OR NOT stream_clear
 ORDER BY submitted_at

-- name: job_state
UPDATE backfleet.jobs SET state = $2, resume_state = $3, reason = $4, revision = revision + 1,
       ended_at = CASE WHEN $5 THEN clock_timestamp() END,
       stream_clear = CASE WHEN $5 THEN stream_clear ELSE false END
 WHERE id = $1
RETURNING @job

-- name: job_limits
UPDATE backfleet.jobs SET limits = $2, revision = revision + 1 WHERE id = $1 RETURNING @job

-- name: job_reason
-- Not over the reason of a pause or of an end that came meanwhile.
UPDATE backfleet.jobs SET reason = $2
 WHERE id = $1 AND state IN ('planning', 'running', 'verifying') AND reason IS DISTINCT FROM $2

-- name: job_started
UPDATE backfleet.jobs SET state = 'running', reason = '', started_at = coalesce(started_at, clock_timestamp()),
       start_lsn = coalesce(start_lsn, pg_current_wal_insert_lsn()::text),
       revision = revision + 1
 WHERE id = $1 AND state = 'planning'
RETURNING @job

-- name: job_stream_clear
-- Not for a job that a retry has revived meanwhile.
UPDATE backfleet.jobs SET stream_clear = true
 WHERE id = $1 AND state IN ('complete', 'complete_with_errors', 'failed', 'cancelled')

-- name: tables_active
SELECT DISTINCT r.relation::bigint FROM backfleet.relations r JOIN backfleet.jobs j ON j.id = r.job_id
 WHERE j.state IN ('running', 'verifying') AND NOT r.dropped ORDER BY 1 LIMIT 1000

-- name: event
INSERT INTO backfleet.events (job_id, by, action, detail) VALUES ($1, $2, $3, $4)

-- name: event_refused
-- Of the whole database no more than so many in an hour: the audit log only grows, and a flood must not fill it.
INSERT INTO backfleet.events (job_id, by, action, detail)
SELECT $1, $2, 'refused', $3
 WHERE (SELECT count(*) FROM (SELECT 1 FROM backfleet.events WHERE action = 'refused' AND at > clock_timestamp() - interval '1 hour' LIMIT $4::int) r) < $4::int

-- name: events
-- Without what was refused: it changed nothing.
SELECT id, at, coalesce(job_id, ''), by, action, detail FROM backfleet.events
 WHERE (job_id = $1 OR (job_id IS NULL AND at >= (SELECT submitted_at FROM backfleet.jobs WHERE id = $1))) AND action <> 'refused'
 ORDER BY id DESC LIMIT $2

-- name: events_page
-- With the holds of its database. An empty action is any.
SELECT id, at, coalesce(job_id, ''), by, action, detail FROM backfleet.events
 WHERE (job_id = $1 OR (job_id IS NULL AND at >= (SELECT submitted_at FROM backfleet.jobs WHERE id = $1)))
   AND ($2::bigint = 0 OR id < $2) AND ($3 = '' OR action = $3)
 ORDER BY id DESC LIMIT $4

-- name: events_database
-- Of every job, and of the database itself.
SELECT id, at, coalesce(job_id, ''), by, action, detail FROM backfleet.events
 WHERE ($1::bigint = 0 OR id < $1) AND ($2 = '' OR action = $2)
 ORDER BY id DESC LIMIT $3

-- name: quarantine_page
SELECT q.relation, r.name, q.key, q.sqlstate, q.error, q.attempts, q.by, q.at, q.range_index
  FROM backfleet.quarantine q JOIN backfleet.relations r USING (job_id, relation)
 WHERE q.job_id = $1 AND ($2::oid = 0 OR (q.relation, q.key) > ($2, $3::text[])) ORDER BY q.relation, q.key LIMIT $4

-- name: quarantine_list
SELECT r.name, q.key, q.sqlstate, q.error, q.attempts, q.by
  FROM backfleet.quarantine q JOIN backfleet.relations r USING (job_id, relation)
 WHERE q.job_id = $1 ORDER BY q.relation, q.key LIMIT $2

-- name: quarantine_keys
-- What a retry may do again. A row that a person skipped is left alone while its batch may still come.
SELECT q.relation, n.nspname, c.relname, q.key
  FROM backfleet.quarantine q JOIN pg_class c ON c.oid = q.relation JOIN pg_namespace n ON n.oid = c.relnamespace
  JOIN backfleet.relations l ON l.job_id = q.job_id AND l.relation = q.relation
 WHERE q.job_id = $1
   AND (q.range_index IS NOT NULL
        OR l.planned AND NOT EXISTS (SELECT 1 FROM backfleet.ranges r
             WHERE r.job_id = q.job_id AND r.relation = q.relation AND r.kind = 'fill' AND r.state IN ('queued', 'released', 'running', 'failed')))
 ORDER BY q.relation, q.key

-- name: quarantine_failed_again
UPDATE backfleet.quarantine SET sqlstate = $4, error = $5, attempts = attempts + 1, at = clock_timestamp()
 WHERE job_id = $1 AND relation = $2 AND key = $3

-- name: quarantine_count
SELECT count(*) FROM backfleet.quarantine WHERE job_id = $1

-- name: quarantine_skip
INSERT INTO backfleet.quarantine (job_id, relation, key, sqlstate, error, by)
VALUES ($1, $5, $2, 'skip', $3, $4)
ON CONFLICT (job_id, relation, key) DO NOTHING

-- name: lead
-- Take or renew the leadership. The epoch begins with the WAL timeline: a failover that took rows back cannot reuse one.
WITH t AS (SELECT (('x' || substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8))::bit(32)::bigint << 32) AS timeline)
INSERT INTO backfleet.leadership AS l (owner, epoch, until)
SELECT $1, t.timeline + 1, clock_timestamp() + interval '6 seconds' FROM t WHERE backfleet.knows_blocks()
ON CONFLICT (id) DO UPDATE SET
    owner = EXCLUDED.owner, until = EXCLUDED.until,
    epoch = CASE WHEN l.owner = EXCLUDED.owner AND l.until > clock_timestamp() AND (l.epoch >> 32) = (EXCLUDED.epoch >> 32)
                 THEN l.epoch ELSE greatest(l.epoch + 1, EXCLUDED.epoch) END
 WHERE l.owner = EXCLUDED.owner OR l.until <= clock_timestamp()
RETURNING epoch

-- name: lead_check
-- Held until the transaction ends, so that a successor waits for it.
SELECT 1 FROM backfleet.leadership WHERE owner = $1 AND epoch = $2 AND until > clock_timestamp() FOR SHARE

-- name: lead_resign
UPDATE backfleet.leadership SET until = clock_timestamp() WHERE owner = $1 AND epoch = $2

-- name: leader
SELECT owner, epoch, until > clock_timestamp() FROM backfleet.leadership

-- name: brake
SELECT until, by, reason FROM backfleet.brake WHERE until > clock_timestamp()

-- name: brake_on
WITH o AS (SELECT until FROM backfleet.brake FOR NO KEY UPDATE)
INSERT INTO backfleet.brake AS b (until, by, reason) VALUES (clock_timestamp() + make_interval(secs => $1), $2, $3)
ON CONFLICT (id) DO UPDATE SET until = EXCLUDED.until, by = EXCLUDED.by, reason = EXCLUDED.reason RETURNING (SELECT until FROM o), until

-- name: brake_off
DELETE FROM backfleet.brake RETURNING until

-- name: throttle
-- With the database's time, by which an override ends.
SELECT rules, revision, clock_timestamp() FROM backfleet.throttle

-- name: throttle_lock
SELECT rules, revision, clock_timestamp() FROM backfleet.throttle FOR NO KEY UPDATE

-- name: throttle_set
UPDATE backfleet.throttle SET rules = $1, revision = revision + 1 RETURNING revision

-- name: sample_insert
INSERT INTO backfleet.samples (job_id, rows, rate, lag, limiting, lost, moment) VALUES ($1, $2, $3, $4, $5, $6, $7)

-- name: losses_add
INSERT INTO backfleet.losses AS l (job_id, signal, seconds) SELECT $1, signal, seconds FROM unnest($2::text[], $3::float8[]) AS u (signal, seconds)
ON CONFLICT (job_id, signal) DO UPDATE SET seconds = l.seconds + EXCLUDED.seconds

-- name: losses
SELECT signal, least(seconds / nullif(watched, 0), 1), seconds
  FROM (SELECT signal, seconds, max(seconds) FILTER (WHERE signal = '') OVER () AS watched FROM backfleet.losses WHERE job_id = $1) AS l
 WHERE signal <> '' AND watched > 0 ORDER BY seconds DESC, signal

-- name: outcome_wal
SELECT pg_wal_lsn_diff(coalesce(end_lsn::pg_lsn, pg_current_wal_insert_lsn()), start_lsn::pg_lsn)::bigint
  FROM backfleet.jobs WHERE id = $1 AND start_lsn IS NOT NULL AND (end_lsn IS NOT NULL OR ended_at IS NULL)

-- name: outcome_size
SELECT coalesce(sum(pg_table_size(relation)), 0)::bigint, coalesce(sum(pg_indexes_size(relation)), 0)::bigint
  FROM backfleet.relations WHERE job_id = $1 AND NOT dropped

-- name: report_store
UPDATE backfleet.jobs SET report = $2 WHERE id = $1

-- name: replica_seen
INSERT INTO backfleet.replicas (name, timeline) VALUES ($1, left(pg_walfile_name(pg_current_wal_lsn()), 8))
ON CONFLICT (name) DO UPDATE SET timeline = EXCLUDED.timeline, seen_at = clock_timestamp()

-- name: replicas
SELECT name FROM backfleet.replicas WHERE timeline = left(pg_walfile_name(pg_current_wal_lsn()), 8) ORDER BY name

-- name: not_flushed
-- Replicas that do not hold everything up to a position yet, also while they catch up. Which sessions are replicas, and how they are
-- called, is said in throttle/signals/lag.sql: throttle.replicas must name the same ones.
SELECT CASE WHEN w.application_name NOT IN ('', 'walreceiver') THEN w.application_name
            ELSE coalesce(s.slot_name::text, 'walreceiver@' || coalesce(host(w.client_addr), 'local')) END
  FROM pg_stat_replication w LEFT JOIN pg_replication_slots s ON s.active_pid = w.pid
 WHERE s.slot_type IS DISTINCT FROM 'logical'
   AND (w.state IS NULL OR w.state <> 'backup' AND w.replay_lsn IS NOT NULL)
   AND (w.flush_lsn IS NULL OR w.flush_lsn < $1::pg_lsn)

-- name: notices_begin
-- From when on a receiver is told: what was before it was named is no news to it.
INSERT INTO backfleet.notices (target, subject, id, message, sent_at) VALUES ($1, 'begin', '', '{}', clock_timestamp()) ON CONFLICT DO NOTHING

-- name: notices_news
-- Events of the last hour that a receiver was not told yet, among the last thousand.
SELECT e.id, e.at, coalesce(e.job_id, ''), e.by, e.action, e.detail
  FROM (SELECT * FROM backfleet.events ORDER BY id DESC LIMIT 1000) e
 WHERE e.action = ANY ($2::text[]) AND e.at > clock_timestamp() - interval '1 hour'
   AND e.at >= (SELECT at FROM backfleet.notices WHERE target = $1 AND subject = 'begin')
   AND NOT EXISTS (SELECT 1 FROM backfleet.notices n WHERE n.target = $1 AND n.subject = 'event/' || e.id)
 ORDER BY e.id

-- name: notice_add
INSERT INTO backfleet.notices (target, subject, id, message) VALUES ($1, $2, $3, $4) ON CONFLICT DO NOTHING

-- name: notices_due
SELECT subject, id, message, attempts FROM backfleet.notices
 WHERE target = $1 AND sent_at IS NULL AND NOT gave_up AND due_at <= clock_timestamp() ORDER BY at, subject LIMIT 20

-- name: notice_sent
UPDATE backfleet.notices SET sent_at = clock_timestamp(), attempts = attempts + 1, error = NULL WHERE target = $1 AND subject = $2

-- name: notice_failed
UPDATE backfleet.notices SET attempts = attempts + 1, error = $3, due_at = clock_timestamp() + make_interval(secs => $4),
       gave_up = at < clock_timestamp() - interval '1 day'
 WHERE target = $1 AND subject = $2 RETURNING gave_up

-- name: notices_forget
DELETE FROM backfleet.notices WHERE at < clock_timestamp() - interval '30 days' AND subject <> 'begin'

-- name: notice_held
-- The last hold that a receiver was told of and whose end it was not.
SELECT subject FROM backfleet.notices h
 WHERE target = $1 AND subject LIKE 'held/%'
   AND NOT EXISTS (SELECT 1 FROM backfleet.notices f WHERE f.target = $1 AND f.subject = 'freed/' || substr(h.subject, 6))
 ORDER BY at DESC LIMIT 1

-- name: quarantine_open
SELECT q.job_id, count(*) FROM backfleet.quarantine q JOIN backfleet.jobs j ON j.id = q.job_id
 WHERE j.state NOT IN ('complete', 'complete_with_errors', 'failed', 'cancelled') GROUP BY q.job_id
