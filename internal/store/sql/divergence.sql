-- The watch over both schemas of a migration.

-- name: watch_begin
-- Not the id of this transaction: it may have got that long before it got its locks, and others wrote meanwhile under higher ones.
INSERT INTO backfleet.divergence (migration, since_xid) VALUES ($1, pg_snapshot_xmax(pg_current_snapshot())::text::bigint) ON CONFLICT (migration) DO NOTHING

-- name: watch_ensure
INSERT INTO backfleet.divergence (migration) VALUES ($1) ON CONFLICT (migration) DO NOTHING

-- name: watch
SELECT d.since_xid, d.since_at, d.round, d.walking, d.side, d.leaf, d.key, r.started_at, r.ended_at,
       coalesce((SELECT max(p.started_at) FROM backfleet.divergence_rounds p
                  WHERE p.migration = d.migration AND p.ended_at IS NOT NULL AND (p.round < d.round OR NOT d.walking)), d.since_at)
  FROM backfleet.divergence d LEFT JOIN backfleet.divergence_rounds r ON r.migration = d.migration AND r.round = d.round
 WHERE d.migration = $1

-- name: watch_lock
SELECT round, walking, side, leaf, key FROM backfleet.divergence WHERE migration = $1 FOR NO KEY UPDATE

-- name: watch_move
UPDATE backfleet.divergence SET round = $2, walking = $3, side = $4, leaf = $5, key = $6 WHERE migration = $1

-- name: round_begin
INSERT INTO backfleet.divergence_rounds (migration, round) VALUES ($1, $2)

-- name: round_add
UPDATE backfleet.divergence_rounds
   SET at = clock_timestamp(), walked = walked + $3, waiting = waiting + $4, missing = missing + $5, differing = differing + $6,
       orphans = orphans + $7, failing = failing + $8, seconds = seconds + $9, more = more OR $10,
       ended_at = CASE WHEN $11 THEN clock_timestamp() END
 WHERE migration = $1 AND round = $2

-- name: round_end
-- What a whole round did not find any more is gone. Lists that only grow are cut.
WITH whole AS (SELECT started_at FROM backfleet.divergence_rounds WHERE migration = $1 AND round = $2),
gone AS (UPDATE backfleet.divergence_rows r SET gone_at = clock_timestamp() FROM whole
          WHERE r.migration = $1 AND r.gone_at IS NULL AND r.last_seen < whole.started_at),
old_rows AS (DELETE FROM backfleet.divergence_rows WHERE migration = $1 AND gone_at < clock_timestamp() - interval '30 days')
DELETE FROM backfleet.divergence_rounds WHERE migration = $1 AND round <= $2 - 20000

-- name: found_add
-- $2 to $5 are the diverging rows of a step: relation, key as JSON, kind, transaction. A row's transaction tells when it was written: the
-- first line of the activity whose next id is above it was noted after that, the line before that one before. Orphans and rows that cannot be
-- compared say nothing of when: they came between two rounds. Returns the buckets that grew, and whether there was no room for some.
WITH f AS MATERIALIZED (
    SELECT x.relation, ARRAY(SELECT jsonb_array_elements_text(x.k::jsonb)) AS key, x.kind, x.x,
           c.cur - ((c.cur - x.x + 4294967296) & 4294967295) AS full_xid
      FROM unnest($2::text[], $3::text[], $4::text[], $5::bigint[]) x(relation, k, kind, x),
           (SELECT pg_snapshot_xmax(pg_current_snapshot())::text::bigint AS cur) c),
known AS (
    UPDATE backfleet.divergence_rows r SET last_seen = clock_timestamp(), kind = f.kind
      FROM f WHERE r.migration = $1 AND r.relation = f.relation AND r.key = f.key AND r.gone_at IS NULL
    RETURNING r.relation, r.key),
fresh AS MATERIALIZED (
    SELECT f.*, row_number() OVER () AS n FROM f WHERE NOT EXISTS (
        SELECT FROM backfleet.divergence_rows r WHERE r.migration = $1 AND r.relation = f.relation AND r.key = f.key AND r.gone_at IS NULL)),
room AS (SELECT greatest($6::bigint - (SELECT count(*) FROM backfleet.divergence_rows WHERE migration = $1 AND gone_at IS NULL), 0) AS n),
dated AS MATERIALIZED (
    SELECT fresh.relation, fresh.key, fresh.kind, coalesce(w.at, d.at) AS written,
           CASE WHEN w.at IS NOT NULL THEN 'commit' WHEN d.at IS NOT NULL THEN 'transaction' ELSE 'round' END AS how,
           coalesce((SELECT max(a.at) FROM backfleet.activity a WHERE a.at < coalesce(w.at, d.at)), $7::timestamptz) AS since,
           coalesce(CASE WHEN w.at IS NOT NULL THEN (SELECT min(a.at) FROM backfleet.activity a WHERE a.at >= w.at) ELSE d.at END, $8::timestamptz) AS until
      FROM fresh JOIN room ON fresh.n <= room.n
     CROSS JOIN LATERAL (SELECT CASE WHEN $9 AND fresh.kind IN ('missing', 'differing') AND fresh.x > 2
                                     THEN pg_xact_commit_timestamp(fresh.x::text::xid) END AS at) w
      LEFT JOIN LATERAL (SELECT a.at FROM backfleet.activity a
                          WHERE fresh.kind IN ('missing', 'differing') AND fresh.x > 2 AND a.next_xid > fresh.full_xid
                            AND EXISTS (SELECT FROM backfleet.activity b WHERE b.next_xid <= fresh.full_xid)
                          ORDER BY a.at LIMIT 1) d ON true),
kept AS (
    INSERT INTO backfleet.divergence_rows AS r (migration, relation, key, kind, first_seen, last_seen, bucket_since, bucket_until)
    SELECT $1, relation, key, kind, clock_timestamp(), clock_timestamp(), CASE WHEN how = 'round' THEN $7 ELSE since END, until FROM dated
    ON CONFLICT (migration, relation, key) DO UPDATE SET kind = EXCLUDED.kind, first_seen = EXCLUDED.first_seen,
        last_seen = EXCLUDED.last_seen, gone_at = NULL, bucket_since = EXCLUDED.bucket_since, bucket_until = EXCLUDED.bucket_until),
grown AS (
    INSERT INTO backfleet.divergence_buckets AS b (migration, since, until, how, missing, differing, orphans, failing)
    SELECT $1, CASE WHEN how = 'round' THEN $7 ELSE since END, until, min(how), count(*) FILTER (WHERE kind = 'missing'),
           count(*) FILTER (WHERE kind = 'differing'), count(*) FILTER (WHERE kind = 'orphan'), count(*) FILTER (WHERE kind = 'failing')
      FROM dated GROUP BY 2, 3
    ON CONFLICT (migration, since, until) DO UPDATE SET missing = b.missing + EXCLUDED.missing, differing = b.differing + EXCLUDED.differing,
        orphans = b.orphans + EXCLUDED.orphans, failing = b.failing + EXCLUDED.failing
    RETURNING since, until)
SELECT (SELECT count(*) FROM fresh) > (SELECT n FROM room), ARRAY(SELECT since FROM grown ORDER BY 1), ARRAY(SELECT until FROM grown ORDER BY since)

-- name: bucket_blame
UPDATE backfleet.divergence_buckets SET suspects = $4 WHERE migration = $1 AND since = $2 AND until = $3

-- name: activity_between
SELECT at, seen FROM backfleet.activity WHERE at > $1 AND at <= $2 ORDER BY at

-- name: activity_add
WITH old AS (DELETE FROM backfleet.activity WHERE at < clock_timestamp() - interval '2 days')
INSERT INTO backfleet.activity (next_xid, seen) VALUES (pg_snapshot_xmax(pg_current_snapshot())::text::bigint, $1)

-- name: series
SELECT round, started_at, at, ended_at, walked, waiting, missing, differing, orphans, failing, more, seconds
  FROM backfleet.divergence_rounds WHERE migration = $1 AND at >= $2 ORDER BY round

-- name: growth
SELECT since, until, how, missing, differing, orphans, failing, suspects
  FROM backfleet.divergence_buckets WHERE migration = $1 ORDER BY until, since

-- name: diverging
SELECT relation, key, kind, first_seen, last_seen, bucket_since, bucket_until FROM backfleet.divergence_rows
 WHERE migration = $1 AND gone_at IS NULL ORDER BY first_seen, relation, key LIMIT $2

-- name: divergence
-- A round with more diverging rows than are kept may hold new ones.
WITH last AS (SELECT * FROM backfleet.divergence_rounds WHERE migration = $1 AND ended_at IS NOT NULL ORDER BY round DESC LIMIT 1)
SELECT greatest((SELECT max(first_seen) FROM backfleet.divergence_rows WHERE migration = $1 AND kind <> 'failing'),
                (SELECT max(at) FROM backfleet.divergence_rounds WHERE migration = $1 AND more)),
       (SELECT max(started_at) FROM backfleet.divergence_rounds WHERE migration = $1 AND ended_at IS NOT NULL AND missing + differing + orphans + waiting + failing = 0),
       (SELECT started_at FROM last), coalesce((SELECT missing FROM last), 0), coalesce((SELECT differing + orphans FROM last), 0)
