-- update, half-open
UPDATE ONLY "public"."users" AS "users" SET "email_norm" = (
lower(email)
)
  WHERE "users"."id" >= CAST($1 AS bigint) AND "users"."id" < CAST($2 AS bigint) AND (
email_norm IS NULL
);
-- $1 = "-5"
-- $2 = "1000"

-- boundary, half-open
SELECT ARRAY["users"."id"::text] FROM ONLY "public"."users" AS "users" WHERE "users"."id" >= CAST($1 AS bigint) AND "users"."id" < CAST($2 AS bigint) ORDER BY "users"."id" OFFSET $3 LIMIT 1;
-- $1 = "-5"
-- $2 = "1000"
-- $3 = 200

-- steps, half-open
WITH RECURSIVE backfleet_s AS (
 (SELECT "users"."id" AS k1, 1 AS n FROM ONLY "public"."users" AS "users" WHERE "users"."id" >= CAST($1 AS bigint) AND "users"."id" < CAST($2 AS bigint) ORDER BY "users"."id" OFFSET $4 LIMIT 1)
 UNION ALL
 SELECT backfleet_b.*, backfleet_s.n + 1 FROM backfleet_s CROSS JOIN LATERAL
  (SELECT "users"."id" AS k1 FROM ONLY "public"."users" AS "users" WHERE "users"."id" >= backfleet_s.k1 AND "users"."id" < CAST($3 AS bigint) ORDER BY "users"."id" OFFSET $4 LIMIT 1) AS backfleet_b
  WHERE backfleet_s.n < $5)
SELECT ARRAY[backfleet_s.k1::text] FROM backfleet_s ORDER BY backfleet_s.n;
-- $1 = "-5"
-- $2 = "1000"
-- $3 = "1000"
-- $4 = 50000
-- $5 = 100

-- look, half-open
SELECT count(*), count(*) FILTER (WHERE (
email_norm IS NULL
)), count(*) FILTER (WHERE (
email_norm = lower(email)
) IS NOT TRUE) FROM ONLY "public"."users" AS "users" WHERE "users"."id" >= CAST($1 AS bigint) AND "users"."id" < CAST($2 AS bigint);
-- $1 = "-5"
-- $2 = "1000"

-- update, open below
UPDATE ONLY "public"."users" AS "users" SET "email_norm" = (
lower(email)
)
  WHERE "users"."id" < CAST($1 AS bigint) AND (
email_norm IS NULL
);
-- $1 = "1000"

-- boundary, open below
SELECT ARRAY["users"."id"::text] FROM ONLY "public"."users" AS "users" WHERE "users"."id" < CAST($1 AS bigint) ORDER BY "users"."id" OFFSET $2 LIMIT 1;
-- $1 = "1000"
-- $2 = 200

-- steps, open below
WITH RECURSIVE backfleet_s AS (
 (SELECT "users"."id" AS k1, 1 AS n FROM ONLY "public"."users" AS "users" WHERE "users"."id" < CAST($1 AS bigint) ORDER BY "users"."id" OFFSET $3 LIMIT 1)
 UNION ALL
 SELECT backfleet_b.*, backfleet_s.n + 1 FROM backfleet_s CROSS JOIN LATERAL
  (SELECT "users"."id" AS k1 FROM ONLY "public"."users" AS "users" WHERE "users"."id" >= backfleet_s.k1 AND "users"."id" < CAST($2 AS bigint) ORDER BY "users"."id" OFFSET $3 LIMIT 1) AS backfleet_b
  WHERE backfleet_s.n < $4)
SELECT ARRAY[backfleet_s.k1::text] FROM backfleet_s ORDER BY backfleet_s.n;
-- $1 = "1000"
-- $2 = "1000"
-- $3 = 50000
-- $4 = 100

-- look, open below
SELECT count(*), count(*) FILTER (WHERE (
email_norm IS NULL
)), count(*) FILTER (WHERE (
email_norm = lower(email)
) IS NOT TRUE) FROM ONLY "public"."users" AS "users" WHERE "users"."id" < CAST($1 AS bigint);
-- $1 = "1000"

-- update, closed above
UPDATE ONLY "public"."users" AS "users" SET "email_norm" = (
lower(email)
)
  WHERE "users"."id" >= CAST($1 AS bigint) AND "users"."id" <= CAST($2 AS bigint) AND (
email_norm IS NULL
);
-- $1 = "-5"
-- $2 = "1000"

-- boundary, closed above
SELECT ARRAY["users"."id"::text] FROM ONLY "public"."users" AS "users" WHERE "users"."id" >= CAST($1 AS bigint) AND "users"."id" <= CAST($2 AS bigint) ORDER BY "users"."id" OFFSET $3 LIMIT 1;
-- $1 = "-5"
-- $2 = "1000"
-- $3 = 200

-- steps, closed above
WITH RECURSIVE backfleet_s AS (
 (SELECT "users"."id" AS k1, 1 AS n FROM ONLY "public"."users" AS "users" WHERE "users"."id" >= CAST($1 AS bigint) AND "users"."id" <= CAST($2 AS bigint) ORDER BY "users"."id" OFFSET $4 LIMIT 1)
 UNION ALL
 SELECT backfleet_b.*, backfleet_s.n + 1 FROM backfleet_s CROSS JOIN LATERAL
  (SELECT "users"."id" AS k1 FROM ONLY "public"."users" AS "users" WHERE "users"."id" >= backfleet_s.k1 AND "users"."id" <= CAST($3 AS bigint) ORDER BY "users"."id" OFFSET $4 LIMIT 1) AS backfleet_b
  WHERE backfleet_s.n < $5)
SELECT ARRAY[backfleet_s.k1::text] FROM backfleet_s ORDER BY backfleet_s.n;
-- $1 = "-5"
-- $2 = "1000"
-- $3 = "1000"
-- $4 = 50000
-- $5 = 100

-- look, closed above
SELECT count(*), count(*) FILTER (WHERE (
email_norm IS NULL
)), count(*) FILTER (WHERE (
email_norm = lower(email)
) IS NOT TRUE) FROM ONLY "public"."users" AS "users" WHERE "users"."id" >= CAST($1 AS bigint) AND "users"."id" <= CAST($2 AS bigint);
-- $1 = "-5"
-- $2 = "1000"

-- update, open above
UPDATE ONLY "public"."users" AS "users" SET "email_norm" = (
lower(email)
)
  WHERE "users"."id" >= CAST($1 AS bigint) AND (
email_norm IS NULL
);
-- $1 = "-5"

-- boundary, open above
SELECT ARRAY["users"."id"::text] FROM ONLY "public"."users" AS "users" WHERE "users"."id" >= CAST($1 AS bigint) ORDER BY "users"."id" OFFSET $2 LIMIT 1;
-- $1 = "-5"
-- $2 = 200

-- steps, open above
WITH RECURSIVE backfleet_s AS (
 (SELECT "users"."id" AS k1, 1 AS n FROM ONLY "public"."users" AS "users" WHERE "users"."id" >= CAST($1 AS bigint) ORDER BY "users"."id" OFFSET $2 LIMIT 1)
 UNION ALL
 SELECT backfleet_b.*, backfleet_s.n + 1 FROM backfleet_s CROSS JOIN LATERAL
  (SELECT "users"."id" AS k1 FROM ONLY "public"."users" AS "users" WHERE "users"."id" >= backfleet_s.k1 AND true ORDER BY "users"."id" OFFSET $2 LIMIT 1) AS backfleet_b
  WHERE backfleet_s.n < $3)
SELECT ARRAY[backfleet_s.k1::text] FROM backfleet_s ORDER BY backfleet_s.n;
-- $1 = "-5"
-- $2 = 50000
-- $3 = 100

-- look, open above
SELECT count(*), count(*) FILTER (WHERE (
email_norm IS NULL
)), count(*) FILTER (WHERE (
email_norm = lower(email)
) IS NOT TRUE) FROM ONLY "public"."users" AS "users" WHERE "users"."id" >= CAST($1 AS bigint);
-- $1 = "-5"

-- update, unbounded
UPDATE ONLY "public"."users" AS "users" SET "email_norm" = (
lower(email)
)
  WHERE true AND (
email_norm IS NULL
);

-- boundary, unbounded
SELECT ARRAY["users"."id"::text] FROM ONLY "public"."users" AS "users" WHERE true ORDER BY "users"."id" OFFSET $1 LIMIT 1;
-- $1 = 200

-- steps, unbounded
WITH RECURSIVE backfleet_s AS (
 (SELECT "users"."id" AS k1, 1 AS n FROM ONLY "public"."users" AS "users" WHERE true ORDER BY "users"."id" OFFSET $1 LIMIT 1)
 UNION ALL
 SELECT backfleet_b.*, backfleet_s.n + 1 FROM backfleet_s CROSS JOIN LATERAL
  (SELECT "users"."id" AS k1 FROM ONLY "public"."users" AS "users" WHERE "users"."id" >= backfleet_s.k1 AND true ORDER BY "users"."id" OFFSET $1 LIMIT 1) AS backfleet_b
  WHERE backfleet_s.n < $2)
SELECT ARRAY[backfleet_s.k1::text] FROM backfleet_s ORDER BY backfleet_s.n;
-- $1 = 50000
-- $2 = 100

-- look, unbounded
SELECT count(*), count(*) FILTER (WHERE (
email_norm IS NULL
)), count(*) FILTER (WHERE (
email_norm = lower(email)
) IS NOT TRUE) FROM ONLY "public"."users" AS "users" WHERE true;

-- measured
EXPLAIN (ANALYZE, WAL, TIMING OFF, FORMAT JSON) UPDATE ONLY "public"."users" AS "users" SET "email_norm" = (
lower(email)
)
  WHERE "users"."id" >= CAST($1 AS bigint) AND "users"."id" < CAST($2 AS bigint) AND (
email_norm IS NULL
);
-- $1 = "-5"
-- $2 = "1000"

-- widths
SELECT coalesce(sum(coalesce(pg_column_size("users"."email_norm"), 0)), 0)::float8 FROM ONLY "public"."users" AS "users" WHERE "users"."id" >= CAST($1 AS bigint) AND "users"."id" < CAST($2 AS bigint);
-- $1 = "-5"
-- $2 = "1000"

-- near
SELECT ARRAY["users"."id"::text] FROM ONLY "public"."users" AS "users" WHERE "users"."ctid" >= CAST($1 AS tid) AND "users"."ctid" < CAST($2 AS tid) LIMIT 1;
-- $1 = "(7,0)"
-- $2 = "(71,0)"

-- bound
SELECT ARRAY["users"."id"::text] FROM ONLY "public"."users" AS "users" ORDER BY "users"."id" DESC LIMIT 1;

-- first key
SELECT ARRAY["users"."id"::text] FROM ONLY "public"."users" AS "users" WHERE "users"."id" >= CAST($1 AS bigint) AND "users"."id" < CAST($2 AS bigint) ORDER BY "users"."id" OFFSET $3 LIMIT 1;
-- $1 = "-5"
-- $2 = "1000"
-- $3 = 0

-- fill
SELECT held, moved, written FROM backfleet.fill($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19);
-- $1 = "01JD8Z7Q4T0000000000000001"
-- $2 = 3
-- $3 = 2
-- $4 = "11111111-2222-3333-4444-555555555555"
-- $5 = []string(nil)
-- $6 = []string{"1000"}
-- $7 = 1
-- $8 = 0
-- $9 = []string{"-5"}
-- $10 = []string(nil)
-- $11 = []string{"1000"}
-- $12 = 1
-- $13 = 0
-- $14 = []string{"1000"}
-- $15 = 200
-- $16 = false
-- $17 = "\"public\".\"users\""
-- $18 = "UPDATE ONLY \"public\".\"users\" AS \"users\" SET \"email_norm\" = (\nlower(email)\n)\n  WHERE \"users\".\"id\" >= CAST(($1)[1] AS bigint) AND \"users\".\"id\" < CAST(($1)[2] AS bigint) AND (\nemail_norm IS NULL\n)"
-- $19 = []string{"-5", "1000"}

-- proof
WITH backfleet_brake AS MATERIALIZED (SELECT 1 FROM backfleet.brake WHERE until > clock_timestamp()),
backfleet_lock AS MATERIALIZED (
 SELECT 1 FROM backfleet.ranges
  WHERE job_id = $1 AND index = $2
   AND CASE WHEN fence = $3 AND claim_token = $4 AND state = 'running'
   AND (chunk_lo, chunk_hi, k, pass, key) IS NOT DISTINCT FROM ($5::text[], $6::text[], $7::smallint, $8::smallint, $9::text[])
   AND relation = '"public"."users"'::regclass THEN true ELSE false END
   AND NOT EXISTS (SELECT 1 FROM backfleet_brake)
  FOR NO KEY UPDATE),
backfleet_proof AS MATERIALIZED (
 SELECT count(*) FILTER (WHERE (
email_norm IS NULL
)) AS residual, count(*) FILTER (WHERE (
email_norm = lower(email)
) IS NOT TRUE) AS check_fails
  FROM ONLY "public"."users" AS "users"
  WHERE "users"."id" >= CAST($10 AS bigint) AND "users"."id" < CAST($11 AS bigint) AND EXISTS (SELECT 1 FROM backfleet_lock)),
backfleet_move AS (
 UPDATE backfleet.ranges SET key = $12::text[], batches = batches + 1,
  walked = walked + $13, residual = residual + (SELECT residual FROM backfleet_proof), check_fails = check_fails + (SELECT check_fails FROM backfleet_proof), attempts = 0,
  lease_until = clock_timestamp() + interval '10 seconds'
  WHERE job_id = $14 AND index = $15 AND EXISTS (SELECT 1 FROM backfleet_lock)
 RETURNING 1)
SELECT EXISTS (SELECT 1 FROM backfleet_brake), (SELECT count(*) FROM backfleet_move), (SELECT residual FROM backfleet_proof), (SELECT check_fails FROM backfleet_proof);
-- $1 = "01JD8Z7Q4T0000000000000001"
-- $2 = 3
-- $3 = 2
-- $4 = "11111111-2222-3333-4444-555555555555"
-- $5 = []string(nil)
-- $6 = []string{"1000"}
-- $7 = 1
-- $8 = 0
-- $9 = []string{"-5"}
-- $10 = "-5"
-- $11 = "1000"
-- $12 = []string{"1000"}
-- $13 = 200
-- $14 = "01JD8Z7Q4T0000000000000001"
-- $15 = 3

-- repair the residual
WITH backfleet_brake AS MATERIALIZED (SELECT 1 FROM backfleet.brake WHERE until > clock_timestamp()),
backfleet_lock AS MATERIALIZED (
 SELECT 1 FROM backfleet.ranges
  WHERE job_id = $1 AND index = $2
   AND CASE WHEN fence = $3 AND claim_token = $4 AND state = 'running'
   AND (chunk_lo, chunk_hi, k, pass, key) IS NOT DISTINCT FROM ($5::text[], $6::text[], $7::smallint, $8::smallint, $9::text[])
   AND relation = '"public"."users"'::regclass THEN true ELSE false END
   AND NOT EXISTS (SELECT 1 FROM backfleet_brake)
  FOR NO KEY UPDATE),
backfleet_update AS (
 UPDATE ONLY "public"."users" AS "users" SET "email_norm" = (
lower(email)
)
  WHERE "users"."id" >= CAST($10 AS bigint) AND "users"."id" < CAST($11 AS bigint) AND EXISTS (SELECT 1 FROM backfleet_lock) AND (
email_norm IS NULL
)
 RETURNING 1),
backfleet_count AS MATERIALIZED (SELECT count(*) AS rows FROM backfleet_update),
backfleet_move AS (
 UPDATE backfleet.ranges SET rows = rows + (SELECT rows FROM backfleet_count),
  lease_until = clock_timestamp() + interval '10 seconds'
  WHERE job_id = $12 AND index = $13 AND EXISTS (SELECT 1 FROM backfleet_lock)
 RETURNING 1)
SELECT EXISTS (SELECT 1 FROM backfleet_brake), (SELECT count(*) FROM backfleet_move), (SELECT rows FROM backfleet_count);
-- $1 = "01JD8Z7Q4T0000000000000001"
-- $2 = 3
-- $3 = 2
-- $4 = "11111111-2222-3333-4444-555555555555"
-- $5 = []string(nil)
-- $6 = []string{"1000"}
-- $7 = 1
-- $8 = 0
-- $9 = []string{"-5"}
-- $10 = "-5"
-- $11 = "1000"
-- $12 = "01JD8Z7Q4T0000000000000001"
-- $13 = 3

-- repair what fails its check too
WITH backfleet_brake AS MATERIALIZED (SELECT 1 FROM backfleet.brake WHERE until > clock_timestamp()),
backfleet_lock AS MATERIALIZED (
 SELECT 1 FROM backfleet.ranges
  WHERE job_id = $1 AND index = $2
   AND CASE WHEN fence = $3 AND claim_token = $4 AND state = 'running'
   AND (chunk_lo, chunk_hi, k, pass, key) IS NOT DISTINCT FROM ($5::text[], $6::text[], $7::smallint, $8::smallint, $9::text[])
   AND relation = '"public"."users"'::regclass THEN true ELSE false END
   AND NOT EXISTS (SELECT 1 FROM backfleet_brake)
  FOR NO KEY UPDATE),
backfleet_update AS (
 UPDATE ONLY "public"."users" AS "users" SET "email_norm" = (
lower(email)
)
  WHERE "users"."id" >= CAST($10 AS bigint) AND "users"."id" < CAST($11 AS bigint) AND EXISTS (SELECT 1 FROM backfleet_lock) AND ((
email_norm IS NULL
) OR (
email_norm = lower(email)
) IS NOT TRUE)
 RETURNING 1),
backfleet_count AS MATERIALIZED (SELECT count(*) AS rows FROM backfleet_update),
backfleet_move AS (
 UPDATE backfleet.ranges SET rows = rows + (SELECT rows FROM backfleet_count),
  lease_until = clock_timestamp() + interval '10 seconds'
  WHERE job_id = $12 AND index = $13 AND EXISTS (SELECT 1 FROM backfleet_lock)
 RETURNING 1)
SELECT EXISTS (SELECT 1 FROM backfleet_brake), (SELECT count(*) FROM backfleet_move), (SELECT rows FROM backfleet_count);
-- $1 = "01JD8Z7Q4T0000000000000001"
-- $2 = 3
-- $3 = 2
-- $4 = "11111111-2222-3333-4444-555555555555"
-- $5 = []string(nil)
-- $6 = []string{"1000"}
-- $7 = 1
-- $8 = 0
-- $9 = []string{"-5"}
-- $10 = "-5"
-- $11 = "1000"
-- $12 = "01JD8Z7Q4T0000000000000001"
-- $13 = 3

-- failing
SELECT ARRAY["users"."id"::text] FROM ONLY "public"."users" AS "users" WHERE "users"."id" >= CAST($1 AS bigint) AND "users"."id" < CAST($2 AS bigint) AND ((
email_norm IS NULL
) OR (
email_norm = lower(email)
) IS NOT TRUE) ORDER BY "users"."id" LIMIT 1;
-- $1 = "-5"
-- $2 = "1000"

-- count of blocks
SELECT '"public"."users"'::regclass::oid, pg_catalog.pg_relation_filenode('"public"."users"'::regclass), count(*), count(*) FILTER (WHERE (
email_norm IS NULL
)), count(*) FILTER (WHERE (
email_norm = lower(email)
) IS NOT TRUE)
 FROM ONLY "public"."users" AS "users"
 WHERE "users"."ctid" >= CAST($1 AS tid) AND "users"."ctid" < CAST($2 AS tid) AND "users"."id" <= CAST($3 AS bigint);
-- $1 = "(7,0)"
-- $2 = "(9,0)"
-- $3 = "1000"

-- counted
WITH backfleet_brake AS MATERIALIZED (SELECT 1 FROM backfleet.brake WHERE until > clock_timestamp()),
backfleet_lock AS MATERIALIZED (
 SELECT 1 FROM backfleet.ranges
  WHERE job_id = $1 AND index = $2
   AND CASE WHEN fence = $3 AND claim_token = $4 AND state = 'running'
   AND (chunk_lo, chunk_hi, k, pass, key) IS NOT DISTINCT FROM ($5::text[], $6::text[], $7::smallint, $8::smallint, $9::text[])
   AND relation = '"public"."users"'::regclass THEN true ELSE false END
   AND NOT EXISTS (SELECT 1 FROM backfleet_brake)
  FOR NO KEY UPDATE),
backfleet_move AS (
 UPDATE backfleet.ranges SET key = $13::text[], batches = batches + 1,
  walked = walked + $14, residual = residual + $10, check_fails = check_fails + $11, blocks_left = blocks_left - $12, attempts = 0,
  lease_until = clock_timestamp() + interval '10 seconds'
  WHERE job_id = $15 AND index = $16 AND EXISTS (SELECT 1 FROM backfleet_lock)
 RETURNING 1)
SELECT EXISTS (SELECT 1 FROM backfleet_brake), (SELECT count(*) FROM backfleet_move);
-- $1 = "01JD8Z7Q4T0000000000000001"
-- $2 = 3
-- $3 = 2
-- $4 = "11111111-2222-3333-4444-555555555555"
-- $5 = []string(nil)
-- $6 = []string{"1000"}
-- $7 = 1
-- $8 = 0
-- $9 = []string{"-5"}
-- $10 = 0
-- $11 = 1
-- $12 = 2
-- $13 = []string{"1000"}
-- $14 = 200
-- $15 = "01JD8Z7Q4T0000000000000001"
-- $16 = 3

-- quarantine
WITH backfleet_brake AS MATERIALIZED (SELECT 1 FROM backfleet.brake WHERE until > clock_timestamp()),
backfleet_lock AS MATERIALIZED (
 SELECT 1 FROM backfleet.ranges
  WHERE job_id = $1 AND index = $2
   AND CASE WHEN fence = $3 AND claim_token = $4 AND state = 'running'
   AND (chunk_lo, chunk_hi, k, pass, key) IS NOT DISTINCT FROM ($5::text[], $6::text[], $7::smallint, $8::smallint, $9::text[])
   AND relation = '"public"."users"'::regclass THEN true ELSE false END
   AND NOT EXISTS (SELECT 1 FROM backfleet_brake)
  FOR NO KEY UPDATE),
backfleet_alone AS MATERIALIZED (
 SELECT 1 FROM backfleet_lock WHERE NOT EXISTS (
  SELECT 1 FROM ONLY "public"."users" AS "users" WHERE "users"."id" >= CAST($10 AS bigint) AND "users"."id" < CAST($11 AS bigint) AND "users"."id" <> CAST($12 AS bigint))),
backfleet_others AS MATERIALIZED (
 SELECT count(*) AS rows FROM backfleet.quarantine WHERE job_id = $13 AND (relation, key) <> ($14::oid, $15::text[])),
backfleet_room AS MATERIALIZED (SELECT 1 FROM backfleet_alone, backfleet_others WHERE rows < $16),
backfleet_put AS (
 INSERT INTO backfleet.quarantine AS q (job_id, relation, key, range_index, sqlstate, error, by)
 SELECT $17, $18::oid, $19::text[], $20::int, $21, $22, $23
 FROM backfleet_room
 ON CONFLICT (job_id, relation, key) DO UPDATE SET sqlstate = EXCLUDED.sqlstate, error = EXCLUDED.error, attempts = q.attempts + 1, at = clock_timestamp()),
backfleet_move AS (
 UPDATE backfleet.ranges SET key = $24::text[], batches = batches + 1,
  walked = walked + $25, rows = rows, attempts = 0,
  lease_until = clock_timestamp() + interval '10 seconds'
  WHERE job_id = $26 AND index = $27 AND EXISTS (SELECT 1 FROM backfleet_room)
 RETURNING 1)
SELECT EXISTS (SELECT 1 FROM backfleet_brake), (SELECT count(*) FROM backfleet_move), (SELECT rows FROM backfleet_others), (SELECT count(*) FROM backfleet_lock), (SELECT count(*) FROM backfleet_alone);
-- $1 = "01JD8Z7Q4T0000000000000001"
-- $2 = 3
-- $3 = 2
-- $4 = "11111111-2222-3333-4444-555555555555"
-- $5 = []string(nil)
-- $6 = []string{"1000"}
-- $7 = 1
-- $8 = 0
-- $9 = []string{"-5"}
-- $10 = "-5"
-- $11 = "1000"
-- $12 = "-5"
-- $13 = "01JD8Z7Q4T0000000000000001"
-- $14 = 0x4000
-- $15 = []string{"-5"}
-- $16 = 100
-- $17 = "01JD8Z7Q4T0000000000000001"
-- $18 = 0x4000
-- $19 = []string{"-5"}
-- $20 = 3
-- $21 = "23514"
-- $22 = "violates a check"
-- $23 = "worker-1"
-- $24 = []string{"1000"}
-- $25 = 200
-- $26 = "01JD8Z7Q4T0000000000000001"
-- $27 = 3

-- fill, last, with rows in quarantine
SELECT held, moved, written FROM backfleet.fill($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19);
-- $1 = "01JD8Z7Q4T0000000000000001"
-- $2 = 3
-- $3 = 2
-- $4 = "11111111-2222-3333-4444-555555555555"
-- $5 = []string(nil)
-- $6 = []string{"1000"}
-- $7 = 1
-- $8 = 0
-- $9 = []string{"-5"}
-- $10 = []string(nil)
-- $11 = []string{"1000"}
-- $12 = 1
-- $13 = 0
-- $14 = []string{"1000"}
-- $15 = 0
-- $16 = true
-- $17 = "\"public\".\"users\""
-- $18 = "UPDATE ONLY \"public\".\"users\" AS \"users\" SET \"email_norm\" = (\nlower(email)\n)\n  WHERE \"users\".\"id\" >= CAST(($1)[1] AS bigint) AND \"users\".\"id\" <= CAST(($1)[2] AS bigint) AND (\nemail_norm IS NULL\n)\n  AND NOT EXISTS (SELECT 1 FROM backfleet.quarantine AS backfleet_q WHERE backfleet_q.job_id = ($1)[3] AND backfleet_q.relation = CAST(($1)[4] AS oid) AND backfleet_q.key = ARRAY[\"users\".\"id\"::text])"
-- $19 = []string{"-5", "1000", "01JD8Z7Q4T0000000000000001", "16384"}

-- proof, last, with rows in quarantine
WITH backfleet_brake AS MATERIALIZED (SELECT 1 FROM backfleet.brake WHERE until > clock_timestamp()),
backfleet_lock AS MATERIALIZED (
 SELECT 1 FROM backfleet.ranges
  WHERE job_id = $1 AND index = $2
   AND CASE WHEN fence = $3 AND claim_token = $4 AND state = 'running'
   AND (chunk_lo, chunk_hi, k, pass, key) IS NOT DISTINCT FROM ($5::text[], $6::text[], $7::smallint, $8::smallint, $9::text[])
   AND relation = '"public"."users"'::regclass THEN true ELSE false END
   AND NOT EXISTS (SELECT 1 FROM backfleet_brake)
  FOR NO KEY UPDATE),
backfleet_proof AS MATERIALIZED (
 SELECT count(*) FILTER (WHERE (
email_norm IS NULL
)) AS residual, count(*) FILTER (WHERE (
email_norm = lower(email)
) IS NOT TRUE) AS check_fails
  FROM ONLY "public"."users" AS "users"
  WHERE "users"."id" >= CAST($10 AS bigint) AND "users"."id" <= CAST($11 AS bigint) AND EXISTS (SELECT 1 FROM backfleet_lock)
  AND NOT EXISTS (SELECT 1 FROM backfleet.quarantine AS backfleet_q WHERE backfleet_q.job_id = $12 AND backfleet_q.relation = CAST($13 AS oid) AND backfleet_q.key = ARRAY["users"."id"::text])),
backfleet_move AS (
 UPDATE backfleet.ranges SET key = $14::text[], batches = batches + 1,
  walked = walked + $15, residual = residual + (SELECT residual FROM backfleet_proof), check_fails = check_fails + (SELECT check_fails FROM backfleet_proof), attempts = 0,
  lease_until = clock_timestamp() + interval '10 seconds', state = 'done', ended_at = clock_timestamp()
  WHERE job_id = $16 AND index = $17 AND EXISTS (SELECT 1 FROM backfleet_lock)
 RETURNING 1)
SELECT EXISTS (SELECT 1 FROM backfleet_brake), (SELECT count(*) FROM backfleet_move), (SELECT residual FROM backfleet_proof), (SELECT check_fails FROM backfleet_proof);
-- $1 = "01JD8Z7Q4T0000000000000001"
-- $2 = 3
-- $3 = 2
-- $4 = "11111111-2222-3333-4444-555555555555"
-- $5 = []string(nil)
-- $6 = []string{"1000"}
-- $7 = 1
-- $8 = 0
-- $9 = []string{"-5"}
-- $10 = "-5"
-- $11 = "1000"
-- $12 = "01JD8Z7Q4T0000000000000001"
-- $13 = 0x4000
-- $14 = []string{"1000"}
-- $15 = 0
-- $16 = "01JD8Z7Q4T0000000000000001"
-- $17 = 3

-- repair the residual, last, with rows in quarantine
WITH backfleet_brake AS MATERIALIZED (SELECT 1 FROM backfleet.brake WHERE until > clock_timestamp()),
backfleet_lock AS MATERIALIZED (
 SELECT 1 FROM backfleet.ranges
  WHERE job_id = $1 AND index = $2
   AND CASE WHEN fence = $3 AND claim_token = $4 AND state = 'running'
   AND (chunk_lo, chunk_hi, k, pass, key) IS NOT DISTINCT FROM ($5::text[], $6::text[], $7::smallint, $8::smallint, $9::text[])
   AND relation = '"public"."users"'::regclass THEN true ELSE false END
   AND NOT EXISTS (SELECT 1 FROM backfleet_brake)
  FOR NO KEY UPDATE),
backfleet_update AS (
 UPDATE ONLY "public"."users" AS "users" SET "email_norm" = (
lower(email)
)
  WHERE "users"."id" >= CAST($10 AS bigint) AND "users"."id" <= CAST($11 AS bigint) AND EXISTS (SELECT 1 FROM backfleet_lock) AND (
email_norm IS NULL
)
  AND NOT EXISTS (SELECT 1 FROM backfleet.quarantine AS backfleet_q WHERE backfleet_q.job_id = $12 AND backfleet_q.relation = CAST($13 AS oid) AND backfleet_q.key = ARRAY["users"."id"::text])
 RETURNING 1),
backfleet_count AS MATERIALIZED (SELECT count(*) AS rows FROM backfleet_update),
backfleet_move AS (
 UPDATE backfleet.ranges SET rows = rows + (SELECT rows FROM backfleet_count),
  lease_until = clock_timestamp() + interval '10 seconds'
  WHERE job_id = $14 AND index = $15 AND EXISTS (SELECT 1 FROM backfleet_lock)
 RETURNING 1)
SELECT EXISTS (SELECT 1 FROM backfleet_brake), (SELECT count(*) FROM backfleet_move), (SELECT rows FROM backfleet_count);
-- $1 = "01JD8Z7Q4T0000000000000001"
-- $2 = 3
-- $3 = 2
-- $4 = "11111111-2222-3333-4444-555555555555"
-- $5 = []string(nil)
-- $6 = []string{"1000"}
-- $7 = 1
-- $8 = 0
-- $9 = []string{"-5"}
-- $10 = "-5"
-- $11 = "1000"
-- $12 = "01JD8Z7Q4T0000000000000001"
-- $13 = 0x4000
-- $14 = "01JD8Z7Q4T0000000000000001"
-- $15 = 3

-- repair what fails its check too, last, with rows in quarantine
WITH backfleet_brake AS MATERIALIZED (SELECT 1 FROM backfleet.brake WHERE until > clock_timestamp()),
backfleet_lock AS MATERIALIZED (
 SELECT 1 FROM backfleet.ranges
  WHERE job_id = $1 AND index = $2
   AND CASE WHEN fence = $3 AND claim_token = $4 AND state = 'running'
   AND (chunk_lo, chunk_hi, k, pass, key) IS NOT DISTINCT FROM ($5::text[], $6::text[], $7::smallint, $8::smallint, $9::text[])
   AND relation = '"public"."users"'::regclass THEN true ELSE false END
   AND NOT EXISTS (SELECT 1 FROM backfleet_brake)
  FOR NO KEY UPDATE),
backfleet_update AS (
 UPDATE ONLY "public"."users" AS "users" SET "email_norm" = (
lower(email)
)
  WHERE "users"."id" >= CAST($10 AS bigint) AND "users"."id" <= CAST($11 AS bigint) AND EXISTS (SELECT 1 FROM backfleet_lock) AND ((
email_norm IS NULL
) OR (
email_norm = lower(email)
) IS NOT TRUE)
  AND NOT EXISTS (SELECT 1 FROM backfleet.quarantine AS backfleet_q WHERE backfleet_q.job_id = $12 AND backfleet_q.relation = CAST($13 AS oid) AND backfleet_q.key = ARRAY["users"."id"::text])
 RETURNING 1),
backfleet_count AS MATERIALIZED (SELECT count(*) AS rows FROM backfleet_update),
backfleet_move AS (
 UPDATE backfleet.ranges SET rows = rows + (SELECT rows FROM backfleet_count),
  lease_until = clock_timestamp() + interval '10 seconds'
  WHERE job_id = $14 AND index = $15 AND EXISTS (SELECT 1 FROM backfleet_lock)
 RETURNING 1)
SELECT EXISTS (SELECT 1 FROM backfleet_brake), (SELECT count(*) FROM backfleet_move), (SELECT rows FROM backfleet_count);
-- $1 = "01JD8Z7Q4T0000000000000001"
-- $2 = 3
-- $3 = 2
-- $4 = "11111111-2222-3333-4444-555555555555"
-- $5 = []string(nil)
-- $6 = []string{"1000"}
-- $7 = 1
-- $8 = 0
-- $9 = []string{"-5"}
-- $10 = "-5"
-- $11 = "1000"
-- $12 = "01JD8Z7Q4T0000000000000001"
-- $13 = 0x4000
-- $14 = "01JD8Z7Q4T0000000000000001"
-- $15 = 3

-- failing, last, with rows in quarantine
SELECT ARRAY["users"."id"::text] FROM ONLY "public"."users" AS "users" WHERE "users"."id" >= CAST($1 AS bigint) AND "users"."id" <= CAST($2 AS bigint) AND ((
email_norm IS NULL
) OR (
email_norm = lower(email)
) IS NOT TRUE) AND NOT EXISTS (SELECT 1 FROM backfleet.quarantine AS backfleet_q WHERE backfleet_q.job_id = $3 AND backfleet_q.relation = CAST($4 AS oid) AND backfleet_q.key = ARRAY["users"."id"::text]) ORDER BY "users"."id" LIMIT 1;
-- $1 = "-5"
-- $2 = "1000"
-- $3 = "01JD8Z7Q4T0000000000000001"
-- $4 = 0x4000

-- count of blocks, last, with rows in quarantine
SELECT '"public"."users"'::regclass::oid, pg_catalog.pg_relation_filenode('"public"."users"'::regclass), count(*), count(*) FILTER (WHERE (
email_norm IS NULL
)), count(*) FILTER (WHERE (
email_norm = lower(email)
) IS NOT TRUE)
 FROM ONLY "public"."users" AS "users"
 WHERE "users"."ctid" >= CAST($1 AS tid) AND "users"."ctid" <= CAST($2 AS tid) AND "users"."id" <= CAST($3 AS bigint)
  AND NOT EXISTS (SELECT 1 FROM backfleet.quarantine AS backfleet_q WHERE backfleet_q.job_id = $4 AND backfleet_q.relation = CAST($5 AS oid) AND backfleet_q.key = ARRAY["users"."id"::text]);
-- $1 = "(7,0)"
-- $2 = "(9,0)"
-- $3 = "1000"
-- $4 = "01JD8Z7Q4T0000000000000001"
-- $5 = 0x4000

-- counted, last, with rows in quarantine
WITH backfleet_brake AS MATERIALIZED (SELECT 1 FROM backfleet.brake WHERE until > clock_timestamp()),
backfleet_lock AS MATERIALIZED (
 SELECT 1 FROM backfleet.ranges
  WHERE job_id = $1 AND index = $2
   AND CASE WHEN fence = $3 AND claim_token = $4 AND state = 'running'
   AND (chunk_lo, chunk_hi, k, pass, key) IS NOT DISTINCT FROM ($5::text[], $6::text[], $7::smallint, $8::smallint, $9::text[])
   AND relation = '"public"."users"'::regclass THEN true ELSE false END
   AND NOT EXISTS (SELECT 1 FROM backfleet_brake)
  FOR NO KEY UPDATE),
backfleet_move AS (
 UPDATE backfleet.ranges SET key = $13::text[], batches = batches + 1,
  walked = walked + $14, residual = residual + $10, check_fails = check_fails + $11, blocks_left = blocks_left - $12, attempts = 0,
  lease_until = clock_timestamp() + interval '10 seconds', state = 'done', ended_at = clock_timestamp()
  WHERE job_id = $15 AND index = $16 AND EXISTS (SELECT 1 FROM backfleet_lock)
 RETURNING 1)
SELECT EXISTS (SELECT 1 FROM backfleet_brake), (SELECT count(*) FROM backfleet_move);
-- $1 = "01JD8Z7Q4T0000000000000001"
-- $2 = 3
-- $3 = 2
-- $4 = "11111111-2222-3333-4444-555555555555"
-- $5 = []string(nil)
-- $6 = []string{"1000"}
-- $7 = 1
-- $8 = 0
-- $9 = []string{"-5"}
-- $10 = 0
-- $11 = 1
-- $12 = 2
-- $13 = []string{"1000"}
-- $14 = 0
-- $15 = "01JD8Z7Q4T0000000000000001"
-- $16 = 3

-- quarantine, last, with rows in quarantine
WITH backfleet_brake AS MATERIALIZED (SELECT 1 FROM backfleet.brake WHERE until > clock_timestamp()),
backfleet_lock AS MATERIALIZED (
 SELECT 1 FROM backfleet.ranges
  WHERE job_id = $1 AND index = $2
   AND CASE WHEN fence = $3 AND claim_token = $4 AND state = 'running'
   AND (chunk_lo, chunk_hi, k, pass, key) IS NOT DISTINCT FROM ($5::text[], $6::text[], $7::smallint, $8::smallint, $9::text[])
   AND relation = '"public"."users"'::regclass THEN true ELSE false END
   AND NOT EXISTS (SELECT 1 FROM backfleet_brake)
  FOR NO KEY UPDATE),
backfleet_alone AS MATERIALIZED (
 SELECT 1 FROM backfleet_lock WHERE NOT EXISTS (
  SELECT 1 FROM ONLY "public"."users" AS "users" WHERE "users"."id" >= CAST($10 AS bigint) AND "users"."id" <= CAST($11 AS bigint) AND "users"."id" <> CAST($12 AS bigint))),
backfleet_others AS MATERIALIZED (
 SELECT count(*) AS rows FROM backfleet.quarantine WHERE job_id = $13 AND (relation, key) <> ($14::oid, $15::text[])),
backfleet_room AS MATERIALIZED (SELECT 1 FROM backfleet_alone, backfleet_others WHERE rows < $16),
backfleet_put AS (
 INSERT INTO backfleet.quarantine AS q (job_id, relation, key, range_index, sqlstate, error, by)
 SELECT $17, $18::oid, $19::text[], $20::int, $21, $22, $23
 FROM backfleet_room
 ON CONFLICT (job_id, relation, key) DO UPDATE SET sqlstate = EXCLUDED.sqlstate, error = EXCLUDED.error, attempts = q.attempts + 1, at = clock_timestamp()),
backfleet_move AS (
 UPDATE backfleet.ranges SET key = $24::text[], batches = batches + 1,
  walked = walked + $25, rows = rows, attempts = 0,
  lease_until = clock_timestamp() + interval '10 seconds', state = 'done', ended_at = clock_timestamp()
  WHERE job_id = $26 AND index = $27 AND EXISTS (SELECT 1 FROM backfleet_room)
 RETURNING 1)
SELECT EXISTS (SELECT 1 FROM backfleet_brake), (SELECT count(*) FROM backfleet_move), (SELECT rows FROM backfleet_others), (SELECT count(*) FROM backfleet_lock), (SELECT count(*) FROM backfleet_alone);
-- $1 = "01JD8Z7Q4T0000000000000001"
-- $2 = 3
-- $3 = 2
-- $4 = "11111111-2222-3333-4444-555555555555"
-- $5 = []string(nil)
-- $6 = []string{"1000"}
-- $7 = 1
-- $8 = 0
-- $9 = []string{"-5"}
-- $10 = "-5"
-- $11 = "1000"
-- $12 = "-5"
-- $13 = "01JD8Z7Q4T0000000000000001"
-- $14 = 0x4000
-- $15 = []string{"-5"}
-- $16 = 100
-- $17 = "01JD8Z7Q4T0000000000000001"
-- $18 = 0x4000
-- $19 = []string{"-5"}
-- $20 = 3
-- $21 = "23514"
-- $22 = "violates a check"
-- $23 = "worker-1"
-- $24 = []string{"1000"}
-- $25 = 0
-- $26 = "01JD8Z7Q4T0000000000000001"
-- $27 = 3

-- fill that opens a chunk
SELECT held, moved, written FROM backfleet.fill($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19);
-- $1 = "01JD8Z7Q4T0000000000000001"
-- $2 = 3
-- $3 = 2
-- $4 = "11111111-2222-3333-4444-555555555555"
-- $5 = []string(nil)
-- $6 = []string{"1000"}
-- $7 = 1
-- $8 = 0
-- $9 = []string{"-5"}
-- $10 = []string{"-5"}
-- $11 = []string{"1000"}
-- $12 = 4
-- $13 = 0
-- $14 = []string{"1000"}
-- $15 = 200
-- $16 = false
-- $17 = "\"public\".\"users\""
-- $18 = "UPDATE ONLY \"public\".\"users\" AS \"users\" SET \"email_norm\" = (\nlower(email)\n)\n  WHERE \"users\".\"id\" >= CAST(($1)[1] AS bigint) AND \"users\".\"id\" < CAST(($1)[2] AS bigint) AND (pg_catalog.hashint8(\"users\".\"id\") & CAST(($1)[3] AS integer)) = CAST(($1)[4] AS integer) AND (\nemail_norm IS NULL\n)"
-- $19 = []string{"-5", "1000", "3", "0"}

-- quarantine that opens a chunk
WITH backfleet_brake AS MATERIALIZED (SELECT 1 FROM backfleet.brake WHERE until > clock_timestamp()),
backfleet_lock AS MATERIALIZED (
 SELECT 1 FROM backfleet.ranges
  WHERE job_id = $1 AND index = $2
   AND CASE WHEN fence = $3 AND claim_token = $4 AND state = 'running'
   AND (chunk_lo, chunk_hi, k, pass, key) IS NOT DISTINCT FROM ($5::text[], $6::text[], $7::smallint, $8::smallint, $9::text[])
   AND relation = '"public"."users"'::regclass THEN true ELSE false END
   AND NOT EXISTS (SELECT 1 FROM backfleet_brake)
  FOR NO KEY UPDATE),
backfleet_alone AS MATERIALIZED (
 SELECT 1 FROM backfleet_lock WHERE NOT EXISTS (
  SELECT 1 FROM ONLY "public"."users" AS "users" WHERE "users"."id" >= CAST($10 AS bigint) AND "users"."id" < CAST($11 AS bigint) AND (pg_catalog.hashint8("users"."id") & CAST($12 AS integer)) = CAST($13 AS integer) AND "users"."id" <> CAST($14 AS bigint))),
backfleet_others AS MATERIALIZED (
 SELECT count(*) AS rows FROM backfleet.quarantine WHERE job_id = $15 AND (relation, key) <> ($16::oid, $17::text[])),
backfleet_room AS MATERIALIZED (SELECT 1 FROM backfleet_alone, backfleet_others WHERE rows < $18),
backfleet_put AS (
 INSERT INTO backfleet.quarantine AS q (job_id, relation, key, range_index, sqlstate, error, by)
 SELECT $19, $20::oid, $21::text[], $22::int, $23, $24, $25
 FROM backfleet_room
 ON CONFLICT (job_id, relation, key) DO UPDATE SET sqlstate = EXCLUDED.sqlstate, error = EXCLUDED.error, attempts = q.attempts + 1, at = clock_timestamp()),
backfleet_move AS (
 UPDATE backfleet.ranges SET key = $26::text[], chunk_lo = $27::text[], chunk_hi = $28::text[],
  k = $29, pass = $30, batches = batches + 1,
  walked = walked + $31, rows = rows, attempts = 0,
  lease_until = clock_timestamp() + interval '10 seconds'
  WHERE job_id = $32 AND index = $33 AND EXISTS (SELECT 1 FROM backfleet_room)
 RETURNING 1)
SELECT EXISTS (SELECT 1 FROM backfleet_brake), (SELECT count(*) FROM backfleet_move), (SELECT rows FROM backfleet_others), (SELECT count(*) FROM backfleet_lock), (SELECT count(*) FROM backfleet_alone);
-- $1 = "01JD8Z7Q4T0000000000000001"
-- $2 = 3
-- $3 = 2
-- $4 = "11111111-2222-3333-4444-555555555555"
-- $5 = []string(nil)
-- $6 = []string{"1000"}
-- $7 = 1
-- $8 = 0
-- $9 = []string{"-5"}
-- $10 = "-5"
-- $11 = "1000"
-- $12 = 3
-- $13 = 0
-- $14 = "-5"
-- $15 = "01JD8Z7Q4T0000000000000001"
-- $16 = 0x4000
-- $17 = []string{"-5"}
-- $18 = 100
-- $19 = "01JD8Z7Q4T0000000000000001"
-- $20 = 0x4000
-- $21 = []string{"-5"}
-- $22 = 3
-- $23 = "23514"
-- $24 = "violates a check"
-- $25 = "worker-1"
-- $26 = []string{"1000"}
-- $27 = []string{"-5"}
-- $28 = []string{"1000"}
-- $29 = 4
-- $30 = 0
-- $31 = 200
-- $32 = "01JD8Z7Q4T0000000000000001"
-- $33 = 3

-- fill of a pass
SELECT held, moved, written FROM backfleet.fill($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19);
-- $1 = "01JD8Z7Q4T0000000000000001"
-- $2 = 3
-- $3 = 2
-- $4 = "11111111-2222-3333-4444-555555555555"
-- $5 = []string{"-5"}
-- $6 = []string{"1000"}
-- $7 = 4
-- $8 = 2
-- $9 = []string{"-5"}
-- $10 = []string{"-5"}
-- $11 = []string{"1000"}
-- $12 = 4
-- $13 = 2
-- $14 = []string{"1000"}
-- $15 = 200
-- $16 = false
-- $17 = "\"public\".\"users\""
-- $18 = "UPDATE ONLY \"public\".\"users\" AS \"users\" SET \"email_norm\" = (\nlower(email)\n)\n  WHERE \"users\".\"id\" >= CAST(($1)[1] AS bigint) AND \"users\".\"id\" < CAST(($1)[2] AS bigint) AND (pg_catalog.hashint8(\"users\".\"id\") & CAST(($1)[3] AS integer)) = CAST(($1)[4] AS integer) AND (\nemail_norm IS NULL\n)"
-- $19 = []string{"-5", "1000", "3", "2"}

-- quarantine of a pass
WITH backfleet_brake AS MATERIALIZED (SELECT 1 FROM backfleet.brake WHERE until > clock_timestamp()),
backfleet_lock AS MATERIALIZED (
 SELECT 1 FROM backfleet.ranges
  WHERE job_id = $1 AND index = $2
   AND CASE WHEN fence = $3 AND claim_token = $4 AND state = 'running'
   AND (chunk_lo, chunk_hi, k, pass, key) IS NOT DISTINCT FROM ($5::text[], $6::text[], $7::smallint, $8::smallint, $9::text[])
   AND relation = '"public"."users"'::regclass THEN true ELSE false END
   AND NOT EXISTS (SELECT 1 FROM backfleet_brake)
  FOR NO KEY UPDATE),
backfleet_alone AS MATERIALIZED (
 SELECT 1 FROM backfleet_lock WHERE NOT EXISTS (
  SELECT 1 FROM ONLY "public"."users" AS "users" WHERE "users"."id" >= CAST($10 AS bigint) AND "users"."id" < CAST($11 AS bigint) AND (pg_catalog.hashint8("users"."id") & CAST($12 AS integer)) = CAST($13 AS integer) AND "users"."id" <> CAST($14 AS bigint))),
backfleet_others AS MATERIALIZED (
 SELECT count(*) AS rows FROM backfleet.quarantine WHERE job_id = $15 AND (relation, key) <> ($16::oid, $17::text[])),
backfleet_room AS MATERIALIZED (SELECT 1 FROM backfleet_alone, backfleet_others WHERE rows < $18),
backfleet_put AS (
 INSERT INTO backfleet.quarantine AS q (job_id, relation, key, range_index, sqlstate, error, by)
 SELECT $19, $20::oid, $21::text[], $22::int, $23, $24, $25
 FROM backfleet_room
 ON CONFLICT (job_id, relation, key) DO UPDATE SET sqlstate = EXCLUDED.sqlstate, error = EXCLUDED.error, attempts = q.attempts + 1, at = clock_timestamp()),
backfleet_move AS (
 UPDATE backfleet.ranges SET key = $26::text[], batches = batches + 1,
  walked = walked + $27, rows = rows, attempts = 0,
  lease_until = clock_timestamp() + interval '10 seconds'
  WHERE job_id = $28 AND index = $29 AND EXISTS (SELECT 1 FROM backfleet_room)
 RETURNING 1)
SELECT EXISTS (SELECT 1 FROM backfleet_brake), (SELECT count(*) FROM backfleet_move), (SELECT rows FROM backfleet_others), (SELECT count(*) FROM backfleet_lock), (SELECT count(*) FROM backfleet_alone);
-- $1 = "01JD8Z7Q4T0000000000000001"
-- $2 = 3
-- $3 = 2
-- $4 = "11111111-2222-3333-4444-555555555555"
-- $5 = []string{"-5"}
-- $6 = []string{"1000"}
-- $7 = 4
-- $8 = 2
-- $9 = []string{"-5"}
-- $10 = "-5"
-- $11 = "1000"
-- $12 = 3
-- $13 = 2
-- $14 = "-5"
-- $15 = "01JD8Z7Q4T0000000000000001"
-- $16 = 0x4000
-- $17 = []string{"-5"}
-- $18 = 100
-- $19 = "01JD8Z7Q4T0000000000000001"
-- $20 = 0x4000
-- $21 = []string{"-5"}
-- $22 = 3
-- $23 = "23514"
-- $24 = "violates a check"
-- $25 = "worker-1"
-- $26 = []string{"1000"}
-- $27 = 200
-- $28 = "01JD8Z7Q4T0000000000000001"
-- $29 = 3

-- fill that ends the last pass, with rows in quarantine
SELECT held, moved, written FROM backfleet.fill($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19);
-- $1 = "01JD8Z7Q4T0000000000000001"
-- $2 = 3
-- $3 = 2
-- $4 = "11111111-2222-3333-4444-555555555555"
-- $5 = []string{"-5"}
-- $6 = []string{"1000"}
-- $7 = 4
-- $8 = 3
-- $9 = []string{"-5"}
-- $10 = []string{"1000"}
-- $11 = []string{"1000"}
-- $12 = 1
-- $13 = 0
-- $14 = []string{"1000"}
-- $15 = 0
-- $16 = true
-- $17 = "\"public\".\"users\""
-- $18 = "UPDATE ONLY \"public\".\"users\" AS \"users\" SET \"email_norm\" = (\nlower(email)\n)\n  WHERE \"users\".\"id\" >= CAST(($1)[1] AS bigint) AND \"users\".\"id\" <= CAST(($1)[2] AS bigint) AND (pg_catalog.hashint8(\"users\".\"id\") & CAST(($1)[3] AS integer)) = CAST(($1)[4] AS integer) AND (\nemail_norm IS NULL\n)\n  AND NOT EXISTS (SELECT 1 FROM backfleet.quarantine AS backfleet_q WHERE backfleet_q.job_id = ($1)[5] AND backfleet_q.relation = CAST(($1)[6] AS oid) AND backfleet_q.key = ARRAY[\"users\".\"id\"::text])"
-- $19 = []string{"-5", "1000", "3", "3", "01JD8Z7Q4T0000000000000001", "16384"}

-- quarantine that ends the last pass, with rows in quarantine
WITH backfleet_brake AS MATERIALIZED (SELECT 1 FROM backfleet.brake WHERE until > clock_timestamp()),
backfleet_lock AS MATERIALIZED (
 SELECT 1 FROM backfleet.ranges
  WHERE job_id = $1 AND index = $2
   AND CASE WHEN fence = $3 AND claim_token = $4 AND state = 'running'
   AND (chunk_lo, chunk_hi, k, pass, key) IS NOT DISTINCT FROM ($5::text[], $6::text[], $7::smallint, $8::smallint, $9::text[])
   AND relation = '"public"."users"'::regclass THEN true ELSE false END
   AND NOT EXISTS (SELECT 1 FROM backfleet_brake)
  FOR NO KEY UPDATE),
backfleet_alone AS MATERIALIZED (
 SELECT 1 FROM backfleet_lock WHERE NOT EXISTS (
  SELECT 1 FROM ONLY "public"."users" AS "users" WHERE "users"."id" >= CAST($10 AS bigint) AND "users"."id" <= CAST($11 AS bigint) AND (pg_catalog.hashint8("users"."id") & CAST($12 AS integer)) = CAST($13 AS integer) AND "users"."id" <> CAST($14 AS bigint))),
backfleet_others AS MATERIALIZED (
 SELECT count(*) AS rows FROM backfleet.quarantine WHERE job_id = $15 AND (relation, key) <> ($16::oid, $17::text[])),
backfleet_room AS MATERIALIZED (SELECT 1 FROM backfleet_alone, backfleet_others WHERE rows < $18),
backfleet_put AS (
 INSERT INTO backfleet.quarantine AS q (job_id, relation, key, range_index, sqlstate, error, by)
 SELECT $19, $20::oid, $21::text[], $22::int, $23, $24, $25
 FROM backfleet_room
 ON CONFLICT (job_id, relation, key) DO UPDATE SET sqlstate = EXCLUDED.sqlstate, error = EXCLUDED.error, attempts = q.attempts + 1, at = clock_timestamp()),
backfleet_move AS (
 UPDATE backfleet.ranges SET key = $26::text[], chunk_lo = $27::text[], chunk_hi = $28::text[],
  k = $29, pass = $30, batches = batches + 1,
  walked = walked + $31, rows = rows, attempts = 0,
  lease_until = clock_timestamp() + interval '10 seconds', state = 'done', ended_at = clock_timestamp()
  WHERE job_id = $32 AND index = $33 AND EXISTS (SELECT 1 FROM backfleet_room)
 RETURNING 1)
SELECT EXISTS (SELECT 1 FROM backfleet_brake), (SELECT count(*) FROM backfleet_move), (SELECT rows FROM backfleet_others), (SELECT count(*) FROM backfleet_lock), (SELECT count(*) FROM backfleet_alone);
-- $1 = "01JD8Z7Q4T0000000000000001"
-- $2 = 3
-- $3 = 2
-- $4 = "11111111-2222-3333-4444-555555555555"
-- $5 = []string{"-5"}
-- $6 = []string{"1000"}
-- $7 = 4
-- $8 = 3
-- $9 = []string{"-5"}
-- $10 = "-5"
-- $11 = "1000"
-- $12 = 3
-- $13 = 3
-- $14 = "-5"
-- $15 = "01JD8Z7Q4T0000000000000001"
-- $16 = 0x4000
-- $17 = []string{"-5"}
-- $18 = 100
-- $19 = "01JD8Z7Q4T0000000000000001"
-- $20 = 0x4000
-- $21 = []string{"-5"}
-- $22 = 3
-- $23 = "23514"
-- $24 = "violates a check"
-- $25 = "worker-1"
-- $26 = []string{"1000"}
-- $27 = []string{"1000"}
-- $28 = []string{"1000"}
-- $29 = 1
-- $30 = 0
-- $31 = 0
-- $32 = "01JD8Z7Q4T0000000000000001"
-- $33 = 3

-- boundary of a pass
SELECT ARRAY["users"."id"::text] FROM ONLY "public"."users" AS "users" WHERE "users"."id" >= CAST($1 AS bigint) AND "users"."id" < CAST($2 AS bigint) AND (pg_catalog.hashint8("users"."id") & CAST($3 AS integer)) = CAST($4 AS integer) ORDER BY "users"."id" OFFSET $5 LIMIT 1;
-- $1 = "-5"
-- $2 = "1000"
-- $3 = 3
-- $4 = 3
-- $5 = 200

-- first key of a pass
SELECT ARRAY["users"."id"::text] FROM ONLY "public"."users" AS "users" WHERE "users"."id" >= CAST($1 AS bigint) AND "users"."id" < CAST($2 AS bigint) AND (pg_catalog.hashint8("users"."id") & CAST($3 AS integer)) = CAST($4 AS integer) ORDER BY "users"."id" OFFSET $5 LIMIT 1;
-- $1 = "-5"
-- $2 = "1000"
-- $3 = 3
-- $4 = 3
-- $5 = 0

-- heat
SELECT pg_catalog.pg_stat_get_xact_tuples_updated($1), pg_catalog.pg_stat_get_xact_tuples_hot_updated($1);
-- $1 = 0x4000

-- quarantine, without a move
WITH backfleet_brake AS MATERIALIZED (SELECT 1 FROM backfleet.brake WHERE until > clock_timestamp()),
backfleet_lock AS MATERIALIZED (
 SELECT 1 FROM backfleet.ranges
  WHERE job_id = $1 AND index = $2
   AND CASE WHEN fence = $3 AND claim_token = $4 AND state = 'running'
   AND (chunk_lo, chunk_hi, k, pass, key) IS NOT DISTINCT FROM ($5::text[], $6::text[], $7::smallint, $8::smallint, $9::text[])
   AND relation = '"public"."users"'::regclass THEN true ELSE false END
   AND NOT EXISTS (SELECT 1 FROM backfleet_brake)
  FOR NO KEY UPDATE),
backfleet_alone AS MATERIALIZED (
 SELECT 1 FROM backfleet_lock WHERE NOT EXISTS (
  SELECT 1 FROM ONLY "public"."users" AS "users" WHERE "users"."id" >= CAST($10 AS bigint) AND "users"."id" < CAST($11 AS bigint) AND "users"."id" <> CAST($12 AS bigint))),
backfleet_others AS MATERIALIZED (
 SELECT count(*) AS rows FROM backfleet.quarantine WHERE job_id = $13 AND (relation, key) <> ($14::oid, $15::text[])),
backfleet_room AS MATERIALIZED (SELECT 1 FROM backfleet_alone, backfleet_others WHERE rows < $16),
backfleet_put AS (
 INSERT INTO backfleet.quarantine AS q (job_id, relation, key, range_index, sqlstate, error, by)
 SELECT $17, $18::oid, $19::text[], $20::int, $21, $22, $23
 FROM backfleet_room
 ON CONFLICT (job_id, relation, key) DO UPDATE SET sqlstate = EXCLUDED.sqlstate, error = EXCLUDED.error, attempts = q.attempts + 1, at = clock_timestamp()),
backfleet_move AS (SELECT 1 FROM backfleet_room)
SELECT EXISTS (SELECT 1 FROM backfleet_brake), (SELECT count(*) FROM backfleet_move), (SELECT rows FROM backfleet_others), (SELECT count(*) FROM backfleet_lock), (SELECT count(*) FROM backfleet_alone);
-- $1 = "01JD8Z7Q4T0000000000000001"
-- $2 = 3
-- $3 = 2
-- $4 = "11111111-2222-3333-4444-555555555555"
-- $5 = []string(nil)
-- $6 = []string{"1000"}
-- $7 = 1
-- $8 = 0
-- $9 = []string{"-5"}
-- $10 = "-5"
-- $11 = "1000"
-- $12 = "-5"
-- $13 = "01JD8Z7Q4T0000000000000001"
-- $14 = 0x4000
-- $15 = []string{"-5"}
-- $16 = 100
-- $17 = "01JD8Z7Q4T0000000000000001"
-- $18 = 0x4000
-- $19 = []string{"-5"}
-- $20 = 3
-- $21 = "23514"
-- $22 = "violates a check"
-- $23 = "worker-1"

-- quarantine, its turn
SELECT 1 FROM backfleet.jobs WHERE id = $1 FOR NO KEY UPDATE;
-- $1 = "01JD8Z7Q4T0000000000000001"

-- ahead
SELECT ARRAY["users"."id"::text], EXISTS (SELECT 1 FROM backfleet.ranges AS backfleet_r
  WHERE backfleet_r.job_id = $1 AND backfleet_r.relation = $2
   AND backfleet_r.kind = 'fill' AND backfleet_r.state NOT IN ('done', 'dropped')
   AND ("users"."id" < CAST(backfleet_r.hi[1] AS bigint) OR backfleet_r.hi_inclusive AND "users"."id" = CAST(backfleet_r.hi[1] AS bigint))
   AND CASE WHEN backfleet_r.k = 1 THEN backfleet_r.key IS NULL OR "users"."id" >= CAST(backfleet_r.key[1] AS bigint)
     WHEN "users"."id" > CAST(backfleet_r.chunk_hi[1] AS bigint) OR "users"."id" = CAST(backfleet_r.chunk_hi[1] AS bigint) AND NOT (backfleet_r.hi_inclusive AND backfleet_r.chunk_hi = backfleet_r.hi) THEN true
     ELSE (backfleet_r.chunk_lo IS NULL OR "users"."id" >= CAST(backfleet_r.chunk_lo[1] AS bigint)) AND (pg_catalog.hashint8("users"."id") & (backfleet_r.k - 1) > backfleet_r.pass OR pg_catalog.hashint8("users"."id") & (backfleet_r.k - 1) = backfleet_r.pass AND (backfleet_r.key IS NULL OR "users"."id" >= CAST(backfleet_r.key[1] AS bigint))) END)
 FROM ONLY "public"."users" AS "users" WHERE "users"."id" = CAST($3 AS bigint);
-- $1 = "01JD8Z7Q4T0000000000000001"
-- $2 = 0x4000
-- $3 = "-5"

-- again, its turn
DELETE FROM backfleet.quarantine WHERE job_id = $1 AND relation = $2 AND key = $3::text[] RETURNING range_index;
-- $1 = "01JD8Z7Q4T0000000000000001"
-- $2 = 0x4000
-- $3 = []string{"-5"}

-- again
UPDATE ONLY "public"."users" AS "users" SET "email_norm" = (
lower(email)
)
  WHERE "users"."id" >= CAST($1 AS bigint) AND "users"."id" <= CAST($2 AS bigint) AND (
email_norm IS NULL
);
-- $1 = "-5"
-- $2 = "-5"

-- again, counted
UPDATE backfleet.ranges SET rows = rows + $3 WHERE job_id = $1 AND index = $2;
-- $1 = "01JD8Z7Q4T0000000000000001"
-- $2 = 3
-- $3 = 1

