-- update, half-open
WITH moved AS (DELETE FROM ONLY "public"."events_1" AS "events" WHERE v IS NULL AND (("events"."tenant", "events"."at") >= (CAST($1 AS integer), CAST($2 AS timestamp with time zone)) AND ("events"."tenant", "events"."at") < (CAST($3 AS integer), CAST($4 AS timestamp with time zone))) RETURNING *)
INSERT INTO archive SELECT * FROM moved;
-- $1 = "7"
-- $2 = "2026-01-01 00:00:00+00"
-- $3 = "8"
-- $4 = "2026-01-01 00:00:00+00"

-- boundary, half-open
SELECT ARRAY["events"."tenant"::text, "events"."at"::text] FROM ONLY "public"."events_1" AS "events" WHERE ("events"."tenant", "events"."at") >= (CAST($1 AS integer), CAST($2 AS timestamp with time zone)) AND ("events"."tenant", "events"."at") < (CAST($3 AS integer), CAST($4 AS timestamp with time zone)) ORDER BY "events"."tenant", "events"."at" OFFSET $5 LIMIT 1;
-- $1 = "7"
-- $2 = "2026-01-01 00:00:00+00"
-- $3 = "8"
-- $4 = "2026-01-01 00:00:00+00"
-- $5 = 200

-- steps, half-open
WITH RECURSIVE backfleet_s AS (
 (SELECT "events"."tenant" AS k1, "events"."at" AS k2, 1 AS n FROM ONLY "public"."events_1" AS "events" WHERE ("events"."tenant", "events"."at") >= (CAST($1 AS integer), CAST($2 AS timestamp with time zone)) AND ("events"."tenant", "events"."at") < (CAST($3 AS integer), CAST($4 AS timestamp with time zone)) ORDER BY "events"."tenant", "events"."at" OFFSET $7 LIMIT 1)
 UNION ALL
 SELECT backfleet_b.*, backfleet_s.n + 1 FROM backfleet_s CROSS JOIN LATERAL
  (SELECT "events"."tenant" AS k1, "events"."at" AS k2 FROM ONLY "public"."events_1" AS "events" WHERE ("events"."tenant", "events"."at") >= (backfleet_s.k1, backfleet_s.k2) AND ("events"."tenant", "events"."at") < (CAST($5 AS integer), CAST($6 AS timestamp with time zone)) ORDER BY "events"."tenant", "events"."at" OFFSET $7 LIMIT 1) AS backfleet_b
  WHERE backfleet_s.n < $8)
SELECT ARRAY[backfleet_s.k1::text, backfleet_s.k2::text] FROM backfleet_s ORDER BY backfleet_s.n;
-- $1 = "7"
-- $2 = "2026-01-01 00:00:00+00"
-- $3 = "8"
-- $4 = "2026-01-01 00:00:00+00"
-- $5 = "8"
-- $6 = "2026-01-01 00:00:00+00"
-- $7 = 50000
-- $8 = 100

-- look, half-open
SELECT count(*), 0::bigint, 0::bigint FROM ONLY "public"."events_1" AS "events" WHERE ("events"."tenant", "events"."at") >= (CAST($1 AS integer), CAST($2 AS timestamp with time zone)) AND ("events"."tenant", "events"."at") < (CAST($3 AS integer), CAST($4 AS timestamp with time zone));
-- $1 = "7"
-- $2 = "2026-01-01 00:00:00+00"
-- $3 = "8"
-- $4 = "2026-01-01 00:00:00+00"

-- update, open below
WITH moved AS (DELETE FROM ONLY "public"."events_1" AS "events" WHERE v IS NULL AND (("events"."tenant", "events"."at") < (CAST($1 AS integer), CAST($2 AS timestamp with time zone))) RETURNING *)
INSERT INTO archive SELECT * FROM moved;
-- $1 = "8"
-- $2 = "2026-01-01 00:00:00+00"

-- boundary, open below
SELECT ARRAY["events"."tenant"::text, "events"."at"::text] FROM ONLY "public"."events_1" AS "events" WHERE ("events"."tenant", "events"."at") < (CAST($1 AS integer), CAST($2 AS timestamp with time zone)) ORDER BY "events"."tenant", "events"."at" OFFSET $3 LIMIT 1;
-- $1 = "8"
-- $2 = "2026-01-01 00:00:00+00"
-- $3 = 200

-- steps, open below
WITH RECURSIVE backfleet_s AS (
 (SELECT "events"."tenant" AS k1, "events"."at" AS k2, 1 AS n FROM ONLY "public"."events_1" AS "events" WHERE ("events"."tenant", "events"."at") < (CAST($1 AS integer), CAST($2 AS timestamp with time zone)) ORDER BY "events"."tenant", "events"."at" OFFSET $5 LIMIT 1)
 UNION ALL
 SELECT backfleet_b.*, backfleet_s.n + 1 FROM backfleet_s CROSS JOIN LATERAL
  (SELECT "events"."tenant" AS k1, "events"."at" AS k2 FROM ONLY "public"."events_1" AS "events" WHERE ("events"."tenant", "events"."at") >= (backfleet_s.k1, backfleet_s.k2) AND ("events"."tenant", "events"."at") < (CAST($3 AS integer), CAST($4 AS timestamp with time zone)) ORDER BY "events"."tenant", "events"."at" OFFSET $5 LIMIT 1) AS backfleet_b
  WHERE backfleet_s.n < $6)
SELECT ARRAY[backfleet_s.k1::text, backfleet_s.k2::text] FROM backfleet_s ORDER BY backfleet_s.n;
-- $1 = "8"
-- $2 = "2026-01-01 00:00:00+00"
-- $3 = "8"
-- $4 = "2026-01-01 00:00:00+00"
-- $5 = 50000
-- $6 = 100

-- look, open below
SELECT count(*), 0::bigint, 0::bigint FROM ONLY "public"."events_1" AS "events" WHERE ("events"."tenant", "events"."at") < (CAST($1 AS integer), CAST($2 AS timestamp with time zone));
-- $1 = "8"
-- $2 = "2026-01-01 00:00:00+00"

-- update, closed above
WITH moved AS (DELETE FROM ONLY "public"."events_1" AS "events" WHERE v IS NULL AND (("events"."tenant", "events"."at") >= (CAST($1 AS integer), CAST($2 AS timestamp with time zone)) AND ("events"."tenant", "events"."at") <= (CAST($3 AS integer), CAST($4 AS timestamp with time zone))) RETURNING *)
INSERT INTO archive SELECT * FROM moved;
-- $1 = "7"
-- $2 = "2026-01-01 00:00:00+00"
-- $3 = "8"
-- $4 = "2026-01-01 00:00:00+00"

-- boundary, closed above
SELECT ARRAY["events"."tenant"::text, "events"."at"::text] FROM ONLY "public"."events_1" AS "events" WHERE ("events"."tenant", "events"."at") >= (CAST($1 AS integer), CAST($2 AS timestamp with time zone)) AND ("events"."tenant", "events"."at") <= (CAST($3 AS integer), CAST($4 AS timestamp with time zone)) ORDER BY "events"."tenant", "events"."at" OFFSET $5 LIMIT 1;
-- $1 = "7"
-- $2 = "2026-01-01 00:00:00+00"
-- $3 = "8"
-- $4 = "2026-01-01 00:00:00+00"
-- $5 = 200

-- steps, closed above
WITH RECURSIVE backfleet_s AS (
 (SELECT "events"."tenant" AS k1, "events"."at" AS k2, 1 AS n FROM ONLY "public"."events_1" AS "events" WHERE ("events"."tenant", "events"."at") >= (CAST($1 AS integer), CAST($2 AS timestamp with time zone)) AND ("events"."tenant", "events"."at") <= (CAST($3 AS integer), CAST($4 AS timestamp with time zone)) ORDER BY "events"."tenant", "events"."at" OFFSET $7 LIMIT 1)
 UNION ALL
 SELECT backfleet_b.*, backfleet_s.n + 1 FROM backfleet_s CROSS JOIN LATERAL
  (SELECT "events"."tenant" AS k1, "events"."at" AS k2 FROM ONLY "public"."events_1" AS "events" WHERE ("events"."tenant", "events"."at") >= (backfleet_s.k1, backfleet_s.k2) AND ("events"."tenant", "events"."at") <= (CAST($5 AS integer), CAST($6 AS timestamp with time zone)) ORDER BY "events"."tenant", "events"."at" OFFSET $7 LIMIT 1) AS backfleet_b
  WHERE backfleet_s.n < $8)
SELECT ARRAY[backfleet_s.k1::text, backfleet_s.k2::text] FROM backfleet_s ORDER BY backfleet_s.n;
-- $1 = "7"
-- $2 = "2026-01-01 00:00:00+00"
-- $3 = "8"
-- $4 = "2026-01-01 00:00:00+00"
-- $5 = "8"
-- $6 = "2026-01-01 00:00:00+00"
-- $7 = 50000
-- $8 = 100

-- look, closed above
SELECT count(*), 0::bigint, 0::bigint FROM ONLY "public"."events_1" AS "events" WHERE ("events"."tenant", "events"."at") >= (CAST($1 AS integer), CAST($2 AS timestamp with time zone)) AND ("events"."tenant", "events"."at") <= (CAST($3 AS integer), CAST($4 AS timestamp with time zone));
-- $1 = "7"
-- $2 = "2026-01-01 00:00:00+00"
-- $3 = "8"
-- $4 = "2026-01-01 00:00:00+00"

-- update, open above
WITH moved AS (DELETE FROM ONLY "public"."events_1" AS "events" WHERE v IS NULL AND (("events"."tenant", "events"."at") >= (CAST($1 AS integer), CAST($2 AS timestamp with time zone))) RETURNING *)
INSERT INTO archive SELECT * FROM moved;
-- $1 = "7"
-- $2 = "2026-01-01 00:00:00+00"

-- boundary, open above
SELECT ARRAY["events"."tenant"::text, "events"."at"::text] FROM ONLY "public"."events_1" AS "events" WHERE ("events"."tenant", "events"."at") >= (CAST($1 AS integer), CAST($2 AS timestamp with time zone)) ORDER BY "events"."tenant", "events"."at" OFFSET $3 LIMIT 1;
-- $1 = "7"
-- $2 = "2026-01-01 00:00:00+00"
-- $3 = 200

-- steps, open above
WITH RECURSIVE backfleet_s AS (
 (SELECT "events"."tenant" AS k1, "events"."at" AS k2, 1 AS n FROM ONLY "public"."events_1" AS "events" WHERE ("events"."tenant", "events"."at") >= (CAST($1 AS integer), CAST($2 AS timestamp with time zone)) ORDER BY "events"."tenant", "events"."at" OFFSET $3 LIMIT 1)
 UNION ALL
 SELECT backfleet_b.*, backfleet_s.n + 1 FROM backfleet_s CROSS JOIN LATERAL
  (SELECT "events"."tenant" AS k1, "events"."at" AS k2 FROM ONLY "public"."events_1" AS "events" WHERE ("events"."tenant", "events"."at") >= (backfleet_s.k1, backfleet_s.k2) AND true ORDER BY "events"."tenant", "events"."at" OFFSET $3 LIMIT 1) AS backfleet_b
  WHERE backfleet_s.n < $4)
SELECT ARRAY[backfleet_s.k1::text, backfleet_s.k2::text] FROM backfleet_s ORDER BY backfleet_s.n;
-- $1 = "7"
-- $2 = "2026-01-01 00:00:00+00"
-- $3 = 50000
-- $4 = 100

-- look, open above
SELECT count(*), 0::bigint, 0::bigint FROM ONLY "public"."events_1" AS "events" WHERE ("events"."tenant", "events"."at") >= (CAST($1 AS integer), CAST($2 AS timestamp with time zone));
-- $1 = "7"
-- $2 = "2026-01-01 00:00:00+00"

-- update, unbounded
WITH moved AS (DELETE FROM ONLY "public"."events_1" AS "events" WHERE v IS NULL AND (true) RETURNING *)
INSERT INTO archive SELECT * FROM moved;

-- boundary, unbounded
SELECT ARRAY["events"."tenant"::text, "events"."at"::text] FROM ONLY "public"."events_1" AS "events" WHERE true ORDER BY "events"."tenant", "events"."at" OFFSET $1 LIMIT 1;
-- $1 = 200

-- steps, unbounded
WITH RECURSIVE backfleet_s AS (
 (SELECT "events"."tenant" AS k1, "events"."at" AS k2, 1 AS n FROM ONLY "public"."events_1" AS "events" WHERE true ORDER BY "events"."tenant", "events"."at" OFFSET $1 LIMIT 1)
 UNION ALL
 SELECT backfleet_b.*, backfleet_s.n + 1 FROM backfleet_s CROSS JOIN LATERAL
  (SELECT "events"."tenant" AS k1, "events"."at" AS k2 FROM ONLY "public"."events_1" AS "events" WHERE ("events"."tenant", "events"."at") >= (backfleet_s.k1, backfleet_s.k2) AND true ORDER BY "events"."tenant", "events"."at" OFFSET $1 LIMIT 1) AS backfleet_b
  WHERE backfleet_s.n < $2)
SELECT ARRAY[backfleet_s.k1::text, backfleet_s.k2::text] FROM backfleet_s ORDER BY backfleet_s.n;
-- $1 = 50000
-- $2 = 100

-- look, unbounded
SELECT count(*), 0::bigint, 0::bigint FROM ONLY "public"."events_1" AS "events" WHERE true;

-- measured
EXPLAIN (ANALYZE, WAL, TIMING OFF, FORMAT JSON) WITH moved AS (DELETE FROM ONLY "public"."events_1" AS "events" WHERE v IS NULL AND (("events"."tenant", "events"."at") >= (CAST($1 AS integer), CAST($2 AS timestamp with time zone)) AND ("events"."tenant", "events"."at") < (CAST($3 AS integer), CAST($4 AS timestamp with time zone))) RETURNING *)
INSERT INTO archive SELECT * FROM moved;
-- $1 = "7"
-- $2 = "2026-01-01 00:00:00+00"
-- $3 = "8"
-- $4 = "2026-01-01 00:00:00+00"

-- near
SELECT ARRAY["events"."tenant"::text, "events"."at"::text] FROM ONLY "public"."events_1" AS "events" WHERE "events"."ctid" >= CAST($1 AS tid) AND "events"."ctid" < CAST($2 AS tid) LIMIT 1;
-- $1 = "(7,0)"
-- $2 = "(71,0)"

-- bound
SELECT ARRAY["events"."tenant"::text, "events"."at"::text] FROM ONLY "public"."events_1" AS "events" ORDER BY "events"."tenant" DESC, "events"."at" DESC LIMIT 1;

-- first key
SELECT ARRAY["events"."tenant"::text, "events"."at"::text] FROM ONLY "public"."events_1" AS "events" WHERE ("events"."tenant", "events"."at") >= (CAST($1 AS integer), CAST($2 AS timestamp with time zone)) AND ("events"."tenant", "events"."at") < (CAST($3 AS integer), CAST($4 AS timestamp with time zone)) ORDER BY "events"."tenant", "events"."at" OFFSET $5 LIMIT 1;
-- $1 = "7"
-- $2 = "2026-01-01 00:00:00+00"
-- $3 = "8"
-- $4 = "2026-01-01 00:00:00+00"
-- $5 = 0

-- fill
SELECT held, moved, written FROM backfleet.fill($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19);
-- $1 = "01JD8Z7Q4T0000000000000001"
-- $2 = 3
-- $3 = 2
-- $4 = "11111111-2222-3333-4444-555555555555"
-- $5 = []string(nil)
-- $6 = []string{"8", "2026-01-01 00:00:00+00"}
-- $7 = 1
-- $8 = 0
-- $9 = []string{"7", "2026-01-01 00:00:00+00"}
-- $10 = []string(nil)
-- $11 = []string{"8", "2026-01-01 00:00:00+00"}
-- $12 = 1
-- $13 = 0
-- $14 = []string{"8", "2026-01-01 00:00:00+00"}
-- $15 = 200
-- $16 = false
-- $17 = "\"public\".\"events_1\""
-- $18 = "WITH moved AS (DELETE FROM ONLY \"public\".\"events_1\" AS \"events\" WHERE v IS NULL AND ((\"events\".\"tenant\", \"events\".\"at\") >= (CAST(($1)[1] AS integer), CAST(($1)[2] AS timestamp with time zone)) AND (\"events\".\"tenant\", \"events\".\"at\") < (CAST(($1)[3] AS integer), CAST(($1)[4] AS timestamp with time zone))) RETURNING *)\nINSERT INTO archive SELECT * FROM moved"
-- $19 = []string{"7", "2026-01-01 00:00:00+00", "8", "2026-01-01 00:00:00+00"}

-- proof
WITH backfleet_brake AS MATERIALIZED (SELECT 1 FROM backfleet.brake WHERE until > clock_timestamp()),
backfleet_lock AS MATERIALIZED (
 SELECT 1 FROM backfleet.ranges
  WHERE job_id = $1 AND index = $2
   AND CASE WHEN fence = $3 AND claim_token = $4 AND state = 'running'
   AND (chunk_lo, chunk_hi, k, pass, key) IS NOT DISTINCT FROM ($5::text[], $6::text[], $7::smallint, $8::smallint, $9::text[])
   AND relation = '"public"."events_1"'::regclass THEN true ELSE false END
   AND NOT EXISTS (SELECT 1 FROM backfleet_brake)
  FOR NO KEY UPDATE),
backfleet_proof AS MATERIALIZED (
 SELECT 0::bigint AS residual, 0::bigint AS check_fails
  FROM ONLY "public"."events_1" AS "events"
  WHERE ("events"."tenant", "events"."at") >= (CAST($10 AS integer), CAST($11 AS timestamp with time zone)) AND ("events"."tenant", "events"."at") < (CAST($12 AS integer), CAST($13 AS timestamp with time zone)) AND EXISTS (SELECT 1 FROM backfleet_lock)),
backfleet_move AS (
 UPDATE backfleet.ranges SET key = $14::text[], batches = batches + 1,
  walked = walked + $15, residual = residual + (SELECT residual FROM backfleet_proof), check_fails = check_fails + (SELECT check_fails FROM backfleet_proof), attempts = 0,
  lease_until = clock_timestamp() + interval '10 seconds'
  WHERE job_id = $16 AND index = $17 AND EXISTS (SELECT 1 FROM backfleet_lock)
 RETURNING 1)
SELECT EXISTS (SELECT 1 FROM backfleet_brake), (SELECT count(*) FROM backfleet_move), (SELECT residual FROM backfleet_proof), (SELECT check_fails FROM backfleet_proof);
-- $1 = "01JD8Z7Q4T0000000000000001"
-- $2 = 3
-- $3 = 2
-- $4 = "11111111-2222-3333-4444-555555555555"
-- $5 = []string(nil)
-- $6 = []string{"8", "2026-01-01 00:00:00+00"}
-- $7 = 1
-- $8 = 0
-- $9 = []string{"7", "2026-01-01 00:00:00+00"}
-- $10 = "7"
-- $11 = "2026-01-01 00:00:00+00"
-- $12 = "8"
-- $13 = "2026-01-01 00:00:00+00"
-- $14 = []string{"8", "2026-01-01 00:00:00+00"}
-- $15 = 200
-- $16 = "01JD8Z7Q4T0000000000000001"
-- $17 = 3

-- repair the residual
SELECT held, moved, written FROM backfleet.fill($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19);
-- $1 = "01JD8Z7Q4T0000000000000001"
-- $2 = 3
-- $3 = 2
-- $4 = "11111111-2222-3333-4444-555555555555"
-- $5 = []string(nil)
-- $6 = []string{"8", "2026-01-01 00:00:00+00"}
-- $7 = 1
-- $8 = 0
-- $9 = []string{"7", "2026-01-01 00:00:00+00"}
-- $10 = []string(nil)
-- $11 = []string{"8", "2026-01-01 00:00:00+00"}
-- $12 = 1
-- $13 = 0
-- $14 = []string{"7", "2026-01-01 00:00:00+00"}
-- $15 = 0
-- $16 = false
-- $17 = "\"public\".\"events_1\""
-- $18 = "WITH moved AS (DELETE FROM ONLY \"public\".\"events_1\" AS \"events\" WHERE v IS NULL AND ((\"events\".\"tenant\", \"events\".\"at\") >= (CAST(($1)[1] AS integer), CAST(($1)[2] AS timestamp with time zone)) AND (\"events\".\"tenant\", \"events\".\"at\") < (CAST(($1)[3] AS integer), CAST(($1)[4] AS timestamp with time zone)) AND false) RETURNING *)\nINSERT INTO archive SELECT * FROM moved"
-- $19 = []string{"7", "2026-01-01 00:00:00+00", "8", "2026-01-01 00:00:00+00"}

-- repair what fails its check too
SELECT held, moved, written FROM backfleet.fill($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19);
-- $1 = "01JD8Z7Q4T0000000000000001"
-- $2 = 3
-- $3 = 2
-- $4 = "11111111-2222-3333-4444-555555555555"
-- $5 = []string(nil)
-- $6 = []string{"8", "2026-01-01 00:00:00+00"}
-- $7 = 1
-- $8 = 0
-- $9 = []string{"7", "2026-01-01 00:00:00+00"}
-- $10 = []string(nil)
-- $11 = []string{"8", "2026-01-01 00:00:00+00"}
-- $12 = 1
-- $13 = 0
-- $14 = []string{"7", "2026-01-01 00:00:00+00"}
-- $15 = 0
-- $16 = false
-- $17 = "\"public\".\"events_1\""
-- $18 = "WITH moved AS (DELETE FROM ONLY \"public\".\"events_1\" AS \"events\" WHERE v IS NULL AND ((\"events\".\"tenant\", \"events\".\"at\") >= (CAST(($1)[1] AS integer), CAST(($1)[2] AS timestamp with time zone)) AND (\"events\".\"tenant\", \"events\".\"at\") < (CAST(($1)[3] AS integer), CAST(($1)[4] AS timestamp with time zone)) AND false) RETURNING *)\nINSERT INTO archive SELECT * FROM moved"
-- $19 = []string{"7", "2026-01-01 00:00:00+00", "8", "2026-01-01 00:00:00+00"}

-- failing
SELECT ARRAY["events"."tenant"::text, "events"."at"::text] FROM ONLY "public"."events_1" AS "events" WHERE ("events"."tenant", "events"."at") >= (CAST($1 AS integer), CAST($2 AS timestamp with time zone)) AND ("events"."tenant", "events"."at") < (CAST($3 AS integer), CAST($4 AS timestamp with time zone)) AND false ORDER BY "events"."tenant", "events"."at" LIMIT 1;
-- $1 = "7"
-- $2 = "2026-01-01 00:00:00+00"
-- $3 = "8"
-- $4 = "2026-01-01 00:00:00+00"

-- count of blocks
SELECT '"public"."events_1"'::regclass::oid, pg_catalog.pg_relation_filenode('"public"."events_1"'::regclass), count(*), 0::bigint, 0::bigint
 FROM ONLY "public"."events_1" AS "events"
 WHERE "events"."ctid" >= CAST($1 AS tid) AND "events"."ctid" < CAST($2 AS tid) AND ("events"."tenant", "events"."at") <= (CAST($3 AS integer), CAST($4 AS timestamp with time zone));
-- $1 = "(7,0)"
-- $2 = "(9,0)"
-- $3 = "8"
-- $4 = "2026-01-01 00:00:00+00"

-- counted
WITH backfleet_brake AS MATERIALIZED (SELECT 1 FROM backfleet.brake WHERE until > clock_timestamp()),
backfleet_lock AS MATERIALIZED (
 SELECT 1 FROM backfleet.ranges
  WHERE job_id = $1 AND index = $2
   AND CASE WHEN fence = $3 AND claim_token = $4 AND state = 'running'
   AND (chunk_lo, chunk_hi, k, pass, key) IS NOT DISTINCT FROM ($5::text[], $6::text[], $7::smallint, $8::smallint, $9::text[])
   AND relation = '"public"."events_1"'::regclass THEN true ELSE false END
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
-- $6 = []string{"8", "2026-01-01 00:00:00+00"}
-- $7 = 1
-- $8 = 0
-- $9 = []string{"7", "2026-01-01 00:00:00+00"}
-- $10 = 0
-- $11 = 1
-- $12 = 2
-- $13 = []string{"8", "2026-01-01 00:00:00+00"}
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
   AND relation = '"public"."events_1"'::regclass THEN true ELSE false END
   AND NOT EXISTS (SELECT 1 FROM backfleet_brake)
  FOR NO KEY UPDATE),
backfleet_alone AS MATERIALIZED (
 SELECT 1 FROM backfleet_lock WHERE NOT EXISTS (
  SELECT 1 FROM ONLY "public"."events_1" AS "events" WHERE ("events"."tenant", "events"."at") >= (CAST($10 AS integer), CAST($11 AS timestamp with time zone)) AND ("events"."tenant", "events"."at") < (CAST($12 AS integer), CAST($13 AS timestamp with time zone)) AND ("events"."tenant", "events"."at") <> (CAST($14 AS integer), CAST($15 AS timestamp with time zone)))),
backfleet_others AS MATERIALIZED (
 SELECT count(*) AS rows FROM backfleet.quarantine WHERE job_id = $16 AND (relation, key) <> ($17::oid, $18::text[])),
backfleet_room AS MATERIALIZED (SELECT 1 FROM backfleet_alone, backfleet_others WHERE rows < $19),
backfleet_put AS (
 INSERT INTO backfleet.quarantine AS q (job_id, relation, key, range_index, sqlstate, error, by)
 SELECT $20, $21::oid, $22::text[], $23::int, $24, $25, $26
 FROM backfleet_room
 ON CONFLICT (job_id, relation, key) DO UPDATE SET sqlstate = EXCLUDED.sqlstate, error = EXCLUDED.error, attempts = q.attempts + 1, at = clock_timestamp()),
backfleet_move AS (
 UPDATE backfleet.ranges SET key = $27::text[], batches = batches + 1,
  walked = walked + $28, rows = rows, attempts = 0,
  lease_until = clock_timestamp() + interval '10 seconds'
  WHERE job_id = $29 AND index = $30 AND EXISTS (SELECT 1 FROM backfleet_room)
 RETURNING 1)
SELECT EXISTS (SELECT 1 FROM backfleet_brake), (SELECT count(*) FROM backfleet_move), (SELECT rows FROM backfleet_others), (SELECT count(*) FROM backfleet_lock), (SELECT count(*) FROM backfleet_alone);
-- $1 = "01JD8Z7Q4T0000000000000001"
-- $2 = 3
-- $3 = 2
-- $4 = "11111111-2222-3333-4444-555555555555"
-- $5 = []string(nil)
-- $6 = []string{"8", "2026-01-01 00:00:00+00"}
-- $7 = 1
-- $8 = 0
-- $9 = []string{"7", "2026-01-01 00:00:00+00"}
-- $10 = "7"
-- $11 = "2026-01-01 00:00:00+00"
-- $12 = "8"
-- $13 = "2026-01-01 00:00:00+00"
-- $14 = "7"
-- $15 = "2026-01-01 00:00:00+00"
-- $16 = "01JD8Z7Q4T0000000000000001"
-- $17 = 0x4000
-- $18 = []string{"7", "2026-01-01 00:00:00+00"}
-- $19 = 100
-- $20 = "01JD8Z7Q4T0000000000000001"
-- $21 = 0x4000
-- $22 = []string{"7", "2026-01-01 00:00:00+00"}
-- $23 = 3
-- $24 = "23514"
-- $25 = "violates a check"
-- $26 = "worker-1"
-- $27 = []string{"8", "2026-01-01 00:00:00+00"}
-- $28 = 200
-- $29 = "01JD8Z7Q4T0000000000000001"
-- $30 = 3

-- fill, last, with rows in quarantine
SELECT held, moved, written FROM backfleet.fill($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19);
-- $1 = "01JD8Z7Q4T0000000000000001"
-- $2 = 3
-- $3 = 2
-- $4 = "11111111-2222-3333-4444-555555555555"
-- $5 = []string(nil)
-- $6 = []string{"8", "2026-01-01 00:00:00+00"}
-- $7 = 1
-- $8 = 0
-- $9 = []string{"7", "2026-01-01 00:00:00+00"}
-- $10 = []string(nil)
-- $11 = []string{"8", "2026-01-01 00:00:00+00"}
-- $12 = 1
-- $13 = 0
-- $14 = []string{"8", "2026-01-01 00:00:00+00"}
-- $15 = 0
-- $16 = true
-- $17 = "\"public\".\"events_1\""
-- $18 = "WITH moved AS (DELETE FROM ONLY \"public\".\"events_1\" AS \"events\" WHERE v IS NULL AND ((\"events\".\"tenant\", \"events\".\"at\") >= (CAST(($1)[1] AS integer), CAST(($1)[2] AS timestamp with time zone)) AND (\"events\".\"tenant\", \"events\".\"at\") <= (CAST(($1)[3] AS integer), CAST(($1)[4] AS timestamp with time zone))\n  AND NOT EXISTS (SELECT 1 FROM backfleet.quarantine AS backfleet_q WHERE backfleet_q.job_id = ($1)[5] AND backfleet_q.relation = CAST(($1)[6] AS oid) AND backfleet_q.key = ARRAY[\"events\".\"tenant\"::text, \"events\".\"at\"::text])) RETURNING *)\nINSERT INTO archive SELECT * FROM moved"
-- $19 = []string{"7", "2026-01-01 00:00:00+00", "8", "2026-01-01 00:00:00+00", "01JD8Z7Q4T0000000000000001", "16384"}

-- proof, last, with rows in quarantine
WITH backfleet_brake AS MATERIALIZED (SELECT 1 FROM backfleet.brake WHERE until > clock_timestamp()),
backfleet_lock AS MATERIALIZED (
 SELECT 1 FROM backfleet.ranges
  WHERE job_id = $1 AND index = $2
   AND CASE WHEN fence = $3 AND claim_token = $4 AND state = 'running'
   AND (chunk_lo, chunk_hi, k, pass, key) IS NOT DISTINCT FROM ($5::text[], $6::text[], $7::smallint, $8::smallint, $9::text[])
   AND relation = '"public"."events_1"'::regclass THEN true ELSE false END
   AND NOT EXISTS (SELECT 1 FROM backfleet_brake)
  FOR NO KEY UPDATE),
backfleet_proof AS MATERIALIZED (
 SELECT 0::bigint AS residual, 0::bigint AS check_fails
  FROM ONLY "public"."events_1" AS "events"
  WHERE ("events"."tenant", "events"."at") >= (CAST($10 AS integer), CAST($11 AS timestamp with time zone)) AND ("events"."tenant", "events"."at") <= (CAST($12 AS integer), CAST($13 AS timestamp with time zone)) AND EXISTS (SELECT 1 FROM backfleet_lock)
  AND NOT EXISTS (SELECT 1 FROM backfleet.quarantine AS backfleet_q WHERE backfleet_q.job_id = $14 AND backfleet_q.relation = CAST($15 AS oid) AND backfleet_q.key = ARRAY["events"."tenant"::text, "events"."at"::text])),
backfleet_move AS (
 UPDATE backfleet.ranges SET key = $16::text[], batches = batches + 1,
  walked = walked + $17, residual = residual + (SELECT residual FROM backfleet_proof), check_fails = check_fails + (SELECT check_fails FROM backfleet_proof), attempts = 0,
  lease_until = clock_timestamp() + interval '10 seconds', state = 'done', ended_at = clock_timestamp()
  WHERE job_id = $18 AND index = $19 AND EXISTS (SELECT 1 FROM backfleet_lock)
 RETURNING 1)
SELECT EXISTS (SELECT 1 FROM backfleet_brake), (SELECT count(*) FROM backfleet_move), (SELECT residual FROM backfleet_proof), (SELECT check_fails FROM backfleet_proof);
-- $1 = "01JD8Z7Q4T0000000000000001"
-- $2 = 3
-- $3 = 2
-- $4 = "11111111-2222-3333-4444-555555555555"
-- $5 = []string(nil)
-- $6 = []string{"8", "2026-01-01 00:00:00+00"}
-- $7 = 1
-- $8 = 0
-- $9 = []string{"7", "2026-01-01 00:00:00+00"}
-- $10 = "7"
-- $11 = "2026-01-01 00:00:00+00"
-- $12 = "8"
-- $13 = "2026-01-01 00:00:00+00"
-- $14 = "01JD8Z7Q4T0000000000000001"
-- $15 = 0x4000
-- $16 = []string{"8", "2026-01-01 00:00:00+00"}
-- $17 = 0
-- $18 = "01JD8Z7Q4T0000000000000001"
-- $19 = 3

-- repair the residual, last, with rows in quarantine
SELECT held, moved, written FROM backfleet.fill($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19);
-- $1 = "01JD8Z7Q4T0000000000000001"
-- $2 = 3
-- $3 = 2
-- $4 = "11111111-2222-3333-4444-555555555555"
-- $5 = []string(nil)
-- $6 = []string{"8", "2026-01-01 00:00:00+00"}
-- $7 = 1
-- $8 = 0
-- $9 = []string{"7", "2026-01-01 00:00:00+00"}
-- $10 = []string(nil)
-- $11 = []string{"8", "2026-01-01 00:00:00+00"}
-- $12 = 1
-- $13 = 0
-- $14 = []string{"7", "2026-01-01 00:00:00+00"}
-- $15 = 0
-- $16 = false
-- $17 = "\"public\".\"events_1\""
-- $18 = "WITH moved AS (DELETE FROM ONLY \"public\".\"events_1\" AS \"events\" WHERE v IS NULL AND ((\"events\".\"tenant\", \"events\".\"at\") >= (CAST(($1)[1] AS integer), CAST(($1)[2] AS timestamp with time zone)) AND (\"events\".\"tenant\", \"events\".\"at\") <= (CAST(($1)[3] AS integer), CAST(($1)[4] AS timestamp with time zone)) AND false\n  AND NOT EXISTS (SELECT 1 FROM backfleet.quarantine AS backfleet_q WHERE backfleet_q.job_id = ($1)[5] AND backfleet_q.relation = CAST(($1)[6] AS oid) AND backfleet_q.key = ARRAY[\"events\".\"tenant\"::text, \"events\".\"at\"::text])) RETURNING *)\nINSERT INTO archive SELECT * FROM moved"
-- $19 = []string{"7", "2026-01-01 00:00:00+00", "8", "2026-01-01 00:00:00+00", "01JD8Z7Q4T0000000000000001", "16384"}

-- repair what fails its check too, last, with rows in quarantine
SELECT held, moved, written FROM backfleet.fill($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19);
-- $1 = "01JD8Z7Q4T0000000000000001"
-- $2 = 3
-- $3 = 2
-- $4 = "11111111-2222-3333-4444-555555555555"
-- $5 = []string(nil)
-- $6 = []string{"8", "2026-01-01 00:00:00+00"}
-- $7 = 1
-- $8 = 0
-- $9 = []string{"7", "2026-01-01 00:00:00+00"}
-- $10 = []string(nil)
-- $11 = []string{"8", "2026-01-01 00:00:00+00"}
-- $12 = 1
-- $13 = 0
-- $14 = []string{"7", "2026-01-01 00:00:00+00"}
-- $15 = 0
-- $16 = false
-- $17 = "\"public\".\"events_1\""
-- $18 = "WITH moved AS (DELETE FROM ONLY \"public\".\"events_1\" AS \"events\" WHERE v IS NULL AND ((\"events\".\"tenant\", \"events\".\"at\") >= (CAST(($1)[1] AS integer), CAST(($1)[2] AS timestamp with time zone)) AND (\"events\".\"tenant\", \"events\".\"at\") <= (CAST(($1)[3] AS integer), CAST(($1)[4] AS timestamp with time zone)) AND false\n  AND NOT EXISTS (SELECT 1 FROM backfleet.quarantine AS backfleet_q WHERE backfleet_q.job_id = ($1)[5] AND backfleet_q.relation = CAST(($1)[6] AS oid) AND backfleet_q.key = ARRAY[\"events\".\"tenant\"::text, \"events\".\"at\"::text])) RETURNING *)\nINSERT INTO archive SELECT * FROM moved"
-- $19 = []string{"7", "2026-01-01 00:00:00+00", "8", "2026-01-01 00:00:00+00", "01JD8Z7Q4T0000000000000001", "16384"}

-- failing, last, with rows in quarantine
SELECT ARRAY["events"."tenant"::text, "events"."at"::text] FROM ONLY "public"."events_1" AS "events" WHERE ("events"."tenant", "events"."at") >= (CAST($1 AS integer), CAST($2 AS timestamp with time zone)) AND ("events"."tenant", "events"."at") <= (CAST($3 AS integer), CAST($4 AS timestamp with time zone)) AND false AND NOT EXISTS (SELECT 1 FROM backfleet.quarantine AS backfleet_q WHERE backfleet_q.job_id = $5 AND backfleet_q.relation = CAST($6 AS oid) AND backfleet_q.key = ARRAY["events"."tenant"::text, "events"."at"::text]) ORDER BY "events"."tenant", "events"."at" LIMIT 1;
-- $1 = "7"
-- $2 = "2026-01-01 00:00:00+00"
-- $3 = "8"
-- $4 = "2026-01-01 00:00:00+00"
-- $5 = "01JD8Z7Q4T0000000000000001"
-- $6 = 0x4000

-- count of blocks, last, with rows in quarantine
SELECT '"public"."events_1"'::regclass::oid, pg_catalog.pg_relation_filenode('"public"."events_1"'::regclass), count(*), 0::bigint, 0::bigint
 FROM ONLY "public"."events_1" AS "events"
 WHERE "events"."ctid" >= CAST($1 AS tid) AND "events"."ctid" <= CAST($2 AS tid) AND ("events"."tenant", "events"."at") <= (CAST($3 AS integer), CAST($4 AS timestamp with time zone))
  AND NOT EXISTS (SELECT 1 FROM backfleet.quarantine AS backfleet_q WHERE backfleet_q.job_id = $5 AND backfleet_q.relation = CAST($6 AS oid) AND backfleet_q.key = ARRAY["events"."tenant"::text, "events"."at"::text]);
-- $1 = "(7,0)"
-- $2 = "(9,0)"
-- $3 = "8"
-- $4 = "2026-01-01 00:00:00+00"
-- $5 = "01JD8Z7Q4T0000000000000001"
-- $6 = 0x4000

-- counted, last, with rows in quarantine
WITH backfleet_brake AS MATERIALIZED (SELECT 1 FROM backfleet.brake WHERE until > clock_timestamp()),
backfleet_lock AS MATERIALIZED (
 SELECT 1 FROM backfleet.ranges
  WHERE job_id = $1 AND index = $2
   AND CASE WHEN fence = $3 AND claim_token = $4 AND state = 'running'
   AND (chunk_lo, chunk_hi, k, pass, key) IS NOT DISTINCT FROM ($5::text[], $6::text[], $7::smallint, $8::smallint, $9::text[])
   AND relation = '"public"."events_1"'::regclass THEN true ELSE false END
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
-- $6 = []string{"8", "2026-01-01 00:00:00+00"}
-- $7 = 1
-- $8 = 0
-- $9 = []string{"7", "2026-01-01 00:00:00+00"}
-- $10 = 0
-- $11 = 1
-- $12 = 2
-- $13 = []string{"8", "2026-01-01 00:00:00+00"}
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
   AND relation = '"public"."events_1"'::regclass THEN true ELSE false END
   AND NOT EXISTS (SELECT 1 FROM backfleet_brake)
  FOR NO KEY UPDATE),
backfleet_alone AS MATERIALIZED (
 SELECT 1 FROM backfleet_lock WHERE NOT EXISTS (
  SELECT 1 FROM ONLY "public"."events_1" AS "events" WHERE ("events"."tenant", "events"."at") >= (CAST($10 AS integer), CAST($11 AS timestamp with time zone)) AND ("events"."tenant", "events"."at") <= (CAST($12 AS integer), CAST($13 AS timestamp with time zone)) AND ("events"."tenant", "events"."at") <> (CAST($14 AS integer), CAST($15 AS timestamp with time zone)))),
backfleet_others AS MATERIALIZED (
 SELECT count(*) AS rows FROM backfleet.quarantine WHERE job_id = $16 AND (relation, key) <> ($17::oid, $18::text[])),
backfleet_room AS MATERIALIZED (SELECT 1 FROM backfleet_alone, backfleet_others WHERE rows < $19),
backfleet_put AS (
 INSERT INTO backfleet.quarantine AS q (job_id, relation, key, range_index, sqlstate, error, by)
 SELECT $20, $21::oid, $22::text[], $23::int, $24, $25, $26
 FROM backfleet_room
 ON CONFLICT (job_id, relation, key) DO UPDATE SET sqlstate = EXCLUDED.sqlstate, error = EXCLUDED.error, attempts = q.attempts + 1, at = clock_timestamp()),
backfleet_move AS (
 UPDATE backfleet.ranges SET key = $27::text[], batches = batches + 1,
  walked = walked + $28, rows = rows, attempts = 0,
  lease_until = clock_timestamp() + interval '10 seconds', state = 'done', ended_at = clock_timestamp()
  WHERE job_id = $29 AND index = $30 AND EXISTS (SELECT 1 FROM backfleet_room)
 RETURNING 1)
SELECT EXISTS (SELECT 1 FROM backfleet_brake), (SELECT count(*) FROM backfleet_move), (SELECT rows FROM backfleet_others), (SELECT count(*) FROM backfleet_lock), (SELECT count(*) FROM backfleet_alone);
-- $1 = "01JD8Z7Q4T0000000000000001"
-- $2 = 3
-- $3 = 2
-- $4 = "11111111-2222-3333-4444-555555555555"
-- $5 = []string(nil)
-- $6 = []string{"8", "2026-01-01 00:00:00+00"}
-- $7 = 1
-- $8 = 0
-- $9 = []string{"7", "2026-01-01 00:00:00+00"}
-- $10 = "7"
-- $11 = "2026-01-01 00:00:00+00"
-- $12 = "8"
-- $13 = "2026-01-01 00:00:00+00"
-- $14 = "7"
-- $15 = "2026-01-01 00:00:00+00"
-- $16 = "01JD8Z7Q4T0000000000000001"
-- $17 = 0x4000
-- $18 = []string{"7", "2026-01-01 00:00:00+00"}
-- $19 = 100
-- $20 = "01JD8Z7Q4T0000000000000001"
-- $21 = 0x4000
-- $22 = []string{"7", "2026-01-01 00:00:00+00"}
-- $23 = 3
-- $24 = "23514"
-- $25 = "violates a check"
-- $26 = "worker-1"
-- $27 = []string{"8", "2026-01-01 00:00:00+00"}
-- $28 = 0
-- $29 = "01JD8Z7Q4T0000000000000001"
-- $30 = 3

-- fill that opens a chunk
SELECT held, moved, written FROM backfleet.fill($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19);
-- $1 = "01JD8Z7Q4T0000000000000001"
-- $2 = 3
-- $3 = 2
-- $4 = "11111111-2222-3333-4444-555555555555"
-- $5 = []string(nil)
-- $6 = []string{"8", "2026-01-01 00:00:00+00"}
-- $7 = 1
-- $8 = 0
-- $9 = []string{"7", "2026-01-01 00:00:00+00"}
-- $10 = []string{"7", "2026-01-01 00:00:00+00"}
-- $11 = []string{"8", "2026-01-01 00:00:00+00"}
-- $12 = 4
-- $13 = 0
-- $14 = []string{"8", "2026-01-01 00:00:00+00"}
-- $15 = 200
-- $16 = false
-- $17 = "\"public\".\"events_1\""
-- $18 = "WITH moved AS (DELETE FROM ONLY \"public\".\"events_1\" AS \"events\" WHERE v IS NULL AND ((\"events\".\"tenant\", \"events\".\"at\") >= (CAST(($1)[1] AS integer), CAST(($1)[2] AS timestamp with time zone)) AND (\"events\".\"tenant\", \"events\".\"at\") < (CAST(($1)[3] AS integer), CAST(($1)[4] AS timestamp with time zone)) AND (pg_catalog.hash_record(ROW(\"events\".\"tenant\", \"events\".\"at\")) & CAST(($1)[5] AS integer)) = CAST(($1)[6] AS integer)) RETURNING *)\nINSERT INTO archive SELECT * FROM moved"
-- $19 = []string{"7", "2026-01-01 00:00:00+00", "8", "2026-01-01 00:00:00+00", "3", "0"}

-- quarantine that opens a chunk
WITH backfleet_brake AS MATERIALIZED (SELECT 1 FROM backfleet.brake WHERE until > clock_timestamp()),
backfleet_lock AS MATERIALIZED (
 SELECT 1 FROM backfleet.ranges
  WHERE job_id = $1 AND index = $2
   AND CASE WHEN fence = $3 AND claim_token = $4 AND state = 'running'
   AND (chunk_lo, chunk_hi, k, pass, key) IS NOT DISTINCT FROM ($5::text[], $6::text[], $7::smallint, $8::smallint, $9::text[])
   AND relation = '"public"."events_1"'::regclass THEN true ELSE false END
   AND NOT EXISTS (SELECT 1 FROM backfleet_brake)
  FOR NO KEY UPDATE),
backfleet_alone AS MATERIALIZED (
 SELECT 1 FROM backfleet_lock WHERE NOT EXISTS (
  SELECT 1 FROM ONLY "public"."events_1" AS "events" WHERE ("events"."tenant", "events"."at") >= (CAST($10 AS integer), CAST($11 AS timestamp with time zone)) AND ("events"."tenant", "events"."at") < (CAST($12 AS integer), CAST($13 AS timestamp with time zone)) AND (pg_catalog.hash_record(ROW("events"."tenant", "events"."at")) & CAST($14 AS integer)) = CAST($15 AS integer) AND ("events"."tenant", "events"."at") <> (CAST($16 AS integer), CAST($17 AS timestamp with time zone)))),
backfleet_others AS MATERIALIZED (
 SELECT count(*) AS rows FROM backfleet.quarantine WHERE job_id = $18 AND (relation, key) <> ($19::oid, $20::text[])),
backfleet_room AS MATERIALIZED (SELECT 1 FROM backfleet_alone, backfleet_others WHERE rows < $21),
backfleet_put AS (
 INSERT INTO backfleet.quarantine AS q (job_id, relation, key, range_index, sqlstate, error, by)
 SELECT $22, $23::oid, $24::text[], $25::int, $26, $27, $28
 FROM backfleet_room
 ON CONFLICT (job_id, relation, key) DO UPDATE SET sqlstate = EXCLUDED.sqlstate, error = EXCLUDED.error, attempts = q.attempts + 1, at = clock_timestamp()),
backfleet_move AS (
 UPDATE backfleet.ranges SET key = $29::text[], chunk_lo = $30::text[], chunk_hi = $31::text[],
  k = $32, pass = $33, batches = batches + 1,
  walked = walked + $34, rows = rows, attempts = 0,
  lease_until = clock_timestamp() + interval '10 seconds'
  WHERE job_id = $35 AND index = $36 AND EXISTS (SELECT 1 FROM backfleet_room)
 RETURNING 1)
SELECT EXISTS (SELECT 1 FROM backfleet_brake), (SELECT count(*) FROM backfleet_move), (SELECT rows FROM backfleet_others), (SELECT count(*) FROM backfleet_lock), (SELECT count(*) FROM backfleet_alone);
-- $1 = "01JD8Z7Q4T0000000000000001"
-- $2 = 3
-- $3 = 2
-- $4 = "11111111-2222-3333-4444-555555555555"
-- $5 = []string(nil)
-- $6 = []string{"8", "2026-01-01 00:00:00+00"}
-- $7 = 1
-- $8 = 0
-- $9 = []string{"7", "2026-01-01 00:00:00+00"}
-- $10 = "7"
-- $11 = "2026-01-01 00:00:00+00"
-- $12 = "8"
-- $13 = "2026-01-01 00:00:00+00"
-- $14 = 3
-- $15 = 0
-- $16 = "7"
-- $17 = "2026-01-01 00:00:00+00"
-- $18 = "01JD8Z7Q4T0000000000000001"
-- $19 = 0x4000
-- $20 = []string{"7", "2026-01-01 00:00:00+00"}
-- $21 = 100
-- $22 = "01JD8Z7Q4T0000000000000001"
-- $23 = 0x4000
-- $24 = []string{"7", "2026-01-01 00:00:00+00"}
-- $25 = 3
-- $26 = "23514"
-- $27 = "violates a check"
-- $28 = "worker-1"
-- $29 = []string{"8", "2026-01-01 00:00:00+00"}
-- $30 = []string{"7", "2026-01-01 00:00:00+00"}
-- $31 = []string{"8", "2026-01-01 00:00:00+00"}
-- $32 = 4
-- $33 = 0
-- $34 = 200
-- $35 = "01JD8Z7Q4T0000000000000001"
-- $36 = 3

-- fill of a pass
SELECT held, moved, written FROM backfleet.fill($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19);
-- $1 = "01JD8Z7Q4T0000000000000001"
-- $2 = 3
-- $3 = 2
-- $4 = "11111111-2222-3333-4444-555555555555"
-- $5 = []string{"7", "2026-01-01 00:00:00+00"}
-- $6 = []string{"8", "2026-01-01 00:00:00+00"}
-- $7 = 4
-- $8 = 2
-- $9 = []string{"7", "2026-01-01 00:00:00+00"}
-- $10 = []string{"7", "2026-01-01 00:00:00+00"}
-- $11 = []string{"8", "2026-01-01 00:00:00+00"}
-- $12 = 4
-- $13 = 2
-- $14 = []string{"8", "2026-01-01 00:00:00+00"}
-- $15 = 200
-- $16 = false
-- $17 = "\"public\".\"events_1\""
-- $18 = "WITH moved AS (DELETE FROM ONLY \"public\".\"events_1\" AS \"events\" WHERE v IS NULL AND ((\"events\".\"tenant\", \"events\".\"at\") >= (CAST(($1)[1] AS integer), CAST(($1)[2] AS timestamp with time zone)) AND (\"events\".\"tenant\", \"events\".\"at\") < (CAST(($1)[3] AS integer), CAST(($1)[4] AS timestamp with time zone)) AND (pg_catalog.hash_record(ROW(\"events\".\"tenant\", \"events\".\"at\")) & CAST(($1)[5] AS integer)) = CAST(($1)[6] AS integer)) RETURNING *)\nINSERT INTO archive SELECT * FROM moved"
-- $19 = []string{"7", "2026-01-01 00:00:00+00", "8", "2026-01-01 00:00:00+00", "3", "2"}

-- quarantine of a pass
WITH backfleet_brake AS MATERIALIZED (SELECT 1 FROM backfleet.brake WHERE until > clock_timestamp()),
backfleet_lock AS MATERIALIZED (
 SELECT 1 FROM backfleet.ranges
  WHERE job_id = $1 AND index = $2
   AND CASE WHEN fence = $3 AND claim_token = $4 AND state = 'running'
   AND (chunk_lo, chunk_hi, k, pass, key) IS NOT DISTINCT FROM ($5::text[], $6::text[], $7::smallint, $8::smallint, $9::text[])
   AND relation = '"public"."events_1"'::regclass THEN true ELSE false END
   AND NOT EXISTS (SELECT 1 FROM backfleet_brake)
  FOR NO KEY UPDATE),
backfleet_alone AS MATERIALIZED (
 SELECT 1 FROM backfleet_lock WHERE NOT EXISTS (
  SELECT 1 FROM ONLY "public"."events_1" AS "events" WHERE ("events"."tenant", "events"."at") >= (CAST($10 AS integer), CAST($11 AS timestamp with time zone)) AND ("events"."tenant", "events"."at") < (CAST($12 AS integer), CAST($13 AS timestamp with time zone)) AND (pg_catalog.hash_record(ROW("events"."tenant", "events"."at")) & CAST($14 AS integer)) = CAST($15 AS integer) AND ("events"."tenant", "events"."at") <> (CAST($16 AS integer), CAST($17 AS timestamp with time zone)))),
backfleet_others AS MATERIALIZED (
 SELECT count(*) AS rows FROM backfleet.quarantine WHERE job_id = $18 AND (relation, key) <> ($19::oid, $20::text[])),
backfleet_room AS MATERIALIZED (SELECT 1 FROM backfleet_alone, backfleet_others WHERE rows < $21),
backfleet_put AS (
 INSERT INTO backfleet.quarantine AS q (job_id, relation, key, range_index, sqlstate, error, by)
 SELECT $22, $23::oid, $24::text[], $25::int, $26, $27, $28
 FROM backfleet_room
 ON CONFLICT (job_id, relation, key) DO UPDATE SET sqlstate = EXCLUDED.sqlstate, error = EXCLUDED.error, attempts = q.attempts + 1, at = clock_timestamp()),
backfleet_move AS (
 UPDATE backfleet.ranges SET key = $29::text[], batches = batches + 1,
  walked = walked + $30, rows = rows, attempts = 0,
  lease_until = clock_timestamp() + interval '10 seconds'
  WHERE job_id = $31 AND index = $32 AND EXISTS (SELECT 1 FROM backfleet_room)
 RETURNING 1)
SELECT EXISTS (SELECT 1 FROM backfleet_brake), (SELECT count(*) FROM backfleet_move), (SELECT rows FROM backfleet_others), (SELECT count(*) FROM backfleet_lock), (SELECT count(*) FROM backfleet_alone);
-- $1 = "01JD8Z7Q4T0000000000000001"
-- $2 = 3
-- $3 = 2
-- $4 = "11111111-2222-3333-4444-555555555555"
-- $5 = []string{"7", "2026-01-01 00:00:00+00"}
-- $6 = []string{"8", "2026-01-01 00:00:00+00"}
-- $7 = 4
-- $8 = 2
-- $9 = []string{"7", "2026-01-01 00:00:00+00"}
-- $10 = "7"
-- $11 = "2026-01-01 00:00:00+00"
-- $12 = "8"
-- $13 = "2026-01-01 00:00:00+00"
-- $14 = 3
-- $15 = 2
-- $16 = "7"
-- $17 = "2026-01-01 00:00:00+00"
-- $18 = "01JD8Z7Q4T0000000000000001"
-- $19 = 0x4000
-- $20 = []string{"7", "2026-01-01 00:00:00+00"}
-- $21 = 100
-- $22 = "01JD8Z7Q4T0000000000000001"
-- $23 = 0x4000
-- $24 = []string{"7", "2026-01-01 00:00:00+00"}
-- $25 = 3
-- $26 = "23514"
-- $27 = "violates a check"
-- $28 = "worker-1"
-- $29 = []string{"8", "2026-01-01 00:00:00+00"}
-- $30 = 200
-- $31 = "01JD8Z7Q4T0000000000000001"
-- $32 = 3

-- fill that ends the last pass, with rows in quarantine
SELECT held, moved, written FROM backfleet.fill($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19);
-- $1 = "01JD8Z7Q4T0000000000000001"
-- $2 = 3
-- $3 = 2
-- $4 = "11111111-2222-3333-4444-555555555555"
-- $5 = []string{"7", "2026-01-01 00:00:00+00"}
-- $6 = []string{"8", "2026-01-01 00:00:00+00"}
-- $7 = 4
-- $8 = 3
-- $9 = []string{"7", "2026-01-01 00:00:00+00"}
-- $10 = []string{"8", "2026-01-01 00:00:00+00"}
-- $11 = []string{"8", "2026-01-01 00:00:00+00"}
-- $12 = 1
-- $13 = 0
-- $14 = []string{"8", "2026-01-01 00:00:00+00"}
-- $15 = 0
-- $16 = true
-- $17 = "\"public\".\"events_1\""
-- $18 = "WITH moved AS (DELETE FROM ONLY \"public\".\"events_1\" AS \"events\" WHERE v IS NULL AND ((\"events\".\"tenant\", \"events\".\"at\") >= (CAST(($1)[1] AS integer), CAST(($1)[2] AS timestamp with time zone)) AND (\"events\".\"tenant\", \"events\".\"at\") <= (CAST(($1)[3] AS integer), CAST(($1)[4] AS timestamp with time zone)) AND (pg_catalog.hash_record(ROW(\"events\".\"tenant\", \"events\".\"at\")) & CAST(($1)[5] AS integer)) = CAST(($1)[6] AS integer)\n  AND NOT EXISTS (SELECT 1 FROM backfleet.quarantine AS backfleet_q WHERE backfleet_q.job_id = ($1)[7] AND backfleet_q.relation = CAST(($1)[8] AS oid) AND backfleet_q.key = ARRAY[\"events\".\"tenant\"::text, \"events\".\"at\"::text])) RETURNING *)\nINSERT INTO archive SELECT * FROM moved"
-- $19 = []string{"7", "2026-01-01 00:00:00+00", "8", "2026-01-01 00:00:00+00", "3", "3", "01JD8Z7Q4T0000000000000001", "16384"}

-- quarantine that ends the last pass, with rows in quarantine
WITH backfleet_brake AS MATERIALIZED (SELECT 1 FROM backfleet.brake WHERE until > clock_timestamp()),
backfleet_lock AS MATERIALIZED (
 SELECT 1 FROM backfleet.ranges
  WHERE job_id = $1 AND index = $2
   AND CASE WHEN fence = $3 AND claim_token = $4 AND state = 'running'
   AND (chunk_lo, chunk_hi, k, pass, key) IS NOT DISTINCT FROM ($5::text[], $6::text[], $7::smallint, $8::smallint, $9::text[])
   AND relation = '"public"."events_1"'::regclass THEN true ELSE false END
   AND NOT EXISTS (SELECT 1 FROM backfleet_brake)
  FOR NO KEY UPDATE),
backfleet_alone AS MATERIALIZED (
 SELECT 1 FROM backfleet_lock WHERE NOT EXISTS (
  SELECT 1 FROM ONLY "public"."events_1" AS "events" WHERE ("events"."tenant", "events"."at") >= (CAST($10 AS integer), CAST($11 AS timestamp with time zone)) AND ("events"."tenant", "events"."at") <= (CAST($12 AS integer), CAST($13 AS timestamp with time zone)) AND (pg_catalog.hash_record(ROW("events"."tenant", "events"."at")) & CAST($14 AS integer)) = CAST($15 AS integer) AND ("events"."tenant", "events"."at") <> (CAST($16 AS integer), CAST($17 AS timestamp with time zone)))),
backfleet_others AS MATERIALIZED (
 SELECT count(*) AS rows FROM backfleet.quarantine WHERE job_id = $18 AND (relation, key) <> ($19::oid, $20::text[])),
backfleet_room AS MATERIALIZED (SELECT 1 FROM backfleet_alone, backfleet_others WHERE rows < $21),
backfleet_put AS (
 INSERT INTO backfleet.quarantine AS q (job_id, relation, key, range_index, sqlstate, error, by)
 SELECT $22, $23::oid, $24::text[], $25::int, $26, $27, $28
 FROM backfleet_room
 ON CONFLICT (job_id, relation, key) DO UPDATE SET sqlstate = EXCLUDED.sqlstate, error = EXCLUDED.error, attempts = q.attempts + 1, at = clock_timestamp()),
backfleet_move AS (
 UPDATE backfleet.ranges SET key = $29::text[], chunk_lo = $30::text[], chunk_hi = $31::text[],
  k = $32, pass = $33, batches = batches + 1,
  walked = walked + $34, rows = rows, attempts = 0,
  lease_until = clock_timestamp() + interval '10 seconds', state = 'done', ended_at = clock_timestamp()
  WHERE job_id = $35 AND index = $36 AND EXISTS (SELECT 1 FROM backfleet_room)
 RETURNING 1)
SELECT EXISTS (SELECT 1 FROM backfleet_brake), (SELECT count(*) FROM backfleet_move), (SELECT rows FROM backfleet_others), (SELECT count(*) FROM backfleet_lock), (SELECT count(*) FROM backfleet_alone);
-- $1 = "01JD8Z7Q4T0000000000000001"
-- $2 = 3
-- $3 = 2
-- $4 = "11111111-2222-3333-4444-555555555555"
-- $5 = []string{"7", "2026-01-01 00:00:00+00"}
-- $6 = []string{"8", "2026-01-01 00:00:00+00"}
-- $7 = 4
-- $8 = 3
-- $9 = []string{"7", "2026-01-01 00:00:00+00"}
-- $10 = "7"
-- $11 = "2026-01-01 00:00:00+00"
-- $12 = "8"
-- $13 = "2026-01-01 00:00:00+00"
-- $14 = 3
-- $15 = 3
-- $16 = "7"
-- $17 = "2026-01-01 00:00:00+00"
-- $18 = "01JD8Z7Q4T0000000000000001"
-- $19 = 0x4000
-- $20 = []string{"7", "2026-01-01 00:00:00+00"}
-- $21 = 100
-- $22 = "01JD8Z7Q4T0000000000000001"
-- $23 = 0x4000
-- $24 = []string{"7", "2026-01-01 00:00:00+00"}
-- $25 = 3
-- $26 = "23514"
-- $27 = "violates a check"
-- $28 = "worker-1"
-- $29 = []string{"8", "2026-01-01 00:00:00+00"}
-- $30 = []string{"8", "2026-01-01 00:00:00+00"}
-- $31 = []string{"8", "2026-01-01 00:00:00+00"}
-- $32 = 1
-- $33 = 0
-- $34 = 0
-- $35 = "01JD8Z7Q4T0000000000000001"
-- $36 = 3

-- boundary of a pass
SELECT ARRAY["events"."tenant"::text, "events"."at"::text] FROM ONLY "public"."events_1" AS "events" WHERE ("events"."tenant", "events"."at") >= (CAST($1 AS integer), CAST($2 AS timestamp with time zone)) AND ("events"."tenant", "events"."at") < (CAST($3 AS integer), CAST($4 AS timestamp with time zone)) AND (pg_catalog.hash_record(ROW("events"."tenant", "events"."at")) & CAST($5 AS integer)) = CAST($6 AS integer) ORDER BY "events"."tenant", "events"."at" OFFSET $7 LIMIT 1;
-- $1 = "7"
-- $2 = "2026-01-01 00:00:00+00"
-- $3 = "8"
-- $4 = "2026-01-01 00:00:00+00"
-- $5 = 3
-- $6 = 3
-- $7 = 200

-- first key of a pass
SELECT ARRAY["events"."tenant"::text, "events"."at"::text] FROM ONLY "public"."events_1" AS "events" WHERE ("events"."tenant", "events"."at") >= (CAST($1 AS integer), CAST($2 AS timestamp with time zone)) AND ("events"."tenant", "events"."at") < (CAST($3 AS integer), CAST($4 AS timestamp with time zone)) AND (pg_catalog.hash_record(ROW("events"."tenant", "events"."at")) & CAST($5 AS integer)) = CAST($6 AS integer) ORDER BY "events"."tenant", "events"."at" OFFSET $7 LIMIT 1;
-- $1 = "7"
-- $2 = "2026-01-01 00:00:00+00"
-- $3 = "8"
-- $4 = "2026-01-01 00:00:00+00"
-- $5 = 3
-- $6 = 3
-- $7 = 0

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
   AND relation = '"public"."events_1"'::regclass THEN true ELSE false END
   AND NOT EXISTS (SELECT 1 FROM backfleet_brake)
  FOR NO KEY UPDATE),
backfleet_alone AS MATERIALIZED (
 SELECT 1 FROM backfleet_lock WHERE NOT EXISTS (
  SELECT 1 FROM ONLY "public"."events_1" AS "events" WHERE ("events"."tenant", "events"."at") >= (CAST($10 AS integer), CAST($11 AS timestamp with time zone)) AND ("events"."tenant", "events"."at") < (CAST($12 AS integer), CAST($13 AS timestamp with time zone)) AND ("events"."tenant", "events"."at") <> (CAST($14 AS integer), CAST($15 AS timestamp with time zone)))),
backfleet_others AS MATERIALIZED (
 SELECT count(*) AS rows FROM backfleet.quarantine WHERE job_id = $16 AND (relation, key) <> ($17::oid, $18::text[])),
backfleet_room AS MATERIALIZED (SELECT 1 FROM backfleet_alone, backfleet_others WHERE rows < $19),
backfleet_put AS (
 INSERT INTO backfleet.quarantine AS q (job_id, relation, key, range_index, sqlstate, error, by)
 SELECT $20, $21::oid, $22::text[], $23::int, $24, $25, $26
 FROM backfleet_room
 ON CONFLICT (job_id, relation, key) DO UPDATE SET sqlstate = EXCLUDED.sqlstate, error = EXCLUDED.error, attempts = q.attempts + 1, at = clock_timestamp()),
backfleet_move AS (SELECT 1 FROM backfleet_room)
SELECT EXISTS (SELECT 1 FROM backfleet_brake), (SELECT count(*) FROM backfleet_move), (SELECT rows FROM backfleet_others), (SELECT count(*) FROM backfleet_lock), (SELECT count(*) FROM backfleet_alone);
-- $1 = "01JD8Z7Q4T0000000000000001"
-- $2 = 3
-- $3 = 2
-- $4 = "11111111-2222-3333-4444-555555555555"
-- $5 = []string(nil)
-- $6 = []string{"8", "2026-01-01 00:00:00+00"}
-- $7 = 1
-- $8 = 0
-- $9 = []string{"7", "2026-01-01 00:00:00+00"}
-- $10 = "7"
-- $11 = "2026-01-01 00:00:00+00"
-- $12 = "8"
-- $13 = "2026-01-01 00:00:00+00"
-- $14 = "7"
-- $15 = "2026-01-01 00:00:00+00"
-- $16 = "01JD8Z7Q4T0000000000000001"
-- $17 = 0x4000
-- $18 = []string{"7", "2026-01-01 00:00:00+00"}
-- $19 = 100
-- $20 = "01JD8Z7Q4T0000000000000001"
-- $21 = 0x4000
-- $22 = []string{"7", "2026-01-01 00:00:00+00"}
-- $23 = 3
-- $24 = "23514"
-- $25 = "violates a check"
-- $26 = "worker-1"

-- quarantine, its turn
SELECT 1 FROM backfleet.jobs WHERE id = $1 FOR NO KEY UPDATE;
-- $1 = "01JD8Z7Q4T0000000000000001"

-- ahead
SELECT ARRAY["events"."tenant"::text, "events"."at"::text], EXISTS (SELECT 1 FROM backfleet.ranges AS backfleet_r
  WHERE backfleet_r.job_id = $1 AND backfleet_r.relation = $2
   AND backfleet_r.kind = 'fill' AND backfleet_r.state NOT IN ('done', 'dropped')
   AND (("events"."tenant", "events"."at") < (CAST(backfleet_r.hi[1] AS integer), CAST(backfleet_r.hi[2] AS timestamp with time zone)) OR backfleet_r.hi_inclusive AND ("events"."tenant", "events"."at") = (CAST(backfleet_r.hi[1] AS integer), CAST(backfleet_r.hi[2] AS timestamp with time zone)))
   AND CASE WHEN backfleet_r.k = 1 THEN backfleet_r.key IS NULL OR ("events"."tenant", "events"."at") >= (CAST(backfleet_r.key[1] AS integer), CAST(backfleet_r.key[2] AS timestamp with time zone))
     WHEN ("events"."tenant", "events"."at") > (CAST(backfleet_r.chunk_hi[1] AS integer), CAST(backfleet_r.chunk_hi[2] AS timestamp with time zone)) OR ("events"."tenant", "events"."at") = (CAST(backfleet_r.chunk_hi[1] AS integer), CAST(backfleet_r.chunk_hi[2] AS timestamp with time zone)) AND NOT (backfleet_r.hi_inclusive AND backfleet_r.chunk_hi = backfleet_r.hi) THEN true
     ELSE (backfleet_r.chunk_lo IS NULL OR ("events"."tenant", "events"."at") >= (CAST(backfleet_r.chunk_lo[1] AS integer), CAST(backfleet_r.chunk_lo[2] AS timestamp with time zone))) AND (pg_catalog.hash_record(ROW("events"."tenant", "events"."at")) & (backfleet_r.k - 1) > backfleet_r.pass OR pg_catalog.hash_record(ROW("events"."tenant", "events"."at")) & (backfleet_r.k - 1) = backfleet_r.pass AND (backfleet_r.key IS NULL OR ("events"."tenant", "events"."at") >= (CAST(backfleet_r.key[1] AS integer), CAST(backfleet_r.key[2] AS timestamp with time zone)))) END)
 FROM ONLY "public"."events_1" AS "events" WHERE ("events"."tenant", "events"."at") = (CAST($3 AS integer), CAST($4 AS timestamp with time zone));
-- $1 = "01JD8Z7Q4T0000000000000001"
-- $2 = 0x4000
-- $3 = "7"
-- $4 = "2026-01-01 00:00:00+00"

-- again, its turn
DELETE FROM backfleet.quarantine WHERE job_id = $1 AND relation = $2 AND key = $3::text[] RETURNING range_index;
-- $1 = "01JD8Z7Q4T0000000000000001"
-- $2 = 0x4000
-- $3 = []string{"7", "2026-01-01 00:00:00+00"}

-- again
WITH moved AS (DELETE FROM ONLY "public"."events_1" AS "events" WHERE v IS NULL AND (("events"."tenant", "events"."at") >= (CAST($1 AS integer), CAST($2 AS timestamp with time zone)) AND ("events"."tenant", "events"."at") <= (CAST($3 AS integer), CAST($4 AS timestamp with time zone))) RETURNING *)
INSERT INTO archive SELECT * FROM moved;
-- $1 = "7"
-- $2 = "2026-01-01 00:00:00+00"
-- $3 = "7"
-- $4 = "2026-01-01 00:00:00+00"

-- again, counted
UPDATE backfleet.ranges SET rows = rows + $3 WHERE job_id = $1 AND index = $2;
-- $1 = "01JD8Z7Q4T0000000000000001"
-- $2 = 3
-- $3 = 1

