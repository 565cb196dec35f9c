CREATE OR REPLACE FUNCTION "public"."backfleet_dw_users-emails"() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER
    SET search_path = public, pg_temp
AS $backfleet$
-- backfleet dual-write {"direction":"forward","reads":["id","email"],"reads_back":["user_id","address"],"immutable":true}
#variable_conflict use_column
BEGIN
    IF TG_OP <> 'INSERT' THEN
        DELETE FROM "public"."user_emails" AS backfleet_t
         WHERE backfleet_t."user_id" = OLD."id" AND NOT EXISTS (SELECT FROM "public"."users" AS backfleet_s WHERE backfleet_s."id" = OLD."id");
    END IF;
    IF TG_OP = 'DELETE' THEN
        RETURN NULL;
    END IF;
    INSERT INTO "public"."user_emails" AS backfleet_t ("user_id", "address") OVERRIDING SYSTEM VALUE
        SELECT (
id
), (
lower(email)
) FROM "public"."users" AS "users" WHERE "users"."id" = NEW."id"
        ON CONFLICT ("user_id") DO UPDATE SET "address" = EXCLUDED."address"
            WHERE CAST(ROW(backfleet_t."address") AS record) OPERATOR(pg_catalog.*<>) CAST(ROW(EXCLUDED."address") AS record);
    RETURN NULL;
END $backfleet$;

CREATE OR REPLACE TRIGGER "00_backfleet_dw_users-emails_w" AFTER INSERT OR DELETE ON "public"."users" FOR EACH ROW
    EXECUTE FUNCTION "public"."backfleet_dw_users-emails"();

CREATE OR REPLACE TRIGGER "00_backfleet_dw_users-emails_u" AFTER UPDATE ON "public"."users" FOR EACH ROW
    WHEN (CAST(ROW(NEW."id", NEW."email") AS record) OPERATOR(pg_catalog.*<>) CAST(ROW(OLD."id", OLD."email") AS record))
    EXECUTE FUNCTION "public"."backfleet_dw_users-emails"();

-- watch
WITH backfleet_w AS MATERIALIZED (
 SELECT ARRAY["users"."id"::text] AS k, CASE WHEN backfleet_n.backfleet_there IS NULL THEN 'missing' WHEN backfleet_n."user_id" IS NOT DISTINCT FROM backfleet_f."user_id" AND backfleet_n."address" IS NOT DISTINCT FROM backfleet_f."address" THEN '' ELSE 'differing' END AS s, "users".xmin::text::bigint AS x
   FROM ONLY "public"."users" AS "users"
  LEFT JOIN LATERAL (SELECT true AS backfleet_there, "user_emails"."user_id", "user_emails"."address", CAST((
user_id
) AS bigint) AS backfleet_0, CAST((
address
) AS text) AS backfleet_1 FROM "public"."user_emails" AS "user_emails" WHERE "user_emails"."user_id" = "users"."id" OFFSET 0) AS backfleet_n ON true
  CROSS JOIN LATERAL (SELECT CAST((
id
) AS bigint) AS "user_id", CAST((
lower(email)
) AS text) AS "address" OFFSET 0) AS backfleet_f
  WHERE "users"."id" >= CAST($1 AS bigint) AND "users"."id" < CAST($2 AS bigint)),
backfleet_d AS (SELECT k, s, x FROM backfleet_w WHERE s = 'differing' OR s = 'orphan' OR s = 'missing' AND NOT true LIMIT 1000)
SELECT count(*), count(*) FILTER (WHERE s = 'missing' AND true), count(*) FILTER (WHERE s = 'missing' AND NOT true),
       count(*) FILTER (WHERE s = 'differing'), count(*) FILTER (WHERE s = 'orphan'),
       ARRAY(SELECT pg_catalog.to_json(k)::text FROM backfleet_d), ARRAY(SELECT s FROM backfleet_d), ARRAY(SELECT x FROM backfleet_d)
  FROM backfleet_w;

-- watch
WITH backfleet_w AS MATERIALIZED (
 SELECT ARRAY["user_emails"."user_id"::text] AS k, CASE WHEN EXISTS (SELECT FROM "public"."users" AS backfleet_s WHERE backfleet_s."id" = "user_emails"."user_id") THEN '' ELSE 'orphan' END AS s, "user_emails".xmin::text::bigint AS x
   FROM ONLY "public"."user_emails" AS "user_emails"
  WHERE "user_emails"."user_id" >= CAST($1 AS bigint) AND "user_emails"."user_id" < CAST($2 AS bigint)),
backfleet_d AS (SELECT k, s, x FROM backfleet_w WHERE s = 'differing' OR s = 'orphan' OR s = 'missing' AND NOT true LIMIT 1000)
SELECT count(*), count(*) FILTER (WHERE s = 'missing' AND true), count(*) FILTER (WHERE s = 'missing' AND NOT true),
       count(*) FILTER (WHERE s = 'differing'), count(*) FILTER (WHERE s = 'orphan'),
       ARRAY(SELECT pg_catalog.to_json(k)::text FROM backfleet_d), ARRAY(SELECT s FROM backfleet_d), ARRAY(SELECT x FROM backfleet_d)
  FROM backfleet_w;

