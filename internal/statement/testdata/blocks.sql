-- update, half-open
UPDATE ONLY "public"."items" AS "items" SET "name_norm" = (
lower(name)
)
  WHERE "items"."ctid" >= CAST($1 AS tid) AND "items"."ctid" < CAST($2 AS tid) AND (
name_norm IS NULL AND name IS NOT NULL
);
-- $1 = "(3,0)"
-- $2 = "(7,0)"

-- boundary, half-open
SELECT ARRAY["items"."ctid"::text] FROM ONLY "public"."items" AS "items" WHERE "items"."ctid" >= CAST($1 AS tid) AND "items"."ctid" < CAST($2 AS tid) ORDER BY "items"."ctid" OFFSET $3 LIMIT 1;
-- $1 = "(3,0)"
-- $2 = "(7,0)"
-- $3 = 200

-- tried, half-open
WITH backfleet_tried AS (
UPDATE ONLY "public"."items" AS "items" SET "name_norm" = (
lower(name)
)
  WHERE "items"."ctid" >= CAST($1 AS tid) AND "items"."ctid" < CAST($2 AS tid) AND (
name_norm IS NULL AND name IS NOT NULL
)
 RETURNING (
name_norm IS NULL AND name IS NOT NULL
) AS open, coalesce(pg_column_size("items"."name_norm"), 0) AS bytes)
SELECT count(*), count(*) FILTER (WHERE open), coalesce(sum(bytes), 0)::float8 FROM backfleet_tried;
-- $1 = "(3,0)"
-- $2 = "(7,0)"

-- open, half-open
SELECT coalesce(sum(coalesce(pg_column_size("items"."name_norm"), 0)), 0)::float8 FROM ONLY "public"."items" AS "items" WHERE "items"."ctid" >= CAST($1 AS tid) AND "items"."ctid" < CAST($2 AS tid) AND (
name_norm IS NULL AND name IS NOT NULL
);
-- $1 = "(3,0)"
-- $2 = "(7,0)"

-- last look, half-open
SELECT count(*), count(*) FILTER (WHERE (
name_norm IS NULL AND name IS NOT NULL
)), count(*) FILTER (WHERE (
name_norm IS NOT DISTINCT FROM lower(name)
) IS NOT TRUE) FROM ONLY "public"."items" AS "items" WHERE "items"."ctid" >= CAST($1 AS tid) AND "items"."ctid" < CAST($2 AS tid)
  AND NOT EXISTS (SELECT 1 FROM backfleet.quarantine AS backfleet_q WHERE backfleet_q.job_id = $3 AND backfleet_q.relation = CAST($4 AS oid) AND backfleet_q.key = ARRAY["items"."shop"::text, "items"."id"::text]);
-- $1 = "(3,0)"
-- $2 = "(7,0)"
-- $3 = "01JD8Z7Q4T0000000000000001"
-- $4 = 0x4000

-- look, half-open
SELECT count(*), count(*) FILTER (WHERE (
name_norm IS NULL AND name IS NOT NULL
)), count(*) FILTER (WHERE (
name_norm IS NOT DISTINCT FROM lower(name)
) IS NOT TRUE) FROM ONLY "public"."items" AS "items" WHERE "items"."ctid" >= CAST($1 AS tid) AND "items"."ctid" < CAST($2 AS tid);
-- $1 = "(3,0)"
-- $2 = "(7,0)"

-- update, open below
UPDATE ONLY "public"."items" AS "items" SET "name_norm" = (
lower(name)
)
  WHERE "items"."ctid" < CAST($1 AS tid) AND (
name_norm IS NULL AND name IS NOT NULL
);
-- $1 = "(7,0)"

-- boundary, open below
SELECT ARRAY["items"."ctid"::text] FROM ONLY "public"."items" AS "items" WHERE "items"."ctid" < CAST($1 AS tid) ORDER BY "items"."ctid" OFFSET $2 LIMIT 1;
-- $1 = "(7,0)"
-- $2 = 200

-- tried, open below
WITH backfleet_tried AS (
UPDATE ONLY "public"."items" AS "items" SET "name_norm" = (
lower(name)
)
  WHERE "items"."ctid" < CAST($1 AS tid) AND (
name_norm IS NULL AND name IS NOT NULL
)
 RETURNING (
name_norm IS NULL AND name IS NOT NULL
) AS open, coalesce(pg_column_size("items"."name_norm"), 0) AS bytes)
SELECT count(*), count(*) FILTER (WHERE open), coalesce(sum(bytes), 0)::float8 FROM backfleet_tried;
-- $1 = "(7,0)"

-- open, open below
SELECT coalesce(sum(coalesce(pg_column_size("items"."name_norm"), 0)), 0)::float8 FROM ONLY "public"."items" AS "items" WHERE "items"."ctid" < CAST($1 AS tid) AND (
name_norm IS NULL AND name IS NOT NULL
);
-- $1 = "(7,0)"

-- last look, open below
SELECT count(*), count(*) FILTER (WHERE (
name_norm IS NULL AND name IS NOT NULL
)), count(*) FILTER (WHERE (
name_norm IS NOT DISTINCT FROM lower(name)
) IS NOT TRUE) FROM ONLY "public"."items" AS "items" WHERE "items"."ctid" < CAST($1 AS tid)
  AND NOT EXISTS (SELECT 1 FROM backfleet.quarantine AS backfleet_q WHERE backfleet_q.job_id = $2 AND backfleet_q.relation = CAST($3 AS oid) AND backfleet_q.key = ARRAY["items"."shop"::text, "items"."id"::text]);
-- $1 = "(7,0)"
-- $2 = "01JD8Z7Q4T0000000000000001"
-- $3 = 0x4000

-- look, open below
SELECT count(*), count(*) FILTER (WHERE (
name_norm IS NULL AND name IS NOT NULL
)), count(*) FILTER (WHERE (
name_norm IS NOT DISTINCT FROM lower(name)
) IS NOT TRUE) FROM ONLY "public"."items" AS "items" WHERE "items"."ctid" < CAST($1 AS tid);
-- $1 = "(7,0)"

-- update, closed above
UPDATE ONLY "public"."items" AS "items" SET "name_norm" = (
lower(name)
)
  WHERE "items"."ctid" >= CAST($1 AS tid) AND "items"."ctid" <= CAST($2 AS tid) AND (
name_norm IS NULL AND name IS NOT NULL
);
-- $1 = "(3,0)"
-- $2 = "(7,0)"

-- boundary, closed above
SELECT ARRAY["items"."ctid"::text] FROM ONLY "public"."items" AS "items" WHERE "items"."ctid" >= CAST($1 AS tid) AND "items"."ctid" <= CAST($2 AS tid) ORDER BY "items"."ctid" OFFSET $3 LIMIT 1;
-- $1 = "(3,0)"
-- $2 = "(7,0)"
-- $3 = 200

-- tried, closed above
WITH backfleet_tried AS (
UPDATE ONLY "public"."items" AS "items" SET "name_norm" = (
lower(name)
)
  WHERE "items"."ctid" >= CAST($1 AS tid) AND "items"."ctid" <= CAST($2 AS tid) AND (
name_norm IS NULL AND name IS NOT NULL
)
 RETURNING (
name_norm IS NULL AND name IS NOT NULL
) AS open, coalesce(pg_column_size("items"."name_norm"), 0) AS bytes)
SELECT count(*), count(*) FILTER (WHERE open), coalesce(sum(bytes), 0)::float8 FROM backfleet_tried;
-- $1 = "(3,0)"
-- $2 = "(7,0)"

-- open, closed above
SELECT coalesce(sum(coalesce(pg_column_size("items"."name_norm"), 0)), 0)::float8 FROM ONLY "public"."items" AS "items" WHERE "items"."ctid" >= CAST($1 AS tid) AND "items"."ctid" <= CAST($2 AS tid) AND (
name_norm IS NULL AND name IS NOT NULL
);
-- $1 = "(3,0)"
-- $2 = "(7,0)"

-- last look, closed above
SELECT count(*), count(*) FILTER (WHERE (
name_norm IS NULL AND name IS NOT NULL
)), count(*) FILTER (WHERE (
name_norm IS NOT DISTINCT FROM lower(name)
) IS NOT TRUE) FROM ONLY "public"."items" AS "items" WHERE "items"."ctid" >= CAST($1 AS tid) AND "items"."ctid" <= CAST($2 AS tid)
  AND NOT EXISTS (SELECT 1 FROM backfleet.quarantine AS backfleet_q WHERE backfleet_q.job_id = $3 AND backfleet_q.relation = CAST($4 AS oid) AND backfleet_q.key = ARRAY["items"."shop"::text, "items"."id"::text]);
-- $1 = "(3,0)"
-- $2 = "(7,0)"
-- $3 = "01JD8Z7Q4T0000000000000001"
-- $4 = 0x4000

-- look, closed above
SELECT count(*), count(*) FILTER (WHERE (
name_norm IS NULL AND name IS NOT NULL
)), count(*) FILTER (WHERE (
name_norm IS NOT DISTINCT FROM lower(name)
) IS NOT TRUE) FROM ONLY "public"."items" AS "items" WHERE "items"."ctid" >= CAST($1 AS tid) AND "items"."ctid" <= CAST($2 AS tid);
-- $1 = "(3,0)"
-- $2 = "(7,0)"

-- update, open above
UPDATE ONLY "public"."items" AS "items" SET "name_norm" = (
lower(name)
)
  WHERE "items"."ctid" >= CAST($1 AS tid) AND (
name_norm IS NULL AND name IS NOT NULL
);
-- $1 = "(3,0)"

-- boundary, open above
SELECT ARRAY["items"."ctid"::text] FROM ONLY "public"."items" AS "items" WHERE "items"."ctid" >= CAST($1 AS tid) ORDER BY "items"."ctid" OFFSET $2 LIMIT 1;
-- $1 = "(3,0)"
-- $2 = 200

-- tried, open above
WITH backfleet_tried AS (
UPDATE ONLY "public"."items" AS "items" SET "name_norm" = (
lower(name)
)
  WHERE "items"."ctid" >= CAST($1 AS tid) AND (
name_norm IS NULL AND name IS NOT NULL
)
 RETURNING (
name_norm IS NULL AND name IS NOT NULL
) AS open, coalesce(pg_column_size("items"."name_norm"), 0) AS bytes)
SELECT count(*), count(*) FILTER (WHERE open), coalesce(sum(bytes), 0)::float8 FROM backfleet_tried;
-- $1 = "(3,0)"

-- open, open above
SELECT coalesce(sum(coalesce(pg_column_size("items"."name_norm"), 0)), 0)::float8 FROM ONLY "public"."items" AS "items" WHERE "items"."ctid" >= CAST($1 AS tid) AND (
name_norm IS NULL AND name IS NOT NULL
);
-- $1 = "(3,0)"

-- last look, open above
SELECT count(*), count(*) FILTER (WHERE (
name_norm IS NULL AND name IS NOT NULL
)), count(*) FILTER (WHERE (
name_norm IS NOT DISTINCT FROM lower(name)
) IS NOT TRUE) FROM ONLY "public"."items" AS "items" WHERE "items"."ctid" >= CAST($1 AS tid)
  AND NOT EXISTS (SELECT 1 FROM backfleet.quarantine AS backfleet_q WHERE backfleet_q.job_id = $2 AND backfleet_q.relation = CAST($3 AS oid) AND backfleet_q.key = ARRAY["items"."shop"::text, "items"."id"::text]);
-- $1 = "(3,0)"
-- $2 = "01JD8Z7Q4T0000000000000001"
-- $3 = 0x4000

-- look, open above
SELECT count(*), count(*) FILTER (WHERE (
name_norm IS NULL AND name IS NOT NULL
)), count(*) FILTER (WHERE (
name_norm IS NOT DISTINCT FROM lower(name)
) IS NOT TRUE) FROM ONLY "public"."items" AS "items" WHERE "items"."ctid" >= CAST($1 AS tid);
-- $1 = "(3,0)"

-- update, unbounded
UPDATE ONLY "public"."items" AS "items" SET "name_norm" = (
lower(name)
)
  WHERE true AND (
name_norm IS NULL AND name IS NOT NULL
);

-- boundary, unbounded
SELECT ARRAY["items"."ctid"::text] FROM ONLY "public"."items" AS "items" WHERE true ORDER BY "items"."ctid" OFFSET $1 LIMIT 1;
-- $1 = 200

-- tried, unbounded
WITH backfleet_tried AS (
UPDATE ONLY "public"."items" AS "items" SET "name_norm" = (
lower(name)
)
  WHERE true AND (
name_norm IS NULL AND name IS NOT NULL
)
 RETURNING (
name_norm IS NULL AND name IS NOT NULL
) AS open, coalesce(pg_column_size("items"."name_norm"), 0) AS bytes)
SELECT count(*), count(*) FILTER (WHERE open), coalesce(sum(bytes), 0)::float8 FROM backfleet_tried;

-- open, unbounded
SELECT coalesce(sum(coalesce(pg_column_size("items"."name_norm"), 0)), 0)::float8 FROM ONLY "public"."items" AS "items" WHERE true AND (
name_norm IS NULL AND name IS NOT NULL
);

-- last look, unbounded
SELECT count(*), count(*) FILTER (WHERE (
name_norm IS NULL AND name IS NOT NULL
)), count(*) FILTER (WHERE (
name_norm IS NOT DISTINCT FROM lower(name)
) IS NOT TRUE) FROM ONLY "public"."items" AS "items" WHERE true
  AND NOT EXISTS (SELECT 1 FROM backfleet.quarantine AS backfleet_q WHERE backfleet_q.job_id = $1 AND backfleet_q.relation = CAST($2 AS oid) AND backfleet_q.key = ARRAY["items"."shop"::text, "items"."id"::text]);
-- $1 = "01JD8Z7Q4T0000000000000001"
-- $2 = 0x4000

-- look, unbounded
SELECT count(*), count(*) FILTER (WHERE (
name_norm IS NULL AND name IS NOT NULL
)), count(*) FILTER (WHERE (
name_norm IS NOT DISTINCT FROM lower(name)
) IS NOT TRUE) FROM ONLY "public"."items" AS "items" WHERE true;

-- measured
EXPLAIN (ANALYZE, WAL, TIMING OFF, FORMAT JSON) UPDATE ONLY "public"."items" AS "items" SET "name_norm" = (
lower(name)
)
  WHERE "items"."ctid" >= CAST($1 AS tid) AND "items"."ctid" < CAST($2 AS tid) AND (
name_norm IS NULL AND name IS NOT NULL
);
-- $1 = "(3,0)"
-- $2 = "(7,0)"

-- widths
SELECT coalesce(sum(coalesce(pg_column_size("items"."name_norm"), 0)), 0)::float8 FROM ONLY "public"."items" AS "items" WHERE "items"."ctid" >= CAST($1 AS tid) AND "items"."ctid" < CAST($2 AS tid);
-- $1 = "(3,0)"
-- $2 = "(7,0)"

-- file
SELECT pg_catalog.pg_relation_filenode($1::oid), pg_catalog.pg_relation_size($1::oid) / current_setting('block_size')::bigint;
-- $1 = 0x4000

-- rows in a block
SELECT coalesce((SELECT CASE WHEN reltuples > 0 AND relpages > 0 THEN greatest(reltuples / relpages, 1) END FROM pg_catalog.pg_class WHERE oid = $1::oid), 60)::float8;
-- $1 = 0x4000

-- first key
SELECT ARRAY["items"."shop"::text, "items"."id"::text] FROM ONLY "public"."items" AS "items" WHERE "items"."ctid" >= CAST($1 AS tid) AND "items"."ctid" < CAST($2 AS tid) ORDER BY "items"."ctid" OFFSET $3 LIMIT 1;
-- $1 = "(3,0)"
-- $2 = "(7,0)"
-- $3 = 0

-- fill
SELECT held, moved, written FROM backfleet.fill_blocks($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20);
-- $1 = "01JD8Z7Q4T0000000000000001"
-- $2 = 3
-- $3 = 2
-- $4 = "11111111-2222-3333-4444-555555555555"
-- $5 = []string(nil)
-- $6 = []string{"(7,0)"}
-- $7 = 1
-- $8 = 0
-- $9 = []string{"(3,0)"}
-- $10 = []string(nil)
-- $11 = []string{"(7,0)"}
-- $12 = 1
-- $13 = 0
-- $14 = []string{"(7,0)"}
-- $15 = 200
-- $16 = false
-- $17 = "\"public\".\"items\""
-- $18 = "UPDATE ONLY \"public\".\"items\" AS \"items\" SET \"name_norm\" = (\nlower(name)\n)\n  WHERE \"items\".\"ctid\" >= CAST(($1)[1] AS tid) AND \"items\".\"ctid\" < CAST(($1)[2] AS tid) AND (\nname_norm IS NULL AND name IS NOT NULL\n)\n RETURNING CASE WHEN (\nname_norm IS NULL AND name IS NOT NULL\n) THEN backfleet.still_open(ARRAY[\"items\".\"shop\"::text, \"items\".\"id\"::text]) END"
-- $19 = []string{"(3,0)", "(7,0)"}
-- $20 = 0x4006

-- proof
WITH backfleet_brake AS MATERIALIZED (SELECT 1 FROM backfleet.brake WHERE until > clock_timestamp()),
backfleet_lock AS MATERIALIZED (
 SELECT 1 FROM backfleet.ranges
  WHERE job_id = $1 AND index = $2
   AND CASE WHEN fence = $3 AND claim_token = $4 AND state = 'running'
   AND (chunk_lo, chunk_hi, k, pass, key) IS NOT DISTINCT FROM ($5::text[], $6::text[], $7::smallint, $8::smallint, $9::text[])
   AND relation = '"public"."items"'::regclass THEN backfleet.same_file($10, $11) ELSE false END
   AND NOT EXISTS (SELECT 1 FROM backfleet_brake)
  FOR NO KEY UPDATE),
backfleet_proof AS MATERIALIZED (
 SELECT count(*) FILTER (WHERE (
name_norm IS NULL AND name IS NOT NULL
)) AS residual, count(*) FILTER (WHERE (
name_norm IS NOT DISTINCT FROM lower(name)
) IS NOT TRUE) AS check_fails
  FROM ONLY "public"."items" AS "items"
  WHERE "items"."ctid" >= CAST($12 AS tid) AND "items"."ctid" < CAST($13 AS tid) AND EXISTS (SELECT 1 FROM backfleet_lock)),
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
-- $6 = []string{"(7,0)"}
-- $7 = 1
-- $8 = 0
-- $9 = []string{"(3,0)"}
-- $10 = "\"public\".\"items\""
-- $11 = 0x4006
-- $12 = "(3,0)"
-- $13 = "(7,0)"
-- $14 = []string{"(7,0)"}
-- $15 = 200
-- $16 = "01JD8Z7Q4T0000000000000001"
-- $17 = 3

-- repair the residual
WITH backfleet_brake AS MATERIALIZED (SELECT 1 FROM backfleet.brake WHERE until > clock_timestamp()),
backfleet_lock AS MATERIALIZED (
 SELECT 1 FROM backfleet.ranges
  WHERE job_id = $1 AND index = $2
   AND CASE WHEN fence = $3 AND claim_token = $4 AND state = 'running'
   AND (chunk_lo, chunk_hi, k, pass, key) IS NOT DISTINCT FROM ($5::text[], $6::text[], $7::smallint, $8::smallint, $9::text[])
   AND relation = '"public"."items"'::regclass THEN backfleet.same_file($10, $11) ELSE false END
   AND NOT EXISTS (SELECT 1 FROM backfleet_brake)
  FOR NO KEY UPDATE),
backfleet_update AS (
 UPDATE ONLY "public"."items" AS "items" SET "name_norm" = (
lower(name)
)
  WHERE "items"."ctid" >= CAST($12 AS tid) AND "items"."ctid" < CAST($13 AS tid) AND EXISTS (SELECT 1 FROM backfleet_lock) AND (
name_norm IS NULL AND name IS NOT NULL
)
 RETURNING CASE WHEN (
name_norm IS NULL AND name IS NOT NULL
) THEN backfleet.still_open(ARRAY["items"."shop"::text, "items"."id"::text]) END),
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
-- $6 = []string{"(7,0)"}
-- $7 = 1
-- $8 = 0
-- $9 = []string{"(3,0)"}
-- $10 = "\"public\".\"items\""
-- $11 = 0x4006
-- $12 = "(3,0)"
-- $13 = "(7,0)"
-- $14 = "01JD8Z7Q4T0000000000000001"
-- $15 = 3

-- repair what fails its check too
WITH backfleet_brake AS MATERIALIZED (SELECT 1 FROM backfleet.brake WHERE until > clock_timestamp()),
backfleet_lock AS MATERIALIZED (
 SELECT 1 FROM backfleet.ranges
  WHERE job_id = $1 AND index = $2
   AND CASE WHEN fence = $3 AND claim_token = $4 AND state = 'running'
   AND (chunk_lo, chunk_hi, k, pass, key) IS NOT DISTINCT FROM ($5::text[], $6::text[], $7::smallint, $8::smallint, $9::text[])
   AND relation = '"public"."items"'::regclass THEN backfleet.same_file($10, $11) ELSE false END
   AND NOT EXISTS (SELECT 1 FROM backfleet_brake)
  FOR NO KEY UPDATE),
backfleet_update AS (
 UPDATE ONLY "public"."items" AS "items" SET "name_norm" = (
lower(name)
)
  WHERE "items"."ctid" >= CAST($12 AS tid) AND "items"."ctid" < CAST($13 AS tid) AND EXISTS (SELECT 1 FROM backfleet_lock) AND ((
name_norm IS NULL AND name IS NOT NULL
) OR (
name_norm IS NOT DISTINCT FROM lower(name)
) IS NOT TRUE)
 RETURNING CASE WHEN (
name_norm IS NULL AND name IS NOT NULL
) THEN backfleet.still_open(ARRAY["items"."shop"::text, "items"."id"::text]) END),
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
-- $6 = []string{"(7,0)"}
-- $7 = 1
-- $8 = 0
-- $9 = []string{"(3,0)"}
-- $10 = "\"public\".\"items\""
-- $11 = 0x4006
-- $12 = "(3,0)"
-- $13 = "(7,0)"
-- $14 = "01JD8Z7Q4T0000000000000001"
-- $15 = 3

-- failing
SELECT ARRAY["items"."shop"::text, "items"."id"::text] FROM ONLY "public"."items" AS "items" WHERE "items"."ctid" >= CAST($1 AS tid) AND "items"."ctid" < CAST($2 AS tid) AND ((
name_norm IS NULL AND name IS NOT NULL
) OR (
name_norm IS NOT DISTINCT FROM lower(name)
) IS NOT TRUE) ORDER BY "items"."ctid" LIMIT 1;
-- $1 = "(3,0)"
-- $2 = "(7,0)"

-- count of blocks
SELECT '"public"."items"'::regclass::oid, pg_catalog.pg_relation_filenode('"public"."items"'::regclass), count(*), count(*) FILTER (WHERE (
name_norm IS NULL AND name IS NOT NULL
)), count(*) FILTER (WHERE (
name_norm IS NOT DISTINCT FROM lower(name)
) IS NOT TRUE)
 FROM ONLY "public"."items" AS "items"
 WHERE "items"."ctid" >= CAST($1 AS tid) AND "items"."ctid" < CAST($2 AS tid) AND "items"."ctid" <= CAST($3 AS tid);
-- $1 = "(7,0)"
-- $2 = "(9,0)"
-- $3 = "(7,0)"

-- counted
WITH backfleet_brake AS MATERIALIZED (SELECT 1 FROM backfleet.brake WHERE until > clock_timestamp()),
backfleet_lock AS MATERIALIZED (
 SELECT 1 FROM backfleet.ranges
  WHERE job_id = $1 AND index = $2
   AND CASE WHEN fence = $3 AND claim_token = $4 AND state = 'running'
   AND (chunk_lo, chunk_hi, k, pass, key) IS NOT DISTINCT FROM ($5::text[], $6::text[], $7::smallint, $8::smallint, $9::text[])
   AND relation = '"public"."items"'::regclass THEN backfleet.same_file($10, $11) ELSE false END
   AND NOT EXISTS (SELECT 1 FROM backfleet_brake)
  FOR NO KEY UPDATE),
backfleet_move AS (
 UPDATE backfleet.ranges SET key = $15::text[], batches = batches + 1,
  walked = walked + $16, residual = residual + $12, check_fails = check_fails + $13, blocks_left = blocks_left - $14, attempts = 0,
  lease_until = clock_timestamp() + interval '10 seconds'
  WHERE job_id = $17 AND index = $18 AND EXISTS (SELECT 1 FROM backfleet_lock)
 RETURNING 1)
SELECT EXISTS (SELECT 1 FROM backfleet_brake), (SELECT count(*) FROM backfleet_move);
-- $1 = "01JD8Z7Q4T0000000000000001"
-- $2 = 3
-- $3 = 2
-- $4 = "11111111-2222-3333-4444-555555555555"
-- $5 = []string(nil)
-- $6 = []string{"(7,0)"}
-- $7 = 1
-- $8 = 0
-- $9 = []string{"(3,0)"}
-- $10 = "\"public\".\"items\""
-- $11 = 0x4006
-- $12 = 0
-- $13 = 1
-- $14 = 2
-- $15 = []string{"(7,0)"}
-- $16 = 200
-- $17 = "01JD8Z7Q4T0000000000000001"
-- $18 = 3

-- quarantine
WITH backfleet_brake AS MATERIALIZED (SELECT 1 FROM backfleet.brake WHERE until > clock_timestamp()),
backfleet_lock AS MATERIALIZED (
 SELECT 1 FROM backfleet.ranges
  WHERE job_id = $1 AND index = $2
   AND CASE WHEN fence = $3 AND claim_token = $4 AND state = 'running'
   AND (chunk_lo, chunk_hi, k, pass, key) IS NOT DISTINCT FROM ($5::text[], $6::text[], $7::smallint, $8::smallint, $9::text[])
   AND relation = '"public"."items"'::regclass THEN backfleet.same_file($10, $11) ELSE false END
   AND NOT EXISTS (SELECT 1 FROM backfleet_brake)
  FOR NO KEY UPDATE),
backfleet_alone AS MATERIALIZED (
 SELECT 1 FROM backfleet_lock WHERE NOT EXISTS (
  SELECT 1 FROM ONLY "public"."items" AS "items" WHERE "items"."ctid" >= CAST($12 AS tid) AND "items"."ctid" < CAST($13 AS tid) AND ("items"."shop", "items"."id") <> (CAST($14 AS integer), CAST($15 AS uuid)))),
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
-- $6 = []string{"(7,0)"}
-- $7 = 1
-- $8 = 0
-- $9 = []string{"(3,0)"}
-- $10 = "\"public\".\"items\""
-- $11 = 0x4006
-- $12 = "(3,0)"
-- $13 = "(7,0)"
-- $14 = "7"
-- $15 = "00000000-0000-0000-0000-000000000001"
-- $16 = "01JD8Z7Q4T0000000000000001"
-- $17 = 0x4000
-- $18 = []string{"7", "00000000-0000-0000-0000-000000000001"}
-- $19 = 100
-- $20 = "01JD8Z7Q4T0000000000000001"
-- $21 = 0x4000
-- $22 = []string{"7", "00000000-0000-0000-0000-000000000001"}
-- $23 = 3
-- $24 = "23514"
-- $25 = "violates a check"
-- $26 = "worker-1"
-- $27 = []string{"(7,0)"}
-- $28 = 200
-- $29 = "01JD8Z7Q4T0000000000000001"
-- $30 = 3

-- fill, last, with rows in quarantine
SELECT held, moved, written FROM backfleet.fill_blocks($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20);
-- $1 = "01JD8Z7Q4T0000000000000001"
-- $2 = 3
-- $3 = 2
-- $4 = "11111111-2222-3333-4444-555555555555"
-- $5 = []string(nil)
-- $6 = []string{"(7,0)"}
-- $7 = 1
-- $8 = 0
-- $9 = []string{"(3,0)"}
-- $10 = []string(nil)
-- $11 = []string{"(7,0)"}
-- $12 = 1
-- $13 = 0
-- $14 = []string{"(7,0)"}
-- $15 = 0
-- $16 = true
-- $17 = "\"public\".\"items\""
-- $18 = "UPDATE ONLY \"public\".\"items\" AS \"items\" SET \"name_norm\" = (\nlower(name)\n)\n  WHERE \"items\".\"ctid\" >= CAST(($1)[1] AS tid) AND \"items\".\"ctid\" <= CAST(($1)[2] AS tid) AND (\nname_norm IS NULL AND name IS NOT NULL\n)\n  AND NOT EXISTS (SELECT 1 FROM backfleet.quarantine AS backfleet_q WHERE backfleet_q.job_id = ($1)[3] AND backfleet_q.relation = CAST(($1)[4] AS oid) AND backfleet_q.key = ARRAY[\"items\".\"shop\"::text, \"items\".\"id\"::text])\n RETURNING CASE WHEN (\nname_norm IS NULL AND name IS NOT NULL\n) THEN backfleet.still_open(ARRAY[\"items\".\"shop\"::text, \"items\".\"id\"::text]) END"
-- $19 = []string{"(3,0)", "(7,0)", "01JD8Z7Q4T0000000000000001", "16384"}
-- $20 = 0x4006

-- proof, last, with rows in quarantine
WITH backfleet_brake AS MATERIALIZED (SELECT 1 FROM backfleet.brake WHERE until > clock_timestamp()),
backfleet_lock AS MATERIALIZED (
 SELECT 1 FROM backfleet.ranges
  WHERE job_id = $1 AND index = $2
   AND CASE WHEN fence = $3 AND claim_token = $4 AND state = 'running'
   AND (chunk_lo, chunk_hi, k, pass, key) IS NOT DISTINCT FROM ($5::text[], $6::text[], $7::smallint, $8::smallint, $9::text[])
   AND relation = '"public"."items"'::regclass THEN backfleet.same_file($10, $11) ELSE false END
   AND NOT EXISTS (SELECT 1 FROM backfleet_brake)
  FOR NO KEY UPDATE),
backfleet_proof AS MATERIALIZED (
 SELECT count(*) FILTER (WHERE (
name_norm IS NULL AND name IS NOT NULL
)) AS residual, count(*) FILTER (WHERE (
name_norm IS NOT DISTINCT FROM lower(name)
) IS NOT TRUE) AS check_fails
  FROM ONLY "public"."items" AS "items"
  WHERE "items"."ctid" >= CAST($12 AS tid) AND "items"."ctid" <= CAST($13 AS tid) AND EXISTS (SELECT 1 FROM backfleet_lock)
  AND NOT EXISTS (SELECT 1 FROM backfleet.quarantine AS backfleet_q WHERE backfleet_q.job_id = $14 AND backfleet_q.relation = CAST($15 AS oid) AND backfleet_q.key = ARRAY["items"."shop"::text, "items"."id"::text])),
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
-- $6 = []string{"(7,0)"}
-- $7 = 1
-- $8 = 0
-- $9 = []string{"(3,0)"}
-- $10 = "\"public\".\"items\""
-- $11 = 0x4006
-- $12 = "(3,0)"
-- $13 = "(7,0)"
-- $14 = "01JD8Z7Q4T0000000000000001"
-- $15 = 0x4000
-- $16 = []string{"(7,0)"}
-- $17 = 0
-- $18 = "01JD8Z7Q4T0000000000000001"
-- $19 = 3

-- repair the residual, last, with rows in quarantine
WITH backfleet_brake AS MATERIALIZED (SELECT 1 FROM backfleet.brake WHERE until > clock_timestamp()),
backfleet_lock AS MATERIALIZED (
 SELECT 1 FROM backfleet.ranges
  WHERE job_id = $1 AND index = $2
   AND CASE WHEN fence = $3 AND claim_token = $4 AND state = 'running'
   AND (chunk_lo, chunk_hi, k, pass, key) IS NOT DISTINCT FROM ($5::text[], $6::text[], $7::smallint, $8::smallint, $9::text[])
   AND relation = '"public"."items"'::regclass THEN backfleet.same_file($10, $11) ELSE false END
   AND NOT EXISTS (SELECT 1 FROM backfleet_brake)
  FOR NO KEY UPDATE),
backfleet_update AS (
 UPDATE ONLY "public"."items" AS "items" SET "name_norm" = (
lower(name)
)
  WHERE "items"."ctid" >= CAST($12 AS tid) AND "items"."ctid" <= CAST($13 AS tid) AND EXISTS (SELECT 1 FROM backfleet_lock) AND (
name_norm IS NULL AND name IS NOT NULL
)
  AND NOT EXISTS (SELECT 1 FROM backfleet.quarantine AS backfleet_q WHERE backfleet_q.job_id = $14 AND backfleet_q.relation = CAST($15 AS oid) AND backfleet_q.key = ARRAY["items"."shop"::text, "items"."id"::text])
 RETURNING CASE WHEN (
name_norm IS NULL AND name IS NOT NULL
) THEN backfleet.still_open(ARRAY["items"."shop"::text, "items"."id"::text]) END),
backfleet_count AS MATERIALIZED (SELECT count(*) AS rows FROM backfleet_update),
backfleet_move AS (
 UPDATE backfleet.ranges SET rows = rows + (SELECT rows FROM backfleet_count),
  lease_until = clock_timestamp() + interval '10 seconds'
  WHERE job_id = $16 AND index = $17 AND EXISTS (SELECT 1 FROM backfleet_lock)
 RETURNING 1)
SELECT EXISTS (SELECT 1 FROM backfleet_brake), (SELECT count(*) FROM backfleet_move), (SELECT rows FROM backfleet_count);
-- $1 = "01JD8Z7Q4T0000000000000001"
-- $2 = 3
-- $3 = 2
-- $4 = "11111111-2222-3333-4444-555555555555"
-- $5 = []string(nil)
-- $6 = []string{"(7,0)"}
-- $7 = 1
-- $8 = 0
-- $9 = []string{"(3,0)"}
-- $10 = "\"public\".\"items\""
-- $11 = 0x4006
-- $12 = "(3,0)"
-- $13 = "(7,0)"
-- $14 = "01JD8Z7Q4T0000000000000001"
-- $15 = 0x4000
-- $16 = "01JD8Z7Q4T0000000000000001"
-- $17 = 3

-- repair what fails its check too, last, with rows in quarantine
WITH backfleet_brake AS MATERIALIZED (SELECT 1 FROM backfleet.brake WHERE until > clock_timestamp()),
backfleet_lock AS MATERIALIZED (
 SELECT 1 FROM backfleet.ranges
  WHERE job_id = $1 AND index = $2
   AND CASE WHEN fence = $3 AND claim_token = $4 AND state = 'running'
   AND (chunk_lo, chunk_hi, k, pass, key) IS NOT DISTINCT FROM ($5::text[], $6::text[], $7::smallint, $8::smallint, $9::text[])
   AND relation = '"public"."items"'::regclass THEN backfleet.same_file($10, $11) ELSE false END
   AND NOT EXISTS (SELECT 1 FROM backfleet_brake)
  FOR NO KEY UPDATE),
backfleet_update AS (
 UPDATE ONLY "public"."items" AS "items" SET "name_norm" = (
lower(name)
)
  WHERE "items"."ctid" >= CAST($12 AS tid) AND "items"."ctid" <= CAST($13 AS tid) AND EXISTS (SELECT 1 FROM backfleet_lock) AND ((
name_norm IS NULL AND name IS NOT NULL
) OR (
name_norm IS NOT DISTINCT FROM lower(name)
) IS NOT TRUE)
  AND NOT EXISTS (SELECT 1 FROM backfleet.quarantine AS backfleet_q WHERE backfleet_q.job_id = $14 AND backfleet_q.relation = CAST($15 AS oid) AND backfleet_q.key = ARRAY["items"."shop"::text, "items"."id"::text])
 RETURNING CASE WHEN (
name_norm IS NULL AND name IS NOT NULL
) THEN backfleet.still_open(ARRAY["items"."shop"::text, "items"."id"::text]) END),
backfleet_count AS MATERIALIZED (SELECT count(*) AS rows FROM backfleet_update),
backfleet_move AS (
 UPDATE backfleet.ranges SET rows = rows + (SELECT rows FROM backfleet_count),
  lease_until = clock_timestamp() + interval '10 seconds'
  WHERE job_id = $16 AND index = $17 AND EXISTS (SELECT 1 FROM backfleet_lock)
 RETURNING 1)
SELECT EXISTS (SELECT 1 FROM backfleet_brake), (SELECT count(*) FROM backfleet_move), (SELECT rows FROM backfleet_count);
-- $1 = "01JD8Z7Q4T0000000000000001"
-- $2 = 3
-- $3 = 2
-- $4 = "11111111-2222-3333-4444-555555555555"
-- $5 = []string(nil)
-- $6 = []string{"(7,0)"}
-- $7 = 1
-- $8 = 0
-- $9 = []string{"(3,0)"}
-- $10 = "\"public\".\"items\""
-- $11 = 0x4006
-- $12 = "(3,0)"
-- $13 = "(7,0)"
-- $14 = "01JD8Z7Q4T0000000000000001"
-- $15 = 0x4000
-- $16 = "01JD8Z7Q4T0000000000000001"
-- $17 = 3

-- failing, last, with rows in quarantine
SELECT ARRAY["items"."shop"::text, "items"."id"::text] FROM ONLY "public"."items" AS "items" WHERE "items"."ctid" >= CAST($1 AS tid) AND "items"."ctid" <= CAST($2 AS tid) AND ((
name_norm IS NULL AND name IS NOT NULL
) OR (
name_norm IS NOT DISTINCT FROM lower(name)
) IS NOT TRUE) AND NOT EXISTS (SELECT 1 FROM backfleet.quarantine AS backfleet_q WHERE backfleet_q.job_id = $3 AND backfleet_q.relation = CAST($4 AS oid) AND backfleet_q.key = ARRAY["items"."shop"::text, "items"."id"::text]) ORDER BY "items"."ctid" LIMIT 1;
-- $1 = "(3,0)"
-- $2 = "(7,0)"
-- $3 = "01JD8Z7Q4T0000000000000001"
-- $4 = 0x4000

-- count of blocks, last, with rows in quarantine
SELECT '"public"."items"'::regclass::oid, pg_catalog.pg_relation_filenode('"public"."items"'::regclass), count(*), count(*) FILTER (WHERE (
name_norm IS NULL AND name IS NOT NULL
)), count(*) FILTER (WHERE (
name_norm IS NOT DISTINCT FROM lower(name)
) IS NOT TRUE)
 FROM ONLY "public"."items" AS "items"
 WHERE "items"."ctid" >= CAST($1 AS tid) AND "items"."ctid" <= CAST($2 AS tid) AND "items"."ctid" <= CAST($3 AS tid)
  AND NOT EXISTS (SELECT 1 FROM backfleet.quarantine AS backfleet_q WHERE backfleet_q.job_id = $4 AND backfleet_q.relation = CAST($5 AS oid) AND backfleet_q.key = ARRAY["items"."shop"::text, "items"."id"::text]);
-- $1 = "(7,0)"
-- $2 = "(9,0)"
-- $3 = "(7,0)"
-- $4 = "01JD8Z7Q4T0000000000000001"
-- $5 = 0x4000

-- counted, last, with rows in quarantine
WITH backfleet_brake AS MATERIALIZED (SELECT 1 FROM backfleet.brake WHERE until > clock_timestamp()),
backfleet_lock AS MATERIALIZED (
 SELECT 1 FROM backfleet.ranges
  WHERE job_id = $1 AND index = $2
   AND CASE WHEN fence = $3 AND claim_token = $4 AND state = 'running'
   AND (chunk_lo, chunk_hi, k, pass, key) IS NOT DISTINCT FROM ($5::text[], $6::text[], $7::smallint, $8::smallint, $9::text[])
   AND relation = '"public"."items"'::regclass THEN backfleet.same_file($10, $11) ELSE false END
   AND NOT EXISTS (SELECT 1 FROM backfleet_brake)
  FOR NO KEY UPDATE),
backfleet_move AS (
 UPDATE backfleet.ranges SET key = $15::text[], batches = batches + 1,
  walked = walked + $16, residual = residual + $12, check_fails = check_fails + $13, blocks_left = blocks_left - $14, attempts = 0,
  lease_until = clock_timestamp() + interval '10 seconds', state = 'done', ended_at = clock_timestamp()
  WHERE job_id = $17 AND index = $18 AND EXISTS (SELECT 1 FROM backfleet_lock)
 RETURNING 1)
SELECT EXISTS (SELECT 1 FROM backfleet_brake), (SELECT count(*) FROM backfleet_move);
-- $1 = "01JD8Z7Q4T0000000000000001"
-- $2 = 3
-- $3 = 2
-- $4 = "11111111-2222-3333-4444-555555555555"
-- $5 = []string(nil)
-- $6 = []string{"(7,0)"}
-- $7 = 1
-- $8 = 0
-- $9 = []string{"(3,0)"}
-- $10 = "\"public\".\"items\""
-- $11 = 0x4006
-- $12 = 0
-- $13 = 1
-- $14 = 2
-- $15 = []string{"(7,0)"}
-- $16 = 0
-- $17 = "01JD8Z7Q4T0000000000000001"
-- $18 = 3

-- quarantine, last, with rows in quarantine
WITH backfleet_brake AS MATERIALIZED (SELECT 1 FROM backfleet.brake WHERE until > clock_timestamp()),
backfleet_lock AS MATERIALIZED (
 SELECT 1 FROM backfleet.ranges
  WHERE job_id = $1 AND index = $2
   AND CASE WHEN fence = $3 AND claim_token = $4 AND state = 'running'
   AND (chunk_lo, chunk_hi, k, pass, key) IS NOT DISTINCT FROM ($5::text[], $6::text[], $7::smallint, $8::smallint, $9::text[])
   AND relation = '"public"."items"'::regclass THEN backfleet.same_file($10, $11) ELSE false END
   AND NOT EXISTS (SELECT 1 FROM backfleet_brake)
  FOR NO KEY UPDATE),
backfleet_alone AS MATERIALIZED (
 SELECT 1 FROM backfleet_lock WHERE NOT EXISTS (
  SELECT 1 FROM ONLY "public"."items" AS "items" WHERE "items"."ctid" >= CAST($12 AS tid) AND "items"."ctid" <= CAST($13 AS tid) AND ("items"."shop", "items"."id") <> (CAST($14 AS integer), CAST($15 AS uuid)))),
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
-- $6 = []string{"(7,0)"}
-- $7 = 1
-- $8 = 0
-- $9 = []string{"(3,0)"}
-- $10 = "\"public\".\"items\""
-- $11 = 0x4006
-- $12 = "(3,0)"
-- $13 = "(7,0)"
-- $14 = "7"
-- $15 = "00000000-0000-0000-0000-000000000001"
-- $16 = "01JD8Z7Q4T0000000000000001"
-- $17 = 0x4000
-- $18 = []string{"7", "00000000-0000-0000-0000-000000000001"}
-- $19 = 100
-- $20 = "01JD8Z7Q4T0000000000000001"
-- $21 = 0x4000
-- $22 = []string{"7", "00000000-0000-0000-0000-000000000001"}
-- $23 = 3
-- $24 = "23514"
-- $25 = "violates a check"
-- $26 = "worker-1"
-- $27 = []string{"(7,0)"}
-- $28 = 0
-- $29 = "01JD8Z7Q4T0000000000000001"
-- $30 = 3

-- fill that opens a chunk
SELECT held, moved, written FROM backfleet.fill_blocks($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20);
-- $1 = "01JD8Z7Q4T0000000000000001"
-- $2 = 3
-- $3 = 2
-- $4 = "11111111-2222-3333-4444-555555555555"
-- $5 = []string(nil)
-- $6 = []string{"(7,0)"}
-- $7 = 1
-- $8 = 0
-- $9 = []string{"(3,0)"}
-- $10 = []string{"(3,0)"}
-- $11 = []string{"(7,0)"}
-- $12 = 4
-- $13 = 0
-- $14 = []string{"(7,0)"}
-- $15 = 200
-- $16 = false
-- $17 = "\"public\".\"items\""
-- $18 = "UPDATE ONLY \"public\".\"items\" AS \"items\" SET \"name_norm\" = (\nlower(name)\n)\n  WHERE \"items\".\"ctid\" >= CAST(($1)[1] AS tid) AND \"items\".\"ctid\" < CAST(($1)[2] AS tid) AND (pg_catalog.hash_record(ROW(\"items\".\"shop\", \"items\".\"id\")) & CAST(($1)[3] AS integer)) = CAST(($1)[4] AS integer) AND (\nname_norm IS NULL AND name IS NOT NULL\n)\n RETURNING CASE WHEN (\nname_norm IS NULL AND name IS NOT NULL\n) THEN backfleet.still_open(ARRAY[\"items\".\"shop\"::text, \"items\".\"id\"::text]) END"
-- $19 = []string{"(3,0)", "(7,0)", "3", "0"}
-- $20 = 0x4006

-- quarantine that opens a chunk
WITH backfleet_brake AS MATERIALIZED (SELECT 1 FROM backfleet.brake WHERE until > clock_timestamp()),
backfleet_lock AS MATERIALIZED (
 SELECT 1 FROM backfleet.ranges
  WHERE job_id = $1 AND index = $2
   AND CASE WHEN fence = $3 AND claim_token = $4 AND state = 'running'
   AND (chunk_lo, chunk_hi, k, pass, key) IS NOT DISTINCT FROM ($5::text[], $6::text[], $7::smallint, $8::smallint, $9::text[])
   AND relation = '"public"."items"'::regclass THEN backfleet.same_file($10, $11) ELSE false END
   AND NOT EXISTS (SELECT 1 FROM backfleet_brake)
  FOR NO KEY UPDATE),
backfleet_alone AS MATERIALIZED (
 SELECT 1 FROM backfleet_lock WHERE NOT EXISTS (
  SELECT 1 FROM ONLY "public"."items" AS "items" WHERE "items"."ctid" >= CAST($12 AS tid) AND "items"."ctid" < CAST($13 AS tid) AND (pg_catalog.hash_record(ROW("items"."shop", "items"."id")) & CAST($14 AS integer)) = CAST($15 AS integer) AND ("items"."shop", "items"."id") <> (CAST($16 AS integer), CAST($17 AS uuid)))),
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
-- $6 = []string{"(7,0)"}
-- $7 = 1
-- $8 = 0
-- $9 = []string{"(3,0)"}
-- $10 = "\"public\".\"items\""
-- $11 = 0x4006
-- $12 = "(3,0)"
-- $13 = "(7,0)"
-- $14 = 3
-- $15 = 0
-- $16 = "7"
-- $17 = "00000000-0000-0000-0000-000000000001"
-- $18 = "01JD8Z7Q4T0000000000000001"
-- $19 = 0x4000
-- $20 = []string{"7", "00000000-0000-0000-0000-000000000001"}
-- $21 = 100
-- $22 = "01JD8Z7Q4T0000000000000001"
-- $23 = 0x4000
-- $24 = []string{"7", "00000000-0000-0000-0000-000000000001"}
-- $25 = 3
-- $26 = "23514"
-- $27 = "violates a check"
-- $28 = "worker-1"
-- $29 = []string{"(7,0)"}
-- $30 = []string{"(3,0)"}
-- $31 = []string{"(7,0)"}
-- $32 = 4
-- $33 = 0
-- $34 = 200
-- $35 = "01JD8Z7Q4T0000000000000001"
-- $36 = 3

-- fill of a pass
SELECT held, moved, written FROM backfleet.fill_blocks($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20);
-- $1 = "01JD8Z7Q4T0000000000000001"
-- $2 = 3
-- $3 = 2
-- $4 = "11111111-2222-3333-4444-555555555555"
-- $5 = []string{"(3,0)"}
-- $6 = []string{"(7,0)"}
-- $7 = 4
-- $8 = 2
-- $9 = []string{"(3,0)"}
-- $10 = []string{"(3,0)"}
-- $11 = []string{"(7,0)"}
-- $12 = 4
-- $13 = 2
-- $14 = []string{"(7,0)"}
-- $15 = 200
-- $16 = false
-- $17 = "\"public\".\"items\""
-- $18 = "UPDATE ONLY \"public\".\"items\" AS \"items\" SET \"name_norm\" = (\nlower(name)\n)\n  WHERE \"items\".\"ctid\" >= CAST(($1)[1] AS tid) AND \"items\".\"ctid\" < CAST(($1)[2] AS tid) AND (pg_catalog.hash_record(ROW(\"items\".\"shop\", \"items\".\"id\")) & CAST(($1)[3] AS integer)) = CAST(($1)[4] AS integer) AND (\nname_norm IS NULL AND name IS NOT NULL\n)\n RETURNING CASE WHEN (\nname_norm IS NULL AND name IS NOT NULL\n) THEN backfleet.still_open(ARRAY[\"items\".\"shop\"::text, \"items\".\"id\"::text]) END"
-- $19 = []string{"(3,0)", "(7,0)", "3", "2"}
-- $20 = 0x4006

-- quarantine of a pass
WITH backfleet_brake AS MATERIALIZED (SELECT 1 FROM backfleet.brake WHERE until > clock_timestamp()),
backfleet_lock AS MATERIALIZED (
 SELECT 1 FROM backfleet.ranges
  WHERE job_id = $1 AND index = $2
   AND CASE WHEN fence = $3 AND claim_token = $4 AND state = 'running'
   AND (chunk_lo, chunk_hi, k, pass, key) IS NOT DISTINCT FROM ($5::text[], $6::text[], $7::smallint, $8::smallint, $9::text[])
   AND relation = '"public"."items"'::regclass THEN backfleet.same_file($10, $11) ELSE false END
   AND NOT EXISTS (SELECT 1 FROM backfleet_brake)
  FOR NO KEY UPDATE),
backfleet_alone AS MATERIALIZED (
 SELECT 1 FROM backfleet_lock WHERE NOT EXISTS (
  SELECT 1 FROM ONLY "public"."items" AS "items" WHERE "items"."ctid" >= CAST($12 AS tid) AND "items"."ctid" < CAST($13 AS tid) AND (pg_catalog.hash_record(ROW("items"."shop", "items"."id")) & CAST($14 AS integer)) = CAST($15 AS integer) AND ("items"."shop", "items"."id") <> (CAST($16 AS integer), CAST($17 AS uuid)))),
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
-- $5 = []string{"(3,0)"}
-- $6 = []string{"(7,0)"}
-- $7 = 4
-- $8 = 2
-- $9 = []string{"(3,0)"}
-- $10 = "\"public\".\"items\""
-- $11 = 0x4006
-- $12 = "(3,0)"
-- $13 = "(7,0)"
-- $14 = 3
-- $15 = 2
-- $16 = "7"
-- $17 = "00000000-0000-0000-0000-000000000001"
-- $18 = "01JD8Z7Q4T0000000000000001"
-- $19 = 0x4000
-- $20 = []string{"7", "00000000-0000-0000-0000-000000000001"}
-- $21 = 100
-- $22 = "01JD8Z7Q4T0000000000000001"
-- $23 = 0x4000
-- $24 = []string{"7", "00000000-0000-0000-0000-000000000001"}
-- $25 = 3
-- $26 = "23514"
-- $27 = "violates a check"
-- $28 = "worker-1"
-- $29 = []string{"(7,0)"}
-- $30 = 200
-- $31 = "01JD8Z7Q4T0000000000000001"
-- $32 = 3

-- fill that ends the last pass, with rows in quarantine
SELECT held, moved, written FROM backfleet.fill_blocks($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20);
-- $1 = "01JD8Z7Q4T0000000000000001"
-- $2 = 3
-- $3 = 2
-- $4 = "11111111-2222-3333-4444-555555555555"
-- $5 = []string{"(3,0)"}
-- $6 = []string{"(7,0)"}
-- $7 = 4
-- $8 = 3
-- $9 = []string{"(3,0)"}
-- $10 = []string{"(7,0)"}
-- $11 = []string{"(7,0)"}
-- $12 = 1
-- $13 = 0
-- $14 = []string{"(7,0)"}
-- $15 = 0
-- $16 = true
-- $17 = "\"public\".\"items\""
-- $18 = "UPDATE ONLY \"public\".\"items\" AS \"items\" SET \"name_norm\" = (\nlower(name)\n)\n  WHERE \"items\".\"ctid\" >= CAST(($1)[1] AS tid) AND \"items\".\"ctid\" <= CAST(($1)[2] AS tid) AND (pg_catalog.hash_record(ROW(\"items\".\"shop\", \"items\".\"id\")) & CAST(($1)[3] AS integer)) = CAST(($1)[4] AS integer) AND (\nname_norm IS NULL AND name IS NOT NULL\n)\n  AND NOT EXISTS (SELECT 1 FROM backfleet.quarantine AS backfleet_q WHERE backfleet_q.job_id = ($1)[5] AND backfleet_q.relation = CAST(($1)[6] AS oid) AND backfleet_q.key = ARRAY[\"items\".\"shop\"::text, \"items\".\"id\"::text])\n RETURNING CASE WHEN (\nname_norm IS NULL AND name IS NOT NULL\n) THEN backfleet.still_open(ARRAY[\"items\".\"shop\"::text, \"items\".\"id\"::text]) END"
-- $19 = []string{"(3,0)", "(7,0)", "3", "3", "01JD8Z7Q4T0000000000000001", "16384"}
-- $20 = 0x4006

-- quarantine that ends the last pass, with rows in quarantine
WITH backfleet_brake AS MATERIALIZED (SELECT 1 FROM backfleet.brake WHERE until > clock_timestamp()),
backfleet_lock AS MATERIALIZED (
 SELECT 1 FROM backfleet.ranges
  WHERE job_id = $1 AND index = $2
   AND CASE WHEN fence = $3 AND claim_token = $4 AND state = 'running'
   AND (chunk_lo, chunk_hi, k, pass, key) IS NOT DISTINCT FROM ($5::text[], $6::text[], $7::smallint, $8::smallint, $9::text[])
   AND relation = '"public"."items"'::regclass THEN backfleet.same_file($10, $11) ELSE false END
   AND NOT EXISTS (SELECT 1 FROM backfleet_brake)
  FOR NO KEY UPDATE),
backfleet_alone AS MATERIALIZED (
 SELECT 1 FROM backfleet_lock WHERE NOT EXISTS (
  SELECT 1 FROM ONLY "public"."items" AS "items" WHERE "items"."ctid" >= CAST($12 AS tid) AND "items"."ctid" <= CAST($13 AS tid) AND (pg_catalog.hash_record(ROW("items"."shop", "items"."id")) & CAST($14 AS integer)) = CAST($15 AS integer) AND ("items"."shop", "items"."id") <> (CAST($16 AS integer), CAST($17 AS uuid)))),
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
-- $5 = []string{"(3,0)"}
-- $6 = []string{"(7,0)"}
-- $7 = 4
-- $8 = 3
-- $9 = []string{"(3,0)"}
-- $10 = "\"public\".\"items\""
-- $11 = 0x4006
-- $12 = "(3,0)"
-- $13 = "(7,0)"
-- $14 = 3
-- $15 = 3
-- $16 = "7"
-- $17 = "00000000-0000-0000-0000-000000000001"
-- $18 = "01JD8Z7Q4T0000000000000001"
-- $19 = 0x4000
-- $20 = []string{"7", "00000000-0000-0000-0000-000000000001"}
-- $21 = 100
-- $22 = "01JD8Z7Q4T0000000000000001"
-- $23 = 0x4000
-- $24 = []string{"7", "00000000-0000-0000-0000-000000000001"}
-- $25 = 3
-- $26 = "23514"
-- $27 = "violates a check"
-- $28 = "worker-1"
-- $29 = []string{"(7,0)"}
-- $30 = []string{"(7,0)"}
-- $31 = []string{"(7,0)"}
-- $32 = 1
-- $33 = 0
-- $34 = 0
-- $35 = "01JD8Z7Q4T0000000000000001"
-- $36 = 3

-- boundary of a pass
SELECT ARRAY["items"."ctid"::text] FROM ONLY "public"."items" AS "items" WHERE "items"."ctid" >= CAST($1 AS tid) AND "items"."ctid" < CAST($2 AS tid) AND (pg_catalog.hash_record(ROW("items"."shop", "items"."id")) & CAST($3 AS integer)) = CAST($4 AS integer) ORDER BY "items"."ctid" OFFSET $5 LIMIT 1;
-- $1 = "(3,0)"
-- $2 = "(7,0)"
-- $3 = 3
-- $4 = 3
-- $5 = 200

-- first key of a pass
SELECT ARRAY["items"."shop"::text, "items"."id"::text] FROM ONLY "public"."items" AS "items" WHERE "items"."ctid" >= CAST($1 AS tid) AND "items"."ctid" < CAST($2 AS tid) AND (pg_catalog.hash_record(ROW("items"."shop", "items"."id")) & CAST($3 AS integer)) = CAST($4 AS integer) ORDER BY "items"."ctid" OFFSET $5 LIMIT 1;
-- $1 = "(3,0)"
-- $2 = "(7,0)"
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
   AND relation = '"public"."items"'::regclass THEN backfleet.same_file($10, $11) ELSE false END
   AND NOT EXISTS (SELECT 1 FROM backfleet_brake)
  FOR NO KEY UPDATE),
backfleet_alone AS MATERIALIZED (
 SELECT 1 FROM backfleet_lock WHERE NOT EXISTS (
  SELECT 1 FROM ONLY "public"."items" AS "items" WHERE "items"."ctid" >= CAST($12 AS tid) AND "items"."ctid" < CAST($13 AS tid) AND ("items"."shop", "items"."id") <> (CAST($14 AS integer), CAST($15 AS uuid)))),
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
-- $6 = []string{"(7,0)"}
-- $7 = 1
-- $8 = 0
-- $9 = []string{"(3,0)"}
-- $10 = "\"public\".\"items\""
-- $11 = 0x4006
-- $12 = "(3,0)"
-- $13 = "(7,0)"
-- $14 = "7"
-- $15 = "00000000-0000-0000-0000-000000000001"
-- $16 = "01JD8Z7Q4T0000000000000001"
-- $17 = 0x4000
-- $18 = []string{"7", "00000000-0000-0000-0000-000000000001"}
-- $19 = 100
-- $20 = "01JD8Z7Q4T0000000000000001"
-- $21 = 0x4000
-- $22 = []string{"7", "00000000-0000-0000-0000-000000000001"}
-- $23 = 3
-- $24 = "23514"
-- $25 = "violates a check"
-- $26 = "worker-1"

-- quarantine, its turn
SELECT 1 FROM backfleet.jobs WHERE id = $1 FOR NO KEY UPDATE;
-- $1 = "01JD8Z7Q4T0000000000000001"

-- ahead
SELECT ARRAY["items"."shop"::text, "items"."id"::text], true FROM ONLY "public"."items" AS "items" WHERE ("items"."shop", "items"."id") = (CAST($1 AS integer), CAST($2 AS uuid));
-- $1 = "7"
-- $2 = "00000000-0000-0000-0000-000000000001"

-- again, its turn
DELETE FROM backfleet.quarantine WHERE job_id = $1 AND relation = $2 AND key = $3::text[] RETURNING range_index;
-- $1 = "01JD8Z7Q4T0000000000000001"
-- $2 = 0x4000
-- $3 = []string{"7", "00000000-0000-0000-0000-000000000001"}

-- again
UPDATE ONLY "public"."items" AS "items" SET "name_norm" = (
lower(name)
)
  WHERE ("items"."shop", "items"."id") >= (CAST($1 AS integer), CAST($2 AS uuid)) AND ("items"."shop", "items"."id") <= (CAST($3 AS integer), CAST($4 AS uuid)) AND (
name_norm IS NULL AND name IS NOT NULL
);
-- $1 = "7"
-- $2 = "00000000-0000-0000-0000-000000000001"
-- $3 = "7"
-- $4 = "00000000-0000-0000-0000-000000000001"

-- again, counted
UPDATE backfleet.ranges SET rows = rows + $3 WHERE job_id = $1 AND index = $2;
-- $1 = "01JD8Z7Q4T0000000000000001"
-- $2 = 3
-- $3 = 1

