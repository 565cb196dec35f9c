CREATE OR REPLACE FUNCTION "public"."backfleet_dw_users-email-norm"() RETURNS trigger LANGUAGE plpgsql SECURITY INVOKER
    SET search_path = public, pg_temp
AS $backfleet$
-- backfleet dual-write {"direction":"forward","reads":["email","seen"],"reads_back":["email_norm"],"immutable":true}
#variable_conflict use_column
BEGIN
    IF TG_OP = 'UPDATE' AND CAST(ROW(NEW."email", NEW."email_norm", NEW."seen") AS record) OPERATOR(pg_catalog.*=) CAST(ROW(OLD."email", OLD."email_norm", OLD."seen") AS record) THEN
        -- Something else of a row was written that is not filled yet. A value that the expression does not take has been there before, and
        -- is the backfill's to set aside: this write must not fail for it.
        BEGIN
        <<"users">>
    DECLARE
        "email" text := NEW."email";
        "seen" integer := NEW."seen";
    BEGIN
        NEW."email_norm" := (
lower(users.email) || "users".seen -- both
);
    END;
        EXCEPTION WHEN data_exception OR integrity_constraint_violation OR raise_exception THEN
            RETURN NEW;
        END;
        RETURN NEW;
    END IF;
    <<"users">>
    DECLARE
        "email" text := NEW."email";
        "seen" integer := NEW."seen";
    BEGIN
        NEW."email_norm" := (
lower(users.email) || "users".seen -- both
);
    END;
    RETURN NEW;
END $backfleet$;

CREATE OR REPLACE TRIGGER "zz_backfleet_dw_users-email-norm_i" BEFORE INSERT ON "public"."users" FOR EACH ROW
    EXECUTE FUNCTION "public"."backfleet_dw_users-email-norm"();

CREATE OR REPLACE TRIGGER "zz_backfleet_dw_users-email-norm_u" BEFORE UPDATE ON "public"."users" FOR EACH ROW
    WHEN (CAST(ROW(NEW."email", NEW."email_norm", NEW."seen") AS record) OPERATOR(pg_catalog.*<>) CAST(ROW(OLD."email", OLD."email_norm", OLD."seen") AS record) OR NEW."email_norm" IS NULL)
    EXECUTE FUNCTION "public"."backfleet_dw_users-email-norm"();

-- watch
WITH backfleet_w AS MATERIALIZED (
 SELECT ARRAY["users"."id"::text] AS k, CASE WHEN "users"."email_norm" IS NOT DISTINCT FROM backfleet_f."email_norm" THEN '' WHEN "users"."email_norm" IS NULL AND backfleet_f."email_norm" IS NOT NULL THEN 'missing' ELSE 'differing' END AS s, "users".xmin::text::bigint AS x
   FROM ONLY "public"."users" AS "users"
  CROSS JOIN LATERAL (SELECT CAST((
email_norm
) AS text) AS backfleet_0 OFFSET 0) AS backfleet_n
  CROSS JOIN LATERAL (SELECT CAST((
lower(users.email) || "users".seen -- both
) AS text) AS "email_norm" OFFSET 0) AS backfleet_f
  WHERE "users"."id" >= CAST($1 AS bigint) AND "users"."id" < CAST($2 AS bigint)),
backfleet_d AS (SELECT k, s, x FROM backfleet_w WHERE s = 'differing' OR s = 'orphan' OR s = 'missing' AND NOT (x < 3 OR (x - 7 + 4294967296) % 4294967296 >= 2147483648) LIMIT 1000)
SELECT count(*), count(*) FILTER (WHERE s = 'missing' AND (x < 3 OR (x - 7 + 4294967296) % 4294967296 >= 2147483648)), count(*) FILTER (WHERE s = 'missing' AND NOT (x < 3 OR (x - 7 + 4294967296) % 4294967296 >= 2147483648)),
       count(*) FILTER (WHERE s = 'differing'), count(*) FILTER (WHERE s = 'orphan'),
       ARRAY(SELECT pg_catalog.to_json(k)::text FROM backfleet_d), ARRAY(SELECT s FROM backfleet_d), ARRAY(SELECT x FROM backfleet_d)
  FROM backfleet_w;

