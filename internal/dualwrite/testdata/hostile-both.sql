CREATE OR REPLACE FUNCTION "odd ""schema"."backfleet_dw_we-ird"() RETURNS trigger LANGUAGE plpgsql SECURITY INVOKER
    SET search_path = public, pg_temp
AS $backfleet1$
-- backfleet dual-write {"direction":"both","reads":["ol\"d","new"],"reads_back":["found"],"immutable":true}
#variable_conflict use_column
DECLARE
    backfleet_new_written boolean;
    backfleet_follows record := NEW;
BEGIN
    IF TG_OP = 'INSERT' THEN
        backfleet_new_written := CAST(ROW(NEW."ne""w; --", NEW."found") AS record) OPERATOR(pg_catalog.*<>) CAST(ROW(CAST(NULL AS character varying(20)), CAST(NULL AS numeric(10,2))) AS record);
    ELSE
        backfleet_new_written := CAST(ROW(NEW."ne""w; --", NEW."found") AS record) OPERATOR(pg_catalog.*<>) CAST(ROW(OLD."ne""w; --", OLD."found") AS record);
    END IF;
    SELECT (
"found"::text
)
        INTO backfleet_follows."select"
        FROM (SELECT NEW.*) AS "we""ird; drop table x";
    IF CAST(ROW(NEW."select") AS record) OPERATOR(pg_catalog.*=) CAST(ROW(backfleet_follows."select") AS record) THEN
        RETURN NEW; -- old says what new says
    END IF;
    SELECT (
"we""ird; drop table x"."ol""d" || '$backfleet$' -- ends here
), (
"new" * 1.005
)
        INTO backfleet_follows."ne""w; --", backfleet_follows."found"
        FROM (SELECT NEW.*) AS "we""ird; drop table x";
    IF CAST(ROW(NEW."ne""w; --", NEW."found") AS record) OPERATOR(pg_catalog.*=) CAST(ROW(backfleet_follows."ne""w; --", backfleet_follows."found") AS record) THEN
        RETURN NEW; -- new says what old says
    END IF;
    IF NOT backfleet_new_written THEN
        NEW."ne""w; --" := backfleet_follows."ne""w; --";
        NEW."found" := backfleet_follows."found";
    END IF;
    IF backfleet_new_written THEN
        NEW."select" := backfleet_follows."select";
    END IF;
    RETURN NEW;
END $backfleet1$;

CREATE OR REPLACE TRIGGER "zz_backfleet_dw_we-ird_i" BEFORE INSERT ON "odd ""schema"."we""ird; drop table x" FOR EACH ROW
    EXECUTE FUNCTION "odd ""schema"."backfleet_dw_we-ird"();

CREATE OR REPLACE TRIGGER "zz_backfleet_dw_we-ird_u" BEFORE UPDATE ON "odd ""schema"."we""ird; drop table x" FOR EACH ROW
    WHEN (CAST(ROW(NEW."ol""d", NEW."new", NEW."select", NEW."ne""w; --", NEW."found") AS record) OPERATOR(pg_catalog.*<>) CAST(ROW(OLD."ol""d", OLD."new", OLD."select", OLD."ne""w; --", OLD."found") AS record))
    EXECUTE FUNCTION "odd ""schema"."backfleet_dw_we-ird"();

-- watch
WITH backfleet_w AS MATERIALIZED (
 SELECT ARRAY["we""ird; drop table x"."a""b"::text, "we""ird; drop table x"."id"::text] AS k, CASE WHEN ("we""ird; drop table x"."ne""w; --" IS NOT DISTINCT FROM backfleet_f."ne""w; --" AND "we""ird; drop table x"."found" IS NOT DISTINCT FROM backfleet_f."found") OR ("we""ird; drop table x"."select" IS NOT DISTINCT FROM backfleet_n.backfleet_0) THEN '' WHEN "we""ird; drop table x"."ne""w; --" IS NULL AND backfleet_f."ne""w; --" IS NOT NULL OR "we""ird; drop table x"."found" IS NULL AND backfleet_f."found" IS NOT NULL THEN 'missing' ELSE 'differing' END AS s, "we""ird; drop table x".xmin::text::bigint AS x
   FROM ONLY "odd ""schema"."p 2" AS "we""ird; drop table x"
  CROSS JOIN LATERAL (SELECT CAST((
"found"::text
) AS text) AS backfleet_0 OFFSET 0) AS backfleet_n
  CROSS JOIN LATERAL (SELECT CAST((
"we""ird; drop table x"."ol""d" || '$backfleet$' -- ends here
) AS character varying(20)) AS "ne""w; --", CAST((
"new" * 1.005
) AS numeric(10,2)) AS "found" OFFSET 0) AS backfleet_f
  WHERE ("we""ird; drop table x"."a""b", "we""ird; drop table x"."id") >= (CAST($1 AS integer), CAST($2 AS bigint)) AND ("we""ird; drop table x"."a""b", "we""ird; drop table x"."id") < (CAST($3 AS integer), CAST($4 AS bigint))),
backfleet_d AS (SELECT k, s, x FROM backfleet_w WHERE s = 'differing' OR s = 'orphan' OR s = 'missing' AND NOT (x < 3 OR (x - 7 + 4294967296) % 4294967296 >= 2147483648) LIMIT 1000)
SELECT count(*), count(*) FILTER (WHERE s = 'missing' AND (x < 3 OR (x - 7 + 4294967296) % 4294967296 >= 2147483648)), count(*) FILTER (WHERE s = 'missing' AND NOT (x < 3 OR (x - 7 + 4294967296) % 4294967296 >= 2147483648)),
       count(*) FILTER (WHERE s = 'differing'), count(*) FILTER (WHERE s = 'orphan'),
       ARRAY(SELECT pg_catalog.to_json(k)::text FROM backfleet_d), ARRAY(SELECT s FROM backfleet_d), ARRAY(SELECT x FROM backfleet_d)
  FROM backfleet_w;

